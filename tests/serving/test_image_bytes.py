import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from png_testing import GREY, PALETTE, RGB, chunk, every_kind, png

from kvae.data.images.decoding import MAX_REQUEST_PIXELS, MAX_SERVED_PIXELS, decode
from kvae.data.images.metadata import MOST_SCANS
from kvae.errors import UsageError
from kvae.serving import image_bytes, image_metadata
from kvae.serving.image_bytes import images_of

SIZE = 24


@pytest.fixture(scope="module")
def picture():
    small = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC)


def _bytes(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _levels(content, crop="center", channels=3):
    found = images_of(tf.constant([content]), crop, SIZE, channels)
    assert found.dtype == tf.float32
    return found.numpy()[0] * 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop", ["center", "none", "center140", "full178", "20,10,150,120"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_pixels_are_those_of_training(picture, kind, crop, channels):
    content = _bytes(picture, kind)
    expected = decode(content, crop, SIZE, channels).astype(float)
    found = _levels(content, crop, channels)
    np.testing.assert_allclose(found, np.round(found), atol=1e-4)  # whole levels
    difference = np.abs(found - expected)
    assert difference.max() < 1.01
    assert (difference > 0.5).mean() < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_rotations_are_undone(picture, orientation, order):
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "maker"
    exif[0x0112] = orientation
    content = _bytes(picture.crop((0, 0, 100, 60)), "JPEG", quality=95, exif=exif)
    assert np.abs(_levels(content) - decode(content, "center", SIZE)).max() < 1.01


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("where", [b"IDAT", b"IEND"])
def test_exif_rotations_of_a_png_are_undone(picture, orientation, where):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = _bytes(picture.crop((0, 0, 100, 60)))
    at = content.index(where) - 4
    content = content[:at] + chunk(b"eXIf", exif.tobytes()[6:]) + content[at:]
    assert np.abs(_levels(content) - decode(content, "center", SIZE)).max() < 1.01


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_that_there_is_not_is_none(picture, value):
    exif = Image.Exif()
    exif[0x0112] = value
    content, plain = _bytes(picture, "JPEG", exif=exif), _bytes(picture, "JPEG")
    np.testing.assert_array_equal(_levels(content), _levels(plain))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_modes_of_files(picture, mode):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257 + 13)
    elif mode in ("RGBA", "LA"):
        image = picture.convert(mode)
        image.putalpha(picture.convert("L"))
    else:
        image = picture.convert(mode)
    content = _bytes(image, "JPEG" if mode == "CMYK" else "PNG")
    assert np.abs(_levels(content) - decode(content, "center", SIZE)).max() < 1.01


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_png_has_the_pixels_of_training(channels):
    files = every_kind(SIZE)
    assert len(files) == 52
    graph = tf.function(lambda contents: images_of(contents, "none", SIZE, channels))
    found = graph(tf.constant([*files.values()])).numpy() * 255
    wanted = [decode(content, "none", SIZE, channels) for content in files.values()]
    far = np.abs(found - wanted).max((1, 2, 3))
    assert not {name: gap for name, gap in zip(files, far, strict=True) if gap > 1e-3}


@pytest.mark.parametrize("colors", [2, 4])
@pytest.mark.parametrize("opacities", [b"", b"\0", b"\x30\x03"])
def test_what_a_palette_does_not_name_is_as_in_training(colors, opacities):
    samples = np.random.default_rng(0).integers(0, 4, (SIZE, SIZE, 1))
    chunks = [(b"PLTE", bytes(range(90, 90 + 3 * colors)))] + [(b"tRNS", opacities)] * any(
        [opacities]
    )
    content = png(samples, PALETTE, 2, chunks)
    np.testing.assert_allclose(_levels(content, "none"), decode(content, "none", SIZE), atol=1e-3)


def test_16_bit_colours_are_told_from_the_transparent_one_by_their_high_bytes():
    samples = np.full((SIZE, SIZE, 3), 0x1200)
    samples[: SIZE // 2] = 0x12FF
    samples[:, : SIZE // 2] = 0x1300
    content = png(samples, RGB, 16, [(b"tRNS", bytes([0x12, 0x34] * 3))])
    wanted = np.full((SIZE, SIZE, 3), 255)
    wanted[:, : SIZE // 2] = 0x13
    np.testing.assert_allclose(_levels(content, "none"), wanted, atol=1e-3)
    np.testing.assert_array_equal(decode(content, "none", SIZE), wanted)


@pytest.mark.parametrize(
    ("kind", "chunks"),
    [
        (GREY, [(b"tRNS", bytes(6))]),
        (RGB, [(b"tRNS", bytes(8))]),
        (PALETTE, [(b"PLTE", bytes(6)), (b"tRNS", bytes(3))]),
    ],
)
def test_a_transparency_that_does_not_fit_the_colours_is_refused(kind, chunks):
    content = png(np.zeros((SIZE, SIZE, 3 if kind == RGB else 1), int), kind, 8, chunks)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"transparency \(tRNS\) does not fit"):
        images_of(tf.constant([content]), "none", SIZE, 3)


def test_a_png_of_too_many_chunks_is_refused(picture, monkeypatch):
    monkeypatch.setattr(image_metadata, "MOST_PARTS", 20)
    content = _bytes(picture.crop((0, 0, SIZE, SIZE)))  # of a head, pixels and an end
    few, many = (content[:33] + chunk(b"teSt", b"") * count + content[33:] for count in (17, 18))
    found = image_metadata.png_chunks(tf.constant(few), RGB).numpy()
    assert found[image_metadata.PIXELS, 1] > 0
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 20 chunks"):
        image_metadata.png_chunks(tf.constant(many), RGB)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_kinds_of_jpeg(picture, mode, progressive):
    content = _bytes(picture.convert(mode), "JPEG", progressive=progressive)
    assert np.abs(_levels(content) - decode(content, "center", SIZE)).max() < 1.01


def test_a_celeba_crop_is_the_centre_of_other_sizes(picture):
    content = _bytes(picture.resize((200, 90)))
    np.testing.assert_array_equal(_levels(content, "center148"), _levels(content, "center"))


def test_images_do_not_depend_on_one_another(picture):
    contents = [_bytes(picture), _bytes(picture.resize((60, 40)), "JPEG"), _bytes(picture)]
    together = images_of(tf.constant(contents), "center", SIZE, 3).numpy() * 255
    np.testing.assert_allclose(together, [_levels(content) for content in contents])
    assert images_of(tf.constant([], tf.string), "center", SIZE, 3).shape == (0, SIZE, SIZE, 3)


def _bomb(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "bad",
    [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a" + bytes(60)],
    ids=["empty", "text", "head of a PNG", "head of a JPEG", "GIF"],
)
def test_what_is_no_image_is_an_error(bad):
    with pytest.raises(tf.errors.InvalidArgumentError):
        images_of(tf.constant([bad]), "center", SIZE, 3)


def test_a_bomb_is_refused_before_it_is_decoded():
    side = int(MAX_SERVED_PIXELS**0.5) + 1
    for content in (_bomb(side, side), _bomb(2**31 - 1, 2**31 - 1)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="more than 67,108,864 pixels"):
            images_of(tf.constant([content]), "center", SIZE, 3)


def test_pixels_of_a_request_are_bounded_before_any_are_decoded():
    most = MAX_REQUEST_PIXELS // MAX_SERVED_PIXELS
    content = _bomb(MAX_SERVED_PIXELS // 1024, 1024)  # a head alone
    for count, message in ((most, "Invalid PNG"), (most + 1, r"in all, the most[^\d]*1140850688")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            images_of(tf.constant([content] * count), "center", SIZE, 3)


def test_a_png_tells_its_size_first(picture):
    content = _bytes(picture)
    lying = content[:8] + chunk(b"teSt", content[16:29]) + content[8:]
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not begin with its size"):
        images_of(tf.constant([lying]), "center", SIZE, 3)


def test_scans_of_a_jpeg_are_bounded(picture):
    content = _bytes(picture, "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    own = content.count(b"\xff\xda")
    aside = b"\xff\xe5\x02\x02" + b"\xff\xda" * 256
    most, more = (content[:-2] + scan * (MOST_SCANS - own + n) + content[-2:] for n in (0, 1))
    # Behind the picture, or in metadata, there may be as many.
    most = most[:2] + aside + most[2:] + aside
    np.testing.assert_allclose(_levels(most), decode(most, "center", SIZE), atol=1.01)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 256 scans"):
        images_of(tf.constant([more]), "center", SIZE, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_a_large_image_are_worked_at_in_turns(picture, monkeypatch, channels):
    picture = picture.copy()
    picture.putalpha(picture.convert("L"))
    content = _bytes(picture)
    whole = _levels(content, channels=channels)
    monkeypatch.setattr(image_bytes, "_BAND_PIXELS", 178 * 25)
    np.testing.assert_array_equal(_levels(content, channels=channels), whole)


def test_a_damaged_image_is_an_error(picture):
    for kind in ("PNG", "JPEG"):
        content = _bytes(picture, kind)
        with pytest.raises(tf.errors.InvalidArgumentError):
            images_of(tf.constant([content[: len(content) // 2]]), "center", SIZE, 3)


def test_a_box_that_reaches_beyond_the_image_is_an_error(picture):
    with pytest.raises(tf.errors.InvalidArgumentError, match="too small"):
        images_of(tf.constant([_bytes(picture)]), "0,0,179,218", SIZE, 3)


def test_there_is_no_such_crop():
    with pytest.raises(UsageError, match="crop"):
        images_of(tf.constant([b""]), "middle", SIZE, 3)
