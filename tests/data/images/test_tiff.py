"""TIFF files: read upright in their own levels, or refused with the reason."""

import io
import struct

import numpy as np
import odd_images
import pytest
from PIL import Image
from tiff_testing import BLACK_0, BYTE, COLOURS, LONG, SHORT, WHITE_0, tags_of, tiff

from kvae.data.images.decoding import Unreadable, read

WIDTH, HEIGHT = 40, 24
RNG = np.random.default_rng(0)
RGBA = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
RGB = RGBA[..., :3]
GREY, WIDE, TWELVE = RGB[..., 0], *(RNG.integers(0, 2**n, (HEIGHT, WIDTH)) for n in (16, 12))
ORDERS = pytest.mark.parametrize("order", "<>")
ORIENTATION, XMP = 0x0112, 700
# Pillow 13 looks for EXIF in BigTIFF files whose high bytes come first, as if they were others.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
KINDS = pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])


def pixels(content):
    return np.asarray(read(content).convert("RGB")).astype(int)


def packed(levels, bits):
    """Rows of levels of some bits, each begun in a byte of its own."""
    each = levels[..., None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(each.reshape(len(levels), -1).astype(np.uint8), axis=1).tobytes()


def on_white(levels, opacity):
    share = opacity.astype(float)[..., None] / 255
    return np.round(levels * share + 255 * (1 - share))


def made(raw, *kind, order="<", more=(), **options):
    return tiff(raw, tags_of(WIDTH, HEIGHT, *kind, **options) | dict(more), order)


@KINDS
def test_colours_are_their_own(order, big):
    content = tiff(RGB.tobytes(), tags_of(WIDTH, HEIGHT, COLOURS, 8, 3), order, big=big)
    np.testing.assert_array_equal(pixels(content), RGB)


@ORDERS
def test_greys_of_16_bits_are_scaled_and_rounded(order):
    found = pixels(made(WIDE.astype(order + "u2").tobytes(), BLACK_0, 16, order=order))
    np.testing.assert_array_equal(found, np.round(WIDE * (255 / 65535))[..., None].repeat(3, -1))


def test_where_nothing_is_white_16_bits_are_turned_round():
    found = pixels(made(WIDE.astype("<u2").tobytes(), WHITE_0, 16))
    wanted = np.round((65535 - WIDE) * (255 / 65535))
    np.testing.assert_array_equal(found, wanted[..., None].repeat(3, -1))


def test_greys_of_12_bits_reach_white():
    found = pixels(made(packed(TWELVE, 12), BLACK_0, 12))[..., 0]
    assert np.abs(found - TWELVE * (255 / 4095)).max() < 0.51


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("meaning", [BLACK_0, WHITE_0])
def test_greys_of_few_bits_reach_white(bits, meaning):
    levels = RNG.integers(0, 2**bits, (HEIGHT, WIDTH))
    found = pixels(made(packed(levels, bits), meaning, bits))[..., 0]
    wanted = levels * 255 // (2**bits - 1)
    np.testing.assert_array_equal(found, wanted if meaning == BLACK_0 else 255 - wanted)


@ORDERS
def test_colours_of_16_bits_are_their_high_bytes(order):
    raw = (RGB.astype(int) * 256 + 200).astype(order + "u2").tobytes()
    np.testing.assert_array_equal(pixels(made(raw, COLOURS, 16, 3, order=order)), RGB)


def test_what_is_transparent_lies_on_white():
    straight, premultiplied, unknown = (
        pixels(made(RGBA.tobytes(), COLOURS, 8, 4, extra=extra)) for extra in (2, 1, 0)
    )
    wanted = on_white(RGB, RGBA[..., 3])
    assert np.abs(straight - wanted).max() <= 1
    np.testing.assert_array_equal(unknown, RGB)
    inner = np.round(RGB * (RGBA[..., 3:] / 255)).astype(np.uint8)
    raw = np.concatenate([inner, RGBA[..., 3:]], -1).tobytes()
    assert np.abs(pixels(made(raw, COLOURS, 8, 4, extra=1)) - wanted).max() <= 2
    assert premultiplied.shape == wanted.shape


def test_transparent_greys_lie_on_white():
    raw = RGBA[..., [0, 3]]
    wanted = on_white(raw[..., :1], raw[..., 1])
    assert np.abs(pixels(made(raw.tobytes(), BLACK_0, 8, 2, extra=2)) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("bits", "kind", "said"),
    [
        (8, 2, "signed levels of 8 bits"),
        (16, 2, "signed levels of 16 bits"),
        (32, 1, "unsigned levels of 32 bits"),
        (32, 2, "signed levels of 32 bits"),
        (32, 3, "floating-point levels of 32 bits"),
    ],
)
def test_levels_without_an_agreed_range_are_refused(bits, kind, said):
    raw = bytes(WIDTH * HEIGHT * bits // 8)
    with pytest.raises(Unreadable, match=f"{said}, which have no agreed range: write unsigned"):
        read(made(raw, BLACK_0, bits, sample_format=kind))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", None])
def test_compressed_pages_are_read_and_the_first_is_taken(compression):
    pages = [Image.new("RGB", (9, 9))]
    content = odd_images.written(
        RGB, "TIFF", compression=compression, save_all=True, append_images=pages
    )
    np.testing.assert_array_equal(pixels(content), RGB)


def test_pages_of_jpeg_and_of_fax_are_read():
    smooth = odd_images.picture()
    found = pixels(odd_images.written(smooth, "TIFF", compression="jpeg", quality=95))
    assert np.abs(found - smooth).max() < 20
    bits = Image.fromarray(GREY > 99)
    found = pixels(odd_images.written(bits, "TIFF", compression="group4"))
    np.testing.assert_array_equal(found[..., 0] > 0, np.asarray(bits))


@pytest.mark.parametrize("mode", ["P", "CMYK", "LAB", "PA"])
def test_other_modes_are_read(mode):
    image = Image.new(mode, (WIDTH, HEIGHT)) if mode in ("LAB", "PA") else None
    image = image or Image.fromarray(RGB).convert(mode)
    found = pixels(odd_images.written(image, "TIFF"))
    if mode in ("P", "CMYK"):
        np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


def test_big_files_with_the_high_byte_first_are_refused():
    content = tiff(RGB.tobytes(), tags_of(WIDTH, HEIGHT, COLOURS, 8, 3), ">", big=True)
    with pytest.raises(Unreadable, match="damaged"):
        read(content)


@KINDS
@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG])
@pytest.mark.parametrize("compressed", [False, True])
def test_orientations_are_undone_once(order, big, kind, compressed):
    more = {ORIENTATION: (kind, [6])}
    if compressed:
        buffer = io.BytesIO()
        Image.fromarray(RGB).save(
            buffer, "TIFF", compression="tiff_lzw", tiffinfo={ORIENTATION: 6}, big_tiff=big
        )
        content = buffer.getvalue()
    else:
        tags = tags_of(WIDTH, HEIGHT, COLOURS, 8, 3) | more
        content = tiff(RGB.tobytes(), tags, order, big=big)
    np.testing.assert_array_equal(pixels(content), np.rot90(RGB, -1))


@pytest.mark.parametrize(
    ("stated", "told", "turned"),
    [(None, 6, True), (1, 6, False), (0, 6, True), (6, 3, True), (None, 9, False), (9, 1, False)],
)
def test_the_rule_is_that_of_other_formats(stated, told, turned):
    text = odd_images.xmp(told)
    more = {XMP: (BYTE, list(text))}
    if stated is not None:
        more[ORIENTATION] = (SHORT, [stated])
    content = made(RGB.tobytes(), COLOURS, 8, 3, more=more)
    np.testing.assert_array_equal(pixels(content), np.rot90(RGB, -1) if turned else RGB)


def test_damage_is_told():
    whole = made(RGB.tobytes(), COLOURS, 8, 3)
    for cut in (9, 100, len(RGB.tobytes()) // 2, len(whole) - 90):
        with pytest.raises(Unreadable, match="damaged"):
            read(whole[:cut])
    far = tiff(RGB.tobytes(), tags_of(60_000, 60_000, COLOURS, 8, 3))
    with pytest.raises(Unreadable, match="more than"):
        read(far)
    many = bytearray(whole)
    at = many.index(struct.pack("<HHL", 258, SHORT, 3)) + 4
    many[at : at + 4] = struct.pack("<L", 2**31 - 1)
    with pytest.raises(Unreadable, match="damaged"):
        read(bytes(many))


def test_a_table_that_leads_back_to_itself_ends():
    at = 8 + RGB.nbytes
    content = tiff(RGB.tobytes(), tags_of(WIDTH, HEIGHT, COLOURS, 8, 3), next_table=at)
    np.testing.assert_array_equal(pixels(content), RGB)


@pytest.mark.parametrize("kind", [4, 5, 6, 7])
def test_levels_of_other_meanings_are_refused_with_what_is_wanted(kind):
    content = made(bytes(WIDTH * HEIGHT), BLACK_0, 8, sample_format=kind)
    with pytest.raises(Unreadable, match=r"levels must be unsigned \(SampleFormat 1\)"):
        read(content)
