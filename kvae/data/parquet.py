"""Images and labels in parquet files, as Hugging Face publishes them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kvae.data.image_sets import ImageOptions, Source, content_key
from kvae.data.splits import SPLITS, divided
from kvae.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_SPLIT_OF = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
_ROWS = 256


def source(
    name: str, files: list[Path], split_seed: int, color_by: str, options: ImageOptions
) -> Source:
    """Images of parquet files, their splits taken from the files' names or drawn at random.

    Args:
        name: of the dataset.
        files: whose names hold train, valid or validation, and test; or none of these.
        split_seed: of the random split.
        color_by: the label that colours a latent map, if it is there.
        options: of the images.

    Raises:
        DataError: pyarrow is not installed, a file is damaged, or has no column of images.
    """
    tables = [_open(file) for file in sorted(files)]
    image = _image_column(tables[0].schema_arrow, files[0])
    for table, file in zip(tables, sorted(files), strict=True):
        if not table.schema_arrow.equals(tables[0].schema_arrow):
            raise DataError(f"{file} has other columns than {sorted(files)[0].name}")
    labels = [field.name for field in tables[0].schema_arrow if str(field.type) == "bool"]
    places = [
        f"{file}, row {row + 1}"
        for file, table in zip(sorted(files), tables, strict=True)
        for row in range(table.metadata.num_rows)
    ]
    split, rule = _split(sorted(files), tables, split_seed)
    columns: dict[str, list[np.ndarray]] = {label: [] for label in labels}
    for table, file in zip(tables, sorted(files), strict=True):
        with _blaming(file):
            for label, parts in columns.items():
                parts.append(table.read([label])[label].to_numpy())
    values = {label: np.concatenate(parts) for label, parts in columns.items()}
    order = np.concatenate([np.flatnonzero(split == own) for own in SPLITS])

    def contents() -> Iterator[Callable[[], bytes]]:
        # A pass for each split, so that the cache holds one after another.
        for own in SPLITS:
            wanted = iter(split == own)
            for table, file in zip(tables, sorted(files), strict=True):
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
            [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(files)]
            + [split.tolist()]
        ),
        {"source": {"files": len(files)}, **rule},
        color_by if color_by in labels else "", options,
    )  # fmt: skip


def _open(file: Path) -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(f"{file.name}: parquet files need pyarrow: pip install pyarrow") from None
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


def _split(files: list[Path], tables: list[Any], seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The split of each row, and what the card says about it."""
    named = [
        next((split for word, split in _SPLIT_OF.items() if word in file.name.lower()), "")
        for file in files
    ]
    if any(named) and not all(named):
        raise DataError(
            f"{files[0].parent}: the names of some parquet files hold train, valid or test, others "
            f"do not: {files[named.index('')].name}"
        )
    own = np.repeat(named, [table.metadata.num_rows for table in tables])
    rows, rule = divided(
        {split: np.flatnonzero(own == split) for split in SPLITS}, len(own), seed,
        str(files[0].parent),
    )  # fmt: skip
    split = np.empty(len(own), "<U5")
    for name, indices in rows.items():
        split[indices] = name
    return split, rule
