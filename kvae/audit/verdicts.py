"""What the audit says of each number: it agrees, it differs, or it was not checked.

What is said of the model and is no fault, such as how far q is from the posterior, is reported.
"""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from kvae.errors import one_line

Verdict = Literal["agrees", "differs", "not checked", "reported"]
AGREES: Verdict = "agrees"
DIFFERS: Verdict = "differs"
NOT_CHECKED: Verdict = "not checked"
REPORTED: Verdict = "reported"
#: A number may be so many times as far off as the audit's own formulas are in float32, and so much
#: of itself besides: TensorFlow adds up in another order.
TIMES_ROUNDING, OF_ITSELF = 8.0, 2e-6
#: Where rounding alone may move numbers by more of their size, nothing is held against anything.
_MOST_OF_ITSELF = 0.02
#: Standard errors by which what chance moves may be off: one line in two million, by chance.
ERRORS = 5.0
_MANY = 16  # rows, of whose median rounding something can be said
_APART = 256  # rows, whose errors are taken to be apart
_WIDTH, _GAPS, _BELOW = 80, 5, " " * 6  # of the table: columns, those between columns, of notes
_BITS_OFF = 1e-5  # share of drawn bits that rounding may turn


@dataclass(frozen=True)
class Line:
    """One thing that the audit looked at.

    Args:
        what: signature and output, or what else it was; one line.
        verdict: of three, or "reported": what no fault is read off.
        rows: how many were compared.
        largest: difference found; None: nothing was compared, or it is not finite.
        tolerance: what that difference may be; of what is reported what is usual.
        note: why, where that is not plain; one line.
    """

    what: str
    verdict: Verdict
    rows: int = 0
    largest: float | None = None
    tolerance: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", one_line(self.what))  # kvae.json names signatures
        for name in ("largest", "tolerance"):  # JSON holds no others
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                object.__setattr__(self, name, None)

    def to_json(self) -> dict[str, Any]:
        """As audit.json has it."""
        return asdict(self)


def not_checked(what: str, why: object) -> Line:
    """A line about something that the audit cannot say."""
    return Line(what, NOT_CHECKED, note=one_line(str(why), 300))


def reported(what: str, rows: int, largest: float, usual: float, note: str) -> Line:
    """A line about the model itself, right or not: how large a number is, and what is usual."""
    return Line(what, REPORTED, rows, largest, usual, note)


def stated(what: str, faults: Sequence[str]) -> Line:
    """A line about statements, which hold where there are no faults."""
    return Line(what, DIFFERS if faults else AGREES, note=one_line("; ".join(faults), 500))


def compared(
    what: str, found: np.ndarray, own: np.ndarray, rounded: np.ndarray, *,
    extra: float = 0.0, noise_of_more: float | np.ndarray = 0.0, is_sum: bool = False,
) -> Line:  # fmt: skip
    """Hold served numbers against the audit's, each column to what rounding does to it.

    Args:
        what: which they are.
        found: `(rows, ...)`, as they are served.
        own: the audit's, in float64.
        rounded: the audit's, by the same formulas in float32.
        extra: share of itself by which a number may be off, where it is an approximation.
        noise_of_more: what rounding does to more rows of the kind, a number or `(columns,)`; of few
            it may seem less.
        is_sum: whether rounding errs apart in each row, so that less of it is left in their mean.
    """
    if found.shape != own.shape:
        note = f"of shape {found.shape}, the audit's is of {own.shape}"
        return Line(what, DIFFERS, len(own), note=note)
    rows = len(own)
    lost = ~np.isfinite(found)
    if (lost != ~np.isfinite(own)).any() or (found[lost & ~np.isnan(found)]
                                             != own[lost & ~np.isnan(found)]).any():  # fmt: skip
        return Line(what, DIFFERS, rows, note="numbers that are not finite, in other places")
    if lost.all():
        return Line(what, AGREES, rows, 0.0, 0.0)
    judged = ~lost & np.isfinite(rounded)
    if not judged.any():
        return not_checked(what, "float32 does not hold what the formulas need")
    found, own, rounded = (
        _columns(np.where(judged, part, np.nan).astype(np.float64))
        for part in (found, own, rounded)
    )
    kept = np.isfinite(own).any(axis=0)
    found, own, rounded = (part[:, kept] for part in (found, own, rounded))
    more = np.asarray(noise_of_more)
    size, noise, difference = np.abs(own), np.abs(rounded - own), np.abs(found - own)
    typical = np.nanmedian(size, axis=0)
    most = np.maximum(np.nanmax(noise, axis=0), more[kept] if more.ndim else more)
    slack = TIMES_ROUNDING * most + OF_ITSELF * np.maximum(size, typical) + extra * size
    place = np.unravel_index(np.nanargmax(difference - slack), slack.shape)
    largest, tolerance = float(difference[place]), float(slack[place])
    if largest > tolerance:
        return Line(what, DIFFERS, rows, largest, tolerance)
    # One row that float32 does not hold must not hide what moves all of them.
    held = [("median", np.nanmedian(difference, axis=0), np.nanmedian(noise, axis=0))]
    if is_sum:
        left = rounding_of_mean(own, rounded)
        held.append(("mean", np.abs(np.nanmean(found - own, axis=0)), left))
    for of_all, middle, rounding in held if rows >= _MANY else ():
        bound = TIMES_ROUNDING * rounding + (OF_ITSELF + extra) * typical
        worst = int(np.argmax(middle - bound))
        if middle[worst] > bound[worst]:
            note = f"in the {of_all} of all rows"
            return Line(what, DIFFERS, rows, float(middle[worst]), float(bound[worst]), note)
    vague = TIMES_ROUNDING * most > _MOST_OF_ITSELF * np.nanmax(size, axis=0)
    if vague.all():
        return not_checked(what, f"rounding alone may move it by {most.max():.2g}")
    return Line(what, AGREES, rows, largest, tolerance, _left_out(lost | judged, vague))


def _columns(array: np.ndarray) -> np.ndarray:
    """Numbers of a kind below each other: a number of vectors, a channel of images."""
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)


def noise_of(own: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """The most that rounding does to a number of each column: `(columns,)`.

    Args:
        own: `(rows, ...)`, in float64.
        rounded: the same in float32.
    """
    found = _columns(np.abs(rounded - own))
    return np.max(found, axis=0, where=np.isfinite(found), initial=0.0)


def rounding_of_mean(own: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """What rounding does to a mean over rows: `(...)`.

    Errors of rows are apart, so that their mean is smaller by the root of their number; not by more
    than 16, since some of what libraries round they round alike in all rows.

    Args:
        own: `(rows, ...)`, in float64; NaN is left out.
        rounded: the same in float32.
    """
    off = rounded - own
    apart = np.minimum(np.isfinite(off).sum(axis=0), _APART)
    return np.asarray(np.sqrt(np.nanmean(off**2, axis=0) / apart) + np.abs(np.nanmean(off, axis=0)))


def _left_out(looked_at: np.ndarray, vague: np.ndarray) -> str:
    notes = []
    if not looked_at.all():
        notes.append(f"{np.sum(~looked_at)} of {looked_at.size} numbers are beyond float32")
    if vague.any():
        notes.append(f"rounding alone may move {vague.sum()} of {len(vague)} columns by over 2%")
    return "; ".join(notes)


def compared_bits(what: str, found: np.ndarray, own: np.ndarray) -> Line:
    """Hold bits that were drawn against the audit's: the share that is not equal."""
    if found.shape != own.shape:
        return compared(what, found, own, own)
    share = float(np.mean(found != own))
    tolerance = max(_BITS_OFF, 1.0 / max(1, own.size))
    verdict = DIFFERS if share > tolerance else AGREES
    return Line(what, verdict, len(own), share, tolerance, "share of bits")


def compared_with_chance(
    what: str, said: float, here: float, error: float, rows: int, rounding: float = 0.0
) -> Line:
    """Hold a number against one that chance moves too: 5 of its standard errors, and rounding.

    Args:
        what: which number.
        said: that is looked at.
        here: the audit's.
        error: standard error of the difference.
        rows: that the audit's is of.
        rounding: what it may be off by besides.
    """
    difference, tolerance = abs(said - here), ERRORS * error + rounding
    verdict = AGREES if difference <= tolerance else DIFFERS  # NaN differs
    return Line(what, verdict, rows, difference, tolerance, f"{here:.4g} here")


def count(lines: Sequence[Line]) -> dict[str, int]:
    """How many lines have each verdict."""
    return {
        verdict: sum(line.verdict == verdict for line in lines)
        for verdict in (AGREES, DIFFERS, NOT_CHECKED, REPORTED)
    }


def table(lines: Sequence[Line], width: int = 0) -> str:
    """The lines for a terminal, those about one thing under its name.

    Args:
        lines: in their order.
        width: columns of the terminal, 80 at least. Longer notes stand below their lines.
    """
    width = max(width, _WIDTH)
    named = [line.what.rpartition(": ") for line in lines]
    cells: list[tuple[str, ...]] = [("what", "verdict", "rows", "largest", "tolerance")]
    cells += [
        (
            f"  {name}" if group else name, line.verdict, str(line.rows or ""),
            *("" if value is None else f"{value:.2g}" for value in (line.largest, line.tolerance)),
        )
        for (group, _, name), line in zip(named, lines, strict=True)
    ]  # fmt: skip
    own, *widths = (max(map(len, column)) for column in zip(*cells, strict=True))
    own = min(own, _WIDTH - sum(widths) - _GAPS)
    head, *rows = (_row(row, own, widths) for row in cells)
    shown, last = [head], ""
    for (group, _, _), line, row in zip(named, lines, rows, strict=True):
        if group and group != last:
            shown.append(group)
        last = group
        if line.note and len(row) + 2 + len(line.note) > width:
            row += "\n" + textwrap.fill(
                line.note, width, initial_indent=_BELOW, subsequent_indent=_BELOW,
                break_on_hyphens=False,
            )  # fmt: skip
        elif line.note:
            row = f"{row}  {line.note}"
        shown.append(row.rstrip())
    return "\n".join(shown)


def _row(cells: Sequence[str], own: int, widths: Sequence[int]) -> str:
    """One line of the table; a name that is too long has a line of its own."""
    name, verdict, *numbers = cells
    of_verdict, *of_numbers = widths
    start = name.ljust(own) if len(name) <= own else f"{name}\n{'':{own}}"
    ends = (number.rjust(width) for number, width in zip(numbers, of_numbers, strict=True))
    return " ".join([f"{start}  {verdict:{of_verdict}}", *ends])
