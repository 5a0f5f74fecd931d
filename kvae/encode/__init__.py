"""Bulk work through a published model: latents, or scores, of more rows than fit into memory.

    python -m kvae.encode --model saved/faces --input photos/ --output latents.parquet
    python -m kvae.encode --model saved/faces --input photos/ --output scores.parquet \
        --signature score

`kvae.encode.beam` does the same work on the machines of an Apache Beam runner.
"""

import heapq
import math
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from kvae.data.cores import on_all_cores
from kvae.data.images.decoding import Unreadable
from kvae.data.images.pixels import stacked
from kvae.data.splits import content_key
from kvae.encode.parts import Parts
from kvae.encode.sources import Row, Wanted, open_source
from kvae.errors import DataError, UsageError, brief, did_you_mean
from kvae.options import read, whole_range
from kvae.serving.versions import find_version, read_metadata

#: What can be asked of every row.
SIGNATURES = ("encode", "score")
PART_ROWS = 8192
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


def encode(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    signature: str = "encode",
    batch_size: int = 256,
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
        batch_size: rows handed to the graph at a time, at most a million.

    Returns:
        `output`.

    Raises:
        UsageError: an argument is wrong, the output exists, or the source does not fit the model.
        DataError: the source, or all of its rows, cannot be read; of rows the file says why.
    """
    batch_size = read(whole_range(1, 10**6), batch_size, "batch_size")
    version, output = find_version(model), Path(output)
    metadata = read_metadata(version)
    wanted = wanted_of(metadata, signature)
    rows = open_source(Path(source), wanted)
    outputs = output_shapes(metadata, signature)
    job = {
        # The fingerprint says nothing of the weights, but older versions have no checksums.
        "model": content_key(
            sorted(metadata.get("files", {}).items()) or [metadata["fingerprint"]]
        ),
        "signature": signature,
        "source": rows.stamp,
        "rows": rows.count,
    }
    with Parts(output, job, outputs, PART_ROWS) as parts:
        try:
            _work(version, signature, rows, parts, wanted, batch_size)
        except KeyboardInterrupt:
            left = sum(stop - start for start, stop in parts.missing)
            print(f"\n{rows.count - left:,} of {rows.count:,} rows are kept; the same call goes on")
            raise
        faults = parts.merge()
    without = f", {faults:,} of them without an answer (see `error`)" if faults else ""
    print(f"wrote {output}: {rows.count:,} rows{without}, by {version.path}")
    if faults == rows.count:
        raise DataError(f"no row could be read; {_first_error(output)}")
    if signature == "score":
        _print_lowest(output)
    return output


def output_shapes(metadata: dict[str, Any], signature: str) -> dict[str, tuple[int, ...]]:
    """Output name -> shape of one row's."""
    described = metadata["signatures"][signature]["outputs"]
    return {name: tuple(one["shape"][1:]) for name, one in described.items()}


def _work(version, signature, source, parts, wanted, batch_size):
    missing = parts.missing
    if not missing:
        return
    from tqdm import tqdm

    from kvae.serving.served import ServedModel

    served = ServedModel(version, batch_size)
    left = sum(stop - start for start, stop in missing)
    with tqdm(total=source.count, initial=source.count - left, unit=" rows", desc=signature) as bar:
        rows, place = iter(()), -1
        for start, stop in missing:
            if start != place:  # else the rows that follow are at hand
                rows = source.rows(start)
            place = stop
            with parts.writer(start) as write:
                for keys, x, errors in batches(islice(rows, stop - start), wanted, batch_size):
                    write(keys, served.call(signature, x=x) if len(x) else {}, errors)
                    bar.update(len(keys))


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
