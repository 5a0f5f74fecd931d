"""Images and labels in parquet files, as Hugging Face publishes them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.data.celeba.copies import ParquetCopy
from kvae.data.images.sets import ImageOptions, Source
from kvae.data.splits import SPLITS, content_key, divided
from kvae.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_SPLIT_OF = {
    "train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test",
}  # fmt: skip
_INDEX = re.compile(r"__index_level_\d+__")  # as pandas calls its own
_WORD = re.compile(r"[a-z]+")
_ROWS = 256


def source(
    name: str, copy: ParquetCopy, split_seed: int, color_by: str, options: ImageOptions
) -> Source:
    """Images of parquet files, their splits taken from the files' paths and completed.

    Args:
        name: of the dataset.
        copy: files whose paths hold the words train, valid or validation, and test; or none.
        split_seed: of what is drawn.
        color_by: the label that colours a latent map, if it is there.
        options: of the images.

    Raises:
        DataError: a file is damaged, or has no column of images.
    """
    files = [copy.root / path for path in copy.files]
    tables = [_open(file) for file in files]
    schema = tables[0].schema_arrow
    image = _image_column(schema, files[0])
    for table, file in zip(tables, files, strict=True):
        if not table.schema_arrow.equals(schema):
            raise DataError(f"{file} has other columns than {files[0]}")
    places = [
        f"{file}, row {row + 1}"
        for file, table in zip(files, tables, strict=True)
        for row in range(table.metadata.num_rows)
    ]
    split, rule = _split(copy, tables, split_seed)
    values = _labels(files, tables, image)
    unused = [one.name for one in schema if one.name not in values and one.name != image]
    order = np.concatenate([np.flatnonzero(split == own) for own in SPLITS])

    def contents() -> Iterator[Callable[[], bytes]]:
        # A pass for each split, so that the cache holds one after another.
        for own in SPLITS:
            wanted = iter(split == own)
            for table, file in zip(tables, files, strict=True):
                with _blaming(file):
                    for batch in table.iter_batches(_ROWS, columns=[image]):
                        column = batch.column(0)
                        for row in range(len(column)):
                            if next(wanted):
                                yield partial(_bytes, column[row].as_py())

    return Source(
        name, "parquet",
        {own: [places[i] for i in np.flatnonzero(split == own)] for own in SPLITS},
        contents,
        {label: y[order] for label, y in values.items()},
        content_key(
            [[path, file.stat().st_size, file.stat().st_mtime_ns]
             for path, file in zip(copy.files, files, strict=True)]
            + [split.tolist()]
        ),
        {"source": {"files": len(files)}, **rule},
        color_by if color_by in values else "", options,
        (f"columns that are not used: {', '.join(unused)}",) if unused else (),
    )  # fmt: skip


def _labels(files: list[Path], tables: list[Any], image: str) -> dict[str, np.ndarray]:
    """Columns of true and false, or of whole numbers that are all -1, 0 or 1."""
    found = {}
    for field in tables[0].schema_arrow:
        kind = str(field.type)
        if (
            field.name == image
            or _INDEX.fullmatch(field.name)
            or not (kind == "bool" or kind.startswith(("int", "uint")))
        ):
            continue
        parts = []
        for table, file in zip(tables, files, strict=True):
            with _blaming(file):
                column = table.read([field.name])[field.name]
            if column.null_count:
                raise DataError(f"{file}, column {field.name!r}: {column.null_count:,} empty cells")
            parts.append(column.to_numpy())
        values = np.concatenate(parts)
        if values.dtype == bool or np.isin(values, (-1, 0, 1)).all():
            found[field.name] = values > 0
    return found


def _open(file: Path) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not a parquet file, or damaged: {error}") from error


@contextmanager
def _blaming(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is damaged: {' '.join(str(error).split())}") from error


def _image_column(schema: "pa.Schema", file: Path) -> str:
    for field in schema:
        kind = str(field.type)
        if kind in ("binary", "large_binary") or (kind.startswith("struct<") and "bytes:" in kind):
            return field.name
    raise DataError(f"{file} has no column of images: found {', '.join(schema.names)}")


def _bytes(value: Any) -> bytes:
    content = value.get("bytes") if isinstance(value, dict) else value
    return content or b""


def _split(copy: ParquetCopy, tables: list[Any], seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The split of each row, and what the card says about it."""
    named = [
        next((_SPLIT_OF[word] for word in _WORD.findall(path.lower()) if word in _SPLIT_OF), "")
        for path in copy.files
    ]
    if any(named) and not all(named):
        raise DataError(
            f"{copy.root}: the paths of some parquet files hold train, valid or test, others do "
            f"not: {copy.files[named.index('')]}"
        )
    counts = [table.metadata.num_rows for table in tables]
    own = np.repeat(named, counts)
    rows, rule = divided(
        {split: np.flatnonzero(own == split) for split in SPLITS}, len(own), seed,
        str(copy.root), zip(copy.files, counts, strict=True),
    )  # fmt: skip
    split = np.empty(len(own), "<U5")
    for name, indices in rows.items():
        split[indices] = name
    return split, rule
