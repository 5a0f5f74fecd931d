"""PNG files of every kind, also of those that Pillow does not write."""

import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
BITS = {
    GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}  # fmt: skip
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
# Left, top, and the steps sideways and down of the seven passes of Adam7.
_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip


def chunk(name, content):
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(samples, kind, bits, chunks=(), interlaced=False):
    """The bytes of a file.

    Args:
        samples: `(height, width, channels)`, whole numbers below 2**bits.
        kind: of colour, as above.
        bits: of a sample.
        chunks: name and content of those between the head and the pixels.
        interlaced: in seven passes.
    """
    height, width, _ = samples.shape
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    parts = [samples[y::down, x::right] for x, y, right, down in _PASSES]
    rows = b"".join(_rows(part, bits) for part in (parts if interlaced else [samples]))
    inner = b"".join(chunk(name, content) for name, content in chunks)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + inner
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip


def _rows(samples, bits):
    levels = samples.reshape(len(samples), -1, 1) >> np.arange(bits - 1, -1, -1) & 1
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in levels.astype(np.uint8))


def every_kind(side, seed=0):
    """A name -> a file of noise, for each kind, number of bits, transparency and order of rows.

    In files with a transparent colour a square has it.
    """
    rng = np.random.default_rng(seed)
    files = {}
    for kind, bits in [(kind, bits) for kind, each in BITS.items() for bits in each]:
        samples = rng.integers(0, 2**bits, (side, side, _CHANNELS[kind]))
        colors = rng.integers(0, 256, (2**bits, 3), dtype=np.uint8).tobytes()
        palette = [(b"PLTE", colors)] if kind == PALETTE else []
        keyed, key = samples.copy(), None
        if kind == PALETTE:
            key = rng.integers(0, 256, 2**bits, dtype=np.uint8).tobytes()
        elif kind in (GREY, RGB):
            keyed[2 : side // 2, 2 : side // 2] = samples[0, 0]
            key = samples[0, 0].astype(">u2").tobytes()
        for interlaced in (False, True):
            name = f"{kind}, {bits} bits" + ", interlaced" * interlaced
            files[name] = png(samples, kind, bits, palette, interlaced)
            if key:
                chunks = [*palette, (b"tRNS", key)]
                files[f"{name}, transparent"] = png(keyed, kind, bits, chunks, interlaced)
    return files
