import numpy as np
import pytest
from grids_testing import distinct, flat, require_legible
from matplotlib.image import imread
from PIL import Image

from kvae.figures import conditions, grids, images, style, traversals

MINUS, SIGMA = "\N{MINUS SIGN}", "\N{GREEK SMALL LETTER SIGMA}"


def boxes(path, colours):
    """`(..., 4)`: top, left, height, width of the block of each colour."""
    code = np.array([1, 256, 65536])
    packed = np.round(255 * imread(path)[..., :3]).astype(np.int32) @ code
    found = []
    for colour in colours.reshape(-1, 3):
        rows, columns = np.nonzero(packed == colour @ code)
        assert len(rows), f"{colour} is nowhere"
        box = rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1
        assert box[2] * box[3] == len(rows), f"{colour} is not one whole block"
        found.append(box)
    return np.reshape(found, (*colours.shape[:-1], 4))


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been written."""
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    return kept


def texts(figure):
    """text -> its box in pixels, as (left, bottom, right, top)."""
    return {text.get_text(): text.get_window_extent().extents for text in figure.texts}


def test_two_sources_stand_side_by_side_each_under_its_name(tmp_path, figures, monkeypatch):
    colours = distinct(2, 20)
    made = dict(zip(("from the prior", "through the flow sampler"), flat(colours, 64), strict=True))
    images.draw_generations(made, "t", path="")
    require_legible(figures[0])
    monkeypatch.undo()
    images.draw_generations(made, "t", path=tmp_path / "a.png")
    place = boxes(tmp_path / "a.png", colours).reshape(2, 4, 5, 4)
    assert (place[..., 2:] == 128).all()
    for block in place:
        assert (block[..., 0] == place[0, :, :1, 0]).all()
        assert (np.diff(block[..., 1], axis=1) == 128 + grids.GAP).all()
    assert (place[1, ..., 1].min() - place[0, ..., 1].max()) > 128 + 5 * grids.GAP
    written = texts(figures[0])
    for name, block in zip(made, place, strict=True):
        assert abs(written[name][0] - block[0, 0, 1]) < 3


def test_sources_of_different_number_are_filled_up_and_of_different_size_refused(tmp_path):
    colours = distinct(8)
    made = flat(colours)
    images.draw_generations({"a": made[:7], "b": made[7:]}, "t", path=tmp_path / "a.png")
    place = boxes(tmp_path / "a.png", colours)
    assert place[7, 0] == place[0, 0]
    assert place[7, 1] > place[:5, 1].max()
    with pytest.raises(ValueError, match="must be of one size"):
        images.draw_generations({"a": made, "b": flat(colours, 8)}, "t", path=tmp_path / "b")
    for wrong in ({}, dict.fromkeys("abc", made)):
        with pytest.raises(ValueError, match="one or 2 series"):
            images.draw_generations(wrong, "t", path=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_neighbours_stand_beside_their_sample_over_their_distance(tmp_path, figures, monkeypatch):
    colours = distinct(4, 6)
    cells, distances = flat(colours), np.arange(1, 21).reshape(4, 5) / 7
    arguments = cells[:, 0], cells[:, 1:], distances, "t"
    images.draw_neighbours(*arguments, path="")
    require_legible(figures[0])
    monkeypatch.undo()
    images.draw_neighbours(*arguments, path=tmp_path / "a.png")
    place = boxes(tmp_path / "a.png", colours)
    assert (np.ptp(place[..., 0], axis=1) == 0).all()
    gaps = np.diff(place[..., 1], axis=1) - 128
    assert (gaps == [grids.WIDE, *[grids.GAP] * 4]).all()
    height = figures[0].bbox.height
    written = texts(figures[0])
    for row, column in np.ndindex(distances.shape):
        left, bottom, right, top = written[f"{distances[row, column]:.3g}"]
        above = place[row, column + 1]
        assert abs((left + right) / 2 - (above[1] + 64)) < 2
        assert 0 <= height - top - (above[0] + 128) < 20
        assert row == 3 or height - bottom < place[row + 1, 0, 0]


def test_the_worst_come_first_with_their_scores(tmp_path, figures, monkeypatch):
    colours = distinct(2, 25)
    scores = np.random.default_rng(0).permutation(25) + 0.25
    arguments = *flat(colours), scores, "t"
    images.draw_worst(*arguments, path="")
    require_legible(figures[0])
    monkeypatch.undo()
    images.draw_worst(*arguments, path=tmp_path / "a.png")
    order = np.argsort(scores)
    place = boxes(tmp_path / "a.png", colours[:, order[:20]])
    reading = place[0, :, 0] * 10_000 + place[0, :, 1]
    assert (np.diff(reading) > 0).all()
    np.testing.assert_array_equal(place[0, :, 1], place[1, :, 1])
    np.testing.assert_array_equal(place[1, :, 0] - place[0, :, 0], 96 + grids.NARROW)
    written = texts(figures[0])
    for rank in range(20):
        left, _, right, top = written[f"{rank + 0.25:.1f} dB"]
        below = figures[0].bbox.height - top - place[1, rank, 0] - 96
        assert abs((left + right) / 2 - (place[1, rank, 1] + 48)) < 2
        assert 0 <= below < 20
    assert "20.2 dB" not in written
    with pytest.raises(AssertionError):
        boxes(tmp_path / "a.png", colours[:1, order[20:21]])


def frames_of(path):
    with Image.open(path) as gif:
        loop, found, durations = gif.info["loop"], [], []
        for index in range(gif.n_frames):
            gif.seek(index)
            found.append(np.asarray(gif.convert("RGB")).astype(int))
            durations.append(gif.info["duration"])
        return found, durations, loop


def test_traversals_are_rows_and_frames_that_run_to_and_fro(tmp_path, figures):
    colours = distinct(3, 5)
    paths = tmp_path / "a.png", tmp_path / "a.gif"
    labels, values = ["z7  4.1 nats", "z0  2.0 nats", "z12  0.1 nats"], np.linspace(-2, 2, 5)
    traversals.draw_traversals(flat(colours), labels, values, "t", path="", gif_path=paths[1])
    require_legible(figures[0])
    heads = [f"{MINUS}2{SIGMA}", f"{MINUS}1{SIGMA}", "0", f"+1{SIGMA}", f"+2{SIGMA}"]
    assert {*labels, *heads} <= set(texts(figures[0]))
    frames, durations, loop = frames_of(paths[1])
    assert loop == 0
    assert durations == [500, 110, 110, 110, 500, 110, 110, 110]
    for index, step in enumerate([0, 1, 2, 3, 4, 3, 2, 1]):
        for row in range(3):
            near = (np.abs(frames[index] - colours[row, step]).max(-1) <= 4).sum()
            assert near >= 128**2, (index, row)


def test_every_step_of_a_traversal_is_in_its_column(tmp_path):
    colours = distinct(3, 5)
    traversals.draw_traversals(
        flat(colours), "abc", range(5), "t", path=tmp_path / "a.png", gif_path=tmp_path / "a.gif"
    )
    place = boxes(tmp_path / "a.png", colours)
    assert (np.diff(place[..., 0], axis=0) == 96 + grids.GAP).all()
    assert (np.diff(place[..., 1], axis=1) == 96 + grids.NARROW).all()


def test_moving_images_of_any_size_stay_small_and_keep_their_colours(tmp_path):
    board = (np.indices((300, 300)).sum(0) // 150 % 2).astype(np.float32)
    rows = np.stack([board, 1 - board])[None, ..., None]
    traversals.draw_traversals(
        rows, ["z"], [-1, 1], "t", path=tmp_path / "a.png", gif_path=tmp_path / "a.gif"
    )
    first, second = frames_of(tmp_path / "a.gif")[0]
    assert max(first.shape) < 600
    changed = (first != second).any(-1)
    # Squares of 150 pixels at half their size; the caption with the value changes too.
    assert changed.sum() >= 150**2
    assert np.isin(first[changed].max(-1), np.r_[:20, 235:256]).mean() > 0.95


def test_attributes_are_blocks_beside_their_originals(tmp_path, figures, monkeypatch):
    colours = distinct(5, 4)
    cells = flat(colours)
    names = ["Smiling", "Smiling", "Smiling", "5_o_Clock_Shadow", "5_o_Clock_Shadow"]
    arguments = cells[:, 1:], "t", names, [-1.5, 0, 1.5], cells[:, 0]
    traversals.draw_attributes(*arguments, path="")
    require_legible(figures[0])
    written = texts(figures[0])
    assert set(written) == {
        "t", "Smiling", "5 o Clock Shadow", "original", f"{MINUS}1.5", "0", "+1.5"
    }  # fmt: skip
    assert len(figures[0].texts) == len(written)
    monkeypatch.undo()
    traversals.draw_attributes(*arguments, path=tmp_path / "a.png")
    place = boxes(tmp_path / "a.png", colours)
    assert (np.diff(place[..., 1], axis=1) - 96 == [grids.WIDE, 2, 2]).all()
    down = np.diff(place[:, 0, 0]) - 96
    assert down.tolist() == [grids.NARROW, grids.NARROW, grids.WIDE, grids.NARROW]
    middle = figures[0].bbox.height - written["Smiling"][[1, 3]].mean()
    assert abs(middle - (place[1, 0, 0] + 48)) < 2


@pytest.mark.parametrize("size", [8, 64, 200])
def test_type_grows_with_images_that_are_larger_than_their_cell(figures, size):
    cells = np.zeros((2, 7, size, size, 1))
    traversals.draw_attributes(cells[:, 1:], "t", ["Male", "Bald"], range(6), cells[:, 0], path="")
    require_legible(figures[0])
    cell = size * max(1, round(96 / size))
    size_of = {text.get_text(): text.get_fontsize() for text in figures[0].texts}
    assert size_of["Male"] == pytest.approx(style.LABEL_SIZE * max(1, cell / 128))


def test_long_words_make_room_for_themselves(figures, tmp_path):
    cells = np.zeros((2, 3, 8, 8, 1))
    names = ["a $very long name$ that goes on and on", "b"]
    traversals.draw_attributes(
        cells[:, 1:], "many words " * 20, names, [1, 2], cells[:, 0], path=""
    )
    require_legible(figures[0])
    near = np.zeros((2, 5, 8, 8, 1))
    images.draw_neighbours(
        cells[:, 0], near, np.full((2, 5), 1.23e-300), "many words " * 20, path=""
    )
    require_legible(figures[1])
    monkey = np.zeros((1, 2, 8, 8, 1))
    traversals.draw_traversals(monkey, ["z" * 60], [0, 1], "t", path="", gif_path=tmp_path / "a")
    require_legible(figures[2])


def test_equal_input_gives_equal_bytes(tmp_path):
    cells = np.random.default_rng(0).random((4, 6, 8, 8, 3))
    for name in "ab":
        place = tmp_path / name
        place.mkdir()
        images.draw_generations({"a": cells[0], "b": cells[1]}, "t", path=place / "generation")
        images.draw_neighbours(cells[:, 0], cells[:, 1:], np.ones((4, 5)), "t", path=place / "near")
        images.draw_worst(cells[0], cells[1], np.ones(6), "t", path=place / "worst")
        traversals.draw_traversals(
            cells, "abcd", range(6), "t", path=place / "png", gif_path=place / "gif"
        )
        traversals.draw_attributes(
            cells[:, 1:], "t", "abcd", range(5), cells[:, 0], path=place / "attributes"
        )
    written = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(written) == 6
    for name in written:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


CELLS, SCORES = np.zeros((2, 5, 8, 8, 1)), np.ones((2, 5))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda path: images.draw_neighbours(CELLS[:, 0], CELLS[:, 1:], SCORES, ""),
         r"have neighbours \(2, 5, 8, 8, 1\)"),
        (lambda path: images.draw_neighbours(CELLS[:, 0], CELLS, np.ones(2), ""),
         r"received \(2, 5, 8, 8, 1\) and \(2,\)"),
        (lambda path: images.draw_neighbours(CELLS[:, 0], CELLS, np.full((2, 5), np.inf), ""),
         "distances must be finite: 10 of 10"),
        (lambda path: images.draw_neighbours(CELLS[:, 0], CELLS + np.nan, SCORES, ""),
         "neighbours must be finite"),
        (lambda path: images.draw_worst(CELLS[0], CELLS[0], np.ones(4), ""),
         r"one for each of 5 images: received \(4,\)"),
        (lambda path: images.draw_worst(CELLS[0], CELLS[0, 1:], np.ones(5), ""),
         "shapes must be equal"),
        (lambda path: images.draw_worst(CELLS[0], CELLS[0], np.full(5, np.nan), ""),
         "scores_db must be finite: 5 of 5"),
        (lambda path: traversals.draw_traversals(CELLS, "a", range(5), ""),
         "2 rows have a label each"),
        (lambda path: traversals.draw_traversals(CELLS, "ab", range(4), ""),
         "values must be 5 rising numbers"),
        (lambda path: traversals.draw_traversals(CELLS, "ab", [0, 1, 1, 2, 3], ""),
         "values must be 5 rising numbers"),
        (lambda path: traversals.draw_traversals(CELLS[0], "ab", range(5), ""),
         r"received \(5, 8, 8, 1\)"),
        (lambda path: traversals.draw_attributes(CELLS, "", "a", range(5), CELLS[:, 0]),
         "have a name and an original each"),
        (lambda path: traversals.draw_attributes(CELLS, "", "ab", range(5), CELLS[:1, 0]),
         r"and \(1, 8, 8, 1\)"),
        (lambda path: traversals.draw_attributes(
            CELLS, "", "ab", [np.nan] * 5, CELLS[:, 0]),
         "strengths must be finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(tmp_path, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_condition_is_a_row_with_its_name(tmp_path, figures, monkeypatch):
    colours = distinct(3, 4)
    names = ["none", "Wearing_Hat", "class=3"]
    conditions.draw_conditions(flat(colours), names, "t", path="")
    require_legible(figures[0])
    written = texts(figures[0])
    assert set(written) == {"t", "none", "Wearing Hat", "class=3"}
    monkeypatch.undo()
    conditions.draw_conditions(flat(colours), names, "t", path=tmp_path / "a.png")
    place = boxes(tmp_path / "a.png", colours)
    middle = figures[0].bbox.height - written["Wearing Hat"][[1, 3]].mean()
    assert abs(middle - (place[1, 0, 0] + 48)) < 2
    with pytest.raises(ValueError, match="3 rows have a name each"):
        conditions.draw_conditions(flat(colours), names[:2], "t", path=tmp_path / "b.png")
