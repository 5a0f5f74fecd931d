"""Lines of text to cells of text, by pyarrow."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from kvae.data.tables.dialects import BLANKS, Dialect, is_blank, squeezed

#: Lines with another number of cells that are counted: no more are looked for.
MOST_FAULTS = 1000


def whole_records(found: Iterable[bytes], dialect: Dialect) -> Iterator[tuple[bytes, bool]]:
    """Blocks that end where a record does; and whether a quoted cell is open even at the end."""
    if dialect.delimiter == BLANKS:
        yield from ((squeezed(block), False) for block in found)
        return
    # A quote opens a cell at its start alone; inside, two are one.
    inside = rb'[^"]*(?:""[^"]*)*("?)'
    opened = re.compile(rb'"(?<![^\n\%b]")%b' % (dialect.delimiter.encode(), inside))
    rest: list[bytes] = []
    is_open = False
    for block in found:
        rest.append(block)
        first = re.match(inside, block) if is_open else None
        if first is None or first[1]:
            cells = opened.finditer(block, first.end() if first else 0)
            is_open = any(not last[1] for last in deque(cells, maxlen=1))
        if not is_open:
            yield b"".join(rest), False
            rest = []
    if rest:
        yield b"".join(rest), True


def _owned_by_arrow(block: bytes) -> Any:
    """A copy of bytes in a buffer that no Python object stands behind.

    A thread of pyarrow's drops its source some time after reading, and of several threads any one
    drops our function; where Python ends meanwhile, the thread dies of asking for Python's lock,
    and the whole process with it.
    """
    import pyarrow as pa

    found = pa.allocate_buffer(len(block))
    np.frombuffer(found, "uint8")[:] = np.frombuffer(block, "uint8")
    return found


def as_columns(block: bytes, dialect: Dialect, width: int) -> tuple[list[Any], int]:
    """Columns of text, and how many lines have another number of cells."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as pyarrow_csv

    quotes = dialect.delimiter != BLANKS
    types = {str(i): pa.string() for i in range(width)}
    empty = pa.array([], pa.string())
    faults = 0

    def refuse(row: Any) -> str:
        nonlocal faults
        faults += row.actual_columns > 1 or not is_blank([row.text.strip().strip('"')])
        return "error" if faults >= MOST_FAULTS else "skip"

    if not block.strip(b"\n"):  # which pyarrow takes for damage
        return [empty] * width, 0
    try:
        found = pyarrow_csv.read_csv(
            pa.BufferReader(_owned_by_arrow(block)),
            pyarrow_csv.ReadOptions(
                use_threads=False, column_names=[*types], block_size=len(block) + 1
            ),
            pyarrow_csv.ParseOptions(
                delimiter=dialect.delimiter[0], quote_char='"' if quotes else False,
                newlines_in_values=quotes, invalid_row_handler=refuse,
            ),
            pyarrow_csv.ConvertOptions(
                column_types=types, strings_can_be_null=False, check_utf8=False
            ),
        )  # fmt: skip
    except ValueError:
        if faults < MOST_FAULTS:
            raise
        return [empty] * width, faults
    arrays = [column.combine_chunks() for column in found.columns]
    if width == 1:  # pyarrow skips empty lines, not blank ones
        arrays = [arrays[0].filter(pc.not_equal(pc.utf8_trim_whitespace(arrays[0]), ""))]
    return arrays, faults
