"""Pictures for people: a function draws one figure, returns it, and writes it where it is told.

Arrays in, `matplotlib.figure.Figure` out; never pyplot, which would keep every figure. The ending
of the path says how it is written: as a PNG for screens, or laid out for a column as PDF or SVG.
"""

#: Endings of figures for print.
PRINTED = ("pdf", "svg")
#: What a figure can be written as.
FORMATS = ("png", *PRINTED)
#: What a figure that moves is written as, beside that.
MOVING = "gif"
