"""history.csv of a run, and what is said where a file of a run cannot be written."""

import csv
import sys
from pathlib import Path

import keras


class Notes:
    """What cannot be written is said once; training goes on."""

    def __init__(self) -> None:
        self._said = False

    def say(self, path: Path, error: OSError) -> None:
        """Say that a file cannot be written, if nothing like it was said before."""
        if not self._said:
            reason = error.strerror or str(error).splitlines()[0]
            print(
                f"note: cannot write {path}: {reason}; training goes on, the best weights stay in "
                "memory",
                file=sys.stderr,
            )
        self._said = True


class History(keras.callbacks.Callback):
    """Write the figures of each epoch to history.csv, and after a full disk those that lack.

    Args:
        path: the file.
        notes: hears of a full disk.
    """

    def __init__(self, path, notes):
        super().__init__()
        self._path, self._notes = path, notes
        self._rows, self._is_whole = [], False

    def on_epoch_end(self, epoch, logs=None):
        """Write the row of an epoch, or all that could not be written."""
        self._rows.append({"epoch": epoch, **dict(sorted((logs or {}).items()))})
        self._is_whole &= self._path.exists()
        rows, mode = (self._rows[-1:], "a") if self._is_whole else (self._rows, "w")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(self._rows[0]))
                if not self._is_whole:
                    writer.writeheader()
                writer.writerows(rows)
            self._is_whole = True
        except OSError as error:
            self._is_whole = False
            self._notes.say(self._path, error)
