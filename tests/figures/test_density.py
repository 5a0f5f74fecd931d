import numpy as np
import pytest

from kvae.data.gmm import random_mixture
from kvae.figures import density, style
from kvae.figures.density import DIFFERENCE_NATS, draw_density
from kvae.figures.slices import NATS_SHOWN, slices_of


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr(density.style, "finished", lambda figure, _: kept.append(figure))
    return kept


def case(dim, count=3):
    mixture = random_mixture(count, dim, 5.0, 0)
    slices = slices_of(mixture)
    return slices, [mixture.log_prob(one.points()) for one in slices]


def images_of(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


@pytest.mark.parametrize("dim", [2, 4])
def test_truth_and_models_share_one_scale_that_the_truth_sets(figures, dim):
    slices, truth = case(dim)
    models = {"prior": [part + 5 for part in truth], "sampler": [part - 40 for part in truth]}
    draw_density(slices, truth, models, "t", path="")
    drawn = images_of(figures[0])
    count = len(slices)
    assert len(drawn) == 5 * count
    top = max(part.max() for part in truth)
    assert {image.get_clim() for image in drawn[: 3 * count]} == {(top - NATS_SHOWN, top)}
    assert {image.get_clim() for image in drawn[3 * count :]} == {
        (-DIFFERENCE_NATS, DIFFERENCE_NATS)
    }
    for values, image in zip([*truth, *models["prior"], *models["sampler"]], drawn, strict=False):
        np.testing.assert_array_equal(image.get_array().ravel(), values)


def test_a_panel_lies_as_the_plane_does(figures):
    slices, truth = case(2)
    draw_density(slices, truth, {"prior": truth}, "t", path="")
    image = images_of(figures[0])[0]
    left, right, bottom, top = image.get_extent()
    np.testing.assert_array_equal([[left, right], [bottom, top]], slices[0].limits)
    assert image.origin == "lower"
    row, column = np.unravel_index(image.get_array().argmax(), image.get_array().shape)
    peak = slices[0].points()[truth[0].argmax()]
    np.testing.assert_allclose([slices[0].ticks(0)[column], slices[0].ticks(1)[row]], peak)


def test_differences_are_the_model_minus_the_truth_and_nothing_out_of_sight(figures):
    slices, truth = case(2)
    floor = truth[0].max() - NATS_SHOWN
    model = np.where(truth[0] > floor, truth[0] + 0.25, truth[0] - 100)
    draw_density(slices, truth, {"prior": [model]}, "t", path="")
    difference = images_of(figures[0])[2].get_array().ravel()
    np.testing.assert_allclose(difference[truth[0] > floor], 0.25)
    np.testing.assert_array_equal(difference[truth[0] < floor], 0)


def test_mass_where_the_truth_has_none_is_seen(figures):
    slices, truth = case(2)
    nowhere = truth[0] < truth[0].max() - NATS_SHOWN
    model = np.where(nowhere, truth[0].max() - 2, truth[0])
    draw_density(slices, truth, {"prior": [model]}, "t", path="")
    difference = images_of(figures[0])[2].get_array().ravel()
    np.testing.assert_allclose(difference[nowhere], NATS_SHOWN - 2)


def test_one_dimension_is_drawn_as_curves(figures):
    slices, truth = case(1)
    draw_density(slices, truth, {"prior": [truth[0] - 0.5]}, "t", path="")
    linear, log, difference = figures[0].axes
    for axes, first, second in ((linear, np.exp(truth[0]), np.exp(truth[0] - 0.5)),
                                (log, truth[0], truth[0] - 0.5)):  # fmt: skip
        for line, values in zip(axes.lines, (first, second), strict=True):
            np.testing.assert_allclose(line.get_xdata(), slices[0].ticks(0))
            np.testing.assert_allclose(line.get_ydata(), values)
    seen = truth[0] - 0.5 > truth[0].max() - NATS_SHOWN
    np.testing.assert_allclose(difference.lines[0].get_ydata()[seen], -0.5)
    assert linear.lines[1].get_color() == style.SERIES[0]
    assert log.get_ylim()[0] == pytest.approx(truth[0].max() - NATS_SHOWN)


# Of 2 dimensions there is one panel of those of 3.
@pytest.mark.parametrize("dim", [1, 3])
def test_equal_input_gives_equal_bytes_and_another_model_others(tmp_path, dim):
    slices, truth = case(dim)
    for name, shift in (("a", 0), ("b", 0), ("c", 0.5)):
        models = {"prior": [part - shift for part in truth]}
        draw_density(slices, truth, models, "t", path=tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_densities_that_cannot_be_drawn_are_refused(tmp_path):
    slices, truth = case(2)
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="prior must be numbers: 19044 of 19044 values are NaN"):
        draw_density(slices, truth, {"prior": [truth[0] * np.nan]}, "t", path=path)
    with pytest.raises(ValueError, match=r"prior must be given.*\(19044,\).*received \[\(9,\)\]"):
        draw_density(slices, truth, {"prior": [truth[0][:9]]}, "t", path=path)
    with pytest.raises(ValueError, match=r"truth must be given.*received \[\]"):
        draw_density(slices, [], {"prior": truth}, "t", path=path)
    for models in ({}, {"a": truth, "b": truth, "c": truth}):
        with pytest.raises(ValueError, match="series can be told apart"):
            draw_density(slices, truth, models, "t", path=path)
    with pytest.raises(ValueError, match="not named truth"):
        draw_density(slices, truth, {"truth": truth}, "t", path=path)
    assert not path.exists()


@pytest.mark.parametrize("dim", [1, 2])
def test_a_density_of_zero_is_drawn_at_the_end_of_the_scale(figures, dim):
    slices, truth = case(dim)
    peak, floor = int(truth[0].argmax()), truth[0].max() - NATS_SHOWN
    nowhere = [np.where(np.arange(len(truth[0])) == peak, -np.inf, truth[0])]
    least = [np.where(np.isinf(nowhere[0]), floor, truth[0])]
    for model in (nowhere, least):
        draw_density(slices, truth, {"prior": model}, "t", path="")
    shown = [
        [line.get_ydata() for axes in figure.axes for line in axes.lines]
        if dim == 1
        else [image.get_array().filled(np.nan) for image in images_of(figure)]
        for figure in figures
    ]
    for first, second in zip(*shown, strict=True):
        np.testing.assert_array_equal(first, second)
    difference = figures[0].axes[2].lines[0].get_ydata() if dim == 1 else shown[0][2].ravel()
    assert difference[peak] == pytest.approx(-NATS_SHOWN)
    with pytest.raises(ValueError, match="truth must be finite: 1 of"):
        draw_density(slices, nowhere, {"prior": truth}, "t", path="")
