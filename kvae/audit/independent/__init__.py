"""kvae's models a second time: from a `.keras` file to every number that a version serves.

Written from the definitions and the layout of the files, not from kvae's code. Arrays in, arrays
out, in the precision that is asked for: float64 is the answer, and what float32 makes of the same
formulas says how far rounding may lead.
"""
