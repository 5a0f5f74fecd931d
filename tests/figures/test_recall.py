import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from kvae.figures import recall, style
from kvae.figures.recall import draw_recall

WEIGHTS = np.array([0.1, 0.6, 0.05, 0.25])
ORDER = [1, 3, 0, 2]
SHARES = {"prior": np.array([0.11, 0.62, 0.02, 0.25]), "sampler": np.array([0.1, 0.4, 0.25, 0.25])}
CAPTURED = {
    "prior": np.array([True, True, False, True]),
    "sampler": np.array([True, False, False, True]),
}


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr(recall.style, "finished", lambda figure, _: kept.append(figure))
    return kept


def test_the_bars_are_the_shares_the_largest_weight_first(figures):
    draw_recall(WEIGHTS, SHARES, CAPTURED, "t", path="")
    upper, lower = figures[0].axes
    for index, name in enumerate(SHARES):
        heights = [bar.get_height() for bar in upper.containers[index]]
        np.testing.assert_allclose(heights, SHARES[name][ORDER])
        ratios = [bar.get_height() for bar in lower.containers[index]]
        np.testing.assert_allclose(ratios, (SHARES[name] / WEIGHTS)[ORDER])
        colours = {bar.get_facecolor()[:3] for bar in upper.containers[index]}
        assert colours == {to_rgb(style.SERIES[index])}
    assert [label.get_text() for label in lower.get_xticklabels()] == ["1", "3", "0", "2"]


def test_the_bands_are_twenty_percent_around_the_weights(figures):
    draw_recall(WEIGHTS, {"prior": WEIGHTS}, {"prior": WEIGHTS > 0}, "t", path="")
    upper, lower = figures[0].axes
    for axes, weights in ((upper, WEIGHTS[ORDER]), (lower, np.ones(4))):
        bars = set(axes.containers[0])
        bands = [p for p in axes.patches if isinstance(p, Rectangle) and p not in bars]
        ends = np.array([[band.get_y(), band.get_y() + band.get_height()] for band in bands])
        np.testing.assert_allclose(ends, np.stack([0.8 * weights, 1.2 * weights], axis=1))
        (lines,) = axes.collections
        np.testing.assert_allclose([s[0, 1] for s in lines.get_segments()], weights)


def test_crosses_are_under_what_was_not_captured(figures):
    draw_recall(WEIGHTS, SHARES, CAPTURED, "t", path="")
    upper, lower = figures[0].axes
    for index, name in enumerate(SHARES):
        middles = [bar.get_x() + bar.get_width() / 2 for bar in lower.containers[index]]
        missed = ~CAPTURED[name][ORDER]
        np.testing.assert_allclose(lower.lines[index].get_xdata(), np.array(middles)[missed])
    assert upper.get_title(loc="left") == "captured: prior 3 of 4, sampler 2 of 4"


def test_a_ratio_beyond_the_frame_is_written_there(figures):
    draw_recall(WEIGHTS, SHARES, CAPTURED, "t", path="")
    assert [text.get_text() for text in figures[0].axes[1].texts] == ["5"]


@pytest.mark.parametrize("count", [1, 3, 10, 50])
def test_equal_input_gives_equal_bytes_for_any_number_of_components(tmp_path, count):
    weights = np.random.default_rng(count).dirichlet(np.full(count, 4.0))
    for name in "ab":
        shares, captured = {"prior": weights}, {"prior": weights > 0}
        draw_recall(weights, shares, captured, "t", path=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("weights", "share", "captured", "message"),
    [
        ([0.5, 0.5], [0.5, np.nan], [True, True], "shares of prior must be finite: 1 of 2"),
        ([0.5, 0.5], [0.5, 1.5], [True, True], "from 0 to 1: received 0.5 to 1.5"),
        ([0.5, 0.5], [0.5], [True, True], r"must be \(2,\): received \(1,\) and \(2,\)"),
        ([0.5, 0.5], [0.5, 0.5], [True], r"must be \(2,\): received \(2,\) and \(1,\)"),
        ([0.5, 0.0], [0.5, 0.5], [True, True], "1 to 50 positive numbers"),
        ([1 / 51] * 51, [1 / 51] * 51, [True] * 51, "1 to 50 positive numbers"),
    ],
)
def test_shares_that_cannot_be_drawn_are_refused(tmp_path, weights, share, captured, message):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match=message):
        draw_recall(weights, {"prior": share}, {"prior": captured}, "t", path=path)
    with pytest.raises(ValueError, match="captured is of"):
        draw_recall(WEIGHTS, SHARES, {"prior": CAPTURED["prior"]}, "t", path=path)
    assert not path.exists()
