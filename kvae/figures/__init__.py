"""Pictures for people: a function draws one figure, returns it, and writes a PNG where it is told.

Arrays in, `matplotlib.figure.Figure` out; never pyplot, which would keep every figure.
"""
