"""TIFF files of every kind, also of those that Pillow does not write."""

import struct

BYTE, SHORT, LONG, LONG8 = 1, 3, 4, 16
_LETTERS = {BYTE: "B", SHORT: "H", LONG: "L", LONG8: "Q"}
WHITE_0, BLACK_0, COLOURS = 0, 1, 2  # what levels mean


def tags_of(width, height, meaning, bits, samples=1, sample_format=1, extra=None):
    """The tags of uncompressed pixels in one strip: tag -> (type, values)."""
    tags = {
        256: (SHORT, [width]), 257: (SHORT, [height]), 258: (SHORT, [bits] * samples),
        259: (SHORT, [1]), 262: (SHORT, [meaning]), 277: (SHORT, [samples]),
        278: (SHORT, [height]), 339: (SHORT, [sample_format] * samples),
    }  # fmt: skip
    return tags if extra is None else tags | {338: (SHORT, [extra])}


def tiff(pixels, tags, order="<", *, big=False, next_table=0):
    """The bytes of a file.

    Args:
        pixels: bytes of the strip, in front of the tables.
        tags: from `tags_of`, perhaps with more.
        order: "<" low byte first, ">" high byte first.
        big: whether numbers are those of BigTIFF.
        next_table: place of the next page's tags.
    """
    wide, count, start = ("Q", "Q", 16) if big else ("L", "H", 8)
    size = struct.calcsize("<" + wide)
    tags = tags | {273: (LONG, [start]), 279: (LONG, [len(pixels)])}
    table = start + len(pixels)
    behind = table + struct.calcsize("<" + count) + len(tags) * (4 + 2 * size) + size
    rows, outside = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        if len(raw) > size:
            field = struct.pack(order + wide, behind + len(outside))
            outside += raw
        else:
            field = raw.ljust(size, b"\0")
        rows += struct.pack(order + "HH" + wide, tag, kind, len(values)) + field
    head = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQ", 43, 8, 0, table)
        if big
        else struct.pack(order + "HL", 42, table)
    )
    return (
        head + pixels + struct.pack(order + count, len(tags)) + rows
        + struct.pack(order + wide, next_table) + outside
    )  # fmt: skip
