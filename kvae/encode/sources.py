"""Rows to encode: images of a folder or zip, or of parquet, TFRecord, .npy and CSV files, in turn.

Nothing is held but the row that is being made, of a CSV all of its numbers. Every row has a key by
which it is found again: the path below the folder, or "FILE#ROW" with rows counted from 0.
"""

import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae.data.images.decoding import SUFFIXES, Unreadable
from kvae.data.images.files import FileRefused, about_not_read, given_path, open_files
from kvae.data.splits import content_key
from kvae.data.tables.bounds import bound_of
from kvae.data.tables.csv import read_csv
from kvae.data.tables.parquet import is_number
from kvae.encode.wanted import Wanted, checked
from kvae.errors import DataError, UsageError, brief

#: How the names of the files end that hold many rows.
TABLES = (".parquet", ".tfrecord", ".tfrecords", ".npy", ".csv", ".tsv")
_SHARD = re.compile(r"-\d+-of-\d+$")
_IMAGE_FEATURES = ("image/encoded", "image", "image_raw", "image_bytes")
_PARQUET_ROWS, _PARQUET_BYTES = 256, 2**20


class Row(NamedTuple):
    """One row, before anything expensive is done.

    Args:
        key: by which it is found again.
        x: gives it: uint8 or float32 of the model's shape, or raises Unreadable.
    """

    key: str
    x: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Source:
    """Rows in a fixed order.

    Args:
        count: of rows.
        stamp: changes whenever the rows do.
        rows: start -> rows from there on.
    """

    count: int
    stamp: str
    rows: Callable[[int], Iterator[Row]]


def kind_of(name: str) -> str:
    """How a file's name ends, but for the number of a shard: x.tfrecord-00000-of-00010."""
    return Path(_SHARD.sub("", name)).suffix.lower()


def open_source(path: Path, wanted: Wanted) -> Source:
    """Find out what is there.

    Args:
        path: a folder or zip of images, a file of `TABLES`, or a folder of such files of one kind.
        wanted: what the model takes.

    Raises:
        DataError: there is nothing like that, or it cannot be read.
        UsageError: it does not fit the model.
    """
    kinds = f"a folder or zip of images, or a file {', '.join(TABLES)}"
    path = given_path(str(path), kinds, "--input")
    if path.is_file() and kind_of(path.name) in TABLES:
        return _of_tables([path], path.parent, wanted)
    if path.is_file() and not zipfile.is_zipfile(path):
        raise UsageError(f"{path} is no source of rows: wanted is {kinds}")
    files = open_files(path)
    tables = [] if files.is_zip else [name for name in files.stamps if kind_of(name) in TABLES]
    images = files.with_suffix(*SUFFIXES)
    if tables and not images:
        several = sorted({kind_of(name) for name in tables})
        if len(several) > 1:
            raise DataError(f"{path} holds files of several kinds: {', '.join(several)}; name one")
        return _of_tables([path / name for name in tables], path, wanted)
    others = about_not_read(files.not_read())
    if not images:
        raise DataError(
            f"{path} holds no images ({', '.join(SUFFIXES)}) and no files {', '.join(TABLES)}"
            + "".join(f"; {note}" for note in others)
        )
    wanted.check_files(path)
    for note in others:
        print(f"note: {note}", file=sys.stderr)
    if tables:
        print(f"note: of {path} the images are taken, not {tables[0]}", file=sys.stderr)

    def rows(start: int) -> Iterator[Row]:
        for name in images[start:]:
            yield Row(name, partial(_decoded, wanted, partial(files.read, name)))

    return Source(len(images), content_key([name, *files.stamps[name]] for name in images), rows)


def _decoded(wanted: Wanted, content: Callable[[], bytes]) -> np.ndarray:
    try:
        return wanted.decode(content())
    except zipfile.BadZipFile as error:
        raise Unreadable(f"is damaged: {error}") from error
    except FileRefused as error:
        raise Unreadable(str(error)) from error


def _of_tables(paths: list[Path], root: Path, wanted: Wanted) -> Source:
    openers = {".parquet": _parquet, ".npy": _npy, ".csv": _text, ".tsv": _text}
    open_one = openers.get(kind_of(paths[0].name), _tfrecord)
    names = [path.relative_to(root).as_posix() for path in paths]
    opened = [open_one(path, wanted) for path in paths]
    if not sum(count for count, _ in opened):
        raise DataError(f"{', '.join(map(str, paths[:3]))}: no rows")

    def rows(start: int) -> Iterator[Row]:
        for name, (count, rows_of) in zip(names, opened, strict=True):
            if start < count:
                for index, x in enumerate(rows_of(start), start):
                    yield Row(f"{name}#{index}", x)
            start = max(0, start - count)

    stamps = [(name, path.stat()) for name, path in zip(names, paths, strict=True)]
    return Source(
        sum(count for count, _ in opened),
        content_key([name, status.st_size, status.st_mtime_ns] for name, status in stamps),
        rows,
    )


_Opened = tuple[int, Callable[[int], Iterator[Callable[[], np.ndarray]]]]


def _npy(path: Path, wanted: Wanted) -> _Opened:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no .npy file of numbers, or damaged: {error}") from error
    if array.shape[1:] != wanted.shape or array.dtype.kind not in "biuf":
        raise UsageError(
            f"{path} must hold numbers of shape (rows, {', '.join(map(str, wanted.shape))}), "
            f"holds {array.dtype} of {array.shape}"
        )

    def rows(start: int) -> Iterator[Callable[[], np.ndarray]]:
        for index in range(start, len(array)):
            yield partial(checked, np.array(array[index]), wanted)

    return len(array), rows


def _text(path: Path, wanted: Wanted) -> _Opened:
    """A table of text, whose numbers are read as training reads them; other columns are ignored."""
    if wanted.images:
        raise UsageError(
            f"{path} holds rows of numbers, but the model takes images of shape {wanted.shape}"
        )
    try:
        table = read_csv(path, "", bound_of(path, None))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    names = [str(name) for name in table.columns]
    if wanted.columns:
        if {*wanted.columns} - {*names}:
            raise _lacking(path, wanted, names, names)
        x = table.x[:, [names.index(name) for name in wanted.columns]]
    elif len(names) == wanted.shape[0]:
        x = table.x
    else:
        raise UsageError(
            f"{path} must have {wanted.shape[0]} columns, as many as the model takes: found "
            f"{len(names)}, {_some(names)}"
        )

    def rows(start: int) -> Iterator[Callable[[], np.ndarray]]:
        for index in range(start, len(x)):
            yield partial(checked, x[index], wanted)

    return len(x), rows


def _lacking(
    path: Path, wanted: Wanted, numbers: Sequence[str], found: Sequence[str]
) -> UsageError:
    """Say which columns of the model a table has not."""
    lacking = [name for name in wanted.columns if name not in numbers]
    return UsageError(
        f"{path} must have the columns of numbers that the model was trained on, "
        f"{_some(wanted.columns)}: it has no {_some(lacking)}; found {_some(found)}"
    )


def _parquet(path: Path, wanted: Wanted) -> _Opened:
    import pyarrow.parquet as pq

    try:
        # Whole columns of a row group would be held else, and a file may have one group alone.
        table = pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a parquet file, or damaged: {error}") from error
    columns, make = _columns(path, table, wanted)

    def rows(start: int) -> Iterator[Callable[[], np.ndarray]]:
        group, skipped = 0, 0
        while group < table.num_row_groups:
            own = table.metadata.row_group(group).num_rows
            if skipped + own > start:
                break
            skipped, group = skipped + own, group + 1
        groups = list(range(group, table.num_row_groups))
        skip = start - skipped
        for batch in _batches(path, table, list(dict.fromkeys(columns)), row_groups=groups):
            places = _places(columns, batch.schema.names)
            for index in range(min(skip, len(batch)), len(batch)):
                yield partial(make, [batch.column(place)[index].as_py() for place in places])
            skip = max(0, skip - len(batch))

    return table.metadata.num_rows, rows


def _batches(path: Path, table: Any, columns: list[str], **which: Any) -> Iterator[Any]:
    try:
        yield from table.iter_batches(_PARQUET_ROWS, columns=columns, **which)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def _places(columns: Sequence[str], found: Sequence[str]) -> list[int]:
    """Where columns stand; of those of one name the first, then the second, as they are named."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(found):
        places.setdefault(name, []).append(place)
    return [places[name].pop(0) for name in columns]


def _alone(path: Path, schema: Any, columns: Sequence[str]) -> list[str]:
    """Columns that are told by their names; UsageError where two have one of them."""
    for name in columns:
        if schema.names.count(name) > 1:
            raise UsageError(f"{path}: two columns have the name {brief(name)}: rename one")
    return list(columns)


def _columns(path: Path, table: Any, wanted: Wanted) -> tuple[list[str], Callable[..., Any]]:
    """The columns that hold x, and a function of their values in a row that makes it."""
    schema = table.schema_arrow
    if wanted.images:
        found = [field.name for field in schema if _holds_files(field.type)]
        named = [name for name in _IMAGE_FEATURES if name in found] or found
        if not named or (len(found) > 1 and named is found):
            raise UsageError(
                f"{path} must have one column of image files, or one called "
                f"{' or '.join(_IMAGE_FEATURES)}: found {', '.join(found) or 'none'} in "
                f"{', '.join(schema.names)}"
            )
        wanted.check_files(path)
        return _alone(path, schema, named[:1]), lambda values: wanted.decode(_bytes_of(values[0]))
    lists = {
        field.name: _length(path, table, field)
        for field in schema
        if _is_list_of_numbers(field.type)
    }
    fitting = [name for name, length in lists.items() if length == wanted.shape[0]]
    numbers = [field.name for field in schema if is_number(field.type)]
    if wanted.columns and not {*wanted.columns} - {*numbers}:
        # By their names, in whichever order the file has them.
        named = _alone(path, schema, wanted.columns)
        return named, lambda values: checked(_numbers(values), wanted)
    if wanted.columns and len(fitting) != 1:
        raise _lacking(path, wanted, numbers, schema.names)
    if len(fitting) != 1 and len(numbers) == wanted.shape[0]:
        return numbers, lambda values: checked(_numbers(values), wanted)
    if len(fitting) != 1 and len(lists) == 1:
        fitting = list(lists)  # every row will say what is wrong with it
    if len(fitting) != 1:
        found = [*(f"{name} of {length}" for name, length in lists.items()), *numbers]
        raise UsageError(
            f"{path} must have one column of lists of {wanted.shape[0]} numbers, or "
            f"{wanted.shape[0]} columns of numbers: found {', '.join(found) or 'none'}"
        )
    return _alone(path, schema, fitting), lambda values: checked(_numbers(values[0]), wanted)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f", ... ({len(names):,})" if len(names) > 10 else "")


def _length(path: Path, table: Any, field: Any) -> int:
    """How many numbers the first list that is there has; 0 if the first rows have none."""
    first = next(_batches(path, table, [field.name]), None)
    lists = first[0].to_pylist() if first is not None else []
    return next((len(one) for one in lists if one is not None), 0)


def _is_list_of_numbers(kind: Any) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests) and is_number(kind.value_type)


def _holds_files(kind: Any) -> bool:
    """Bytes, or a struct that holds them, as data sets of Hugging Face have it."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_files(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _bytes_of(value: Any) -> bytes:
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


def _numbers(values: Any) -> np.ndarray:
    """Numbers of a row; what is absent is NaN."""
    return np.array([np.nan if value is None else value for value in values or ()], np.float32)


def _tfrecord(path: Path, wanted: Wanted) -> _Opened:
    import tensorflow as tf

    if wanted.images:
        wanted.check_files(path)

    def records() -> Iterator[bytes]:
        try:
            yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        except tf.errors.OpError as error:
            raise DataError(f"{path} is no TFRecord file, or damaged: {error.message}") from error

    def rows(start: int) -> Iterator[Callable[[], np.ndarray]]:
        for index, record in enumerate(records()):
            if index >= start:
                yield partial(_of_example, record, wanted)

    return sum(1 for _ in records()), rows


def _of_example(record: bytes, wanted: Wanted) -> np.ndarray:
    """x of a `tf.train.Example`: its only feature of bytes that is an image, or of numbers."""
    import tensorflow as tf

    try:
        example = tf.train.Example.FromString(record)
    except Exception as error:  # protobuf's own kinds
        raise Unreadable("is no tf.train.Example") from error
    features = example.features.feature
    if wanted.images:
        contents = {
            name: feature.bytes_list.value[0]
            for name, feature in features.items()
            if len(feature.bytes_list.value) == 1
        }
        named = next((name for name in _IMAGE_FEATURES if name in contents), None)
        if named is None:
            raise Unreadable(
                f"has no feature {' or '.join(_IMAGE_FEATURES)}: found {', '.join(features)}"
            )
        return wanted.decode(contents[named])
    lists = [list(f.float_list.value) or list(f.int64_list.value) for f in features.values()]
    fitting = [values for values in lists if len(values) == wanted.shape[0]]
    if len(fitting) != 1:
        raise Unreadable(f"has {len(fitting)} features of {wanted.shape[0]} numbers, not one")
    return checked(_numbers(fitting[0]), wanted)
