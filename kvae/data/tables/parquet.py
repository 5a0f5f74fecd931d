"""Tables in parquet files."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae.data.rows import MOST_NUMBERS
from kvae.data.tables.bounds import NUMBER_BYTES, Bound
from kvae.data.tables.table import SPLIT_COLUMN, Table, placer, splits_of
from kvae.data.text import check_names
from kvae.errors import DataError

_INDEX = re.compile(r"__index_level_\d+__")  # as pandas calls its own that has no name
_ROWS = 2**16


def read_parquet(path: Path, label_column: str, bound: Bound) -> Table:
    """Read columns of numbers, or of true and false, which are 1 and 0.

    A column with the name "split" holds train, valid or test; pandas' index is left out.

    Args:
        path: of the file.
        label_column: name, or number from 1, of the column of labels; "" for none.
        bound: what it may take.

    Raises:
        DataError: the file is damaged, or a column holds something else.
    """
    import pyarrow.parquet as pq

    try:
        # Text that repeats itself is held once: a small file may stand for a lot of it.
        file = pq.ParquetFile(path, pre_buffer=False)
        names = file.schema_arrow.names
        of_text = [i for i, kind in enumerate(file.schema_arrow.types) if _is_text(kind)]
        columns = _roles(path.name, names, label_column, of_text, _index(file.schema_arrow))
        texts = [names[i] for i in (columns.label, columns.split) if i in of_text]
        file = pq.ParquetFile(path, pre_buffer=False, read_dictionary=texts)
        _check_size(file.metadata, columns, bound)
        return _table(path.name, file, columns)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path.name} is not a parquet file, or damaged: {reason}") from error


def _index(schema: Any) -> set[str]:
    """The columns that pandas wrote as its index, by their names or by what it says of the file."""
    said = schema.pandas_metadata
    said = said.get("index_columns") if isinstance(said, dict) else None
    own = [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
    return {*own, *filter(_INDEX.fullmatch, schema.names)}


class _Roles(NamedTuple):
    """Which column is what, by their places.

    Args:
        names: of all of them.
        features: the columns of numbers.
        label: None without.
        split: None without.
        indices: those of pandas' index.
    """

    names: list[str]
    features: list[int]
    label: int | None
    split: int | None
    indices: list[int]


def _roles(
    file: str, names: list[str], label_column: str, of_text: list[int], indices: set[str]
) -> _Roles:
    check_names(names, file)
    if len({*names}) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{file}: two columns have the name {twice[:60]!r}")
    label = names.index(label_column) if label_column in names else None
    if label is None and label_column.isdecimal() and 1 <= int(label_column) <= len(names):
        label = int(label_column) - 1
    if label_column and label is None:
        found = ", ".join(names[:20])
        raise DataError(f"{file} has no column {label_column!r} for the labels: found {found}")
    # A column with a capital may be one of numbers.
    named = [i for i in of_text if names[i].lower() == SPLIT_COLUMN and i != label]
    split = names.index(SPLIT_COLUMN) if SPLIT_COLUMN in names else next(iter(named), None)
    if split is not None and split == label:
        raise DataError(f"{file}: the column {names[split]!r} holds splits, it cannot be labels")
    index = [i for i, name in enumerate(names) if name in indices and i not in (label, split)]
    apart = {label, split, *index}
    features = [i for i in range(len(names)) if i not in apart]
    if not features:
        raise DataError(f"{file} has no columns of numbers beside labels and splits")
    return _Roles(names, features, label, split, index)


def _check_size(metadata: Any, columns: _Roles, bound: Bound) -> None:
    """Refuse a file whose rows or pages would take too much, by what it says of itself."""
    bound.check_columns(len(columns.names))
    numbers = metadata.num_rows * (len(columns.features) + 1) * NUMBER_BYTES
    bound.check(numbers, "its numbers take")
    pages = max(
        (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)), default=0
    )
    bound.check(numbers + pages, "its numbers and pages take")


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_number(kind: Any) -> bool:
    """Whether a type of pyarrow is one of numbers, or of true and false."""
    import pyarrow as pa

    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def _table(name: str, file: Any, columns: _Roles) -> Table:
    kinds = file.schema_arrow.types
    for i in columns.features:
        if not is_number(kinds[i]):
            hint = (
                "; take such a column out, code it as numbers, or name it with --label-column"
                if _is_text(kinds[i])
                else ""
            )
            raise DataError(
                f"{name}, column {columns.names[i]!r}: wanted numbers or true and false, it is of "
                f"type {str(kinds[i])[:60]}{hint}"
            )
    rows = file.metadata.num_rows
    if not rows:
        raise DataError(f"{name}: there are no rows")
    width = len(columns.features)
    x = np.empty((rows, width), np.float32)
    apart: dict[int, list[Any]] = {i: [] for i in (columns.label, columns.split) if i is not None}
    wanted = [columns.names[i] for i in (*columns.features, *apart)]
    done = 0
    for batch in file.iter_batches(max(1, min(_ROWS, MOST_NUMBERS // width)), columns=wanted):
        if done + len(batch) > rows:
            raise ValueError(f"it has more rows than the {rows:,} that it says")
        with np.errstate(over="ignore"):
            for place, i in enumerate(columns.features):
                x[done : done + len(batch), place] = _floats(batch.column(columns.names[i]))
        for i, found in apart.items():
            found.append(batch.column(columns.names[i]))
        done += len(batch)
    if done < rows:
        raise ValueError(f"it has {done:,} rows, not the {rows:,} that it says")
    notes = [f"{name}, column {columns.names[i]!r} is pandas' index: it is left out"
             for i in columns.indices]  # fmt: skip

    def cell(row: int, feature: int) -> str:
        own = file.read([columns.names[columns.features[feature]]]).column(0)[row]
        return str(own) if own.is_valid else ""

    table = Table(
        name, x, [columns.names[i] for i in columns.features], placer([""], [rows]),
        cell=cell, notes=tuple(notes),
    )  # fmt: skip
    if columns.split is not None:
        own = _values(apart[columns.split])
        cells = [str(value) for value in own]
        table = table._replace(split=splits_of(table, cells, columns.names[columns.split]))
    if columns.label is not None:
        table = table._replace(
            labels=_values(apart[columns.label]), label=columns.names[columns.label]
        )
    return table


def _floats(column: Any) -> np.ndarray:
    """Numbers as float64, NaN where there is none."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        column = column.cast("float64")
    elif pa.types.is_boolean(column.type):
        column = column.cast("uint8").cast("float64")
    else:
        column = column.cast("float64", safe=False)
    return column.to_numpy(zero_copy_only=False)


def _values(parts: list[Any]) -> np.ndarray:
    """The cells of a column: text as objects, "" where there is none; or numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = pa.chunked_array(parts)
    if pa.types.is_dictionary(whole.type):
        coded = whole.unify_dictionaries().combine_chunks()
        names = np.array(
            [str(name).strip() for name in coded.dictionary.to_pylist()] + [""], object
        )
        return names[pc.fill_null(coded.indices, len(names) - 1).to_numpy(zero_copy_only=False)]
    if _is_text(whole.type):
        return np.array([str(cell or "").strip() for cell in whole.to_pylist()], object)
    if not is_number(whole.type):
        raise ValueError(f"labels are numbers or text, found type {whole.type}")
    return _floats(whole.combine_chunks())
