"""history.csv of a run, and what is said where a file of a run cannot be written."""

import csv
import sys
from pathlib import Path

import keras


class Notes:
    """What cannot be written is said once; training goes on.

    Args:
        rest: what becomes of it, in words.
    """

    def __init__(self, rest: str = ", what it has stays in memory") -> None:
        self._rest, self._said = rest, False

    def say(self, path: Path, error: OSError) -> None:
        """Say that a file cannot be written, if nothing like it was said before."""
        if not self._said:
            reason = error.strerror or str(error).splitlines()[0]
            print(
                f"note: cannot write {path}: {reason}; training goes on{self._rest}",
                file=sys.stderr,
            )
        self._said = True


class History(keras.callbacks.Callback):
    """Write the figures of each epoch to history.csv, and after a full disk those that lack.

    Stands before callbacks of the user's own, which may put anything beside the model's figures.

    Args:
        path: the file.
        notes: hears of a full disk.
        rows: of epochs before, of a run that goes on.

    Attributes:
        rows: of all epochs: "epoch", from 0, and figures.
    """

    def __init__(self, path, notes, rows=()):
        super().__init__()
        self._path, self._notes = path, notes
        self.rows, self._is_whole = [*rows], False

    def on_epoch_end(self, epoch, logs=None):
        """Write the row of an epoch, or all that could not be written."""
        figures = {name: float(value) for name, value in sorted((logs or {}).items())}
        self.rows.append({"epoch": epoch, **figures})
        self._is_whole &= self._path.exists()
        rows, mode = (self.rows[-1:], "a") if self._is_whole else (self.rows, "w")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(self.rows[0]))
                if not self._is_whole:
                    writer.writeheader()
                writer.writerows(rows)
            self._is_whole = True
        except OSError as error:
            self._is_whole = False
            self._notes.say(self._path, error)


def figures_of(rows):
    """Figure -> value of each epoch, of the rows of a `History`."""
    found = {}
    for row in rows:
        for name, value in row.items():
            if name != "epoch":
                found.setdefault(name, []).append(value)
    return found
