"""Figures for print: as wide as a column, in type that can be read, selected and searched."""

import base64
import io
import re

import numpy as np
import pytest
from grids_testing import distinct, flat, require_legible
from PIL import Image

from kvae.data.gmm import random_mixture
from kvae.figures import conditions, density, images, latent, rates, style, traversals, vectors
from kvae.figures.slices import slices_of

MILLIMETRES = 25.4 / 72  # a point
WIDTH, HEIGHT = 160, 230


def cells(*shape):
    return np.random.default_rng(0).random((*shape, 16, 16, 3))


def _density(path):
    mixture = random_mixture(4, 3, 5.0, 0)
    slices = slices_of(mixture)
    truth = [mixture.log_prob(one.points()) for one in slices]
    density.draw_density(slices, truth, {"prior": truth, "flow sampler": truth}, "t", path=path)


def _map(path):
    groups = np.arange(90) % 3
    x = np.random.default_rng(0).normal(size=(90, 2)) + 9 * np.eye(3)[groups][:, :2]
    latent.draw_tsne(
        x, groups, "kind", "a map", seed=0, class_names=["oak", "beech", "elm"], path=path
    )


def _solid(path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    vectors.draw_generation(x, np.arange(60) % 5, x, np.arange(60) % 5, "points", path=path)


DRAWN = {
    "generation": lambda path: images.draw_generations(
        {"from the prior": cells(20), "through the flow sampler": cells(20)}, "t", path=path
    ),
    "reconstruction": lambda path: images.draw_reconstruction(cells(40), cells(40), "t", path=path),
    "worst": lambda path: images.draw_worst(
        cells(20), cells(20), np.linspace(8, 30, 20), "many words " * 20, path=path
    ),
    "interpolation": lambda path: images.draw_interpolation(
        cells(6, 10), "t", cells(6, 2), path=path
    ),
    "neighbours": lambda path: images.draw_neighbours(
        cells(6), cells(6, 5), np.full((6, 5), 1.23e-300), "t", path=path
    ),
    "traversals": lambda path: traversals.draw_traversals(
        cells(12, 9), [f"z{dim}  4.1 nats" for dim in range(12)], np.linspace(-3, 3, 9), "t",
        path=path,
    ),
    "attributes": lambda path: traversals.draw_attributes(
        cells(8, 5), "t", ["a name that goes on and on 90%"] * 8, [-2, -1, 0, 1, 2], cells(8),
        path=path,
    ),
    "conditions": lambda path: conditions.draw_conditions(
        cells(41, 8), ["class"] * 41, "t", path=path
    ),
    "sheet": lambda path: images.draw_sheet(cells(3), "few images", path=path),
    "rates": lambda path: rates.draw_rates(
        np.arange(50.0), np.arange(50) > 9, "t", "nats", path=path
    ),
    "density": _density,
    "map": _map,
    "solid": _solid,
}  # fmt: skip
GRIDS = [*DRAWN][:9]


def size_of(pdf):
    """Millimetres."""
    box = re.search(rb"/MediaBox \[([-0-9. ]+)\]", pdf)
    left, bottom, right, top = map(float, box.group(1).split())
    return np.array([right - left, top - bottom]) * MILLIMETRES


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_as_wide_as_a_column_and_no_higher_than_a_page(tmp_path, name):
    DRAWN[name](tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    width, height = size_of(content)
    assert 0.3 * WIDTH < width < WIDTH + 0.1
    assert height < HEIGHT + 0.1
    # TrueType within the file, none of it as drawings of letters.
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


@pytest.mark.parametrize("name", GRIDS)
def test_type_in_print_has_its_usual_size_and_covers_nothing(name, monkeypatch):
    kept = []
    monkeypatch.setattr(style, "finished", lambda figure, _: kept.append(figure))
    DRAWN[name]("a.pdf")
    (figure,) = kept
    require_legible(figure, margin=0)
    sizes = {text.get_fontsize() for text in figure.texts}
    assert sizes <= {style.LABEL_SIZE, style.SMALL_SIZE}


def test_words_of_an_svg_are_words_in_a_font_that_is_named(tmp_path):
    DRAWN["attributes"](tmp_path / "a.svg")
    _map(tmp_path / "map.svg")
    for name, words in (("a", ["original", "\N{MINUS SIGN}1"]), ("map", ["oak", "beech", "elm"])):
        text = (tmp_path / f"{name}.svg").read_text()
        found = re.findall(r"<text[^>]*>([^<]*)</text>", text)
        assert set(words) <= {*found}
        assert "DejaVu Sans" in text
        assert "<title>" in text
    # The outline of a name is drawn apart.
    assert found.count("oak") >= 2


def test_each_pixel_of_an_image_is_in_the_svg(tmp_path):
    colours = distinct(3, 4)
    conditions.draw_conditions(flat(colours), "abc", "t", path=tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    (encoded,) = re.findall(r'"data:image/png;base64,([^"]+)"', text)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        sheet = np.asarray(picture.convert("RGB")).astype(int)
    for colour in colours.reshape(-1, 3):
        assert (sheet == colour).all(-1).sum() == 96**2


@pytest.mark.parametrize("ending", ["pdf", "svg"])
@pytest.mark.parametrize("name", ["worst", "rates"])
def test_equal_input_gives_equal_bytes(tmp_path, name, ending):
    for place in "ab":
        DRAWN[name](tmp_path / f"{place}.{ending}")
    content = (tmp_path / f"a.{ending}").read_bytes()
    assert content == (tmp_path / f"b.{ending}").read_bytes()
    assert b"Date" not in content
