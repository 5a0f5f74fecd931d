"""Lines of text to cells of text, by pyarrow."""

import io
from typing import Any

from kvae.data.tables.dialects import BLANKS, Dialect

#: Lines with another number of cells that are counted: no more are looked for.
MOST_FAULTS = 1000


def joined(arrays: list[Any]) -> Any:
    """Columns behind one another, as one array."""
    import pyarrow as pa

    return pa.concat_arrays(arrays)


def as_columns(block: bytes, dialect: Dialect, width: int) -> tuple[list[Any], int]:
    """Columns of text, and how many lines have another number of cells."""
    faults = 0

    def refuse(row: Any) -> str:
        nonlocal faults
        faults += bool(row.text.strip('" \t\r\n'))
        return "error" if faults >= MOST_FAULTS else "skip"

    try:
        found = _read(block, dialect.delimiter, width, refuse, quotes=dialect.delimiter != BLANKS)
    except ValueError:
        if faults < MOST_FAULTS:
            raise
        return [()] * width, faults
    arrays = [column.combine_chunks() for column in found.columns]
    if width == 1:  # pyarrow skips empty lines, not blank ones
        import pyarrow.compute as pc

        arrays = [arrays[0].filter(pc.not_equal(pc.utf8_trim_whitespace(arrays[0]), ""))]
    return arrays, faults


def as_one_column(block: bytes, dialect: Dialect, width: int) -> tuple[Any, int]:
    """All cells, row by row, and how many lines have another number of cells."""
    delimiter = dialect.delimiter.encode()
    lines = block.split(b"\n")[:-1]
    whole = [line for line in lines if line.count(delimiter) == width - 1]
    faults = sum(bool(line.strip()) for line in lines) - len(whole)
    cells = b"\n".join(line.removesuffix(b"\r").replace(delimiter, b"\n") for line in whole)
    found = _read(cells + b"\n" if whole else b"", ",", 1, None, quotes=False, blank=True)
    return found.column(0).combine_chunks(), faults


def _read(
    block: bytes, delimiter: str, width: int, refuse: Any, *, quotes: bool, blank: bool = False
) -> Any:
    import pyarrow as pa
    from pyarrow import csv as pyarrow_csv

    names = [str(i) for i in range(width)]
    types = dict.fromkeys(names, pa.string())
    if not block or not (blank or block.strip(b"\n")):
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return pyarrow_csv.read_csv(
        io.BytesIO(block),
        pyarrow_csv.ReadOptions(column_names=names, block_size=len(block) + 1),
        pyarrow_csv.ParseOptions(
            # Without quotes a comma, too, is a cell's own.
            delimiter="\x1f" if blank else delimiter, quote_char='"' if quotes else False,
            newlines_in_values=quotes, invalid_row_handler=refuse, ignore_empty_lines=not blank,
        ),
        pyarrow_csv.ConvertOptions(
            column_types=types, strings_can_be_null=False, check_utf8=False
        ),
    )  # fmt: skip
