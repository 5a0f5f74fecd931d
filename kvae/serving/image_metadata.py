"""How a picture was held, in a graph: the rule of `kvae.data.images.metadata`, step by step."""

from typing import Any

import numpy as np
import tensorflow as tf

from kvae.data.images.metadata import (
    CHUNK_FRAME,
    CHUNK_HEAD,
    ENTRY_BYTES,
    EXIF_ENTRIES,
    EXIF_MARK,
    EXIF_TEXT,
    EXIF_TEXT_HEAD,
    JPEG,
    JPEG_ALONE,
    JPEG_APP1,
    JPEG_END,
    JPEG_ENDS,
    JPEG_PARTS,
    JPEG_SCAN,
    MOST_PARTS,
    MOST_SCANS,
    ORIENTATION_TAG,
    PACKED_REGION,
    PNG,
    PNG_PALETTE,
    REGION,
    TEXT_CHUNKS,
    WHOLE_BYTES,
    XMP_MARK,
    XMP_PATTERN,
    XMP_TEXT,
)

#: Rows of what `png_chunks` finds.
COLORS, TRANSPARENCY, EXIF, EXIF_WORDS, XMP_WORDS, PIXELS = range(6)
_PLTE, _TRNS, _EXIF, _IDAT, _IEND = (
    int.from_bytes(name, "big") for name in (b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
)
_TEXTS = [int.from_bytes(name, "big") for name in TEXT_CHUNKS]
#: Marker and first bytes of segments that matter.
_MARKS = ((JPEG_APP1, EXIF_MARK), (JPEG_APP1, XMP_MARK), (0xEE, b"Adobe"))
# Version, two words of flags, and the colours as they are: not transformed.
_ADOBE_SEGMENT = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
_ANY, _FIRST = r"\C*", r"\C*?"  # bytes, whatever they are
_NEWLINE = ord("\n")
#: byte -> value of the hexadecimal digit; 16 of what is none.
_DIGITS = np.full(256, 16, np.uint8)
for _value, _digit in enumerate("0123456789abcdef"):
    _DIGITS[[ord(_digit), ord(_digit.upper())]] = _value


def jpeg_segments(content: Any) -> Any:
    """Start and length of the first segments of a JPEG file that matter, `(3, 2)` int32.

    They are in the order of `_MARKS`; of what is not there both are zero.
    """
    length = tf.strings.length(content)
    names, marks = zip(*_MARKS, strict=True)

    def step(place, found):
        mark, name, high, low = tf.unstack(tf.cast(bytes_at(content, place, 4), tf.int32))
        size = tf.maximum(high * 256 + low, 2)
        here = tf.stack([place + 4, size - 2])
        is_mark = (mark == 0xFF) & (name != 0xFF)
        alone, ends = _is_one_of(name, JPEG_ALONE), _is_one_of(name, JPEG_ENDS)
        starts = [
            tf.strings.substr(content, place + 4, tf.minimum(len(mark), size - 2)) == mark
            for mark in marks
        ]
        wanted = tf.stack(starts) & is_mark & (name == names) & (found[:, 0] == 0)
        found = tf.where(wanted[:, None], here, found)
        skipped = tf.where(is_mark, tf.where(alone, 2, 2 + size), 1)
        return tf.where(is_mark & ends, length, place + skipped), found

    _, found = tf.while_loop(
        lambda place, found: place + 4 <= length,
        step,
        (tf.constant(len(JPEG)), tf.zeros((len(marks), 2), tf.int32)),
        maximum_iterations=JPEG_PARTS,
    )
    return found


def has_few_scans(content: Any) -> Any:
    """Whether a JPEG file has no more than `MOST_SCANS` scans; bool, of a string."""
    values = tf.cast(tf.io.decode_raw(content, tf.uint8), tf.int32)
    pairs = values[:-1] * 256 + values[1:]
    few = tf.reduce_sum(tf.cast(pairs == 0xFF00 + JPEG_SCAN, tf.int32)) <= MOST_SCANS
    # Such bytes may also stand in metadata, or behind the picture.
    return tf.cond(few, lambda: few, lambda: _num_scans(pairs) <= MOST_SCANS)


def _num_scans(pairs):
    """Scans before the end of the picture, or more than are allowed; pairs: of bytes, int32."""
    names = pairs - 0xFF00
    is_mark = (names >= 0) & (names != 0xFF)
    for name in JPEG_ALONE:
        is_mark &= names != name
    marks = tf.cast(tf.where(is_mark)[:, 0], tf.int32)

    def step(place, found):
        mark = marks[tf.searchsorted(marks, [place])[0]]
        size = tf.maximum(pairs[tf.minimum(mark + 2, tf.size(pairs) - 1)], 2)
        is_end = names[mark] == JPEG_END
        found += tf.cast(names[mark] == JPEG_SCAN, tf.int32)
        return tf.where(is_end, tf.size(pairs), mark + 2 + size), found

    def goes_on(place, found):
        return (found <= MOST_SCANS) & (place <= last)

    last = tf.reduce_max(tf.concat([marks, [-1]], 0))
    place, found = tf.while_loop(goes_on, step, (len(JPEG), 0), maximum_iterations=JPEG_PARTS)
    return tf.where(goes_on(place, found), MOST_SCANS + 1, found)


def as_adobe_wrote_it(content: Any, found: Any) -> Any:
    """A JPEG file of four colours with Adobe's mark, without which TensorFlow inverts them.

    Args:
        content: of the file.
        found: from `jpeg_segments`.
    """
    marked = found[2, 1] >= len(_ADOBE_SEGMENT) - 4
    rest = tf.strings.substr(content, len(JPEG), tf.strings.length(content))
    return tf.cond(marked, lambda: content, lambda: tf.strings.join([JPEG, _ADOBE_SEGMENT, rest]))


def orientation_of_jpeg(content: Any, found: Any) -> Any:
    """1 to 8, int64, of a JPEG file whose segments are these."""

    def block(row):
        mark = _MARKS[row][1]
        start = found[row, 0] + len(mark)
        size = tf.minimum(found[row, 1], REGION) - len(mark)
        return _part(content, start, size)

    return _first_of(
        [
            (found[0, 0] > 0, lambda: _of_exif(tf.io.decode_raw(block(0), tf.uint8))),
            (found[1, 0] > 0, lambda: _of_xmp(block(1))),
        ]
    )


def png_chunks(content: Any, kind: Any) -> Any:
    """Start and length of the first chunk of each kind that matters, `(6, 2)` int32.

    They are in the order of `COLORS` and so on; of what is not there both are zero. Of the
    transparency the first that libpng uses: before the pixels, behind a palette.

    Args:
        content: of a PNG file.
        kind: of its colours.
    """
    length = tf.strings.length(content)

    def step(place, found):
        head = tf.strings.substr(content, place, CHUNK_HEAD)
        size, name = tf.unstack(tf.io.decode_raw(head, tf.int32, little_endian=False), 2)
        start = place + CHUNK_HEAD
        whole = (size >= 0) & (size <= length - place - CHUNK_FRAME)
        is_text = _is_one_of(name, _TEXTS)
        words = [
            is_text
            & (size >= len(word))
            & (tf.strings.substr(content, tf.minimum(start, length), len(word)) == word)
            for word in (EXIF_TEXT, XMP_TEXT)
        ]
        ready = (found[PIXELS, 0] == 0) & ((kind != PNG_PALETTE) | (found[COLORS, 0] > 0))
        here = tf.stack(
            [
                name == _PLTE, (name == _TRNS) & ready & (size > 0), name == _EXIF, *words,
                name == _IDAT,
            ]
        )  # fmt: skip
        here &= whole & (found[:, 0] == 0)
        found = tf.where(here[:, None], tf.stack([start, size]), found)
        last = (name == _IEND) | ~whole
        return tf.where(last, length, place + CHUNK_FRAME + tf.where(whole, size, 0)), found

    end, found = tf.while_loop(
        lambda place, found: place + CHUNK_FRAME <= length,
        step,
        (tf.constant(len(PNG)), tf.zeros((PIXELS + 1, 2), tf.int32)),
        maximum_iterations=MOST_PARTS,
    )
    few = tf.debugging.Assert(
        end + CHUNK_FRAME > length, [f"a PNG file has more than {MOST_PARTS:,} chunks"]
    )
    with tf.control_dependencies([few]):
        return tf.identity(found)


def orientation_of_png(content: Any, found: Any) -> Any:
    """1 to 8, int64, of a PNG file whose chunks are these."""

    def exif():
        block = _part(content, found[EXIF, 0], tf.minimum(found[EXIF, 1], REGION))
        return _of_exif(tf.io.decode_raw(block, tf.uint8))

    def exif_words():
        text = _text(content, found[EXIF_WORDS], EXIF_TEXT)
        text = tf.io.decode_raw(text, tf.uint8)[:REGION]
        behind = tf.cumsum(tf.cast(text == _NEWLINE, tf.int32)) >= EXIF_TEXT_HEAD
        digits = tf.gather(tf.constant(_DIGITS), tf.cast(text[behind], tf.int32))
        digits = digits[digits < 16]
        pairs = tf.reshape(digits[: tf.size(digits) // 2 * 2], (-1, 2))
        return _of_exif(pairs[:, 0] * 16 + pairs[:, 1])

    def xmp_words():
        return _of_xmp(_text(content, found[XMP_WORDS], XMP_TEXT))

    there = found[:, 0] > 0
    return _first_of(
        [
            (there[EXIF], exif),
            (there[EXIF_WORDS], exif_words),
            (there[XMP_WORDS], xmp_words),
        ]
    )


def bytes_at(content: Any, start: Any, count: int) -> Any:
    """`count` bytes as uint8; zeros beyond the end."""
    found = tf.io.decode_raw(_part(content, start, count), tf.uint8)
    return tf.ensure_shape(tf.pad(found, [[0, count - tf.size(found)]]), (count,))


def _part(content, start, count):
    """At most `count` bytes of a string, fewer at its end."""
    start = tf.minimum(start, tf.strings.length(content))
    return tf.strings.substr(content, start, tf.maximum(count, 0))


def _first_of(sources):
    """The orientation of the first source that tells one; each: whether it is there, reads it."""
    told = tf.constant(0, tf.int64)
    for is_there, read in sources:
        told = tf.cond(is_there & (told == 0), read, lambda told=told: told)
    return tf.maximum(told, 1)


def _of_exif(block):
    """The orientation of EXIF, uint8 of any length; 0 where it states none."""
    block = block[:REGION]
    for _ in range(2):
        marked = tf.reduce_all(_gathered(block, tf.range(len(EXIF_MARK))) == [*EXIF_MARK])
        block = block[tf.where(marked, len(EXIF_MARK), 0) :]
    first, second = tf.unstack(_gathered(block, tf.range(2)))
    is_tiff = (first == second) & _is_one_of(first, b"IM")
    swap = first == ord("I")  # the low byte first; "M": the high one

    def number(place, count):
        values = _gathered(block, place[..., None] + tf.range(count))
        values = tf.where(swap, tf.reverse(values, [-1]), values)
        return tf.reduce_sum(values * 256 ** tf.range(count - 1, -1, -1, dtype=tf.int64), axis=-1)

    table = tf.cast(tf.minimum(number(tf.constant(4), 4), REGION), tf.int32)
    entries = tf.range(EXIF_ENTRIES)
    places = table + 2 + ENTRY_BYTES * entries
    kind = tf.minimum(number(places + 2, 2), len(WHOLE_BYTES))
    size = tf.gather([*WHOLE_BYTES, 0], kind)
    value = tf.zeros_like(kind)
    for count in sorted({*WHOLE_BYTES} - {0}):
        value = tf.where(size == count, number(places + 8, count), value)
    known = is_tiff & (number(places, 2) == ORIENTATION_TAG) & (number(places + 4, 4) == 1)
    known &= tf.cast(entries, tf.int64) < number(table, 2)
    known &= (value >= 1) & (value <= 8)
    return tf.where(tf.reduce_any(known), value[tf.argmax(known)], 0)


def _of_xmp(text):
    """The orientation that XMP, a string, tells; 0 where it states none."""
    text = tf.strings.substr(text, 0, REGION)
    pattern = f"^{_FIRST}{XMP_PATTERN}{_ANY}$"
    told = tf.strings.regex_replace(text, pattern, r"\1")
    return tf.cond(
        tf.strings.regex_full_match(text, f"{_ANY}{XMP_PATTERN}{_ANY}"),
        lambda: tf.strings.to_number(told, tf.int64),
        lambda: tf.constant(0, tf.int64),
    )


def _text(content, found, keyword):
    """The start of what a chunk of text says, a string."""
    name = tf.strings.substr(content, found[0] - 4, 4)
    body = _part(content, found[0] + len(keyword), tf.minimum(found[1] - len(keyword), REGION))
    values = tf.io.decode_raw(body, tf.uint8)
    first, second = tf.unstack(_gathered(values, tf.range(2)))
    # Behind the flag and the method two words end with a zero: language, translated keyword.
    zeros = tf.cumsum(tf.cast(values[2:] == 0, tf.int32))
    words = 2 + tf.reduce_sum(tf.cast(zeros < 2, tf.int32)) + 1
    is_long, is_packed = name == TEXT_CHUNKS[2], name == TEXT_CHUNKS[1]
    method = tf.where(is_long, second, first)
    start = tf.where(is_long, words, tf.where(is_packed, 1, 0))
    body = _part(body, start, REGION)
    is_packed |= is_long & (first != 0)

    def unpacked():
        return tf.cond(
            method == 0,
            lambda: tf.io.decode_compressed(tf.strings.substr(body, 0, PACKED_REGION), "ZLIB"),
            lambda: tf.constant(b""),
        )

    return tf.cond(is_packed, unpacked, lambda: body)


def _is_one_of(value, values):
    return tf.reduce_any(value == tf.constant([*values], value.dtype))


def _gathered(values, places):
    """Values at places as int64; zero beyond the end."""
    inside = (places >= 0) & (places < tf.size(values))
    padded = tf.pad(values, [[0, 1]])
    found = tf.cast(tf.gather(padded, tf.where(inside, places, 0)), tf.int64)
    return tf.where(inside, found, 0)
