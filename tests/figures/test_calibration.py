import numpy as np
import pytest

from kvae.figures import calibration, style


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    return kept


def groups_of(figure):
    (line,) = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    return line.get_data()


def upright_of(figure):
    """Where the lines at the stddev and at the root mean square of the errors are."""
    return [line.get_xdata()[0] for line in figure.axes[0].lines]


def test_a_calibrated_likelihood_is_on_the_diagonal_and_one_half_as_wide_above(figures):
    rng = np.random.default_rng(0)
    stddev = np.exp(rng.normal(-3, 0.7, 100_000))
    error = stddev * rng.normal(size=100_000)
    for factor in (1, 0.5):
        calibration.draw_calibration(factor * stddev, error, "t", path="")
        said, made = groups_of(figures[-1])
        assert len(said) == 20
        assert (np.diff(said) > 0).all()
        np.testing.assert_allclose(made / said, 1 / factor, rtol=0.06)
        assert f"root mean square {1 / factor:.3g}"[:17] in figures[-1].axes[0].get_title("left")
    axes = figures[0].axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_groups_are_of_equal_size_and_take_root_mean_squares(figures):
    stddev = np.repeat(np.arange(1.0, 41), 10)
    error = np.tile([-3.0, 4.0], 200)
    calibration.draw_calibration(stddev, error, "t", path="")
    said, made = groups_of(figures[0])
    first = np.arange(1, 41, 2)
    np.testing.assert_allclose(said, np.sqrt((first**2 + (first + 1) ** 2) / 2))
    np.testing.assert_allclose(made, np.sqrt(12.5))


def test_few_values_are_a_group_each(figures):
    stddev = np.array([2.0, 1.0, 2.0, 4.0])
    calibration.draw_calibration(stddev, np.array([3.0, 5.0, 4.0, 0.0]), "t", path="")
    said, made = groups_of(figures[0])
    np.testing.assert_allclose(said, [1, 2, 4])
    np.testing.assert_allclose(made[:2], [5, np.sqrt(12.5)])
    assert 0 < made[2] < 1e-5  # an exact copy is at the edge, logarithm or not
    assert figures[0].axes[0].get_ylim()[0] <= made[2]


@pytest.mark.parametrize(("stddev", "scale"), [(0.1, "linear"), (1.0, "log"), (0.001, "log")])
def test_one_value_for_all_is_a_line_beside_the_errors(figures, stddev, scale):
    error = np.random.default_rng(0).uniform(0.08, 0.12, 500)
    calibration.draw_calibration(np.full(500, stddev), error, "t", path="")
    axes = figures[0].axes[0]
    np.testing.assert_allclose(upright_of(figures[0]), [stddev, np.sqrt(np.square(error).mean())])
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < min(stddev, error.min()) < max(stddev, error.max()) < high
    assert sum(bar.get_height() for bar in axes.patches) == 500
    middle = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches if bar.get_height()]
    assert 0.07 < min(middle) < max(middle) < 0.13
    figures[0].draw_without_rendering()
    for text in (axes._left_title, axes.xaxis.label, figures[0]._suptitle):
        assert text.get_window_extent().x1 <= figures[0].bbox.x1
    ticks = [text.get_text() for text in axes.get_xticklabels() if text.get_text()]
    assert len(ticks) >= 2


def test_equal_errors_and_stddevs_are_drawn_the_same_each_time(tmp_path):
    for name in "ab":
        calibration.draw_calibration(np.ones(3), np.ones(3), "t", path=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("stddev", "error", "message"),
    [
        (np.ones(3), np.ones(2), r"received \(3,\) and \(2,\)"),
        (np.ones((3, 1)), np.ones((3, 1)), r"received \(3, 1\)"),
        (np.array([1.0, 0.0]), np.ones(2), "stddev must be positive: received 0"),
        (np.array([1.0, np.inf]), np.ones(2), "stddev must be finite: 1 of 2"),
        (np.ones(2), np.array([1.0, np.nan]), "error must be finite: 1 of 2"),
        (np.ones(0), np.ones(0), "at least one"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, stddev, error, message):
    with pytest.raises(ValueError, match=message):
        calibration.draw_calibration(stddev, error, "t", path=tmp_path / "a")
    assert not (tmp_path / "a").exists()
