"""Odd image files train to the pixels that they are served with."""

import numpy as np
import odd_images
import pytest
from png_testing import chunk

from kvae.client.inputs import checked
from kvae.client.transports import Tensor
from kvae.data.images import metadata
from kvae.data.images.decoding import Unreadable, decode, read
from kvae.errors import UsageError

UPRIGHT = {  # what is made of stored pixels by each orientation
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, 1),
}
TURNED = odd_images.turned()
SIZE = 16


@pytest.mark.parametrize("name", TURNED)
def test_an_odd_file_is_upright(name):
    content, orientation = TURNED[name]
    found = np.asarray(read(content).convert("RGB")).astype(int)
    wanted = UPRIGHT[orientation](odd_images.picture().astype(int))
    if "grey" in name:
        wanted, found = wanted.mean(-1), found.mean(-1)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < (40 if "grey" in name else 14 if "JPEG" in name else 1)


@pytest.fixture(scope="module")
def served():
    """Name of an odd file -> pixels of the served graph, traced once."""
    import tensorflow as tf

    from kvae.serving.image_bytes import images_of

    files = {name: content for name, (content, _) in TURNED.items()}
    files |= odd_images.transparencies()
    graph = tf.function(lambda contents: images_of(contents, "none", SIZE, 3))
    levels = graph(tf.constant([*files.values()])).numpy() * 255
    return {name: (files[name], found) for name, found in zip(files, levels, strict=True)}


def test_odd_files_have_the_same_pixels_trained_and_served(served):
    assert len(served) > 150
    far = {
        name: np.abs(decode(content, "none", SIZE).astype(float) - found).max()
        for name, (content, found) in served.items()
    }
    assert not {name: gap for name, gap in far.items() if gap > 1.01}


def _sent(one):
    wanted = {"image_bytes": Tensor("string", (None,))}
    return checked("encode_bytes", wanted, {"image_bytes": [one]})["image_bytes"]


def test_chunks_are_bounded_in_training_and_client_as_in_the_graph(monkeypatch):
    monkeypatch.setattr(metadata, "MOST_PARTS", 20)
    content = odd_images.written(odd_images.picture(), "PNG")  # a head, pixels and an end
    few, many = (content[:33] + chunk(b"teSt", b"") * n + content[33:] for n in (17, 18))

    np.testing.assert_array_equal(np.asarray(read(few)), np.asarray(read(content)))
    assert list(_sent(few)) == [few]
    _refused(many, "more than 20 chunks")


def _refused(content, message):
    with pytest.raises(Unreadable, match=message):
        read(content)
    with pytest.raises(UsageError, match=f"row 0: .*{message}"):
        _sent(content)


def test_a_png_that_tells_its_size_late_is_refused_as_in_the_graph():
    content = odd_images.written(odd_images.picture(), "PNG")
    _refused(content[:8] + chunk(b"teSt", content[16:29]) + content[8:], "begin with its size")


def test_scans_are_bounded_in_training_and_client_as_in_the_graph():
    content = odd_images.written(odd_images.picture(), "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    own = content.count(b"\xff\xda")
    aside = b"\xff\xe5\x02\x02" + b"\xff\xda" * 256
    most, more = (
        content[:-2] + scan * (metadata.MOST_SCANS - own + n) + content[-2:] for n in (0, 1)
    )
    most = most[:2] + aside + most[2:] + aside
    assert list(_sent(most)) == [most]
    assert read(most).size == read(content).size
    _refused(more, "more than 256 scans")
    # Segments between scans hide none.
    comment, end = b"\xff\xfe\0\x04\xff\xd9", content[-2:]
    _refused(content[:-2] + comment + scan * metadata.MOST_SCANS + end, "more than 256 scans")
    empty = b"\xff\xfe\0\2" * metadata.JPEG_PARTS
    _refused(content[:-2] + empty + scan * metadata.MOST_SCANS + end, "more than 256 scans")
