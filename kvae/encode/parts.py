"""A parquet file written in parts: what is done stays, and the file appears when it is whole."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kvae import files
from kvae.data.rows import slices
from kvae.errors import DataError, UsageError

_JOB, _LOCK = "job.json", ".lock"


def schema_of(outputs: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Any:
    """The columns: `key`, the outputs, `error`.

    Args:
        outputs: name -> shape of one row's: `()` or `(size,)`.
        metadata: kept in the file.
    """
    import pyarrow as pa

    # Not of a fixed size: some releases of pyarrow cannot read those where rows are empty.
    def kind(shape: tuple[int, ...]) -> Any:
        return pa.list_(pa.float32()) if shape else pa.float32()

    fields = [("key", pa.string())]
    fields += [(name, kind(shape)) for name, shape in outputs.items()]
    return pa.schema([*fields, ("error", pa.string())], metadata=metadata)


def record_batch(
    schema: Any, keys: list[str], answers: dict[str, np.ndarray], errors: list[str | None]
) -> Any:
    """Rows as pyarrow has them.

    Args:
        schema: from `schema_of`.
        keys: of all rows.
        answers: output name -> array of the rows that have no error, in order; nothing where all
            have one.
        errors: why a row could not be read; None for the others.
    """
    import pyarrow as pa

    good = np.array([error is None for error in errors], bool)
    columns = []
    for field in schema:
        if field.name == "key":
            columns.append(pa.array(keys, pa.string()))
        elif field.name == "error":
            columns.append(pa.array(errors, pa.string()))
        else:
            columns.append(_column(field.type, answers.get(field.name), good))
    return pa.record_batch(columns, schema=schema)


def _column(kind, values, good):
    """An output of all rows, empty where they are not good."""
    import pyarrow as pa

    if values is None:
        return pa.nulls(len(good), kind)
    if kind == pa.float32():
        full = np.zeros(len(good), np.float32)
        full[good] = values
        return pa.array(full, mask=~good)
    ends = np.cumsum(np.where(good, values.shape[1], 0))
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()), mask=pa.array(~good))


class Parts:
    """A job whose parts lie beside the output until all are there.

    Args:
        output: the file, .parquet.
        job: what the rows depend on, JSON values; `rows` is their number.
        outputs: see `schema_of`.
        part_rows: rows of a part.

    Raises:
        UsageError: the output exists, cannot be written, or parts of another job lie there.
    """

    def __init__(
        self, output: Path, job: dict[str, Any], outputs: dict[str, tuple[int, ...]], part_rows: int
    ):
        self._output, self._folder = output, output.with_name(f"{output.name}.parts")
        self._job = {**job, "part_rows": part_rows}
        self._metadata = {f"kvae.{key}": str(value) for key, value in job.items()}
        self._outputs, self._held, self._is_merged = outputs, ExitStack(), False

    def __enter__(self) -> "Parts":
        _check_output(self._output)
        try:
            self._folder.mkdir(exist_ok=True)
            busy = f"another process writes {self._output}: wait for it"
            self._held.enter_context(files.alone(self._folder / _LOCK, busy))
        except OSError as error:
            raise UsageError(f"cannot write to {self._folder}: {error.strerror}") from error
        try:
            self._take_over()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # While the lock is held, or what is removed may be another job's. Windows keeps the file of
        # a held lock, and with it the folder.
        if self._is_merged:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._held.close()
        if self._is_merged and files.WINDOWS:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _take_over(self) -> None:
        """See that the parts are this job's."""
        _check_output(self._output)  # it may have been written while this process came here
        for left in self._folder.glob("*.new"):
            left.unlink()
        path = self._folder / _JOB
        text = json.dumps(self._job, indent=1)
        if not path.is_file():
            files.replace_text(path, text)
        elif path.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"{self._folder} holds parts of another job (another model, signature or source): "
                "remove it, or choose another --output"
            )

    @property
    def missing(self) -> list[tuple[int, int]]:
        """First row and the row after the last of each part that is not there yet."""
        rows, size = self._job["rows"], self._job["part_rows"]
        return [
            (part.start, part.stop)
            for part in slices(rows, size)
            if not self._part(part.start).is_file()
        ]

    def _part(self, start: int) -> Path:
        return self._folder / f"{start:012}.parquet"

    @contextmanager
    def writer(self, start: int) -> Iterator[Callable[..., None]]:
        """A function that adds rows to a part: keys, answers, errors, see `record_batch`.

        Args:
            start: the part's first row. The part is there when the context ends without an error.
        """
        import pyarrow.parquet as pq

        schema = schema_of(self._outputs)
        new = self._part(start).with_suffix(".new")
        with pq.ParquetWriter(new, schema) as writer:

            def write(
                keys: list[str], answers: dict[str, np.ndarray], errors: list[str | None]
            ) -> None:
                writer.write_batch(record_batch(schema, keys, answers, errors))

            yield write
        new.replace(self._part(start))

    def merge(self) -> int:
        """Make the output of all parts, then remove them.

        Returns:
            How many rows have an error.
        """
        import pyarrow.parquet as pq

        new, faults = self._folder / "merged.new", 0
        with pq.ParquetWriter(new, schema_of(self._outputs, self._metadata)) as writer:
            for start in range(0, self._job["rows"], self._job["part_rows"]):
                try:
                    part = pq.read_table(self._part(start))
                except (OSError, ValueError) as error:
                    raise DataError(
                        f"{self._part(start)} is damaged: remove it and start again ({error})"
                    ) from error
                faults += len(part) - part["error"].null_count
                writer.write_table(part.cast(writer.schema))
        new.replace(self._output)
        self._is_merged = True
        return faults


def _check_output(output: Path) -> None:
    if output.suffix != ".parquet":
        raise UsageError(f"--output must end in .parquet, received {output}")
    if files.exists(output):
        raise UsageError(f"{output} exists already: remove it, or choose another --output")
    if not files.is_folder(output.parent):
        raise UsageError(f"no such folder: {output.parent}")
