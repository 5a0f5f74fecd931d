"""What image files say beside their pixels: how the picture was held.

One rule, which `kvae.serving.image_bytes` follows inside a graph: the orientation is that of the
first place which states one of 1 to 8, EXIF before XMP. Libraries that read images differ in this,
and from version to version, so that they are not asked.
"""

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

#: Bytes at the start of a block that are looked at, and of a compressed one.
REGION, PACKED_REGION = 2**16, 2**14
#: Parts of a file that are looked at.
MOST_PARTS = 2**16
#: Segments of a JPEG file that are looked at; full ones take 2^28 bytes.
JPEG_PARTS = 2**12
#: Scans of a JPEG file at most: each goes over all of the picture, and takes 50 bytes at the least.
MOST_SCANS = 256
EXIF_MARK, XMP_MARK = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
#: Keywords of texts in a PNG file.
EXIF_TEXT, XMP_TEXT = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
#: Lines of an EXIF text before its hexadecimal digits.
EXIF_TEXT_HEAD = 3
ORIENTATION_TAG = 0x0112
#: Entries of an EXIF table that are looked at, bytes of each.
EXIF_ENTRIES, ENTRY_BYTES = 64, 12
#: Bytes of a value by the number of its type; 0 where it is no whole number.
WHOLE_BYTES = (0, 1, 0, 2, 4, 0, 1, 0, 2, 4)
XMP_PATTERN = r"tiff:Orientation[ \t\r\n]*(?:=[ \t\r\n]*[\"']|>)[ \t\r\n]*([1-8])[ \t\r\n]*[\"'<]"
JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# The start of a TIFF file, whose tables may be longer than those of EXIF; the tag of XMP.
_TIFF, _TIFF_ENTRIES, _TIFF_XMP = (b"II", b"MM"), 4096, 700
#: Markers of a JPEG file: pixels, end, and those that no length follows.
JPEG_ENDS, JPEG_ALONE = (0xDA, 0xD9), (0x00, 0x01, *range(0xD0, 0xD9))
JPEG_APP1 = 0xE1
JPEG_SCAN, JPEG_END = JPEG_ENDS
# A marker that a length follows, or the end: none can stand within pixels.
_JPEG_MARK = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)
# For applications and comments; those among them that say what the pixels are.
_JPEG_ASIDE, _JPEG_KEPT = (*range(0xE0, 0xF0), 0xFE), (0xE0, 0xEE)
CHUNK_HEAD, CHUNK_FRAME = 8, 12
#: Length and name of the first chunk of a PNG file: libpng takes some others before it.
PNG_FIRST = b"\0\0\0\x0dIHDR"
PNG_KIND, PNG_PALETTE = 25, 3  # the byte that says what kind of colours there are; one of them


class Part(NamedTuple):
    """A piece of a file.

    Args:
        name: of a chunk, or the byte of a marker.
        start: of its content.
        size: of its content.
        end: of the part.
    """

    name: bytes
    start: int
    size: int
    end: int


class Bare(NamedTuple):
    """An image file without its metadata.

    Args:
        content: its bytes; what cannot change a pixel is left out of JPEG and PNG files.
        orientation: 1 to 8, as EXIF counts; 1 too where the format has none.
    """

    content: bytes
    orientation: int


def bare(content: bytes) -> Bare:
    """Take the metadata off an image file.

    Raises:
        ValueError: a compressed text that would say the orientation is damaged; too many chunks or
            scans; another first chunk than that of a PNG file.
    """
    read = {"PNG": _of_png, "JPEG": _of_jpeg, "WEBP": _of_webp, "TIFF": _of_tiff}
    kind = format_of(content)
    return read[kind](content) if kind in read else Bare(content, 1)


def format_of(content: bytes) -> str:
    """The format that a file begins as, in Pillow's words; "" where it is none of these."""
    if content.startswith(PNG):
        return "PNG"
    if content.startswith(JPEG):
        return "JPEG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    if content[:2] in _TIFF and content[2:4] in (b"*\0", b"\0*", b"+\0", b"\0+"):
        return "TIFF"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return ""


def of_exif(block: bytes) -> int:
    """The orientation, 1 to 8, in a block of EXIF; 0 where it states none.

    Source: Exif 2.32, CIPA DC-008-2019, section 4.6.
    """
    block = block[:REGION]
    for _ in range(2):
        block = block.removeprefix(EXIF_MARK)
    if block[:2] not in (b"II", b"MM"):
        return 0
    order = "little" if block[:2] == b"II" else "big"

    def number(place: int, count: int) -> int:
        return int.from_bytes(block[place : place + count].ljust(count, b"\0"), order)  # type: ignore[arg-type]

    table = number(4, 4)
    for entry in range(min(number(table, 2), EXIF_ENTRIES)):
        place = table + 2 + ENTRY_BYTES * entry
        if number(place, 2) != ORIENTATION_TAG or number(place + 4, 4) != 1:
            continue
        kind = number(place + 2, 2)
        size = WHOLE_BYTES[kind] if kind < len(WHOLE_BYTES) else 0
        if 1 <= (value := number(place + 8, size)) <= 8:
            return value
    return 0


def of_exif_text(text: bytes) -> int:
    """The orientation, 1 to 8, in a text of a PNG file that spells EXIF in digits; else 0."""
    digits = b"".join(text[:REGION].split(b"\n")[EXIF_TEXT_HEAD:])
    digits = re.sub(rb"[^0-9a-fA-F]", b"", digits)
    return of_exif(bytes.fromhex(digits[: len(digits) // 2 * 2].decode()))


def of_xmp(text: bytes) -> int:
    """The orientation, 1 to 8, that XMP tells; 0 where it states none."""
    found = re.search(XMP_PATTERN.encode(), text[:REGION])
    return int(found[1]) if found else 0


def _of_jpeg(content: bytes) -> Bare:
    if content.count(bytes([0xFF, JPEG_SCAN])) > MOST_SCANS and _num_scans(content) > MOST_SCANS:
        raise ValueError(f"a JPEG file of more than {MOST_SCANS} scans, the most that are read")
    blocks: dict[bytes, bytes] = {}
    kept, place = [JPEG], len(JPEG)
    for part in _segments(content):
        place = part.end
        name = part.name[0]
        if name in _JPEG_KEPT or name not in _JPEG_ASIDE:
            kept.append(content[part.start - 4 : part.end])
        if name == JPEG_APP1:
            block = content[part.start : part.start + min(part.size, REGION)]
            for mark in (EXIF_MARK, XMP_MARK):
                if block.startswith(mark):
                    blocks.setdefault(mark, block[len(mark) :])
    orientation = of_exif(blocks.get(EXIF_MARK, b"")) or of_xmp(blocks.get(XMP_MARK, b""))
    return Bare(b"".join([*kept, content[place:]]), orientation or 1)


def _num_scans(content: bytes) -> int:
    """Scans before the end of the picture, or more than are allowed."""
    found, place = 0, len(JPEG)
    for _ in range(JPEG_PARTS):
        mark = _JPEG_MARK.search(content, place)
        if mark is None or mark[0][1] == JPEG_END or found > MOST_SCANS:
            return found
        found += mark[0][1] == JPEG_SCAN
        place = mark.end() + max(int.from_bytes(content[mark.end() : mark.end() + 2], "big"), 2)
    return MOST_SCANS + 1


def _segments(content: bytes) -> Iterator[Part]:
    """The parts of a JPEG file before its pixels that have a length."""
    place = len(JPEG)
    for _ in range(JPEG_PARTS):
        if place + 4 > len(content):
            return
        mark, name = content[place], content[place + 1]
        if mark != 0xFF or name == 0xFF:
            place += 1
        elif name in JPEG_ALONE:
            place += 2
        elif name in JPEG_ENDS:
            return
        else:
            size = max(int.from_bytes(content[place + 2 : place + 4], "big"), 2)
            yield Part(bytes([name]), place + 4, size - 2, place + 2 + size)
            place += 2 + size


def _of_png(content: bytes) -> Bare:
    if not content.startswith(PNG_FIRST, len(PNG)):
        raise ValueError("a PNG file that does not begin with its size (IHDR)")
    found: dict[bytes, Part] = {}
    kept, start = [], 0
    for part in _chunks(content):
        name = _meaning(content, part)
        is_kept = name == b"tRNS" and name not in found and _is_in_place(content, part, found)
        if name != b"tRNS" or is_kept:
            found.setdefault(name, part)
        if part.name[:1].islower() and not is_kept:
            kept.append(content[start : part.start - CHUNK_HEAD])
            start = part.end
    return Bare(b"".join([*kept, content[start:]]), _of_chunks(content, found) or 1)


def _is_in_place(content: bytes, part: Part, found: dict[bytes, Part]) -> bool:
    """Whether libpng uses this transparency: before the pixels, after a palette."""
    palette = content[PNG_KIND] == PNG_PALETTE
    return part.size > 0 and b"IDAT" not in found and not (palette and b"PLTE" not in found)


def _meaning(content: bytes, part: Part) -> bytes:
    """The name of a chunk, or the keyword of a text that matters."""
    if part.name in TEXT_CHUNKS:
        for keyword in (EXIF_TEXT, XMP_TEXT):
            if content.startswith(keyword, part.start, part.start + part.size):
                return keyword
    return part.name


def _chunks(content: bytes) -> Iterator[Part]:
    place = len(PNG)
    for _ in range(MOST_PARTS):
        if place + CHUNK_FRAME > len(content):
            return
        size = int.from_bytes(content[place : place + 4], "big")
        part = Part(
            content[place + 4 : place + 8], place + CHUNK_HEAD, size, place + CHUNK_FRAME + size
        )
        if part.end > len(content):
            return
        yield part
        if part.name == b"IEND":
            return
        place = part.end
    if place + CHUNK_FRAME <= len(content):
        raise ValueError(f"a PNG file of more than {MOST_PARTS:,} chunks, the most that are read")


def _of_chunks(content: bytes, found: dict[bytes, Part]) -> int:
    if b"eXIf" in found:
        part = found[b"eXIf"]
        told = of_exif(content[part.start : part.start + min(part.size, REGION)])
        if told:
            return told
    if EXIF_TEXT in found:
        told = of_exif_text(_text(content, found[EXIF_TEXT], EXIF_TEXT))
        if told:
            return told
    if XMP_TEXT in found:
        return of_xmp(_text(content, found[XMP_TEXT], XMP_TEXT))
    return 0


def _text(content: bytes, part: Part, keyword: bytes) -> bytes:
    """The start of what a chunk of text says."""
    body = content[part.start + len(keyword) : part.start + part.size][:REGION]
    packed, method = part.name == b"zTXt", body[:1]
    if part.name == b"zTXt":
        body = body[1:]
    elif part.name == b"iTXt":
        packed, method = body[:1] != b"\0", body[1:2]
        _language, _, body = body[2:].partition(b"\0")
        _keyword, _, body = body.partition(b"\0")
    if not packed:
        return body
    if method != b"\0":
        return b""
    try:
        return zlib.decompressobj().decompress(body[:PACKED_REGION])
    except zlib.error as error:
        name = keyword[:-1].decode()
        raise ValueError(f"its text {name!r}: {error}") from error


def _of_tiff(content: bytes) -> Bare:
    """Also without what Pillow would turn the picture by; the first page, whose table may be long.

    Source: TIFF 6.0, section 2; of BigTIFF, whose numbers are wider, libtiff's description.
    """
    order = "little" if content.startswith(b"II") else "big"

    def number(place: int, count: int) -> int:
        return int.from_bytes(content[place : place + count], order)  # type: ignore[arg-type]

    is_big = 43 in content[2:4]
    wide, counted = (8, 8) if is_big else (4, 2)
    table = number(wide, wide)
    patches, told, text = [], 0, b""
    for entry in range(min(number(table, counted), _TIFF_ENTRIES)):
        place = table + counted + entry * (4 + 2 * wide)
        tag, kind, count = number(place, 2), number(place + 2, 2), number(place + 4, wide)
        value = place + 4 + wide
        if tag == ORIENTATION_TAG:
            size = WHOLE_BYTES[kind] if kind < len(WHOLE_BYTES) and count == 1 else 0
            stated = number(value, size)
            told = told or (stated if 1 <= stated <= 8 else 0)
            patches.append((value, (1).to_bytes(max(size, 1), order)))  # type: ignore[arg-type]
        elif tag == _TIFF_XMP and not text:
            start = value if count <= wide else number(value, wide)
            text = content[start : start + min(count, REGION)]
            patches.append((start, text.replace(b"tiff:Orientation", b"tiff:-----------")))
    if not told and not (told := of_xmp(text)):
        return Bare(content, 1)
    patched = bytearray(content)
    for start, replacement in patches:
        patched[start : start + len(replacement)] = replacement
    return Bare(bytes(patched), told)


def _of_webp(content: bytes) -> Bare:
    blocks: dict[bytes, bytes] = {}
    place = 12
    for _ in range(MOST_PARTS):
        if place + 8 > len(content):
            break
        name, size = content[place : place + 4], content[place + 4 : place + 8]
        length = int.from_bytes(size, "little")
        blocks.setdefault(name, content[place + 8 : place + 8 + min(length, REGION)])
        place += 8 + length + length % 2
    told = of_exif(blocks.get(b"EXIF", b"")) or of_xmp(blocks.get(b"XMP ", b"")) or 1
    return Bare(content, told)
