"""Image files of odd kinds: what they say of orientation, and where; damaged, padded, repeated.

Every file that a server reads is of one picture, upright or turned, or says how it is wrong.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from png_testing import GREY, PALETTE, RGB, RGB_ALPHA, chunk, png

WIDTH, HEIGHT = 40, 24
ORIENTATION = 0x0112
BYTE, SHORT, LONG = 1, 3, 4


def picture():
    """Slopes of colour that survive lossy compression; no two orientations of it are alike."""
    x, y = np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT)[:, None]
    return np.stack([x + 0 * y, 0 * x + y, (x + y) / 2], axis=-1).astype(np.uint8)


def written(image, kind, **options):
    """The bytes of a file that Pillow writes."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def exif(value, order=">", kind=SHORT, *, count=1, before=(), extra=b"", entries=None):
    """A block of EXIF without its mark, with one entry of the orientation.

    Args:
        value: of the orientation.
        order: "<" low byte first, ">" high byte first.
        kind: number of the value's type.
        count: of values that the entry claims.
        before: tags of entries in front of it.
        extra: bytes behind the table.
        entries: how many the table claims; None: the true number.
    """
    letter = {BYTE: "B", SHORT: "H", LONG: "L"}.get(kind, "H")
    field = struct.pack(order + letter, value).ljust(4, b"\0")
    rows = [struct.pack(order + "HHLL", tag, LONG, 1, 7) for tag in before]
    rows.append(struct.pack(order + "HHL", ORIENTATION, kind, count) + field)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 8)
    table = struct.pack(order + "H", len(rows) if entries is None else entries)
    return head + table + b"".join(rows) + bytes(4) + extra


def xmp(value, form='tiff:Orientation="{}"'):
    """XMP that says an orientation, in one of its forms."""
    return (
        b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
        + form.format(value).encode()
        + b"></rdf:Description></rdf:RDF></x:xmpmeta>"
    )


FORMS = {
    "attribute": 'tiff:Orientation="{}"',
    "single quotes": "tiff:Orientation='{}'",
    "spaces": 'tiff:Orientation = "{}"',
    "element": "><tiff:Orientation>{}</tiff:Orientation",
}


def jpeg_with(*segments, image=None, quality=95, **options):
    """A JPEG file with segments (marker, content) behind its start."""
    content = written(picture() if image is None else image, "JPEG", quality=quality, **options)
    inner = b"".join(
        mark if isinstance(mark, bytes) else
        bytes([0xFF, mark]) + struct.pack(">H", len(body) + 2) + body
        for mark, body in segments
    )  # fmt: skip
    return content[:2] + inner + content[2:]


def png_with(*chunks, behind=(), **options):
    """A PNG file with chunks in front of its pixels, and behind them."""
    content = written(picture(), "PNG", **options)
    for name, inner in ((b"IDAT", chunks), (b"IEND", behind)):
        at = content.index(name) - 4
        content = content[:at] + b"".join(chunk(*one) for one in inner) + content[at:]
    return content


APP1, APP2, COMMENT = 0xE1, 0xE2, 0xFE
MARK, XMP_MARK = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
RAW, XMP_WORD = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"


def raw_profile(block, width=72):
    """EXIF as hexadecimal digits, as ImageMagick writes it."""
    digits = (MARK + block).hex()
    lines = [digits[i : i + width] for i in range(0, len(digits), width)]
    head = f"\nexif\n{len(block) + 6:8}\n"
    return (head + "\n".join(lines) + "\n").encode()


def text(keyword, body):
    """A chunk of text as it is."""
    return (b"tEXt", keyword + body)


def packed(keyword, body, method=0):
    """A chunk of compressed text."""
    return (b"zTXt", keyword + bytes([method]) + zlib.compress(body))


def long_text(keyword, body, *, compressed=False, language=b"", translated=b""):
    """A chunk of international text."""
    head = bytes([compressed, 0]) + language + b"\0" + translated + b"\0"
    return (b"iTXt", keyword + head + (zlib.compress(body) if compressed else body))


def turned():
    """Name -> a JPEG or PNG file, and the orientation that its pixels are to be read in."""
    files = {}
    for order in "<>":
        for kind in (BYTE, SHORT, LONG):
            value = 3 + kind
            block = exif(value if value < 9 else 8, order, kind)
            files[f"JPEG, EXIF type {kind}, {order}"] = jpeg_with((APP1, MARK + block)), value
            files[f"PNG, eXIf type {kind}, {order}"] = png_with((b"eXIf", block)), value
        files[f"PNG, eXIf behind its pixels, {order}"] = (
            png_with(behind=[(b"eXIf", exif(6, order))]), 6,
        )  # fmt: skip
        files[f"PNG, zTXt profile, {order}"] = (
            png_with(packed(RAW, raw_profile(exif(8, order)))), 8,
        )  # fmt: skip
    for value in range(1, 9):
        files[f"JPEG, EXIF {value}"] = jpeg_with((APP1, MARK + exif(value))), value
        files[f"PNG, eXIf {value}"] = png_with((b"eXIf", exif(value))), value
        files[f"JPEG, XMP {value}"] = jpeg_with((APP1, XMP_MARK + xmp(value))), value
        files[f"PNG, XMP {value}"] = png_with(long_text(XMP_WORD, xmp(value))), value
        files[f"PNG, tEXt profile {value}"] = png_with(text(RAW, raw_profile(exif(value)))), value
    for name, form in FORMS.items():
        files[f"JPEG, XMP as {name}"] = jpeg_with((APP1, XMP_MARK + xmp(6, form))), 6
        files[f"PNG, XMP as {name}"] = png_with(long_text(XMP_WORD, xmp(6, form))), 6
    six, three = exif(6), exif(3)
    large = bytes(60_000)
    files |= {
        "JPEG, EXIF before XMP": (
            jpeg_with((APP1, XMP_MARK + xmp(3)), (APP1, MARK + six)), 6,
        ),
        "JPEG, XMP where EXIF tells none": (
            jpeg_with((APP1, MARK + exif(0)), (APP1, XMP_MARK + xmp(6))), 6,
        ),
        "JPEG, the first EXIF": (jpeg_with((APP1, MARK + six), (APP1, MARK + three)), 6),
        "JPEG, the first XMP": (
            jpeg_with((APP1, XMP_MARK + xmp(6)), (APP1, XMP_MARK + xmp(3))), 6,
        ),
        "JPEG, EXIF behind 240 kB": (
            jpeg_with(*[(APP2, b"ICC_PROFILE\0\1\4" + large)] * 4, (APP1, MARK + six)), 6,
        ),
        "JPEG, Exif in a colour profile": (
            jpeg_with((APP2, b"ICC_PROFILE\0\1\1" + MARK + six)), 1,
        ),
        "JPEG, Exif in a comment": (jpeg_with((COMMENT, MARK + six)), 1),
        "JPEG, Exif in a comment before EXIF": (
            jpeg_with((COMMENT, MARK + three), (APP1, MARK + six)), 6,
        ),
        "JPEG, Exif in its pixels' end": (jpeg_with() + b"\xff\xe1\0\x40" + MARK + six, 1),
        "JPEG, EXIF marked twice": (jpeg_with((APP1, MARK + MARK + six)), 6),
        "JPEG, other APP1 first": (jpeg_with((APP1, b"FLIR\0" * 40), (APP1, MARK + six)), 6),
        "JPEG, extended XMP": (
            jpeg_with((APP1, b"http://ns.adobe.com/xmp/extension/\0" + xmp(6))), 1,
        ),
        "JPEG, filled markers": (jpeg_with((b"\xff\xff\xff", b""), (APP1, MARK + six)), 6),
        "JPEG, bytes between segments": (
            jpeg_with((COMMENT, b""), (b"\0abc", b""), (APP1, MARK + six)), 6,
        ),
        "JPEG, EXIF of no bytes": (jpeg_with((APP1, MARK)), 1),
        "JPEG, APP1 of no bytes": (jpeg_with((APP1, b""), (APP1, MARK + six)), 6),
        "JPEG, EXIF of neither order": (jpeg_with((APP1, MARK + b"XX" + six[2:])), 1),
        "JPEG, EXIF of mixed order": (jpeg_with((APP1, MARK + b"IM" + six[2:])), 1),
        "JPEG, EXIF of words": (jpeg_with((APP1, MARK + b"no table at all" * 9)), 1),
        "JPEG, XMP of no Latin": (jpeg_with((APP1, XMP_MARK + b"\xff\xfe\0" + xmp(6))), 6),
        "JPEG, XMP that is no XML": (jpeg_with((APP1, XMP_MARK + b"tiff:Orientation")), 1),
        "JPEG, XMP of an orientation that is none": (jpeg_with((APP1, XMP_MARK + xmp(9))), 1),
        "JPEG, XMP of two digits": (jpeg_with((APP1, XMP_MARK + xmp(66))), 1),
        "JPEG, the first XMP that is one": (
            jpeg_with((APP1, XMP_MARK + xmp(0) + xmp(6) + xmp(3))), 6,
        ),
        "JPEG, MPO": (mpo(), 6),
        "JPEG, CMYK": (jpeg_with((APP1, MARK + six), image=colours("CMYK")), 6),
        "JPEG, CMYK without Adobe's mark": (without_adobe(colours("CMYK")), 1),
        "JPEG, grey": (jpeg_with((APP1, MARK + six), image=colours("L")), 6),
        "JPEG, progressive": (jpeg_with((APP1, MARK + six), progressive=True), 6),
        "JPEG, RGB as it is": (jpeg_with((APP1, MARK + six), keep_rgb=True, subsampling=0), 6),
        "PNG, eXIf before the words": (
            png_with(text(RAW, raw_profile(three)), long_text(XMP_WORD, xmp(3)), (b"eXIf", six)), 6,
        ),
        "PNG, words of EXIF before XMP": (
            png_with(long_text(XMP_WORD, xmp(3)), text(RAW, raw_profile(six))), 6,
        ),
        "PNG, XMP where EXIF tells none": (
            png_with((b"eXIf", exif(9)), text(RAW, b"\nexif\n 3\nxyz"),
                     long_text(XMP_WORD, xmp(6))), 6,
        ),
        "PNG, the first eXIf": (png_with((b"eXIf", six), (b"eXIf", three)), 6),
        "PNG, eXIf on both sides": (png_with((b"eXIf", six), behind=[(b"eXIf", three)]), 6),
        "PNG, eXIf that is marked": (png_with((b"eXIf", MARK + six)), 6),
        "PNG, eXIf of no bytes": (png_with((b"eXIf", b"")), 1),
        "PNG, iTXt profile": (png_with(long_text(RAW, raw_profile(six))), 6),
        "PNG, compressed iTXt profile": (
            png_with(long_text(RAW, raw_profile(six), compressed=True)), 6,
        ),
        "PNG, compressed XMP": (png_with(long_text(XMP_WORD, xmp(6), compressed=True)), 6),
        "PNG, XMP of a language": (
            png_with(long_text(XMP_WORD, xmp(6), language=b"en-GB", translated=b"XMP \xc3\xa9")), 6,
        ),
        "PNG, XMP in zTXt": (png_with(packed(XMP_WORD, xmp(6))), 6),
        "PNG, XMP behind its pixels": (png_with(behind=[long_text(XMP_WORD, xmp(6))]), 6),
        "PNG, XMP without its words": (png_with((b"iTXt", XMP_WORD + b"\0\0en")), 1),
        "PNG, XMP far in": (png_with(long_text(XMP_WORD, b" " * 60_000 + xmp(6))), 6),
        "PNG, XMP too far in": (png_with(long_text(XMP_WORD, b" " * 2**17 + xmp(6))), 1),
        "PNG, unknown compression": (png_with(packed(RAW, raw_profile(six), method=1)), 1),
        "PNG, cut compression": (
            png_with((b"zTXt", RAW + b"\0" + zlib.compress(raw_profile(six))[:-6])), 6,
        ),
        "PNG, digits in capitals": (
            png_with(text(RAW, b"\nexif\n 40\n" + six.hex().upper().encode())), 6,
        ),
        "PNG, an odd number of digits": (
            png_with(text(RAW, b"\nexif\n 40\n" + six.hex().encode() + b"0")), 6,
        ),
        "PNG, another profile": (
            png_with(text(b"Raw profile type iptc\0", raw_profile(six))), 1,
        ),
        "PNG, a keyword that goes on": (
            png_with(text(RAW[:-1] + b"2\0", raw_profile(six))), 1,
        ),
        "PNG, many texts": (png_with(*[text(b"Comment\0", b"x")] * 300, (b"eXIf", six)), 6),
        "PNG, a bomb of text": (
            png_with(packed(b"Comment\0", bytes(2**24)), (b"eXIf", six)), 6,
        ),
        "PNG, chunks that nobody knows": (
            png_with((b"teSt", b"eXIf" + six), (b"gAMA", b"\0\0\xb1\x8f"), (b"bKGD", bytes(6))), 1,
        ),
        "PNG, of frames": (frames(), 1),
    }  # fmt: skip
    for name, changes in {
        "of 65 entries": {"before": range(0x0200, 0x0200 + 64)},
        "of 64 entries": {"before": range(0x0200, 0x0200 + 63)},
        "that claims more entries": {"entries": 500},
        "that claims no entries": {"entries": 0},
        "of two values": {"count": 2},
        "of no value": {"count": 0},
        "of text": {"kind": 2},
        "of fractions": {"kind": 5},
        "of an unknown type": {"kind": 77},
        "with a thumbnail": {"extra": written(picture(), "JPEG")},
    }.items():
        block = exif(6, **changes)
        value = (
            6 if name in ("of 64 entries", "that claims more entries", "with a thumbnail") else 1
        )
        files[f"JPEG, EXIF {name}"] = jpeg_with((APP1, MARK + block)), value
        files[f"PNG, eXIf {name}"] = png_with((b"eXIf", block)), value
    for cut in range(0, len(six), 5):
        whole = cut > 19
        files[f"JPEG, EXIF of {cut} bytes"] = jpeg_with((APP1, MARK + six[:cut])), 6 if whole else 1
        files[f"PNG, eXIf of {cut} bytes"] = png_with((b"eXIf", six[:cut])), 6 if whole else 1
    for value in (0, 9, 255, 262, 65535):
        for order in "<>":
            block = exif(value, order)
            files[f"JPEG, EXIF {value}, {order}"] = jpeg_with((APP1, MARK + block)), 1
            files[f"PNG, eXIf {value}, {order}"] = png_with((b"eXIf", block)), 1
    return files


def colours(mode):
    """The picture in another mode."""
    return Image.fromarray(picture()).convert(mode)


def without_adobe(image):
    """A JPEG file of four colours that does not say who wrote it."""
    content = written(image, "JPEG", quality=95)
    at = content.index(b"\xff\xee")
    return content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]


def mpo():
    """Two frames in a file, as some cameras write them."""
    image = Image.fromarray(picture())
    return written(
        image, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))], quality=95,
        exif=MARK + exif(6),
    )  # fmt: skip


def frames():
    """An animated PNG file."""
    image = Image.fromarray(picture())
    return written(image, "PNG", save_all=True, append_images=[Image.new("RGB", image.size)])


def transparencies():
    """Name -> a PNG file whose transparency is repeated or out of its place."""
    rng = np.random.default_rng(0)
    files = {}
    for kind, bits, size, channels in ((GREY, 8, 2, 1), (RGB, 8, 6, 3), (PALETTE, 8, 256, 1)):
        samples = rng.integers(0, 256, (HEIGHT, WIDTH, channels))
        samples[4:9] = samples[0, 0]
        palette = [(b"PLTE", rng.bytes(768))] if kind == PALETTE else []
        key = rng.bytes(256) if kind == PALETTE else samples[0, 0].astype(">u2").tobytes()
        other = bytes(size)
        first, second = (b"tRNS", key), (b"tRNS", other)
        files[f"{kind}, two"] = png(samples, kind, bits, [*palette, first, second])
        files[f"{kind}, an empty one first"] = png(
            samples, kind, bits, [*palette, (b"tRNS", b""), first]
        )
        files[f"{kind}, before the palette"] = png(samples, kind, bits, [first, *palette])
        plain = png(samples, kind, bits, palette)
        at = plain.index(b"IEND") - 4
        files[f"{kind}, behind the pixels"] = plain[:at] + chunk(*first) + plain[at:]
    rgba = rng.integers(0, 256, (HEIGHT, WIDTH, 4))
    files["one beside alpha"] = png(rgba, RGB_ALPHA, 8, [(b"tRNS", bytes(6))])
    return files
