"""What a number is in text, and cells of text as numbers: which are yes or no, which neither."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

#: Numbers of a larger size are refused: the square of a larger one is not finite in float32, and
#: every normal density squares them.
LARGEST = 1e18
# As Python's `re` and pyarrow's RE2 both read them: a head and its body have the same numbers.
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(?i:nan|inf|infinity)"
_GAP = "[\u00a0\u2009\u202f]"  # no-break, thin and narrow no-break spaces
_GROUPED = f"[+-]?[0-9]{{1,3}}({_GAP}[0-9]{{3}})+([.,][0-9]*)?"
_COMMA = r"[+-]?([0-9]+,[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?"
_THOUSANDS = r"[+-]?[1-9][0-9]{0,2},[0-9]{3}"
#: Pairs of words that are 0 and 1 where they are all of a column.
WORDS = (("false", "true"), ("no", "yes"))


class Wrong(NamedTuple):
    """Cells that hold no number that can be used.

    Args:
        row: index of the first one.
        column: index of its feature.
        cells: how many there are.
        by_column: how many there are of each feature.
    """

    row: int
    column: int
    cells: int
    by_column: tuple[int, ...]


class Commas(NamedTuple):
    """Commas and points in the numbers of a table whose cells are not separated by commas.

    Args:
        comma: row and feature of the first number with a comma in it; None without.
        point: likewise with a point.
        sure: whether a comma cannot be one between thousands, as in 0,5 and 1,25.
    """

    comma: tuple[int, int] | None
    point: tuple[int, int] | None
    sure: bool


def fits(x: np.ndarray) -> np.ndarray:
    """Whether numbers are finite and of a size whose square is."""
    return np.isfinite(x) if x.dtype.itemsize < 4 else (x <= LARGEST) & (x >= -LARGEST)


def to_number(cell: str, commas: bool = False) -> float | None:
    """Read a cell: unlike `float`, without "1_000" and other digits than 0-9.

    Args:
        cell: its text.
        commas: whether 1,5 is a number.

    Returns:
        None: it is no number.
    """
    cell = cell.strip()
    if re.fullmatch(_GROUPED, cell):
        cell = re.sub(_GAP, "", cell)
    if commas and re.fullmatch(_COMMA, cell):
        cell = cell.replace(",", ".")
    return float(cell) if re.fullmatch(_NUMBER, cell) else None


def is_value(cell: str, commas: bool = False) -> bool:
    """Whether a cell is a number, see `to_number`, or a word of yes and no."""
    return to_number(cell, commas) is not None or is_word(cell)


def is_word(cell: str) -> bool:
    """Whether a cell is one of `WORDS`."""
    return any(cell.strip().lower() in pair for pair in WORDS)


class Numbers:
    """Collects the rows of a table.

    Args:
        width: features of a row.
        commas: whether a comma may be a decimal point.
    """

    def __init__(self, width: int, commas: bool):
        self._width, self._commas = width, commas
        self._parts: list[np.ndarray] = []
        self.rows = 0
        kinds = len(WORDS) + 1  # the last one is text
        self._counts = np.zeros((kinds, width), np.int64)
        self._firsts = np.full((kinds, width), -1, np.int64)
        self._unfit = np.zeros(width, np.int64)
        self._first_unfit: tuple[int, int] | None = None
        self._comma: tuple[int, int] | None = None
        self._point: tuple[int, int] | None = None
        self._sure = False

    def add(self, rows: int, parts: Iterable[tuple[Any, Any]]) -> None:
        """Take some rows.

        Args:
            rows: how many.
            parts: index of a column or row of `(rows, features)`, and its cells: a pyarrow array of
                text; all columns, or all rows.
        """
        import pyarrow as pa

        x = np.empty((rows, self._width), order="F")
        kinds = np.full(x.shape, -1, np.int8, order="F")
        commas, points = np.zeros((2, self._width, rows), bool).swapaxes(1, 2)
        for at, cells in parts:
            try:
                x[at] = _as_floats(cells)
            except pa.ArrowInvalid:
                x[at], kinds[at], commas[at] = self._odd(cells)
            if self._commas and self._point is None:
                points[at] = _found(cells, r"\.")
        is_number = kinds < 0
        if not is_number.all():
            self._count(kinds)
        self._comma = self._comma or self._first(commas)
        self._point = self._point or self._first(points & ~commas & is_number)
        unfit = ~fits(x) & is_number
        if first := self._first(unfit):
            self._first_unfit = self._first_unfit or first
            self._unfit += np.count_nonzero(unfit, axis=0)
        with np.errstate(over="ignore"):
            self._parts.append(np.ascontiguousarray(x, np.float32))
        self.rows += rows

    def _first(self, cells: np.ndarray) -> tuple[int, int] | None:
        """Row, of all, and column of the first cell of the next rows that is marked."""
        if not cells.any():
            return None
        row, column = divmod(int(np.argmax(cells)), self._width)
        return self.rows + row, column

    def result(self) -> np.ndarray:
        """All rows, `(rows, features)` float32; NaN where a cell is no number."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.empty((0, self._width), "f4"), *self._parts])]
        return self._parts[0]

    @property
    def commas(self) -> Commas:
        """See `Commas`."""
        return Commas(self._comma, self._point, self._sure)

    @property
    def wordy(self) -> np.ndarray:
        """Indices of the features that are yes and no, taken as 1 and 0."""
        return np.flatnonzero(self._of_words())

    def wrong(self) -> Wrong | None:
        """The cells that hold no number, or one that cannot be used; None without."""
        found = [self._first_unfit] if self._first_unfit else []
        of_words, total = self._of_words(), self._unfit.copy()
        for kind, counts in enumerate(self._counts):
            # Words are numbers where all cells of a column but missing ones are of one pair.
            columns = np.flatnonzero((counts > 0) & ~(of_words & (kind < len(WORDS))))
            if columns.size:
                firsts = self._firsts[kind, columns]
                at = int(np.argmin(firsts))
                found.append((int(firsts[at]), int(columns[at])))
                total[columns] += counts[columns]
        return Wrong(*min(found), int(total.sum()), tuple(total.tolist())) if found else None

    def _of_words(self) -> np.ndarray:
        """Of each feature whether its cells are of one pair of words, but for cells of no kind."""
        rest = self.rows - self._counts[-1]
        words = self._counts[: len(WORDS)]
        return (words.max(0) > 0) & (words == rest).any(0)

    def _count(self, kinds: np.ndarray) -> None:
        for kind in range(len(self._counts)):
            here = kinds == kind
            counts = np.count_nonzero(here, axis=0)
            new = (counts > 0) & (self._firsts[kind] < 0)
            self._firsts[kind, new] = self.rows + np.argmax(here[:, new], axis=0)
            self._counts[kind] += counts

    def _odd(self, cells: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers; the kind of each cell: -1 a number, a place in `WORDS`, or text; commas."""
        import pyarrow as pa
        import pyarrow.compute as pc

        text = pc.utf8_trim_whitespace(cells)
        if (grouped := _found(text, f"^({_GROUPED})$")).any():
            without = pc.replace_substring_regex(text, _GAP, "")
            text = pc.if_else(pa.array(grouped), without, text)
        commas = np.zeros(len(cells), bool)
        if self._commas and (commas := _found(text, f"^({_COMMA})$")).any():
            self._sure |= bool((commas & ~_found(text, f"^({_THOUSANDS})$")).any())
            text = pc.if_else(pa.array(commas), pc.replace_substring(text, ",", "."), text)
        is_number = _found(text, f"^({_NUMBER})$")
        plain = pc.replace_substring_regex(text, r"^\+", "")
        values = _as_floats(pc.if_else(pa.array(is_number), plain, "nan"))
        kinds = np.where(is_number, -1, len(WORDS)).astype(np.int8)
        lower = pc.utf8_lower(text)
        for number, pair in enumerate(WORDS):
            place = _numpy(pc.fill_null(pc.index_in(lower, pa.array(pair)), -1))
            kinds[place >= 0] = number
            values = np.where(place >= 0, place, values)
        return values, kinds, commas


def _found(cells: Any, pattern: str) -> np.ndarray:
    """Of each cell whether it holds a pattern."""
    import pyarrow.compute as pc

    return _numpy(pc.match_substring_regex(cells, pattern))


def _numpy(array: Any) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)


def _as_floats(cells: Any) -> np.ndarray:
    """Numbers as other tools read them; `pyarrow.ArrowInvalid` where a cell is none."""
    return _numpy(cells.cast("float64"))
