"""Distributions, and the numbers that they are drawn with."""

#: Of elements, over all draws of a row: below this stay the numbers of pairs in `noise`.
MAX_PAIRS = 2**28
