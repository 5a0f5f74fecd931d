"""Copies of CelebA of every kind, from the same few images; run this file to see what is taken."""

import functools
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kvae.data import celeba
from kvae.data.splits import SPLITS
from kvae.errors import KvaeError

ATTRIBUTES = ["5_o_Clock_Shadow", "Blond_Hair", "Smiling", *(f"Attribute_{i}" for i in range(37))]
# Split numbers by image, out of order on purpose.
PARTITION = {5: 0, 1: 2, 2: 0, 12: 2, 3: 1, 6: 0, 4: 0, 7: 1, 9: 0, 8: 2, 10: 1, 11: 0}
ROWS = {
    split: sorted(number for number, part in PARTITION.items() if part == place)
    for place, split in enumerate(SPLITS)
}
ALIGNED = "img_align_celeba/"
ATTRIBUTE_LIST, PARTITION_LIST = "list_attr_celeba", "list_eval_partition"
QUOTA_PAGE = (
    b"\n<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>"
    + b" " * 2000
    + b"</html>"
)
#: As published work has them: left, top, right, bottom.
BOXES = {
    "center148": (15, 35, 163, 183),
    "center140": (19, 39, 159, 179),
    "nvae148": (15, 40, 163, 188),
    "center128": (25, 45, 153, 173),
}
#: Path -> content.
Tree = dict[str, bytes]


# ---- images and labels -----------------------------------------------------------------------


def picture(number: int, width: int = 178, height: int = 218) -> np.ndarray:
    """Smooth waves and a little noise, different for each number."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width, :1][:2]
    waves = np.sin(x / rng.uniform(5, 20, 3) + rng.uniform(0, 6, 3)) * np.cos(y / 9 + number)
    return np.clip(128 + 90 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)


def encoded(image: np.ndarray, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=90)
    return buffer.getvalue()


@functools.cache
def jpeg(number: int) -> bytes:
    return encoded(picture(number))


@functools.cache
def png(number: int) -> bytes:
    """The decoded JPEG, without loss."""
    return encoded(np.asarray(Image.open(io.BytesIO(jpeg(number)))), "PNG")


def labels_of(number: int) -> np.ndarray:
    return np.random.default_rng(100 + number).integers(0, 2, 40).astype(bool)


def pixels_of(number: int, size: int | None = None, crop: str = "center148") -> np.ndarray:
    """What Pillow makes of the JPEG."""
    image = Image.open(io.BytesIO(jpeg(number))).crop(BOXES[crop])
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR) if size else image)


# ---- the lists -------------------------------------------------------------------------------


def attribute_text(
    numbers=PARTITION, names=ATTRIBUTES, values=("-1", "1"), newline="\r\n", count="12", blank=" "
) -> bytes:
    lines = [count] if count else []
    lines.append(" ".join(names) + " ")
    for number in numbers:
        words = [values[int(v)] for v in labels_of(number)]
        lines.append(blank.join([f"{number:06d}.jpg", *(f"{word:>2}" for word in words)]))
    return (newline.join(lines) + newline).encode()


def one_blank(text: bytes) -> bytes:
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text


def partition_text(partition=PARTITION, newline="\r\n", blank=" ") -> bytes:
    return "".join(
        f"{number:06d}.jpg{blank}{part}{newline}" for number, part in partition.items()
    ).encode()


def attribute_csv(first="image_id", quote="", index=False, values=("-1", "1")) -> bytes:
    rows = [[first, *ATTRIBUTES]] + [
        [f"{number:06d}.jpg", *(values[int(v)] for v in labels_of(number))] for number in PARTITION
    ]
    return _csv(rows, quote, index)


def partition_csv(header=("image_id", "partition"), quote="", index=False) -> bytes:
    rows = [list(header)] + [[f"{n:06d}.jpg", str(part)] for n, part in PARTITION.items()]
    return _csv(rows, quote, index)


def _csv(rows: list[list[str]], quote: str, index: bool) -> bytes:
    if index:
        rows = [["" if i == 0 else str(i - 1), *row] for i, row in enumerate(rows)]
    text = "\n".join(",".join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    return f"{text}\n".encode()


# ---- files -----------------------------------------------------------------------------------


def images(prefix=ALIGNED, numbers=PARTITION) -> Tree:
    return {f"{prefix}{number:06d}.jpg": jpeg(number) for number in numbers}


def lists(attributes=None, partition=None, anno="", evaluation="") -> Tree:
    return {
        f"{anno}{ATTRIBUTE_LIST}.txt": attributes or attribute_text(),
        f"{evaluation}{PARTITION_LIST}.txt": partition or partition_text(),
    }


def csv_lists(attributes=None, partition=None) -> Tree:
    return {
        f"{ATTRIBUTE_LIST}.csv": attributes or attribute_csv(),
        f"{PARTITION_LIST}.csv": partition or partition_csv(),
        # Part of Kaggle's archive, of no use here.
        "list_bbox_celeba.csv": b"image_id,x_1,y_1,width,height\n000001.jpg,95,71,226,313\n",
        "list_landmarks_align_celeba.csv": b"image_id,lefteye_x\n000001.jpg,69\n",
    }


def official() -> Tree:
    return images() | lists()


def kaggle(attributes=None, partition=None) -> Tree:
    return images(f"{ALIGNED}{ALIGNED}") | csv_lists(attributes, partition)


def zipped(tree: Tree, compression=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for path, content in tree.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def encrypted(archive: bytes) -> bytes:
    """The zip with the flag of encryption on each member of its directory."""
    content = bytearray(archive)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        at, count = opened.start_dir, len(opened.infolist())
    for _ in range(count):
        assert content[at : at + 4] == b"PK\x01\x02"
        content[at + 8] |= 1
        at += 46 + sum(int.from_bytes(content[at + i : at + i + 2], "little") for i in (28, 30, 32))
    return bytes(content)


def damaged_inside(archive: bytes, path: str) -> bytes:
    """The zip with 20 bytes in the middle of one member overwritten."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        info = opened.getinfo(path)
    middle = info.header_offset + 30 + len(path) + info.compress_size // 2
    return archive[:middle] + b"\xff" * 20 + archive[middle + 20 :]


def write(folder: Path, tree: Tree) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in tree.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def write_prepared(folder: Path) -> Path:
    """celeb_a as TensorFlow Datasets writes it, the JPEGs unchanged; returns the version's."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({
        "image": tfds.features.Image(shape=(218, 178, 3), encoding_format="jpeg"),
        "landmarks": {"nose_x": tf.int64},
        "attributes": {name: tf.bool for name in ATTRIBUTES},
    })  # fmt: skip
    version = write(folder / "celeb_a" / "2.1.0", {})
    identity = tfds.core.dataset_info.DatasetIdentity("celeb_a", "2.1.0", str(version), "")
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=4)
    for own, split in (("train", "train"), ("validation", "valid"), ("test", "test")):
        writer.initialize_splits([own])
        examples = [
            {
                "image": jpeg(number),
                "landmarks": {"nose_x": number},
                "attributes": dict(zip(ATTRIBUTES, labels_of(number).tolist(), strict=True)),
            }
            for number in reversed(ROWS[split])
        ]
        writer.add_examples({own: examples})
    writer.close_all()
    return version


def parquet_table(numbers: list[int]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.array(
        [{"bytes": jpeg(number), "path": f"{number:06d}.jpg"} for number in numbers],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    labels = np.array([labels_of(number) for number in numbers]).T
    columns = {"image": image, "celeb_id": pa.array(numbers, pa.int64())} | {
        name: pa.array(column) for name, column in zip(ATTRIBUTES, labels, strict=True)
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def parquet_files() -> Tree:
    train, valid, test = ROWS.values()
    return {
        "README.md": b"---\ndataset_info:\n",
        "data/train-00000-of-00002.parquet": parquet_table(train[:2]),
        "data/train-00001-of-00002.parquet": parquet_table(train[2:]),
        "data/validation-00000-of-00001.parquet": parquet_table(valid),
        "data/test-00000-of-00001.parquet": parquet_table(test),
    }


def damaged_column(table: bytes, name: str) -> bytes:
    """The parquet file with the first 20 bytes of a column overwritten."""
    import pyarrow.parquet as pq

    group = pq.ParquetFile(io.BytesIO(table)).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    column = next(one for one in columns if one.path_in_schema.split(".")[0] == name)
    at = column.dictionary_page_offset or column.data_page_offset
    return table[:at] + b"\xff" * 20 + table[at + 20 :]


# ---- the table -------------------------------------------------------------------------------


class Case(NamedTuple):
    """One kind of copy.

    Args:
        name: for people.
        build: makes it below an empty folder, and returns what is given as data_dir.
        expected: the layout that is recognised, or a regular expression for the message.
        options: for `celeba.load`.
    """

    name: str
    build: Callable[[Path], Path]
    expected: str
    options: dict[str, Any] = {}  # noqa: RUF012


def _folder(tree: Callable[[], Tree], below: str = "") -> Callable[[Path], Path]:
    return lambda folder: write(folder / "copy", tree()) / below


def _file(name: str, content: Callable[[], bytes]) -> Callable[[Path], Path]:
    return lambda folder: write(folder, {name: content()}) / name


def _lists_case(name: str, attributes=None, partition=None) -> Case:
    """Variants of the lists of the official folder."""
    return Case(
        f"lists: {name}", _folder(lambda: images() | lists(attributes, partition)),
        "official (folder)",
    )  # fmt: skip


def _csv_case(name: str, attributes=None, partition=None) -> Case:
    return Case(f"lists: {name}", _folder(lambda: kaggle(attributes, partition)), "Kaggle (folder)")


def _prepared(below: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        write_prepared(folder)
        return folder / below

    return build


def _prepared_beside_downloads(folder: Path) -> Path:
    write_prepared(folder)
    other = zipped({"000001.jpg": encoded(picture(1, 32, 32))})
    return write(folder, {"downloads/one.zip": other, "downloads/two.zip": other})


def _prepared_twice(folder: Path) -> Path:
    versions = write_prepared(folder).parent
    write(versions, {"2.0.1/dataset_info.json": b"{}"})
    return versions


def _two_copies(emptier: str) -> Tree:
    """The official folder, and fewer, other pictures in a second one."""
    other = encoded(picture(99))
    return official() | {f"{emptier}{ALIGNED}{number:06d}.jpg": other for number in (1, 2, 3, 5)}


_TFDS = "TensorFlow Datasets, celeb_a/2.1.0"
_MAC = {"__MACOSX/img_align_celeba/._000001.jpg": b"\0\5\x16\7", ".DS_Store": b"\0\0\0\1Bud1"}

ACCEPTED = [
    Case("official folder", _folder(official), "official (folder)"),
    Case("official folder with identities, boxes and hidden files",
         _folder(lambda: official() | _MAC | {"identity_CelebA.txt": b"000001.jpg 2880\n"}),
         "official (folder)"),
    Case("official zip beside the lists",
         _folder(lambda: lists() | {"img_align_celeba.zip": zipped(images())}), "official (zip)"),
    Case("official zip beside the lists and other zips",
         _folder(lambda: lists() | {"img_align_celeba.zip": zipped(images()),
                                    "img_align_celeba_png.zip": zipped({}), "a.zip": zipped({})}),
         "official (zip)"),
    Case("official zip beside the lists and a stray picture",
         _folder(lambda: lists() | {"img_align_celeba.zip": zipped(images()),
                                    "overview.png": png(1)}), "official (zip)"),
    Case("official zip packed by a Mac", _file("celeba.zip", lambda: zipped(official() | _MAC)),
         "official (zip)"),
    Case("zip and extracted folder",
         _folder(lambda: official() | {"img_align_celeba.zip": zipped(images(numbers=[1]))}),
         "official (folder)"),
    Case("Img, Anno, Eval",
         _folder(lambda: images(f"Img/{ALIGNED}") | lists(anno="Anno/", evaluation="Eval/")),
         "Img, Anno, Eval (folder)"),
    Case("Img, Anno, Eval, the zip in Img",
         _folder(lambda: {"Img/img_align_celeba.zip": zipped(images())}
                 | lists(anno="Anno/", evaluation="Eval/")), "Img, Anno, Eval (zip)"),
    Case("Kaggle archive.zip", _file("archive.zip", lambda: zipped(kaggle())), "Kaggle (zip)"),
    Case("Kaggle archive.zip, compressed",
         _file("archive.zip", lambda: zipped(kaggle(), zipfile.ZIP_DEFLATED)), "Kaggle (zip)"),
    Case("Kaggle extracted", _folder(kaggle), "Kaggle (folder)"),
    Case("Kaggle archive.zip in a folder", _folder(lambda: {"archive.zip": zipped(kaggle())}),
         "Kaggle (zip)"),
    Case("torchvision, the root",
         _folder(lambda: {f"celeba/{path}": content for path, content in official().items()}),
         "torchvision (folder)"),
    Case("torchvision, the root, images in the zip",
         _folder(lambda: {f"celeba/{path}": content for path, content in lists().items()}
                 | {"celeba/img_align_celeba.zip": zipped(images())}), "torchvision (zip)"),
    Case("torchvision, its folder celeba",
         _folder(lambda: {f"celeba/{path}": content for path, content in official().items()},
                 "celeba"), "official (folder)"),
    Case("an emptier copy above", _folder(lambda: _two_copies("A/")), "official (folder)"),
    Case("an emptier copy below", _folder(lambda: _two_copies("z/")), "official (folder)"),
    Case("PNG copies", _folder(lambda: lists() | {f"img_align_celeba_png/{number:06d}.png":
                                                  png(number) for number in PARTITION}),
         "official (folder)"),
    Case("JPEGs and PNGs in one folder, the JPEGs count",
         _folder(lambda: official() | {f"{ALIGNED}000002.png": encoded(picture(99), "PNG")}),
         "official (folder)"),
    Case("upper case JPEG names",
         _folder(lambda: lists() | {f"{ALIGNED}{number:06d}.JPG": jpeg(number)
                                    for number in PARTITION}), "official (folder)"),
    Case("TensorFlow Datasets, above celeb_a", _prepared(""), _TFDS),
    Case("TensorFlow Datasets, the version's folder", _prepared("celeb_a/2.1.0"), _TFDS),
    Case("TensorFlow Datasets, the folder of its versions", _prepared_twice, _TFDS),
    Case("TensorFlow Datasets, beside downloaded zips", _prepared_beside_downloads, _TFDS),
    Case("parquet files", _folder(parquet_files), "parquet"),
    Case("images without lists", _folder(lambda: images("")), "images without lists (folder)"),
    Case("images without lists, a zip", _file("faces.zip", lambda: zipped(images(""))),
         "images without lists (zip)"),
    Case("celeba_gan of keras.io", _folder(lambda: images(f"celeba_gan/{ALIGNED}")),
         "images without lists (folder)"),
    _lists_case("LF", attribute_text(newline="\n"), partition_text(newline="\n")),
    _lists_case("values 0 and 1", attribute_text(values=("0", "1"))),
    _lists_case("one blank", one_blank(attribute_text())),
    _lists_case("two blanks, tabs", attribute_text(blank="  "), partition_text(blank="\t")),
    _lists_case("no blank after the names", attribute_text().replace(b" \r\n", b"\r\n")),
    _lists_case("a count that lies", attribute_text(count="202599")),
    _lists_case("no count", attribute_text(count="")),
    _lists_case("byte order marks", b"\xef\xbb\xbf" + attribute_text(),
                b"\xef\xbb\xbf" + partition_text()),
    _lists_case("blank lines", b"\r\n" + attribute_text().replace(b"\r\n", b"\r\n\r\n") + b"\r\n",
                b"\r\n" + partition_text(newline="\r\n\r\n") + b"\r\n"),
    _lists_case("no line break at the end", attribute_text().strip(), partition_text().strip()),
    _lists_case("an image twice in one split",
                partition=partition_text() + b"000002.jpg 0\r\n"),
    _csv_case("CSV, first column unnamed", attribute_csv(first=""),
              partition_csv(header=("", "partition"))),
    _csv_case("CSV, header id,partition", partition=partition_csv(header=("id", "partition"))),
    _csv_case("CSV, quoted cells", attribute_csv(quote='"'), partition_csv(quote='"')),
    _csv_case("CSV, index column in front", attribute_csv(index=True), partition_csv(index=True)),
    _csv_case("CSV, values 0 and 1, CRLF, byte order mark",
              b"\xef\xbb\xbf" + attribute_csv(values=("0", "1")).replace(b"\n", b"\r\n"),
              b"\xef\xbb\xbf" + partition_csv().replace(b"\n", b"\r\n")),
]  # fmt: skip


def _refused_list(name: str, expected: str, attributes=None, partition=None) -> Case:
    return Case(
        f"lists: {name}", _folder(lambda: images() | lists(attributes, partition)), expected
    )


def _refused_image(name: str, expected: str, content: Callable[[], bytes]) -> Case:
    return Case(name, _folder(lambda: official() | {f"{ALIGNED}000007.jpg": content()}), expected)


def _refused_option(expected: str, **options: Any) -> Case:
    (name,) = options
    return Case(f"option {name} {options[name]!r}", _folder(official), expected, options)


def _damaged_parquet(column: str) -> Tree:
    tree, path = parquet_files(), "data/train-00001-of-00002.parquet"
    return tree | {path: damaged_column(tree[path], column)}


def _empty(folder: Path) -> Path:
    return write(folder / "copy", {})


def _of_size(width: int, height: int) -> Callable[[], bytes]:
    return lambda: encoded(picture(7, width, height))


_WANTED = "wanted the official folder or img_align_celeba.zip .* parquet files"
_AGAIN = "is a web page: Google Drive .*quota.* delete the file and download it again"
_OTHER = partition_text() + b"000009.jpg 1\r\n"
_NO_VALID = {number: 2 if part == 1 else part for number, part in PARTITION.items()}
_ABSENT = [number for number in PARTITION if number != 3]

REFUSED = [
    Case("nothing of this name", lambda folder: folder / "absent",
         f"--data-dir .*absent: no such file or folder; {_WANTED}"),
    Case("an empty folder", _empty, f"copy holds no images of CelebA: {_WANTED}; it holds nothing"),
    Case("a folder of unrelated files",
         _folder(lambda: {"notes/a.txt": b"a", "b.csv": b"b\n1\n"}),
         f"copy holds no images of CelebA: {_WANTED}; it holds b.csv, notes/a.txt"),
    Case("a folder of other pictures",
         _folder(lambda: {f"cat{i}.jpg": encoded(picture(i, 60, 40)) for i in range(12)}),
         r"cat\d+.jpg is 60x40: .*178x218"),
    Case("the lists without images", _folder(lists), "copy holds no images of CelebA"),
    Case("a text file", _file("celeba.txt", lambda: b"to do: download"),
         "celeba.txt is neither a folder nor a zip"),
    Case("a zip of unrelated files", _file("notes.zip", lambda: zipped({"a.txt": b"a"})),
         "notes.zip holds no images of CelebA.*it holds a.txt"),
    Case("a zip of parquet files", _file("hf.zip", lambda: zipped({"train.parquet": b"PAR1"})),
         "hf.zip holds TFRecords or parquet files: unpack it"),
    Case("a zip of unrelated files in a folder",
         _folder(lambda: lists() | {"notes.zip": zipped({"a.txt": b"a"})}),
         "notes.zip holds no images"),
    Case("several zips", _folder(lambda: {"a.zip": zipped(kaggle()), "b.zip": zipped({})}),
         r"copy holds 2 zips \(a.zip, b.zip\): give one as --data-dir"),
    Case("a web page for the zip", _file("img_align_celeba.zip", lambda: QUOTA_PAGE),
         f"img_align_celeba.zip {_AGAIN}"),
    Case("a web page for the zip beside the lists",
         _folder(lambda: lists() | {"img_align_celeba.zip": QUOTA_PAGE}),
         f"img_align_celeba.zip {_AGAIN}"),
    Case("a zip cut short", _file("archive.zip", lambda: zipped(kaggle())[:-5000]),
         "archive.zip is not a zip, or is cut short: download it again"),
    Case("an empty file for the zip", _file("archive.zip", lambda: b""),
         "archive.zip is not a zip, or is cut short: download it again"),
    Case("a zip with an image damaged inside",
         _file("a.zip", lambda: damaged_inside(zipped(official()), f"{ALIGNED}000007.jpg")),
         "a.zip, img_align_celeba/000007.jpg is damaged.*of 12 images 0 may be unreadable"),
    Case("a compressed zip with an image damaged inside",
         _file("a.zip", lambda: damaged_inside(zipped(official(), zipfile.ZIP_DEFLATED),
                                               f"{ALIGNED}000007.jpg")),
         "a.zip, img_align_celeba/000007.jpg is damaged.*of 12 images 0 may be unreadable"),
    Case("a zip with a list damaged inside",
         _file("a.zip", lambda: damaged_inside(zipped(official()), f"{PARTITION_LIST}.txt")),
         "a.zip, list_eval_partition.txt is damaged"),
    Case("a compressed zip with a list damaged inside",
         _file("a.zip", lambda: damaged_inside(zipped(official(), zipfile.ZIP_DEFLATED),
                                               f"{PARTITION_LIST}.txt")),
         "a.zip, list_eval_partition.txt is damaged"),
    Case("an encrypted zip", _file("archive.zip", lambda: encrypted(zipped(kaggle()))),
         "archive.zip is encrypted: unpack it and give the folder"),
    Case("a zip with a path that climbs out",
         _file("archive.zip", lambda: zipped(kaggle() | {"../000013.jpg": jpeg(13)})),
         r"archive.zip holds '../000013.jpg', a path that leads out of it"),
    Case("a zip with an absolute path",
         _file("archive.zip", lambda: zipped(kaggle() | {"/tmp/000013.jpg": jpeg(13)})),
         "archive.zip holds '/tmp/000013.jpg', a path that leads out of it"),
    Case("too few images without lists", _folder(lambda: images(numbers=range(1, 10))),
         "copy: 10 images at least are needed to draw a split .*random 80/10/10.* found 9"),
    Case("a web page for a parquet file", _file("train.parquet", lambda: QUOTA_PAGE),
         "train.parquet is not a parquet file, or damaged"),
    Case("a parquet file with images damaged inside", _folder(lambda: _damaged_parquet("image")),
         "train-00001-of-00002.parquet is damaged: "),
    Case("a parquet file with labels damaged inside", _folder(lambda: _damaged_parquet("Smiling")),
         "train-00001-of-00002.parquet is damaged: "),
    Case("few parquet files, none of the test split",
         _folder(lambda: {path: content for path, content in parquet_files().items()
                          if "test" not in path}),
         "copy: 10 images at least are needed to draw a split .*valid a random tenth.* found 6"),
    Case("parquet files of which one has no split in its name",
         _folder(lambda: parquet_files() | {"data/more.parquet": parquet_table([1])}),
         "the paths of some parquet files hold .*others do not: data/more.parquet"),
    _refused_list("a web page for the attributes", f"list_attr_celeba.txt {_AGAIN}",
                  attributes=QUOTA_PAGE),
    _refused_list("a web page for the partition", f"list_eval_partition.txt {_AGAIN}",
                  partition=QUOTA_PAGE),
    _refused_list("a partition with a 3",
                  "list_eval_partition.txt, line 13: .*0, 1 or 2, received '000013.jpg 3'",
                  partition=partition_text() + b"000013.jpg 3\r\n"),
    _refused_list("a partition without its second column",
                  "list_eval_partition.txt, line 1: .*received '000005.jpg'",
                  partition=partition_text().replace(b" 0", b"")),
    _refused_list("an image in two splits",
                  "list_eval_partition.txt, line 13: 000009.jpg is in another split further up",
                  partition=_OTHER),
    _refused_list("a partition of other images",
                  "none of the 1 images in list_eval_partition.txt is in",
                  partition=b"000099.jpg 0\n"),
    _refused_list("a partition without lines",
                  "none of the 0 images in list_eval_partition.txt is in", partition=b"\n"),
    _refused_list("a split left empty",
                  "the valid split is empty: list_eval_partition.txt gives no image .*number 1",
                  partition=partition_text(_NO_VALID)),
    _refused_list("39 attribute names", "40 different attribute names .*received 39",
                  attributes=attribute_text(names=ATTRIBUTES[:-1])),
    _refused_list("an attribute name twice", "40 different attribute names .*received 39",
                  attributes=attribute_text(names=[*ATTRIBUTES[:-1], ATTRIBUTES[0]])),
    _refused_list("no attribute names", "40 different attribute names .*received 0",
                  attributes=attribute_text(names=[])),
    _refused_list("an attribute with the value 2",
                  "list_attr_celeba.txt, line 3: .*40 values -1 or 1, received '000005.jpg",
                  attributes=attribute_text(values=("-1", "2"))),
    _refused_list("an attribute list cut short",
                  "list_attr_celeba.txt, line 14: .*40 values -1 or 1, received '000011.jpg",
                  attributes=attribute_text()[:-20]),
    _refused_list("an image without attributes",
                  "list_attr_celeba.txt: 1 images of 12 are not in the list, the first is 000003",
                  attributes=attribute_text(numbers=_ABSENT)),
    _refused_list("an attribute list without images",
                  "list_attr_celeba.txt: no line has an image's name and 40 values",
                  attributes=attribute_text(numbers=[])),
    _refused_image("an image of 64x64",
                   "000007.jpg is 64x64: the crop center148 is for .*178x218", _of_size(64, 64)),
    _refused_image("an image in the wild", "000007.jpg is 409x687: .*178x218", _of_size(409, 687)),
    _refused_image("an image one row short", "000007.jpg is 178x217: .*178x218",
                   _of_size(178, 217)),
    _refused_image("an image cut short", "000007.jpg is damaged: ", lambda: jpeg(7)[:-200]),
    _refused_image("an image filled up with zeros",
                   "000007.jpg is damaged: its end is filled with zeros",
                   lambda: jpeg(7)[: len(jpeg(7)) * 9 // 10].ljust(len(jpeg(7)), b"\0")),
    _refused_image("an empty image", "000007.jpg is empty", lambda: b""),
    _refused_image("a web page for an image", "000007.jpg is a web page, not an image",
                   lambda: QUOTA_PAGE),
    _refused_image("a text for an image", "000007.jpg is not an image of a known format",
                   lambda: b"see 000008.jpg"),
    _refused_option("--crop takes center, .*center148, .*received 'center150'", crop="center150"),
    _refused_option("--crop takes .*received '30,0,20,10'", crop="30,0,20,10"),
    _refused_option("the crop 0,0,200,200 reaches beyond it", crop="0,0,200,200"),
    _refused_option("--image-size must be 8 to 512, received 7", image_size=7),
    _refused_option("--image-size must be 8 to 512, received 513", image_size=513),
    _refused_option("--channels must be 1 or 3, received 2", channels=2),
    _refused_option("--max-unreadable is a part, 0 to 1: received 1.5", max_unreadable=1.5),
    _refused_option("--max-unreadable is a part, 0 to 1: received -0.1", max_unreadable=-0.1),
]  # fmt: skip


# ---- checksums -------------------------------------------------------------------------------


def checksum(pixels: np.ndarray, labels: np.ndarray) -> str:
    """Of one split, whatever the order of its rows.

    Args:
        pixels: `(rows, ...)`.
        labels: `(rows, any)`, bool.
    """
    rows = zip(pixels, labels, strict=True)
    digests = sorted(hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest() for x, y in rows)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def label_table(split) -> np.ndarray:
    """The 40 labels of a split's rows, in the order of ATTRIBUTES."""
    return np.stack([split.labels[name] for name in ATTRIBUTES], axis=1)


def main() -> None:
    for title, cases in (("accepted", ACCEPTED), ("refused", REFUSED)):
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                data_dir = case.build(Path(folder))
                try:
                    with redirect_stderr(io.StringIO()):
                        card = celeba.load(data_dir=str(data_dir), cache=False, **case.options).card
                    found, text = "accepted", card["source"]["layout"]
                except KvaeError as error:
                    found, text = "refused", str(error).replace(folder, "...")[:150]
            surprise = "" if found == title else "  (a surprise)"
            print(f"{case.name:<60} {found:<9} {text}{surprise}", flush=True)


if __name__ == "__main__":
    main()
