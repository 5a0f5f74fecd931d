"""--audit: what is to be published is audited first, and is not published where it differs."""

from pathlib import Path

from kvae.audit import run
from kvae.audit.verdicts import count
from kvae.data import Dataset
from kvae.errors import DataError
from kvae.files import or_note
from kvae.saying import say
from kvae.serving.versions import AUDIT, Version


class Auditor:
    """Audits a version before it has a number; then says what it found of the one with a number.

    Args:
        folder: `saved/<name>/training`, where audit.json lies of what was not published.
        dataset: the data, as the model takes them.
    """

    def __init__(self, folder: Path, dataset: Dataset | None):
        self._folder, self._dataset = folder, dataset

    def check(self, built: Version) -> None:
        """Audit a version, see `kvae.publish.publish`.

        Raises:
            DataError: something differs; audit.json says all of it.
        """
        (self._folder / AUDIT).unlink(missing_ok=True)  # of an earlier run
        self._origin, self._lines = run.audit(built, {}, dataset=self._dataset)
        wrong = run.differing(self._lines)
        if wrong:
            path = run.write(self._folder, run.report(built, self._origin, self._lines))
            raise DataError(f"nothing was published: {wrong}; {path} has all lines")

    def tell(self, published: Version) -> None:
        """Write audit.json beside the evaluation of the version, and a line of the verdicts."""
        verdicts = ", ".join(f"{number} {name}" for name, number in count(self._lines).items())
        with or_note(AUDIT):
            published.evaluation.mkdir(parents=True, exist_ok=True)
            run.write(published.evaluation, run.report(published, self._origin, self._lines))
        say(f"audited   {verdicts}", flush=True)
