import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex

from kvae.figures import rates, style


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    return kept


def require_inside(figure):
    """No text leaves the figure."""
    figure.draw_without_rendering()
    shown = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        shown += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes._left_title]
        shown += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    for text in shown:
        box = text.get_window_extent()
        if text.get_text() and text.get_visible() and not text.get_clip_on():
            assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
            assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_bars_fall_and_active_ones_have_the_colour(figures):
    values, active = np.array([0.1, 3.0, 0.0, 2.0]), np.array([False, True, False, True])
    rates.draw_rates(values, active, "t", "rate, nats", path="")
    axes = figures[0].axes[0]
    bars, strip = axes.containers
    assert [bar.get_height() for bar in bars] == [3.0, 2.0, 0.1, 0.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "1", "3"]
    for container in (bars, strip):
        coloured = [to_hex(bar.get_facecolor()) == style.SERIES[0] for bar in container]
        assert coloured == [True, True, False, False]
    assert all(bar.get_height() > 0.01 for bar in strip)
    assert max(bar.get_y() + bar.get_height() for bar in strip) < 0
    assert axes.get_title(loc="left") == "2 of 4 latent dimensions active"
    assert axes.get_ylabel() == "rate, nats"
    assert legend_of(figures[0]) == ["active (2)", "inactive (2)"]


@pytest.mark.parametrize("count", [1, 40, 60])
def test_any_number_of_dimensions_is_drawn_the_same_each_time(tmp_path, count):
    values = np.random.default_rng(0).exponential(size=count)
    for name in "ab":
        rates.draw_rates(values, values > 0.5, "t", "share", path=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("count", [1, 40, 512])
def test_no_number_of_dimensions_pushes_text_out(figures, count):
    values = np.linspace(1000, 1e-9, count)
    rates.draw_rates(values, values > 500, "many words " * 20, "rate, $nats$", path="")
    require_inside(figures[0])
    labels = [label.get_window_extent() for label in figures[0].axes[0].get_xticklabels()]
    for left, right in itertools.pairwise(labels):
        assert left.x1 < right.x0


def test_rates_that_are_all_zero_or_below_are_drawn(figures):
    for values in (np.zeros(3), np.array([-0.1, -0.2, -0.3])):
        rates.draw_rates(values, np.zeros(3, bool), "t", "u", path="")
        low, high = figures[-1].axes[0].get_ylim()
        assert low < values.min()
        assert high > 0
        assert legend_of(figures[-1]) == ["inactive (3)"]


@pytest.mark.parametrize(
    ("values", "active", "message"),
    [
        (np.ones((2, 2)), np.ones(2, bool), r"received \(2, 2\)"),
        (np.ones(2), np.ones(3, bool), r"bool \(3,\)"),
        (np.ones(2), np.ones(2), r"float64 \(2,\)"),
        (np.array([1, np.nan]), np.ones(2, bool), "rates must be finite: 1 of 2"),
        (np.ones(0), np.ones(0, bool), "at least one"),
    ],
)
def test_rates_that_cannot_be_drawn_are_refused(tmp_path, values, active, message):
    with pytest.raises(ValueError, match=message):
        rates.draw_rates(values, active, "t", "u", path=tmp_path / "a")
    assert not (tmp_path / "a").exists()


EPOCHS = np.arange(40)
# Distortions in the tens of thousands, rates in the tens, the last epochs close together.
HUGE = {
    "val_rate": 5 + 60 * (1 - np.exp(-EPOCHS / 4)),
    "val_distortion": -20_000 - 30_000 * (1 - np.exp(-EPOCHS / 4)),
}
EVEN = {"val_rate": np.linspace(0, 9, 10), "val_distortion": np.linspace(90, 20, 10)}


def way_of(axes):
    (way,) = (line for line in axes.lines if line.get_color() == style.MUTED)
    return np.stack(way.get_data(), axis=1)


@pytest.mark.parametrize(("history", "panels"), [(HUGE, 2), (EVEN, 1), ({}, 1)])
def test_lines_of_equal_elbo_are_where_rate_and_distortion_sum_to_it(figures, history, panels):
    point = [history[key][-1] for key in history] or (25.0, 61.0)
    rates.draw_rate_distortion({"test": point}, history, "t", path="")
    assert len(figures[0].axes) == panels
    require_inside(figures[0])
    for axes in figures[0].axes:
        equal = [line for line in axes.lines if line.get_color() == rates._EQUAL["color"]]
        sums = [np.add(*line.get_data()) for line in equal]
        assert len(sums) >= 2
        np.testing.assert_allclose(np.ptp(sums, axis=1) / np.mean(sums, axis=1), 0, atol=1e-12)
        words = [text for text in axes.texts if text.get_text().startswith("ELBO")]
        assert words
        width = np.ptp(axes.get_xlim())
        for text in words:
            number = float(text.get_text()[5:].replace(",", "").replace("\N{MINUS SIGN}", "-"))
            rate, on_line = text.get_position()
            right = axes.get_xlim()[1]
            rate = right if rate > right else rate
            assert abs(rate + on_line + number) < 1e-6 * abs(number) + 1e-9 * width


def test_the_way_leads_to_the_point_and_the_end_gets_a_panel_of_its_own(figures):
    end = HUGE["val_rate"][-1], HUGE["val_distortion"][-1]
    rates.draw_rate_distortion({"test": end}, HUGE, "t", path="")
    every, last = figures[0].axes
    np.testing.assert_array_equal(way_of(every), np.stack(list(HUGE.values()), axis=1))
    for axes, first in ((every, 0), (last, 20)):
        shown = way_of(axes)
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        inside = (shown > [left, low]) & (shown < [right, high])
        np.testing.assert_array_equal(inside.all(1), first <= EPOCHS)
    frame = every.patches[0].get_bbox()
    np.testing.assert_allclose([frame.x0, frame.x1], last.get_xlim())
    np.testing.assert_allclose([frame.y0, frame.y1], last.get_ylim())
    assert "last 20 epochs" in last.get_title(loc="left")
    assert legend_of(figures[0]) == ["test", "validation, each epoch", "equal ELBO"]


def test_two_points_have_colours_of_their_own(figures):
    points = {"prior": (9.0, 20.0), "mixture sampler": (7.0, 20.0)}
    rates.draw_rate_distortion(points, EVEN, "t", path="")
    for (name, point), colour in zip(points.items(), style.SERIES, strict=True):
        (drawn,) = (line for line in figures[0].axes[0].lines if line.get_color() == colour)
        assert (drawn.get_xdata()[0], drawn.get_ydata()[0]) == point, name
    rates.draw_rate_distortion({"test": (9.0, 20.0)}, {}, "t", path="")
    assert legend_of(figures[1]) == ["test", "equal ELBO"]


def test_equal_ways_give_equal_bytes(tmp_path):
    for name in "ab":
        rates.draw_rate_distortion({"test": (65.0, -49_990.0)}, HUGE, "t", path=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("points", "history", "message"),
    [
        ({}, EVEN, "one or 2 series"),
        ({"test": (1.0, np.nan)}, EVEN, "the point test must be finite: 1 of 2"),
        ({"test": (1.0, 2.0, 3.0)}, EVEN, r"a point is \(rate, distortion\)"),
        ({"test": (1.0, 2.0)}, {"val_rate": [], "val_distortion": []}, "at least one"),
        ({"test": (1.0, 2.0)}, {"val_rate": [1.0]}, "must have val_rate and val_distortion"),
        ({"test": (1.0, 2.0)}, {"val_rate": [1.0], "val_distortion": []}, "of the same epochs"),
        ({"test": (1.0, 2.0)}, {"val_rate": [1.0], "val_distortion": [np.inf]}, "1 of 2"),
    ],
)
def test_ways_that_cannot_be_drawn_are_refused(tmp_path, points, history, message):
    with pytest.raises(ValueError, match=message):
        rates.draw_rate_distortion(points, history, "t", path=tmp_path / "a")
    assert not (tmp_path / "a").exists()
