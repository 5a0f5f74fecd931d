"""Images that a client is given, before anything is sent."""

import io

import numpy as np
import odd_images
import pytest
from PIL import Image
from tiff_testing import BLACK_0, WHITE_0, tags_of, tiff

from kvae.client import inputs
from kvae.client.inputs import checked, requests
from kvae.client.transports import Tensor
from kvae.data.images.decoding import decode
from kvae.errors import UsageError

WANTED = {"image_bytes": Tensor("string", (None,))}
LEVELS = odd_images.picture()


def sent(*images):
    return checked("encode_bytes", WANTED, {"image_bytes": list(images)})["image_bytes"]


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "GIF"])
def test_files_that_are_not_served_are_called_by_name(kind):
    content = odd_images.written(LEVELS, kind)
    with pytest.raises(UsageError, match=f"row 1: no JPEG or PNG .* of {kind}; .*as PIL images"):
        sent(odd_images.written(LEVELS, "PNG"), content)


def test_a_damaged_file_is_no_other_format():
    with pytest.raises(UsageError, match="row 0: no JPEG or PNG file that can be read"):
        sent(odd_images.written(LEVELS, "PNG")[:20])


@pytest.mark.parametrize(
    ("kind", "options"), [("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {}), ("PNG", {})]
)
def test_as_pil_images_they_lose_nothing(kind, options):
    content = odd_images.written(LEVELS, kind, **options)
    (png,) = sent(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(decode(png, "none", 16), decode(content, "none", 16))


def test_one_that_proves_damaged_is_named():
    whole = odd_images.written(LEVELS, "JPEG")
    with pytest.raises(UsageError, match="row 1: a PIL image that cannot be read"):
        sent(Image.fromarray(LEVELS), Image.open(io.BytesIO(whole[:-60])))
    wide = Image.fromarray(np.full((8, 8), 70_000, np.int32))
    with pytest.raises(UsageError, match=r"row 0: .*levels from 70000 to 70000.* 65,535"):
        sent(wide)


def test_damaged_files_of_a_request_are_named():
    whole = odd_images.written(LEVELS, "JPEG")
    files = np.array([whole, whole[:-60], whole], object)
    rows = {"image_bytes": files, "condition": np.zeros((3, 1), "float32")}
    assert inputs.damaged_files(rows, 64).startswith("image_bytes, row 65, is damaged: ")
    assert not inputs.damaged_files({"image_bytes": files[::2]}, 0)


def test_a_pil_image_is_sent_as_its_file_was_trained_on():
    levels = np.arange(4096, dtype="<u2").reshape(64, 64) * 16
    content = tiff(levels.tobytes(), tags_of(64, 64, WHITE_0, 16))
    (png,) = sent(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(decode(png, "none", 64, 1), decode(content, "none", 64, 1))
    signed = tiff(levels.tobytes(), tags_of(64, 64, BLACK_0, 16, sample_format=2))
    with pytest.raises(UsageError, match=r"row 0: a PIL image .* signed levels"):
        sent(Image.open(io.BytesIO(signed)))


def test_requests_have_no_more_pixels_than_a_server_decodes(monkeypatch):
    monkeypatch.setattr(inputs, "MAX_REQUEST_PIXELS", 1000)
    sides = (30, 10, 10, 31, 9, 5, 5, 5)
    files = np.array([odd_images.written(np.zeros((n, n, 3), np.uint8), "PNG") for n in sides])
    rows = {"image_bytes": files.astype(object), "condition": np.zeros((8, 2), np.float32)}
    found = [(part.start, part.stop) for part in requests(rows, 3)]
    assert found == [(0, 2), (2, 3), (3, 4), (4, 7), (7, 8)]
    assert [*requests({"seed": np.arange(5)}, 3)] == [slice(0, 3), slice(3, 5)]
