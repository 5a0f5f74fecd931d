import numpy as np
import pytest

from kvae.figures import bound, style
from kvae.figures.bound import draw_bound


def point(draws, count, gap, **changes):
    values = {
        "num_draws": draws, "rows": count, "bound_nats": -6 - gap, "bound_nats_stderr": 0.02,
        "gap_nats": gap, "gap_nats_stderr": 0.01 * gap,
    }  # fmt: skip
    values |= changes
    return {key: value for key, value in values.items() if value is not None}


GAPS = ((1, 2000, 0.4), (10, 2000, 0.1), (500, 2000, 0.03), (500, 50, 0.035), (5000, 50, 0.02))
CURVE = [point(*values) for values in GAPS]
NO_GAP = {"gap_nats": None, "gap_nats_stderr": None}


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr(bound.style, "finished", lambda figure, _: kept.append(figure))
    return kept


def curves_of(figure):
    """(draws, heights, errors, hollow) of each curve."""
    found = []
    for container in figure.axes[0].containers:
        line, _, (bars,) = container.lines
        lengths = [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]
        found.append((*line.get_data(), lengths, line.get_markerfacecolor() == "white"))
    return found


def test_the_bound_rises_to_the_truth_at_zero(figures):
    draw_bound({"prior": CURVE[::-1]}, "t", path="")
    few, full = curves_of(figures[0])[::-1]
    np.testing.assert_array_equal(full[0], [1, 10, 500])
    np.testing.assert_allclose(full[1], [-0.4, -0.1, -0.03])
    np.testing.assert_allclose(full[2], [0.004, 0.001, 0.0003])
    np.testing.assert_allclose(few[1], [-0.035, -0.02])
    assert (full[3], few[3]) == (False, True)
    axes = figures[0].axes[0]
    assert axes.get_xscale() == "log"
    assert any(np.all(np.equal(line.get_ydata(), 0)) for line in axes.lines)


def test_points_on_fewer_rows_are_marked_as_such(figures):
    draw_bound({"prior": CURVE, "sampler": CURVE}, "t", path="")
    legend = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert legend == ["prior", "sampler", "on 50 of the rows", "the truth"]
    heads = [text.get_text() for text in figures[0].axes[1].texts if text.get_ha() == "right"]
    assert heads == ["prior", "on 50 rows", "sampler", "on 50 rows"]
    draw_bound({"prior": CURVE[:3]}, "t", path="")
    legend = [text.get_text() for text in figures[1].legends[0].get_texts()]
    assert legend == ["prior", "the truth"]


def test_without_a_truth_the_bound_itself_is_drawn(figures):
    draw_bound({"prior": [point(*values, **NO_GAP) for values in GAPS[:3]]}, "t", path="")
    ((_, heights, errors, _),) = curves_of(figures[0])
    np.testing.assert_allclose(heights, [-6.4, -6.1, -6.03])
    np.testing.assert_allclose(errors, 0.02)
    assert not any(np.all(np.equal(line.get_ydata(), 0)) for line in figures[0].axes[0].lines)


def test_two_models_have_colours_and_numbers_of_their_own(figures):
    draw_bound({"prior": CURVE[:3], "sampler": [point(1, 2000, 0.2)]}, "t", path="")
    table = figures[0].axes[1]
    written = [(text.get_text(), text.get_color()) for text in table.texts]
    minus = "\N{MINUS SIGN}"
    assert written == [
        ("prior", style.SERIES[0]),
        *((f"{minus}{number}", style.SERIES[0]) for number in ("0.4000", "0.1000", "0.0300")),
        ("sampler", style.SERIES[1]),
        (f"{minus}0.2000", style.SERIES[1]),
    ]


def test_ticks_that_would_touch_are_left_out(figures):
    draw_bound({"prior": [point(k, 9, 0.1) for k in (1, 100, 120)]}, "t", path="")
    assert [text.get_text() for text in figures[0].axes[0].get_xticklabels()] == ["120", "1"]
    assert len(curves_of(figures[0])[0][0]) == 3


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in "ab":
        draw_bound({"prior": CURVE}, "t", path=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "every curve needs a point"),
        ([point(1, 9, np.nan)], "a point of prior must be finite: 3 of 6"),
        ([point(1, 9, 0.1, gap_nats_stderr=None)], "points need"),
        ([point(1, 9, 0.1, rows=None)], "points need"),
        ([point(1, 9, 0.1), point(10, 9, 0.1, **NO_GAP)], "all or none of them"),
        ([point(0, 9, 0.1)], "at least 1 draw: received 0"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(tmp_path, points, message):
    with pytest.raises(ValueError, match=message):
        draw_bound({"prior": points}, "t", path=tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
