import numpy as np

from kvae.data.rows import in_parts, parts_at


def test_parts_at_places_hold_those_rows_in_order():
    x = np.arange(40).reshape(20, 2)
    rows = np.array([1, 4, 5, 11, 19])
    parts = list(parts_at(x, rows, 2))
    assert [len(part) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), x[rows])
    assert [len(part) for part in in_parts(x, 8)] == [8, 8, 4]
