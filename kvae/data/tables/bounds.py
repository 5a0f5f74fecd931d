"""How much memory a file may take when it is unpacked."""

from pathlib import Path
from typing import NamedTuple, NoReturn

from kvae.errors import DataError

GB = 10**9
_LEAST, _TIMES = GB, 20
# A line is held some times over: as bytes, as text and as cells.
_LINES = 16
NUMBER_BYTES = 8  # as float32, and once more in its split
_NAME_BYTES = 256  # what a column takes beside its numbers


class Bound(NamedTuple):
    """What one file may take.

    Args:
        file: its name.
        allowed: bytes.
        line: bytes of the longest line of text.
    """

    file: str
    allowed: int
    line: int

    def check(self, needed: int, what: str) -> None:
        """Refuse what takes more: DataError."""
        if needed > self.allowed:
            self.refuse(f"{what} {needed / GB:.3g} GB")

    def check_columns(self, count: int) -> None:
        """Refuse a table of so many columns: DataError."""
        self.check(count * _NAME_BYTES, f"{count:,} columns take")

    def refuse(self, fault: str) -> NoReturn:
        """Say that a file takes too much, and which option allows more."""
        raise DataError(
            f"{self.file}: {fault}, {self.allowed / GB:.3g} GB are allowed; --max-unpacked GB "
            f"allows more (without it: the larger of {_LEAST // GB} GB and {_TIMES} times the "
            "file's size)"
        )

    def refuse_line(self, number: int) -> NoReturn:
        """Say that a line is too long, and which option allows longer ones."""
        raise DataError(
            f"{self.file}, line {number}: more than {self.line:,} bytes, the most that a line may "
            f"have; --max-unpacked GB allows lines of 1/{_LINES} of it"
        )


def bound_of(path: Path, max_unpacked: float | None) -> Bound:
    """What a file may take: so many GB; None: the larger of 1 GB and 20 times its size."""
    if max_unpacked is not None:
        allowed = int(max_unpacked * GB)
        return Bound(path.name, allowed, allowed // _LINES)
    # A large file may well have many lines, and no longer ones than others.
    return Bound(path.name, max(_LEAST, _TIMES * path.stat().st_size), _LEAST // _LINES)
