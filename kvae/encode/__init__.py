"""Bulk work through a published model: latents, or scores, of more rows than fit into memory.

    python -m kvae.encode --model saved/faces --input photos/ --output latents.parquet
    python -m kvae.encode --model saved/faces --input photos/ --output scores.parquet \
        --signature score

`kvae.encode.beam` does the same work on the machines of an Apache Beam runner.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kvae import backend
from kvae.data.cores import on_all_cores
from kvae.data.images.decoding import Unreadable
from kvae.data.images.pixels import stacked
from kvae.data.splits import content_key
from kvae.encode.parts import Parts
from kvae.encode.sources import Row, Source, Wanted, open_source
from kvae.errors import DataError, UsageError, brief, did_you_mean
from kvae.options import read, whole_range
from kvae.saying import progress, say
from kvae.serving.versions import Version, find_version, read_metadata

#: What can be asked of every row.
SIGNATURES = ("encode", "score")
PART_ROWS = 2048
#: How many rows are handed to the graph at a time, how many processes there may be.
BATCH_SIZE, PROCESSES = whole_range(1, 10**6), whole_range(1, 256)
_SHOWN = 10
_FILE_BYTES = 2**18


def wanted_of(metadata: dict[str, Any], signature: str) -> Wanted:
    """What a model takes, from its kvae.json.

    Raises:
        UsageError: the model is conditional, or lacks the signature.
    """
    described = metadata.get("signatures", {}).get(signature)
    if described is None:
        nearest = did_you_mean(str(signature), SIGNATURES)
        raise UsageError(f"the model has no signature {brief(signature)}{nearest}")
    if set(described["inputs"]) != {"x"}:
        raise UsageError(
            f"{signature} of this model takes {', '.join(described['inputs'])}: bulk work knows x "
            "alone, not the condition of each row"
        )
    shape = tuple(metadata["model"]["element_shape"])
    card = metadata.get("data_card", {})
    columns = card.get("columns", ()) if len(shape) == 1 else ()
    # Columns without names are numbers.
    named = tuple(columns) if all(isinstance(name, str) for name in columns) else ()
    return Wanted(shape, card.get("crop", "center"), named, bool(card.get("binarize")))


class Work(NamedTuple):
    """What is asked for, as `encode` has it, in words that other processes read."""

    model: str
    source: str
    output: str
    signature: str
    batch_size: int
    part_rows: int


class Opened(NamedTuple):
    """Work that fits its model.

    Args:
        work: what is asked for.
        version: the model.
        wanted: what it takes.
        source: rows.
        parts: of the output.
    """

    work: Work
    version: Version
    wanted: Wanted
    source: Source
    parts: Parts

    def make(self, missing: Sequence[tuple[int, int]]) -> Iterator[int]:
        """Make parts: yields a number of rows whenever so many are done.

        Args:
            missing: first row and the row after the last of each, in order.
        """
        signature, size = self.work.signature, self.work.batch_size
        served = backend.quiet_import("kvae.serving.served").ServedModel(self.version, size)
        rows: Iterator[Row] = iter(())
        place = -1
        for start, stop in missing:
            if start != place:  # else the rows that follow are at hand
                rows = self.source.rows(start)
            place = stop
            with self.parts.writer(start) as write:
                for keys, x, errors in batches(islice(rows, stop - start), self.wanted, size):
                    write(keys, served.call(signature, x=x) if len(x) else {}, errors)
                    yield len(keys)


def open_work(work: Work) -> Opened:
    """See that work fits its model. Errors as of `encode`, but for the output's."""
    version = find_version(work.model)
    metadata = read_metadata(version)
    wanted = wanted_of(metadata, work.signature)
    source = open_source(Path(work.source), wanted)
    job = {
        # The fingerprint says nothing of the weights, but older versions have no checksums.
        "model": content_key(
            sorted(metadata.get("files", {}).items()) or [metadata["fingerprint"]]
        ),
        "signature": work.signature,
        "source": source.stamp,
        "rows": source.count,
    }
    outputs = output_shapes(metadata, work.signature)
    parts = Parts(Path(work.output), job, outputs, work.part_rows)
    return Opened(work, version, wanted, source, parts)


def encode(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    signature: str = "encode",
    batch_size: int = 256,
    processes: int = 1,
) -> Path:
    """Run a signature on every row of a source, and write a parquet file.

    Its columns are `key`, the outputs of the signature, and `error`: why a row could not be read,
    whose outputs are empty then. Interrupted, the same call goes on where it was; the file appears
    when it is complete.

    Args:
        model: a version, see `kvae.serving.versions.find_version`.
        source: see `kvae.encode.sources.open_source`.
        output: the file to write, .parquet.
        signature: one of `SIGNATURES`.
        batch_size: rows handed to the graph at a time, at most the 2,048 of a part: more are as
            many.
        processes: that share the parts of 2,048 rows, at most 256; each has a copy of the model
            and threads for all cores. The file does not depend on their number.

    Returns:
        `output`.

    Raises:
        UsageError: an argument is wrong, the output exists, or the source does not fit the model.
        DataError: the source, or all of its rows, cannot be read, of rows the file says why; a
            process was ended.
    """
    batch_size = read(BATCH_SIZE, batch_size, "batch_size")
    processes = read(PROCESSES, processes, "processes")
    version, output = find_version(model), Path(output)
    work = Work(str(version.path), str(source), str(output), signature, batch_size, PART_ROWS)
    opened = open_work(work)
    rows = opened.source
    with opened.parts as parts:
        try:
            _do(opened, processes)
        except KeyboardInterrupt:
            left = sum(stop - start for start, stop in parts.missing)
            say(f"{rows.count - left:,} of {rows.count:,} rows are kept; the same call goes on")
            raise
        faults = parts.merge()
    without = f", {faults:,} of them without an answer (see `error`)" if faults else ""
    say(f"wrote {output}: {rows.count:,} rows{without}, by {version.path}", is_result=True)
    if faults == rows.count:
        raise DataError(f"no row could be read; {_first_error(output)}")
    if signature == "score":
        _print_lowest(output)
    return output


def output_shapes(metadata: dict[str, Any], signature: str) -> dict[str, tuple[int, ...]]:
    """Output name -> shape of one row's."""
    described = metadata["signatures"][signature]["outputs"]
    return {name: tuple(one["shape"][1:]) for name, one in described.items()}


def _do(opened: Opened, processes: int) -> None:
    """Make the parts that are missing."""
    missing = opened.parts.missing
    if not missing:
        return
    count, left = opened.source.count, sum(stop - start for start, stop in missing)
    with progress("encoding", count, "rows", done=count - left) as advance:
        if processes > 1 and len(missing) > 1:
            from kvae.encode.processes import run

            run(opened.work, missing, min(processes, len(missing)), advance)
            return
        for rows in opened.make(missing):
            advance(rows)


def batches(
    rows: Iterator[Row], wanted: Wanted, batch_size: int
) -> Iterator[tuple[list[str], np.ndarray, list[str | None]]]:
    """Make rows on all cores, in order.

    Args:
        rows: before anything expensive is done.
        wanted: what the model takes.
        batch_size: rows of a batch, but for the last.

    Yields:
        Keys; x of the rows that could be made; why the others could not, None for those that could.
    """
    # What waits holds its file too, not only its pixels.
    made = on_all_cores(rows, _made, max(_FILE_BYTES, math.prod(wanted.shape)))
    pending = chain.from_iterable(made)
    while batch := list(islice(pending, batch_size)):
        good = [x for _, x in batch if not isinstance(x, Unreadable)]
        x = stacked(good) if good else np.empty((0, *wanted.shape), np.float32)
        errors = [str(x) if isinstance(x, Unreadable) else None for _, x in batch]
        yield [key for key, _ in batch], x, errors


def _made(row: Row) -> tuple[str, np.ndarray | Unreadable]:
    try:
        return row.key, row.x()
    except Unreadable as error:
        return row.key, error


def _first_error(output: Path) -> str:
    """The first row of a file, and why it could not be read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(output) as file:
        row = next(file.iter_batches(1, columns=["key", "error"]))
    return f"{row['key'][0].as_py()} {row['error'][0].as_py()}"


def _print_lowest(output: Path) -> None:
    """The rows that the model finds least likely."""
    import pyarrow.parquet as pq

    lowest: list[tuple[float, str]] = []
    with pq.ParquetFile(output) as file:
        for batch in file.iter_batches(columns=["key", "elbo", "error"]):
            rows = zip(*(batch[name].to_pylist() for name in ("key", "elbo", "error")), strict=True)
            # What is so unusual that its density is no number comes first.
            answered = [
                (-math.inf if math.isnan(elbo) else elbo, key)
                for key, elbo, error in rows
                if error is None
            ]
            lowest = heapq.nsmallest(_SHOWN, lowest + answered)
    print("lowest ELBO (nats), the least usual rows:")
    for elbo, key in lowest:
        print(f"  {elbo:14.2f}  {key}")
