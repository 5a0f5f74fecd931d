"""Images opened with Pillow: the pixels of their file, unless somebody changed them."""

import io

import numpy as np
import odd_images
import png_testing
import pytest
from PIL import Image
from tiff_testing import BLACK_0, COLOURS, SHORT, WHITE_0, tags_of, tiff

from kvae.data.images.decoding import Unreadable, read
from kvae.data.images.opened import read_opened

WIDTH, HEIGHT = 40, 24
RNG = np.random.default_rng(0)
GREY, COLOUR = (RNG.integers(0, 256, (HEIGHT, WIDTH, n), dtype=np.uint8) for n in (1, 3))
WIDE = RNG.integers(0, 2**16, (HEIGHT, WIDTH, 3))
TWELVE = (WIDE[..., 0] >> 4)[..., None] >> np.arange(11, -1, -1) & 1
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
# Of two pieces Pillow keeps the last, kvae the first: only the file has both.
LOST = {"JPEG, the first XMP", "PNG, the first eXIf", "PNG, eXIf on both sides"}


def wide_tiff(meaning):
    return tiff(WIDE[..., 0].astype("<u2").tobytes(), tags_of(WIDTH, HEIGHT, meaning, 16))


FILES = {
    "TIFF of 12 bits": tiff(
        np.packbits(TWELVE.reshape(HEIGHT, -1).astype(np.uint8), axis=1).tobytes(),
        tags_of(WIDTH, HEIGHT, BLACK_0, 12),
    ),
    "TIFF whose 0 is white": wide_tiff(WHITE_0),
    "TIFF on its side": tiff(
        COLOUR.tobytes(), tags_of(WIDTH, HEIGHT, COLOURS, 8, 3) | {0x0112: (SHORT, [6])}
    ),
    "PNG with a key of 16 bits": png_testing.png(
        WIDE, png_testing.RGB, 16, [(b"tRNS", WIDE[0, 0].astype(">u2").tobytes())]
    ),
    "PNG with a key of 2 bits": png_testing.png(
        GREY & 3, png_testing.GREY, 2, [(b"tRNS", b"\0\2")]
    ),
}


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def loaded(content):
    """An image whose file is out of reach."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("before", [Image.Image.load, Image.Image.getexif, lambda image: None])
def test_it_is_what_training_sees_of_its_file(name, before, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    image = Image.open(path)
    before(image)
    np.testing.assert_array_equal(pixels(read_opened(image)), pixels(read(FILES[name])))


def test_an_orientation_is_found_in_files_and_without_them():
    for name, (content, _) in odd_images.turned().items():
        try:
            image = Image.open(io.BytesIO(content))
            kept = loaded(content)
        except (OSError, ValueError):
            continue  # Pillow opens none
        wanted = pixels(read(content))
        np.testing.assert_array_equal(pixels(read_opened(image)), wanted, name)
        for one in (kept, kept.crop((0, 0, *kept.size))):
            if name not in LOST:
                np.testing.assert_array_equal(pixels(read_opened(one)), wanted, name)


@pytest.mark.parametrize("name", ["TIFF of 12 bits", "TIFF whose 0 is white", "TIFF on its side"])
def test_levels_of_tiff_are_known_without_the_file(name):
    found = pixels(read_opened(loaded(FILES[name])))
    np.testing.assert_array_equal(found, pixels(read(FILES[name])))


def test_what_was_changed_since_is_kept(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(COLOUR).save(path)
    image = Image.open(path)
    np.testing.assert_array_equal(pixels(read_opened(image)), COLOUR)
    image.putpixel((0, 0), (1, 2, 3))
    assert pixels(read_opened(image))[0, 0].tolist() == [1, 2, 3]
    shrunk = Image.open(path)
    shrunk.thumbnail((8, 8))
    assert read_opened(shrunk).size == shrunk.size
    np.testing.assert_array_equal(
        pixels(read_opened(Image.open(path).crop((5, 5, 15, 15)))), COLOUR[5:15, 5:15]
    )
    image = Image.open(path)
    image.load()
    path.write_bytes(FILES["PNG with a key of 2 bits"])  # another file of the name
    np.testing.assert_array_equal(pixels(read_opened(image)), COLOUR)


@pytest.mark.parametrize(("stated", "size"), [(6, (HEIGHT, WIDTH)), (0, (WIDTH, HEIGHT))])
def test_an_image_made_in_memory_is_upright_as_its_maker_says(stated, size):
    image = Image.fromarray(COLOUR)
    image.getexif()[0x0112] = stated
    assert read_opened(image).size == size


def test_the_chosen_frame_is_kept():
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    content = io.BytesIO()
    frames[0].save(content, "TIFF", save_all=True, append_images=frames[1:])
    image = Image.open(content)
    image.seek(1)
    np.testing.assert_array_equal(pixels(read_opened(image)), 255 - COLOUR)
    image.seek(0)
    np.testing.assert_array_equal(pixels(read_opened(image)), COLOUR)


@pytest.mark.parametrize(("bits", "sample_format", "fault"), [(32, 1, "32 bits"), (8, 2, "signed")])
def test_levels_without_a_range_are_refused_as_in_training(bits, sample_format, fault):
    levels = WIDE[..., 0].astype(f"<u{bits // 8}").tobytes()
    content = tiff(levels, tags_of(WIDTH, HEIGHT, BLACK_0, bits, sample_format=sample_format))
    with pytest.raises(Unreadable, match=fault):
        read_opened(loaded(content))
    with pytest.raises(Unreadable, match=fault):
        read_opened(Image.open(io.BytesIO(content)))
