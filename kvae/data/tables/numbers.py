"""Cells of text as numbers, by columns: which are one, which are yes or no, which are neither."""

from typing import Any, NamedTuple

import numpy as np

#: Numbers of a larger size are refused: the square of a larger one is not finite in float32, and
#: every normal density squares them.
LARGEST = 1e18
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|(?i)^[+-]?(nan|inf|infinity)$"
# No-break, thin and narrow no-break spaces between groups of three digits.
_GROUPED = "^[+-]?[0-9]{1,3}([\u00a0\u2009\u202f][0-9]{3})+([.,][0-9]*)?$"
_COMMA = r"^[+-]?([0-9]+,[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?$"
_THOUSANDS = r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$"
#: Pairs of words that are 0 and 1 where they are all of a column.
WORDS = (("false", "true"), ("no", "yes"))


class Wrong(NamedTuple):
    """Cells that hold no number that can be used.

    Args:
        row: index of the first one.
        column: index of its feature.
        cells: how many there are.
    """

    row: int
    column: int
    cells: int


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
        self._unfit: Wrong | None = None
        self._comma: tuple[int, int] | None = None
        self._point: tuple[int, int] | None = None
        self._sure = False

    def add(self, cells: Any, by_columns: bool) -> None:
        """Take some rows.

        Args:
            cells: a pyarrow array of text, of one whole column or row after another.
            by_columns: which of them.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = len(cells) // self._width

        def arranged(flat: np.ndarray) -> np.ndarray:
            return flat.reshape(self._width, rows).T if by_columns else flat.reshape(rows, -1)

        try:
            values, kinds = _as_floats(cells), None
            if self._commas and self._point is None:
                self._see_points(arranged(_numpy(pc.match_substring(cells, "."))))
        except pa.ArrowInvalid:
            values, kinds = self._odd(cells, by_columns, arranged)
        x = arranged(values)
        unfit = ~fits(x)
        if kinds is not None:
            kinds = arranged(kinds)
            self._count(kinds)
            unfit &= kinds < 0
        if unfit.any():
            row, column = divmod(int(np.argmax(unfit)), self._width)
            count = int(np.count_nonzero(unfit)) + (self._unfit.cells if self._unfit else 0)
            row, column = self._unfit[:2] if self._unfit else (self.rows + row, column)
            self._unfit = Wrong(row, column, count)
        with np.errstate(over="ignore"):
            self._parts.append(np.ascontiguousarray(x, np.float32))
        self.rows += rows

    def result(self) -> np.ndarray:
        """All rows, `(rows, features)` float32; NaN where a cell is no number."""
        if not self._parts:
            return np.empty((0, self._width), np.float32)
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
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
        found = [self._unfit] if self._unfit else []
        of_words = self._of_words()
        for kind, counts in enumerate(self._counts):
            # Words are numbers where all cells of a column but missing ones are of one pair.
            columns = np.flatnonzero((counts > 0) & ~(of_words & (kind < len(WORDS))))
            if columns.size:
                firsts = self._firsts[kind, columns]
                at = int(np.argmin(firsts))
                found.append(Wrong(int(firsts[at]), int(columns[at]), int(counts[columns].sum())))
        if not found:
            return None
        first = min(found)
        return first._replace(cells=sum(one.cells for one in found))

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

    def _odd(self, cells: Any, by_columns: bool, arranged: Any) -> tuple[np.ndarray, np.ndarray]:
        """Numbers, and of each cell its kind: -1 a number, a place in `WORDS`, or text."""
        import pyarrow as pa
        import pyarrow.compute as pc

        size = len(cells) // self._width
        values, kinds = np.empty(len(cells)), np.full(len(cells), -1, np.int8)
        commas, sure = np.zeros(len(cells), bool), False
        # Of columns most are numbers alone, and need not be looked at closely.
        step = size if by_columns and size else len(cells)
        for start in range(0, len(cells), max(1, step)):
            part, own = cells.slice(start, step), slice(start, start + step)
            try:
                values[own] = _as_floats(part)
                continue
            except pa.ArrowInvalid:
                pass
            text = pc.utf8_trim_whitespace(part)
            grouped = pc.match_substring_regex(text, _GROUPED)
            if pc.any(grouped).as_py():
                without = pc.replace_substring_regex(text, "[\u00a0\u2009\u202f]", "")
                text = pc.if_else(grouped, without, text)
            if self._commas:
                found = pc.match_substring_regex(text, _COMMA)
                if pc.any(found).as_py():
                    commas[own] = _numpy(found)
                    like = pc.match_substring_regex(text, _THOUSANDS)
                    sure |= bool(pc.any(pc.and_not(found, like)).as_py())
                    text = pc.if_else(found, pc.replace_substring(text, ",", "."), text)
            is_number = pc.match_substring_regex(text, _NUMBER)
            plain = pc.replace_substring_regex(text, r"^\+", "")
            values[own] = _as_floats(pc.if_else(is_number, plain, "nan"))
            kind = np.where(_numpy(is_number), -1, len(WORDS)).astype(np.int8)
            lower = pc.utf8_lower(text)
            for number, pair in enumerate(WORDS):
                place = _numpy(pc.fill_null(pc.index_in(lower, pa.array(pair)), -1))
                kind[place >= 0] = number
                values[own] = np.where(place >= 0, place, values[own])
            kinds[own] = kind
        if self._commas:
            points = _numpy(pc.match_substring(cells, ".")) & ~commas & (kinds < 0)
            if self._point is None:
                self._see_points(arranged(points))
            if self._comma is None and commas.any():
                row, column = divmod(int(np.argmax(arranged(commas))), self._width)
                self._comma = (self.rows + row, column)
            self._sure |= sure
        return values, kinds

    def _see_points(self, points: np.ndarray) -> None:
        if points.any():
            row, column = divmod(int(np.argmax(points)), self._width)
            self._point = (self.rows + row, column)


def _numpy(array: Any) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)


def _as_floats(cells: Any) -> np.ndarray:
    """Numbers as other tools read them; `pyarrow.ArrowInvalid` where a cell is none."""
    return _numpy(cells.cast("float64"))
