"""What the audit says of each number: it agrees, it differs, or it was not checked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from kvae.errors import one_line

Verdict = Literal["agrees", "differs", "not checked"]
AGREES: Verdict = "agrees"
DIFFERS: Verdict = "differs"
NOT_CHECKED: Verdict = "not checked"
#: A number may be so many times as far off as the audit's own formulas are in float32, and so much
#: of itself besides: TensorFlow adds up in another order.
TIMES_ROUNDING, OF_ITSELF = 8.0, 2e-6
#: Where rounding alone may move numbers by more of their size, nothing is held against anything.
_MOST_OF_ITSELF = 0.02
_MANY = 16  # rows, of whose median rounding something can be said
_BITS_OFF = 1e-5  # share of drawn bits that rounding may turn


@dataclass(frozen=True)
class Line:
    """One thing that the audit looked at.

    Args:
        what: signature and output, or what else it was.
        verdict: of three.
        rows: how many were compared.
        largest: difference found; None: nothing was compared.
        tolerance: what that difference may be.
        note: why, where that is not plain; one line.
    """

    what: str
    verdict: Verdict
    rows: int = 0
    largest: float | None = None
    tolerance: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As audit.json has it."""
        return asdict(self)


def not_checked(what: str, why: object) -> Line:
    """A line about something that the audit cannot say."""
    return Line(what, NOT_CHECKED, note=one_line(str(why), 300))


def stated(what: str, faults: Sequence[str]) -> Line:
    """A line about statements, which hold where there are no faults."""
    return Line(what, DIFFERS if faults else AGREES, note=one_line("; ".join(faults), 500))


def compared(
    what: str, found: np.ndarray, own: np.ndarray, rounded: np.ndarray, *,
    extra: float = 0.0, noise_of_more: float = 0.0,
) -> Line:  # fmt: skip
    """Hold served numbers against the audit's.

    Args:
        what: which they are.
        found: `(rows, ...)`, as they are served.
        own: the audit's, in float64.
        rounded: the audit's, by the same formulas in float32.
        extra: share of itself by which a number may be off, where it is an approximation.
        noise_of_more: what rounding does to more rows of the kind; of few it may seem less.
    """
    if found.shape != own.shape:
        note = f"of shape {found.shape}, the audit's is of {own.shape}"
        return Line(what, DIFFERS, len(own), note=note)
    lost = ~np.isfinite(found)
    if (lost != ~np.isfinite(own)).any() or (found[lost & ~np.isnan(found)]
                                             != own[lost & ~np.isnan(found)]).any():  # fmt: skip
        return Line(what, DIFFERS, len(own), note="numbers that are not finite, in other places")
    found, own, rounded = (part[~lost].astype(np.float64) for part in (found, own, rounded))
    if not own.size:
        return Line(what, AGREES, len(lost), 0.0, 0.0)
    size, noise = np.abs(own), np.abs(rounded - own)
    if not np.isfinite(noise).all():
        return not_checked(what, "float32 does not hold what the formulas need")
    difference, typical = np.abs(found - own), float(np.median(size))
    most = max(float(noise.max()), noise_of_more)
    slack = TIMES_ROUNDING * most + OF_ITSELF * np.maximum(size, typical) + extra * size
    place = int(np.argmax(difference - slack))
    largest, tolerance = float(difference[place]), float(slack[place])
    if largest > tolerance:
        return Line(what, DIFFERS, len(lost), largest, tolerance)
    # One row that float32 does not hold must not hide what moves all of them.
    middle = float(np.median(difference))
    bound = TIMES_ROUNDING * float(np.median(noise)) + (OF_ITSELF + extra) * typical
    if len(lost) >= _MANY and middle > bound:
        return Line(what, DIFFERS, len(lost), middle, bound, "in the median of all rows")
    if TIMES_ROUNDING * most > _MOST_OF_ITSELF * float(size.max()):
        return not_checked(what, f"rounding alone may move it by {most:.2g}")
    return Line(what, AGREES, len(lost), largest, tolerance)


def compared_bits(what: str, found: np.ndarray, own: np.ndarray) -> Line:
    """Hold bits that were drawn against the audit's: the share that is not equal."""
    if found.shape != own.shape:
        return compared(what, found, own, own)
    share = float(np.mean(found != own))
    tolerance = max(_BITS_OFF, 1.0 / max(1, own.size))
    verdict = DIFFERS if share > tolerance else AGREES
    return Line(what, verdict, len(own), share, tolerance, "share of bits")


def count(lines: Sequence[Line]) -> dict[str, int]:
    """How many lines have each verdict."""
    return {
        verdict: sum(line.verdict == verdict for line in lines)
        for verdict in (AGREES, DIFFERS, NOT_CHECKED)
    }


def table(lines: Sequence[Line]) -> str:
    """The lines for a terminal."""
    rows: list[tuple[str, ...]] = [("what", "verdict", "rows", "largest", "tolerance", "")]
    rows += [
        (
            line.what, line.verdict, str(line.rows or ""),
            *("" if value is None else f"{value:.2g}" for value in (line.largest, line.tolerance)),
            line.note,
        )
        for line in lines
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
