from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from sklearn.neighbors import KNeighborsClassifier

from kvae.figures import images, latent, style, traversals, vectors
from kvae.figures.panels import view_of


def rng(seed=0):
    return np.random.default_rng(seed)


def read(path):
    """RGB bytes `(height, width, 3)` of a PNG."""
    return np.round(255 * imread(path)[..., :3]).astype(np.uint8)


def count_of(picture, colour):
    """How many pixels have exactly this colour, fractions or bytes."""
    return (picture == colour).all(-1).sum()


def coloured(colours, size):
    """Flat images `(len(colours), size, size, 3)`, one of each colour in bytes."""
    colours = np.array(colours, np.float32) / 255
    return np.tile(colours[:, None, None], (1, size, size, 1))


def distinct(count):
    return [(10 + 5 * index, 250 - 3 * index, 77) for index in range(count)]


@pytest.mark.parametrize(("size", "scale"), [(8, 20), (28, 6), (64, 2), (200, 1)])
def test_generated_images_appear_pixel_by_pixel_twenty_at_most(tmp_path, size, scale):
    colours = distinct(24)
    images.draw_generations({"s": coloured(colours, size)}, "t", path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    for colour in colours[:20]:
        assert count_of(picture, colour) == (size * scale) ** 2
    for colour in colours[20:]:
        assert count_of(picture, colour) == 0


def test_a_checkerboard_stays_sharp(tmp_path):
    board = (np.indices((8, 8)).sum(0) % 2).astype(np.float32)
    board = np.where(board[..., None] > 0, [1, 0, 0], [0, 0, 1]).astype(np.float32)
    images.draw_generations({"s": board[None]}, "t", path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    rows, columns = np.nonzero((picture == (255, 0, 0)).all(-1))
    assert len(rows) == 32 * 20**2
    cut = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_array_equal(cut, np.round(255 * board).repeat(20, 0).repeat(20, 1))


def test_grey_images_are_grey_and_what_is_outside_is_clipped(tmp_path):
    levels = np.array([-0.5, 0.4, 2.0], np.float32).reshape(3, 1, 1, 1)
    images.draw_generations({"s": np.tile(levels, (1, 16, 16, 1))}, "t", path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    assert count_of(picture, (0, 0, 0)) >= 160**2
    assert count_of(picture, (102, 102, 102)) >= 160**2


def test_a_white_image_is_a_bright_panel_and_a_black_one_a_dark_panel(tmp_path):
    for name, level in (("white", 1.0), ("black", 0.0)):
        images.draw_generations({"s": np.full((20, 64, 64, 3), level)}, "t", path=tmp_path / name)
    assert read(tmp_path / "white").mean() > 245
    assert read(tmp_path / "black").mean() < 80


def corners_of(picture, colours):
    """The top left corner of each colour, as (row, column)."""
    code = np.array([1, 256, 65536])
    packed = picture @ code
    return [
        divmod(int(np.argmax(packed == np.array(colour) @ code)), packed.shape[1])
        for colour in colours
    ]


def test_every_reconstruction_is_right_under_its_original(tmp_path):
    colours = distinct(46)
    reconstructed = [(red, green, 200) for red, green, _ in colours]
    images.draw_reconstruction(
        coloured(colours, 16), coloured(reconstructed, 16), "t", path=tmp_path / "a.png"
    )
    picture = read(tmp_path / "a.png")
    corners = corners_of(picture, colours[:40])
    copies = corners_of(picture, reconstructed[:40])
    for (row, column), (below, same) in zip(corners, copies, strict=True):
        assert same == column
        assert 96 <= below - row < 96 + 8
    assert corners == sorted(corners)
    assert len({row for row, _ in corners}) == 4
    assert len({column for _, column in corners}) == 10
    assert count_of(picture, colours[40]) == 0


def test_interpolations_run_to_the_right_between_their_originals(tmp_path):
    colours = distinct(40)
    cells = coloured(colours, 8).reshape(4, 10, 8, 8, 3)
    images.draw_interpolation(
        cells[:, 1:9], "t", originals=cells[:, [0, 9]], path=tmp_path / "a.png"
    )
    picture = read(tmp_path / "a.png")
    corners = corners_of(picture, colours)
    assert corners == sorted(corners)
    columns = np.diff([column for _, column in corners[:10]])
    # The originals stand apart from the steps, which touch but for a hair.
    assert min(columns[0], columns[-1]) > max(columns[1:-1]) + 8

    images.draw_interpolation(cells[:, 1:9], "t", path=tmp_path / "b.png")
    assert count_of(read(tmp_path / "b.png"), colours[1]) == 96**2
    assert count_of(read(tmp_path / "b.png"), colours[0]) == 0


def test_no_line_of_a_title_or_caption_holds_a_word_alone():
    words = "2,000 of 10,000 points; t-SNE, perplexity 30: near means alike, far means little; "
    words += "seed 0"
    title = style.wrapped(f"gmm version 1: {words}", 8.0).split("\n")
    axes = style.new_figure(13.0, 7.2, "t").subplots(1, 2)[0]
    style.caption(axes, words)
    caption = axes.get_title(loc="left").split("\n")
    for lines in (title, caption):
        assert len(lines) == 2 and min(map(len, lines)) > 0.8 * max(map(len, lines))
    whole = "a" * 90  # as long as a line may be
    assert style.wrapped(f"{whole} b", 90 * 0.67 * style.TITLE_SIZE / 72 + 0.01) == f"{whole}\nb"


def test_a_long_title_makes_room_for_itself(tmp_path):
    for name, title in (("short", "t"), ("long", "many words " * 20)):
        images.draw_generations({"s": np.zeros((20, 8, 8, 1))}, title, path=tmp_path / name)
    short, long = read(tmp_path / "short"), read(tmp_path / "long")
    assert short.shape[1] == long.shape[1]
    assert long.shape[0] > short.shape[0] + 50
    assert count_of(long, (0, 0, 0)) == count_of(short, (0, 0, 0)) == 20 * 160**2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((2, 8, 8, 1), np.nan), "finite: 128 of 128"),
        (np.zeros((2, 8, 8)), r"received \(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 4)), "1 or 3 channels"),
        (np.zeros((2, 8, 8, 1), np.uint8), r"floats in \[0, 1\]: received uint8"),
        (np.zeros((0, 8, 8, 1)), "at least one"),
    ],
)
def test_images_that_cannot_be_drawn_are_refused(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        images.draw_generations({"s": bad}, "t", path=tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        images.draw_reconstruction(bad, bad, "t", path=tmp_path / "a.png")
    with pytest.raises(ValueError):
        images.draw_interpolation(bad[:, None], "t", path=tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def blobs(count, dim, num_groups=3):
    """Well separated groups around the corners of a simplex, or along a line."""
    groups = np.arange(count) % num_groups
    centres = 20 * np.eye(num_groups, dim) if dim > 1 else 20.0 * np.arange(num_groups)[:, None]
    return centres[groups] + rng().normal(size=(count, dim)), groups


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_true_and_generated_clouds_are_drawn_side_by_side_in_their_colours(tmp_path, dim):
    x, groups = blobs(300, dim)
    only = groups == 2
    vectors.draw_generation(x, groups, x[only], groups[only], "t", path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png").astype(int)
    # Three or more dimensions: true above generated; otherwise left and right.
    axis = 0 if dim >= 3 else 1
    legend = int(0.9 * len(picture))
    true, generated = np.array_split(picture[:legend], 2, axis=axis)
    for half, missing in ((true, ()), (generated, (0, 1))):
        for group in range(3):
            colour = 255 * np.array(to_rgb(style.COLOURS[group]))
            near = (np.abs(half - colour).max(-1) < 20).sum()
            assert (near == 0) if group in missing else (near > 30), (group, near)


def test_both_sides_are_drawn_alike(tmp_path):
    x, groups = blobs(300, 2)
    vectors.draw_generation(x, groups, x, groups, "t", path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")[200:600]  # between the captions and the legend
    # The same points within the same limits: the right half repeats the left one.
    half = picture.shape[1] // 2
    np.testing.assert_array_equal(picture[:, 140:700], picture[:, 140 + half : 700 + half])


def test_a_view_holds_the_data_and_is_not_spoilt_by_a_few_points_gone_astray():
    x = rng().uniform(-1, 1, (5000, 2))
    astray = np.concatenate([x, [[1e6, -1e6]]])
    view = view_of(x, astray)
    assert view.inside(view.project(x)).all()
    assert np.abs(view.limits).max() < 1.1
    assert np.count_nonzero(~view.inside(view.project(astray))) == 1


def test_a_view_shows_data_in_the_wrong_place_up_to_half_the_width():
    x = rng().uniform(0, 1, (5000, 1))
    near, far = view_of(x, x + 0.4).limits[0], view_of(x, x + 10).limits[0]
    assert 1.35 < near[1] < 1.45
    assert 1.5 <= far[1] < 1.55
    assert -0.05 < near[0] <= 0


def test_many_dimensions_are_seen_along_their_principal_axes():
    spread = np.array([0.1, 5.0, 0.1, 3.0, 0.2, 1.0])
    x = spread * rng().normal(size=(4000, 6)) + 100
    view = view_of(x, x)
    np.testing.assert_allclose(np.abs(view.axes[[1, 3, 5], [0, 1, 2]]), 1, atol=0.01)
    np.testing.assert_allclose(view.project(x).std(0), [5, 3, 1], rtol=0.05)
    shares = x.var(0)[[1, 3, 5]] / x.var(0).sum()
    assert view.labels == tuple(f"principal axis {i + 1} ({shares[i]:.0%})" for i in range(3))
    assert "variance" in view.note
    assert view_of(x[:, :3], x[:, :3]).note == ""


def test_reconstructions_lie_on_the_diagonal_when_they_are_exact(tmp_path):
    x, groups = blobs(500, 1)
    pixels = {}
    for name, reconstruction in (("exact", x), ("lost", np.full_like(x, x.mean()))):
        vectors.draw_reconstruction(x, reconstruction, groups, "t", path=tmp_path / name)
        picture = read(tmp_path / name).astype(int)[: int(0.85 * 720)]
        colour = 255 * np.array(to_rgb(style.COLOURS[0]))
        rows, _ = np.nonzero(np.abs(picture - colour).max(-1) < 20)
        pixels[name] = rows
    # The first group is the lowest third of the data: exactly made it is at the bottom, and when
    # only the mean is made it is drawn half way up.
    assert np.ptp(pixels["lost"]) < 0.5 * np.ptp(pixels["exact"])
    assert pixels["lost"].mean() < pixels["exact"].mean() - 100


def test_reconstructions_of_a_table_are_told_by_the_names_of_its_columns():
    x, groups = blobs(50, 2)
    again = x + np.array([3000, 0.5])
    figure = vectors.draw_reconstruction(x, again, groups, "t", names=["cost_$", "b"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [r"cost_\$: root mean squared error 3,000", "b: root mean squared error 0.5"]
    figure = vectors.draw_reconstruction(x, x, groups, "t")
    assert figure.axes[1].get_title(loc="left").startswith("dimension 2: ")


@pytest.mark.parametrize("dim", [2, 5])
def test_every_way_has_a_colour_of_its_own_over_grey_data(tmp_path, dim):
    x, _ = blobs(300, dim)
    fraction = np.linspace(0, 1, 9)[:, None]
    ends = np.stack([x[:3], x[3:6][::-1]], axis=1)
    ways = ends[:, :1] * (1 - fraction) + ends[:, 1:] * fraction
    for name, paths in (("moving", ways), ("still", np.repeat(ways[:, :1], 9, axis=1))):
        vectors.draw_interpolation(paths, x, "t", path=tmp_path / name)
    for colour in vectors._WAY_COLOURS[:3]:
        wanted = np.round(255 * np.array(to_rgb(colour))).astype(np.uint8)
        moving, still = (count_of(read(tmp_path / name), wanted) for name in ("moving", "still"))
        assert moving > still + 300
    assert len(set(vectors._WAY_COLOURS)) == vectors.MAX_PATHS


def test_an_interpolation_of_one_dimension_climbs_with_its_fraction(tmp_path):
    x, _ = blobs(300, 1)
    way = np.linspace(0, 40, 9)[None, :, None]
    vectors.draw_interpolation(way, x, "t", path=tmp_path / "a.png")
    picture = read(tmp_path / "a.png")[100:-200]
    colour = np.round(255 * np.array(to_rgb(vectors._WAY_COLOURS[0]))).astype(np.uint8)
    rows, columns = np.nonzero((picture == colour).all(-1))
    assert np.corrcoef(rows, columns)[0, 1] < -0.99


def test_fifty_components_differ_in_colour_or_marker_and_more_are_refused(tmp_path):
    handles = style.group_handles(np.arange(50))
    assert len({(handle.get_color(), handle.get_marker()) for handle in handles}) == 50
    x = rng().normal(size=(51, 2))
    with pytest.raises(ValueError, match="from 0 to 49: received int64 from 0 to 50"):
        vectors.draw_generation(x, np.arange(51), x, np.arange(51), "t", path=tmp_path / "a.png")


@pytest.mark.parametrize(
    ("x", "component", "message"),
    [
        (np.full((3, 2), np.inf), np.zeros(3, int), "finite: 6 of 6"),
        (np.zeros((3, 2)), np.zeros(2, int), r"\(3, 2\) and components \(2,\)"),
        (np.zeros((3, 2)), np.zeros(3), "whole numbers"),
        (np.zeros((3, 2)), np.array([0, -1, 0]), "received int64 from -1 to 0"),
        (np.zeros((0, 2)), np.zeros(0, int), "at least one"),
    ],
)
def test_vectors_that_cannot_be_drawn_are_refused(tmp_path, x, component, message):
    good = np.zeros((3, 2)), np.zeros(3, int)
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match=message):
        vectors.draw_generation(*good, x, component, "t", path=path)
    with pytest.raises(ValueError, match=message):
        vectors.draw_reconstruction(x, x, component, "t", path=path)
    assert not path.exists()


def test_vectors_of_different_widths_and_broken_paths_are_refused(tmp_path):
    x, groups = blobs(9, 2)
    with pytest.raises(ValueError, match="same dimensions"):
        vectors.draw_generation(x, groups, x[:, :1], groups, "t")
    with pytest.raises(ValueError, match="same dimensions"):
        vectors.draw_reconstruction(x, x[:, :1], groups, "t")
    with pytest.raises(ValueError, match="same dimensions"):
        vectors.draw_interpolation(np.zeros((1, 2, 3)), x, "t")
    with pytest.raises(ValueError, match="background_x must be finite"):
        vectors.draw_interpolation(np.zeros((1, 2, 2)), np.full((9, 2), np.nan), "t")
    with pytest.raises(ValueError, match="paths must be finite"):
        vectors.draw_interpolation(np.full((1, 2, 2), np.nan), x, "t")


def test_a_figure_is_returned_and_written_on_request_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, groups = blobs(20, 2)
    figure = vectors.draw_generation(x, groups, x, groups, "t")
    rows = np.zeros((2, 3, 8, 8, 1), np.float32)
    traversals.draw_traversals(rows, "ab", [-1, 0, 1], "t")
    assert isinstance(figure, Figure)
    assert not [*tmp_path.iterdir()]
    vectors.draw_generation(x, groups, x, groups, "t", path="a.png")
    figure.savefig("b.png", metadata={"Software": None})
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_tsne_keeps_separated_groups_separated_and_repeats_itself(tmp_path):
    x, groups = blobs(150, 5)
    latent.draw_tsne(x, groups, "group", "t", seed=3, path=tmp_path / "a.png")
    latent.draw_tsne(x, groups, "group", "t", seed=3, path=tmp_path / "b.png")
    first = latent.coordinates(x, 3)[0]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    nearest = KNeighborsClassifier(5).fit(first[:100], groups[:100])
    assert nearest.score(first[100:], groups[100:]) == 1


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_tsne_bears_latents_of_any_scale(tmp_path, scale):
    x, groups = blobs(60, 3)
    points = latent.coordinates(scale * x, 0)[0]
    assert KNeighborsClassifier(3).fit(points, groups).score(points, groups) == 1


def test_a_collapsed_posterior_still_gets_its_map(tmp_path):
    latent.draw_tsne(np.ones((40, 4)), np.arange(40) % 2, "g", "t", seed=0)
    assert np.isfinite(latent.coordinates(np.ones((40, 4)), 0)[0]).all()


def test_one_latent_dimension_is_drawn_as_it_is(tmp_path):
    x, groups = blobs(40, 1)
    drawn = latent.draw_tsne(x, groups, "group", "t", seed=0).axes[0].collections
    places = np.concatenate([part.get_offsets()[:, 0] for part in drawn])
    np.testing.assert_array_equal(np.sort(places), np.sort(x[:, 0]))


def test_of_many_rows_the_same_2000_are_drawn_in_their_order(tmp_path):
    x = rng().normal(size=(4000, 1))
    rows = latent.shown_rows(4000, 7)
    drawn = latent.draw_tsne(x, x[:, 0], "value", "t", seed=7).axes[0].collections[0]
    np.testing.assert_array_equal(np.sort(drawn.get_offsets()[:, 0]), np.sort(x[rows, 0]))
    assert len(np.unique(rows)) == 2000
    assert (np.diff(rows) > 0).all()
    assert (rows != latent.shown_rows(4000, 8)).any()


@pytest.mark.parametrize("rare", [True, False])
def test_the_rarer_of_two_values_is_drawn_on_top(tmp_path, rare):
    # All on one line, so dense that either value alone would cover it.
    labels = np.arange(2000) % 5 < 3
    latent.draw_tsne(
        np.zeros((2000, 1)), labels != rare, "flag", "t", seed=0, path=tmp_path / "a.png"
    )
    picture = read(tmp_path / "a.png").astype(int)[150 : int(0.88 * 1110)]
    seen = {
        value: (np.abs(picture - 255 * np.array(to_rgb(style.COLOURS[index]))).max(-1) < 30).sum()
        for value, index in ((True, 5), (False, 0))
    }
    assert seen[rare] > 3 * max(seen[not rare], 1)


def test_numbers_get_a_colour_bar_and_classes_a_legend(tmp_path):
    x = np.linspace(0, 1, 60)[:, None]
    latent.draw_tsne(x, x[:, 0], "value", "t", seed=0, path=tmp_path / "floats")
    latent.draw_tsne(x, np.arange(60), "value", "t", seed=0, path=tmp_path / "many")
    latent.draw_tsne(x, np.arange(60) % 7, "value", "t", seed=0, path=tmp_path / "few")
    # The yellow end of the colour bar is a block of the map's last colour.
    yellow = np.array([253, 231, 37])
    ends = {name: count_of(read(tmp_path / name), yellow) for name in ("floats", "many", "few")}
    assert ends["floats"] > 30
    assert ends["many"] > 30
    assert ends["few"] == 0


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_classes_have_their_names_and_the_perplexity_few_digits(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    x, groups = blobs(14, 2)
    names = ["cost $x^{$", "_b", "a name that goes on and on and on"]
    latent.draw_tsne(x, groups, "kind", "of $5 or $6", seed=0, class_names=names, path="")
    title, axes = kept[0]._suptitle.get_text(), kept[0].axes[0]
    assert title == r"of \$5 or \$6"
    assert "perplexity 4.3:" in axes.get_title(loc="left")
    shown = [r"cost \$x^{\$", "_b", "a name that goes on and\N{HORIZONTAL ELLIPSIS}"]
    assert legend_of(kept[0]) == shown
    assert {text.get_text() for text in axes.texts} == set(shown)
    with pytest.raises(ValueError, match="below 2, the number of class names: received 0 to 2"):
        latent.draw_tsne(x, groups, "kind", "t", seed=0, class_names=names[:2], path="")


def test_the_points_of_rare_classes_are_drawn_last(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    groups = np.array([1, 0, 0, 0, 1, 2, 0])
    x = np.arange(7.0)[:, None]
    latent.draw_tsne(x, groups, "kind", "t", seed=0, path="")
    drawn = kept[0].axes[0].collections[0].get_offsets()[:, 0]
    np.testing.assert_array_equal(groups[drawn.astype(int)], [0, 0, 0, 0, 1, 1, 2])


def drawn_in(axes):
    return np.concatenate([part.get_offsets() for part in axes.collections])


@pytest.mark.parametrize("labels", ["groups", "flags", "numbers"])
def test_beside_the_map_are_the_principal_axes_in_the_same_colours(labels):
    spread = np.array([0.1, 5.0, 0.2, 3.0])
    x = 100 + spread * rng().normal(size=(80, 4))
    label = {"groups": np.arange(80) % 3, "flags": x[:, 0] > 100, "numbers": x[:, 1]}[labels]
    points = latent.coordinates(x, 0)[0]
    left, right = latent.draw_tsne(x, label, "kind", "t", seed=0).axes[:2]
    colours = [
        np.concatenate([part.get_facecolors() for part in axes.collections])
        for axes in (left, right)
    ]
    np.testing.assert_array_equal(*colours)
    seen, straight = drawn_in(left), drawn_in(right)
    rows = [np.abs(points - place).sum(1).argmin() for place in seen]
    np.testing.assert_array_equal(np.sort(rows), np.arange(80))
    if labels == "groups":
        named = [to_rgb(style.COLOURS[group]) for group in label[rows]]
        np.testing.assert_allclose(colours[0][:, :3], named)
    # The two widest dimensions, but for a small turn; t-SNE's rows and these are the same rows.
    centred = (x - x.mean(0))[rows][:, [1, 3]]
    for axis in range(2):
        assert np.corrcoef(straight[:, axis], centred[:, axis])[0, 1] > 0.97
    np.testing.assert_allclose(straight.mean(0), 0, atol=1e-9)
    shares = np.linalg.eigvalsh(np.cov(x.T))[:1:-1] / np.trace(np.cov(x.T))
    assert right.get_xlabel() == f"principal axis 1 ({shares[0]:.0%})"
    assert right.get_ylabel() == f"principal axis 2 ({shares[1]:.0%})"
    assert len(left.figure.legends) == (labels != "numbers")


def test_principal_axes_point_the_way_of_their_largest_part(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    monkeypatch.setattr(latent, "coordinates", lambda latents, _: (latents[:, :2], ""))
    for seed in range(8):
        x = np.array([1.0, 9.0, 4.0]) * rng(seed).normal(size=(50, 3))
        latent.draw_tsne(x, np.zeros(50), "", "t", seed=0, path="")
        for axis, dim in enumerate((1, 2)):
            assert np.corrcoef(drawn_in(kept[-1].axes[1])[:, axis], x[:, dim])[0, 1] > 0.9


def test_two_latent_dimensions_are_shown_as_they_are_beside_their_map(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    x, _ = blobs(30, 2)
    latent.draw_tsne(x, np.zeros(30, int), "", "t", seed=0, path="")
    left, right = kept[0].axes
    np.testing.assert_array_equal(drawn_in(right), x)
    assert "t-SNE" in left.get_title(loc="left")
    assert right.get_xlabel() == "dimension 1"


def test_labels_without_a_name_say_nothing(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    latent.draw_tsne(np.arange(9.0)[:, None], np.arange(9), "", "t", seed=0, path="")
    assert kept[0].legends == []
    assert len(kept[0].axes[0].collections[0].get_facecolors()) == 9
    assert len(np.unique(kept[0].axes[0].collections[0].get_facecolors(), axis=0)) == 1


def test_one_component_alone_needs_no_legend(monkeypatch):
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    x, groups = blobs(30, 2)
    for own in (groups, 0 * groups):
        vectors.draw_generation(x, own, x, own, "t", path="")
    assert legend_of(kept[0]) == ["0", "1", "2"]
    assert kept[1].legends == []


def test_latents_that_cannot_be_drawn_are_refused(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="latents must be finite: 1 of 12"):
        latent.draw_tsne(
            np.array([[0, 0]] * 5 + [[0, np.nan]]), np.zeros(6), "g", "t", seed=0, path=path
        )
    with pytest.raises(ValueError, match="labels must be finite"):
        latent.draw_tsne(np.zeros((5, 2)), np.full(5, np.nan), "g", "t", seed=0)
    with pytest.raises(ValueError, match=r"\(4, 2\) and labels \(4,\)"):
        latent.draw_tsne(np.zeros((4, 2)), np.zeros(4), "g", "t", seed=0)
    assert not path.exists()
