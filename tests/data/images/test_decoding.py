import io
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from png_testing import BITS, GREY, RGB, chunk, png

from kvae.data.images.crops import CROPS
from kvae.data.images.decoding import Unreadable, decode, fit, read

WIDTH, HEIGHT = 37, 23
COLOURS = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
ORIENTATION = 0x0112


def written(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(width=WIDTH, height=HEIGHT):
    """Slopes of colour, which survive lossy compression."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)[:, None]
    planes = [x + 0 * y, 0 * x + y, (x + y) / 2]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def whole(content, channels=3):
    """The image of its own size."""
    image = read(content)
    return np.asarray(image.convert("L" if channels == 1 else "RGB"))


def colours():
    return Image.fromarray(COLOURS)


def square(side, seed=0):
    levels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(levels)


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_their_pixels(kind):
    content = written(colours(), kind, **LOSSLESS[kind])
    np.testing.assert_array_equal(whole(content), COLOURS)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_gives_what_pillow_gives(progressive):
    content = written(smooth(), "JPEG", quality=95, progressive=progressive)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(whole(content), np.asarray(image))
    assert np.abs(whole(content).astype(int) - np.asarray(smooth())).max() < 12


def test_of_several_frames_the_first_is_taken():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = written(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (whole(content) == [255, 0, 0]).all(), kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF"])
def test_grey_images_stay_grey(kind):
    grey = smooth().convert("L")
    content = written(grey, kind)
    image = read(content)
    tolerance = 6 if kind == "JPEG" else 0
    assert np.abs(np.asarray(image.convert("L")).astype(int) - np.asarray(grey)).max() <= tolerance
    rgb = whole(content)
    assert (rgb == rgb[..., :1]).all()
    assert decode(content, "none", 16, 1).shape == (16, 16, 1)


def on_white(levels, alpha):
    return (levels * (alpha / 255) + 255 * (1 - alpha / 255)).round()


ALPHA = np.random.default_rng(2).choice([0, 60, 128, 255], (HEIGHT, WIDTH, 1))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_pixels_lie_on_white(kind):
    rgba = np.concatenate([COLOURS, ALPHA], axis=-1).astype(np.uint8)
    options = {"WEBP": {"lossless": True, "exact": True}, "PNG": {}}[kind]
    found = whole(written(Image.fromarray(rgba), kind, **options)).astype(int)
    assert np.abs(found - on_white(COLOURS, ALPHA)).max() <= 1
    assert (found[ALPHA[..., 0] == 0] == 255).all()


def test_transparent_greys_lie_on_white():
    la = np.concatenate([COLOURS[..., :1], ALPHA], axis=-1).astype(np.uint8)
    content = written(Image.fromarray(la), "PNG")
    wanted = on_white(COLOURS[..., :1], ALPHA)
    assert np.abs(whole(content).astype(int) - wanted).max() <= 1
    assert np.abs(whole(content, 1)[..., None].astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("mode", "transparent"), [("L", 0), ("RGB", (0, 0, 0)), ("P", 0), ("1", 0)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_one_transparent_colour_lies_on_white(mode, transparent, channels):
    image = Image.new("L", (16, 16), 0)
    image.paste(200, (8, 0, 16, 16))
    if mode == "P":
        image.putpalette([0, 0, 0] * 200 + [200, 200, 200] * 56)
    else:
        image = image.convert(mode)
    found = decode(written(image, "PNG", transparency=transparent), "none", 16, channels)
    assert (found[:, :8] == 255).all()
    assert (found[:, 8:] == (255 if mode == "1" else 200)).all()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bits", BITS[GREY])
def test_a_transparent_grey_of_any_bits_lies_on_white(bits, interlaced):
    largest = 2**bits - 1
    greys = (largest - np.arange(16) % 2 ** min(bits, 4))[:, None, None].repeat(16, 1)
    key = largest - 1
    content = png(greys, GREY, bits, [(b"tRNS", key.to_bytes(2, "big"))], interlaced)
    wanted = np.where(greys == key, 255, np.round(greys * 255 / largest))
    np.testing.assert_array_equal(whole(content), wanted.repeat(3, -1))


@pytest.mark.parametrize("bits", BITS[RGB])
def test_a_transparent_colour_of_any_bits_lies_on_white(bits):
    samples = np.random.default_rng(3).integers(0, 2**bits, (16, 16, 3))
    samples[4:8] = samples[0, 0]
    content = png(samples, RGB, bits, [(b"tRNS", samples[0, 0].astype(">u2").tobytes())])
    wanted = samples >> (bits - 8)
    wanted[(samples == samples[0, 0]).all(-1)] = 255
    np.testing.assert_array_equal(whole(content), wanted)


def test_a_palette_of_partly_transparent_colours_lies_on_white():
    image = Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8), 4).reshape(4, 4))
    image.putpalette([255, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 255])
    content = written(image, "PNG", transparency=bytes([255, 0, 128, 255]))
    rows = whole(content)[:, 0]
    assert [tuple(map(int, row)) for row in rows] == [
        (255, 0, 0), (255, 255, 255), (127, 255, 127), (0, 0, 255),
    ]  # fmt: skip


def test_a_transparent_gif_lies_on_white():
    image = Image.new("P", (16, 16), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(0, (0, 0, 8, 16))
    found = whole(written(image, "GIF", transparency=0))
    assert (found[:, :8] == 255).all()
    assert (found[:, 8:] == [200, 100, 50]).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_palettes_give_their_colours(kind):
    image = square(16).convert("P", palette=Image.Palette.ADAPTIVE, colors=7)
    found = whole(written(image, kind))
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_bit_is_black_and_white(kind, channels):
    bits = np.random.default_rng(0).integers(0, 2, (16, 16)).astype(bool)
    found = decode(written(Image.fromarray(bits), kind), "none", 16, channels)
    np.testing.assert_array_equal(found, np.repeat(255 * bits[..., None], channels, axis=-1))


def test_cmyk_jpegs_give_the_colours_that_they_print():
    plain = Image.new("RGB", (16, 16), "red")
    content = written(plain.convert("CMYK"), "JPEG", quality=100)
    assert np.abs(whole(content).astype(int) - [255, 0, 0]).max() <= 3


def png_of_rows(width, height, depth, colour, rows):
    """A PNG of raw rows, which may be of any kind, given one by one."""
    packer = zlib.compressobj()
    packed = b"".join(map(packer.compress, rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_greys_are_scaled_not_clipped(channels):
    levels = np.linspace(0, 65535, 256).round().astype(">u2").reshape(16, 16)
    content = png_of_rows(16, 16, 16, 0, [b"\0" + row.tobytes() for row in levels])
    found = decode(content, "none", 16, channels)
    wanted = np.arange(256).reshape(16, 16, 1)
    np.testing.assert_array_equal(found, np.broadcast_to(wanted, found.shape))


def test_sixteen_bit_greys_are_rounded():
    levels = np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(">u2")
    found = whole(png_of_rows(64, 64, 16, 0, [b"\0" + row.tobytes() for row in levels]), 1)
    np.testing.assert_array_equal(found, (levels * (255 / 65535)).round())


def test_sixteen_bit_colours_are_scaled():
    levels = (COLOURS.astype(">u2") * 257).astype(">u2")
    rows = [b"\0" + row.tobytes() for row in levels]
    np.testing.assert_array_equal(whole(png_of_rows(WIDTH, HEIGHT, 16, 2, rows)), COLOURS)


UPRIGHT = {  # what each orientation's pixels are, of those that should be seen
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", sorted(LOSSLESS.keys() - {"BMP"}))
def test_exif_orientations_are_undone(orientation, kind):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](COLOURS)))
    content = written(stored, kind, exif=exif, **LOSSLESS[kind])
    np.testing.assert_array_equal(whole(content), COLOURS)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_rotated_jpeg_is_upright_before_it_is_cropped(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    upright = np.asarray(smooth(40, 24))
    stored = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](upright)))
    found = decode(written(stored, "JPEG", quality=100, exif=exif), "20,0,40,20", 20)
    assert np.abs(found.astype(int) - upright[:20, 20:]).max() < 12


@pytest.mark.parametrize("orientation", [0, 9, 777])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    np.testing.assert_array_equal(whole(written(colours(), "PNG", exif=exif)), COLOURS)


def by_hand(image, box, size, channels):
    """The picture cropped, its shorter side resized, the middle kept."""
    part = image.convert("L" if channels == 1 else "RGB").crop(box)
    scale = size / min(part.size)
    wide, high = (int(scale * side + 1e-9) for side in part.size)
    part = part.resize((wide, high), Image.Resampling.BILINEAR)
    x, y = round((wide - size) / 2), round((high - size) / 2)
    return np.asarray(part)[y : y + size, x : x + size].reshape(size, size, channels)


CENTRES = [
    ((40, 20), (10, 0, 30, 20)), ((20, 40), (0, 10, 20, 30)), ((21, 21), (0, 0, 21, 21)),
    ((41, 20), (10, 0, 30, 20)), ((20, 43), (0, 11, 20, 31)), ((1, 9), (0, 4, 1, 5)),
]  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 13, 20, 64])
@pytest.mark.parametrize(("shape", "box"), CENTRES)
def test_center_keeps_the_largest_centred_square(shape, box, size, channels):
    image = square(64).crop((0, 0, *shape))
    found = decode(written(image, "PNG"), "center", size, channels)
    np.testing.assert_array_equal(found, by_hand(image, box, size, channels))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 31, 64])
def test_none_squeezes_everything_into_a_square(size, channels):
    found = decode(written(colours(), "PNG"), "none", size, channels)
    mode = "L" if channels == 1 else "RGB"
    wanted = colours().convert(mode).resize((size, size), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found, np.asarray(wanted).reshape(size, size, channels))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 10, 15, 64])
@pytest.mark.parametrize("box", [(3, 5, 13, 15), (0, 0, 37, 23), (7, 0, 18, 23), (4, 6, 36, 7)])
def test_a_box_is_cut_out_before_it_is_resized(box, size, channels):
    found = decode(written(colours(), "PNG"), ",".join(map(str, box)), size, channels)
    np.testing.assert_array_equal(found, by_hand(colours(), box, size, channels))


def test_nothing_beyond_a_box_reaches_its_edge():
    image = Image.new("RGB", (60, 60), "white")
    image.paste("black", (20, 20, 40, 40))
    for size in (8, 64):
        assert not decode(written(image, "PNG"), "20,20,40,40", size).any()


def test_a_box_of_the_wanted_size_is_not_resampled():
    found = decode(written(colours(), "PNG"), "9,2,29,22", 20)
    np.testing.assert_array_equal(found, COLOURS[2:22, 9:29])


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("size", [32, 64, 65])
def test_named_crops_are_their_boxes(crop, size):
    face = square(218).crop((0, 0, 178, 218))
    found = decode(written(face, "PNG"), crop, size)
    np.testing.assert_array_equal(found, by_hand(face, CROPS[crop], size, 3))


@pytest.mark.parametrize("side", [1, 2, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_enlarged(side, channels):
    found = decode(
        written(Image.new("RGB", (side, side), (9, 9, 9)), "PNG"), "center", 64, channels
    )
    assert found.shape == (64, 64, channels)
    assert (found == 9).all()


def test_the_array_is_of_bytes_and_not_that_of_another_call():
    content = written(square(16), "PNG")
    one, two = decode(content, "center", 16), decode(content, "center", 16)
    assert one.dtype == np.uint8
    assert not np.shares_memory(one, two)


def cut(kind, part=0.7, **options):
    content = written(square(64), kind, **options)
    return content[: int(part * len(content))]


def zero_filled(part=0.6):
    content = written(square(64), "JPEG")
    kept = int(part * len(content))
    return content[:kept] + bytes(len(content) - kept)


OTHER = r"is not an image of a known format \(JPEG, PNG, WEBP, BMP, GIF, TIFF\)"
BAD = {
    "empty": (b"", "^is empty$"),
    "web page": (b"<!DOCTYPE html><html>quota</html>", "^is a web page, not an image$"),
    "web page below blank lines": (b"\n\n  <html>", "^is a web page"),
    "text": (b"not an image at all\n" * 50, OTHER),
    "zeros": (bytes(4000), OTHER),
    "one byte": (b"\xff", OTHER),
    "JPEG cut": (cut("JPEG"), "^is damaged: image file is truncated"),
    "JPEG cut early": (cut("JPEG", 0.02), "^is damaged|" + OTHER),
    "JPEG cut before its last bytes": (written(square(64), "JPEG")[:-40], "^is damaged"),
    "progressive JPEG cut": (cut("JPEG", progressive=True), "^is damaged"),
    "PNG cut": (cut("PNG"), "^is damaged"),
    "WebP cut": (cut("WEBP"), "^is damaged|" + OTHER),
    "BMP cut": (cut("BMP"), "^is damaged: image file is truncated"),
    "GIF cut": (cut("GIF"), "^is damaged"),
    "JPEG with a tail of zeros": (zero_filled(), "^is damaged: its end is filled with zeros$"),
    "JPEG of few bytes and zeros": (zero_filled(0.1), "^is damaged: its end is filled with zeros$"),
    "TIFF cut": (cut("TIFF"), "^is damaged"),
    "TIFF cut early": (cut("TIFF", 0.01), "^is damaged|" + OTHER),
    "PPM": (written(square(16), "PPM"), OTHER),
    "ICO": (written(square(16), "ICO"), OTHER),
    "TGA": (written(square(16), "TGA"), OTHER),
    "JPEG 2000": (written(square(16), "JPEG2000"), OTHER),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", OTHER),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_with_the_reason(case):
    content, reason = BAD[case]
    with pytest.raises(Unreadable, match=reason):
        decode(content, "center", 16)


def test_a_checksum_that_is_wrong_is_damage():
    content = bytearray(written(square(16), "PNG"))
    content[content.index(b"IDAT") + 30] ^= 1
    with pytest.raises(Unreadable, match=r"^is damaged"):
        decode(bytes(content), "center", 16)


@pytest.mark.parametrize("padding", [b"\0" * 5000, b"\0", b"\xff\xd9", b"some words", bytes(70)])
def test_a_whole_jpeg_may_have_anything_after_its_end(padding):
    content = written(square(64), "JPEG")
    assert content.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(whole(content + padding), whole(content))


def test_a_bitmap_that_ends_in_black_is_no_damage():
    black = np.zeros((16, 16, 3))
    for kind in ("BMP", "PNG", "GIF", "JPEG"):
        np.testing.assert_array_equal(whole(written(Image.new("RGB", (16, 16)), kind)), black)


@pytest.mark.parametrize(
    ("size", "crop", "reason"),
    [
        ((177, 218), "center148", r"^is 177x218: the crop center148 is for .* of 178x218$"),
        ((218, 178), "full178", r"^is 218x178: the crop full178 is for .* of 178x218$"),
        ((30, 20), "0,0,31,20", r"^is 30x20: the crop 0,0,31,20 reaches beyond it$"),
        ((30, 20), "0,0,30,21", r"^is 30x20: the crop 0,0,30,21 reaches beyond it$"),
    ],
)
def test_a_crop_that_does_not_fit_is_refused(size, crop, reason):
    image = Image.new("RGB", size)
    with pytest.raises(Unreadable, match=reason):
        decode(written(image, "PNG"), crop, 8)
    with pytest.raises(Unreadable, match=reason):
        fit(image, crop, 8, 3)


@pytest.fixture(scope="module")
def huge():
    """Small files of 30,000 by 30,000 pixels; the PNG has them all."""
    gif = bytearray(written(Image.new("P", (8, 8)), "GIF"))
    gif[6:10] = struct.pack("<HH", 30_000, 30_000)
    bmp = bytearray(written(Image.new("RGB", (8, 8)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    jpeg = bytearray(written(Image.new("RGB", (8, 8)), "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", 30_000, 30_000)
    whole_png = png_of_rows(30_000, 30_000, 1, 0, (bytes(3751) for _ in range(30_000)))
    return {"PNG": whole_png, "GIF": bytes(gif), "BMP": bytes(bmp), "JPEG": bytes(jpeg)}


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG"])
def test_a_bomb_is_refused_before_its_pixels_are_made(kind, huge):
    content = huge[kind]
    assert len(content) < 300_000
    tracemalloc.start()
    with pytest.raises(Unreadable, match=r"^has more than 89,478,485 pixels$"):
        decode(content, "center", 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


REFUSES = """
import resource, sys
from kvae.data.images.decoding import Unreadable, decode
content = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(content, "center", 64)
except Unreadable:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_bomb_does_not_fill_the_memory_of_its_process(huge):
    command = [sys.executable, "-c", REFUSES]
    done = subprocess.run(command, input=huge["PNG"], capture_output=True, check=True)
    assert int(done.stdout) < 60_000  # KiB


def samples():
    image = square(24)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return [
        written(image, "JPEG", exif=exif), written(image, "JPEG", progressive=True),
        written(image.convert("CMYK"), "JPEG"), written(image, "PNG", exif=exif),
        written(image.convert("P"), "PNG", transparency=3), written(image, "WEBP"),
        written(image, "WEBP", lossless=True, exif=exif), written(image, "BMP"),
        written(image.convert("P"), "BMP"), written(image.convert("1"), "BMP"),
        written(image, "GIF", save_all=True, append_images=[square(24, seed=1)]),
    ]  # fmt: skip


def outcome(content):
    try:
        found = decode(content, "center", 8)
    except Unreadable as error:
        assert str(error)
        return "refused"
    assert found.shape == (8, 8, 3)
    assert found.dtype == np.uint8
    return "kept"


def test_random_bytes_are_refused_and_nothing_else_happens():
    rng = np.random.default_rng(0)
    starts = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"GIF89a"]
    outcomes = [outcome(starts[i % 6] + rng.bytes(rng.integers(0, 300))) for i in range(300)]
    assert set(outcomes) == {"refused"}


def test_mutated_images_are_read_or_refused_and_nothing_else_happens():
    rng, originals, outcomes = np.random.default_rng(0), samples(), []
    for i in range(300):
        content = bytearray(originals[i % len(originals)])
        for place in rng.integers(0, len(content), rng.integers(1, 20)):
            content[place] = rng.integers(256)
        outcomes.append(outcome(bytes(content[: rng.integers(1, 2 * len(content))])))
    assert 30 < outcomes.count("kept") < 200


def test_a_whole_jpeg_may_be_followed_by_anything():
    content = written(square(16), "JPEG")
    plain = decode(content, "center", 16)
    for tail in (bytes(200), b"SEFT trailer" + bytes(200), b"SEFT trailer"):
        np.testing.assert_array_equal(decode(content + tail, "center", 16), plain)


def test_an_orientation_that_only_xmp_tells_is_undone():
    image = square(16)
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        b'tiff:Orientation="3"/></rdf:RDF></x:xmpmeta>'
    )
    plain = decode(written(image, "WEBP", lossless=True), "center", 16)
    turned = decode(written(image, "WEBP", lossless=True, xmp=xmp), "center", 16)
    np.testing.assert_array_equal(turned, plain[::-1, ::-1])
