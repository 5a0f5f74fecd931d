"""Squared distances of all pairs of rows, a chunk at a time, decided in float32 where that is sure.

A product of matrices gives all distances of a chunk at once, in float32 in half the time of
float64. How wrong it may be is known; the few pairs that it leaves open are taken again in float64.
"""

from collections.abc import Iterator

import numpy as np

from kvae.data.rows import in_parts, slices

# Rows of either side of a chunk, all of whose pairs are held at once: 8 MB as float32.
LEFT, RIGHT = 2048, 1024
# Largest error of a squared distance from a product in float64, relative to the squared norms.
ROUNDING = 1e-13
_HALF_ULP, _LEAST = 2.0**-24, 1e-37  # of float32: what rounds, and what is lost below
_FEW = 64  # one open pair of so many is cheaper by itself than a product in float64
_CENTRE_ROWS = 1000
_SPARE = 8  # neighbours that are looked at in float64 beside those asked for


def centre_of(points: np.ndarray) -> np.ndarray:
    """The median of each feature over some rows, `(d,)` float64: one far-off row moves no other."""
    some = points[:: max(1, len(points) // _CENTRE_ROWS)]
    return np.median(some.astype(np.float64), axis=0)


class Chunk:
    """The pairs of some rows with some others.

    Args:
        space: the two sets.
        rows: of the first set.
        columns: of the second.
        left: what `Space.single` gives of the rows.
        right: of the columns.
    """

    def __init__(self, space: "Space", rows: slice, columns: slice, left: tuple, right: tuple):
        self.rows, self.columns, self._space = rows, columns, space
        (a, low_a, self._high_a), (b, low_b, self._high_b) = left, right
        self._product = a @ (-2 * b).T
        self.low = self._product + low_b
        self.low += low_a[:, np.newaxis]
        self._high: np.ndarray | None = None
        self._double: np.ndarray | None = None

    def closer(self, limit: np.ndarray) -> np.ndarray:
        """Whether squared distances are below a limit by more than rounding.

        Args:
            limit: squared distances, float64: `(rows, 1)` or `(1, columns)`.

        Returns:
            `(rows, columns)` bool.
        """
        single = (limit * self._space.unit**2).astype(np.float32)
        if self._high is None:
            self._high = np.add(self._product, self._high_b, out=self._product)
            self._high += self._high_a[:, np.newaxis]
        found = self._high < single
        open_ = self.low < single
        open_ &= ~found
        number = np.count_nonzero(open_)
        if number > open_.size // _FEW:
            if self._double is None:
                squared, slack = self._space.double(self.rows, self.columns)
                self._double = np.add(squared, slack, out=squared)
            return self._double < limit
        if number:
            i, j = np.divmod(np.flatnonzero(open_), open_.shape[1])
            squared, norms = self._space.of_pairs(i + self.rows.start, j + self.columns.start)
            found[i, j] = squared + ROUNDING * norms < np.broadcast_to(limit, found.shape)[i, j]
        return found


class Space:
    """Two sets of points, and what their float32 distances are about.

    Args:
        a: `(n, d)`.
        b: `(m, d)`.
        centre: `(d,)` float64: |a|^2 + |b|^2 - 2 a.b loses the digits that the norms about it have
            over the distance.
        others: whether the two are one set, no row of which is near to itself.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, centre: np.ndarray, *, others: bool = False):
        self._a, self._b, self._centre, self._others = a, b, centre, others
        largest = max(
            float(np.abs(self._centred(points[rows])).max(initial=0))
            for points in ((a,) if others else (a, b))
            for rows in slices(len(points), RIGHT)
        )
        #: The power of two that brings all numbers to at most 1: float32 has few exponents.
        self.unit = 2.0 ** -int(np.clip(np.frexp(largest)[1], -500, 500))
        self._error = (a.shape[1] + 16) * _HALF_ULP

    def chunks(self) -> Iterator[Chunk]:
        """All pairs, the columns of some rows in succession; of one set those from `rows` on."""
        for rows in slices(len(self._a), LEFT):
            left = self._single(self._a[rows])
            for columns in slices(len(self._b), RIGHT):
                if self._others and columns.stop <= rows.start:
                    continue  # seen from the other side
                yield Chunk(self, rows, columns, left, self._single(self._b[columns]))

    def nearest(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest of `b` for every row of `a`, but itself of one set.

        Args:
            k: how many, at most as many as there are.

        Returns:
            Squared distances `(n, k)` float64, rising, and the rows of `b`, `(n, k)` int64; of
            rows equally near but for rounding, any.
        """
        count = len(self._b) - self._others
        wide = min(k + _SPARE, count)
        least = np.full((len(self._a), wide), np.inf, np.float32)
        places = np.zeros(least.shape, np.int64)
        for chunk in self.chunks():
            rows, columns, low = chunk.rows, chunk.columns, chunk.low
            self._leave_out_itself(np.arange(rows.start, rows.stop), columns, low)
            _merge(least[rows], places[rows], low, columns.start)
            if self._others and columns.start >= rows.stop:
                _merge(least[columns], places[columns], np.ascontiguousarray(low.T), rows.start)
        squared, index = self._sorted(np.arange(len(self._a)), places, k)
        if wide < count:
            # What was left out is farther than the bound says; else float64 must look.
            bound = least.max(1).astype(np.float64) / self.unit**2
            open_ = np.flatnonzero(~(squared[:, -1] <= bound))
            for part in in_parts(open_, RIGHT):
                squared[part], index[part] = self._sorted(part, self._in_double(part, k), k)
        return squared, index

    def double(self, rows, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances of a product in float64, and how wrong they may be."""
        left, right = self._centred(self._a[rows]), self._centred(self._b[columns])
        norms = np.square(left).sum(1)[:, np.newaxis] + np.square(right).sum(1)
        return np.maximum(norms - 2 * (left @ right.T), 0), ROUNDING * norms

    def of_pairs(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances of row i to row j in float64, and the sums of their squared norms."""
        squared, norms = np.empty(len(i)), np.empty(len(i))
        for part in slices(len(i), RIGHT):
            a, b = self._a[i[part]], self._b[j[part]]
            squared[part] = np.square(np.subtract(a, b, dtype=np.float64)).sum(1)
            norms[part] = sum(np.square(self._centred(x)).sum(1) for x in (a, b))
        return squared, norms

    def _centred(self, points):
        return np.subtract(points, self._centre, dtype=np.float64)

    def _single(self, points):
        """Points as float32, and what to add to a product for the least and the most it means."""
        points = self._centred(points) * self.unit
        norms, lost = np.square(points).sum(1), _LEAST * points.shape[1]
        low, high = (1 - self._error) * norms - lost, (1 + self._error) * norms + lost
        return tuple(array.astype(np.float32) for array in (points, low, high))

    def _leave_out_itself(self, rows, columns, values):
        if self._others:
            own = np.flatnonzero((rows >= columns.start) & (rows < columns.stop))
            values[own, rows[own] - columns.start] = np.inf

    def _in_double(self, rows, k):
        """Places of the k nearest of some rows, by products in float64."""
        least, places = np.full((len(rows), k), np.inf), np.zeros((len(rows), k), np.int64)
        for columns in slices(len(self._b), RIGHT):
            squared = self.double(rows, columns)[0]
            self._leave_out_itself(rows, columns, squared)
            _merge(least, places, squared, columns.start)
        return places

    def _sorted(self, rows, places, k):
        """The squared distances and places of the k nearest among the places of each row."""
        squared = np.empty(places.shape)
        for part in slices(len(rows), RIGHT):
            own = self._a[rows[part]]
            for which in range(places.shape[1]):  # one at a time: all at once could fill the memory
                apart = np.subtract(own, self._b[places[part, which]], dtype=np.float64)
                squared[part, which] = np.square(apart).sum(1)
        order = np.argsort(squared, axis=1, kind="stable")[:, :k]
        return tuple(np.take_along_axis(of, order, axis=1) for of in (squared, places))


def _merge(least, places, values, first):
    """Put the least of some columns, from `first` on, among those so far of each row."""
    wide = least.shape[1]
    limit = least.max(1, keepdims=True)
    if np.isinf(limit).any() and wide < values.shape[1]:
        limit = np.minimum(limit, np.partition(values, wide - 1, axis=1)[:, wide - 1 : wide])
    i, j = np.divmod(np.flatnonzero(values <= limit), values.shape[1])
    if not len(i):
        return
    where = wide + np.arange(len(i)) - np.searchsorted(i, np.arange(len(least)))[i]
    found = np.full((len(least), where.max() + 1), np.inf, values.dtype)
    numbers = np.zeros(found.shape, np.int64)
    found[:, :wide], numbers[:, :wide] = least, places
    found[i, where], numbers[i, where] = values[i, j], first + j
    chosen = np.argpartition(found, wide - 1, axis=1)[:, :wide]
    least[:] = np.take_along_axis(found, chosen, axis=1)
    places[:] = np.take_along_axis(numbers, chosen, axis=1)
