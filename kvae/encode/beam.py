"""The work of `kvae.encode` as an Apache Beam pipeline, on whatever machines a runner has.

    pip install -e ".[beam]"
    python -m kvae.encode.beam --model saved/faces/3 --input photos/ --output latents
    python -m kvae.encode.beam --model gs://bucket/saved/faces/3 --input gs://bucket/photos \
        --output gs://bucket/latents --runner DataflowRunner --project ... --region ... \
        --sdk_container_image ...

Options that are not ours are Beam's. The workers need kvae too: on Dataflow an image that has it
(and `apache-beam[gcp]` here). Keys and values are those of one machine; the rows come in any
order, in files OUTPUT-00000-of-0000N.parquet. `--model` is a version here, and `--input` a folder
of images, or a file or folder of .parquet, .tfrecord or .npy; both anywhere that Beam can read.

Source: Apache Beam, "RunInference"; its own handler for TensorFlow takes no SavedModel.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

try:
    import apache_beam as beam
except ImportError:
    if __name__ == "__main__":
        sys.exit('error: apache_beam is not installed: pip install -e ".[beam]" (docs/serving.md)')
    raise
import numpy as np
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import (
    KeyedModelHandler,
    ModelHandler,
    PredictionResult,
    RunInference,
)
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from kvae import cli
from kvae.data.images.decoding import SUFFIXES, Unreadable
from kvae.data.images.files import MAX_BYTES, about_not_read, not_read
from kvae.data.images.pixels import stacked
from kvae.encode import output_shapes, wanted_of
from kvae.encode.parts import record_batch, schema_of
from kvae.encode.program import add_signature
from kvae.encode.sources import TABLES, Wanted, kind_of, open_source
from kvae.errors import DataError, KvaeError, UsageError
from kvae.serving.metadata import MAX_BYTES as MAX_METADATA_BYTES
from kvae.serving.metadata import read
from kvae.serving.versions import METADATA, Version

_BAD = "unreadable"
_BATCH = {"min_batch_size": 32, "max_batch_size": 256}


class SavedModelHandler(ModelHandler[np.ndarray, PredictionResult, Any]):
    """Runs one signature of a published version, for `RunInference`.

    Args:
        version: its folder, anywhere that Beam can read.
        signature: a signature that takes x alone.
    """

    def __init__(self, version: str, signature: str):
        super().__init__()
        self._version, self._signature = version, signature

    def load_model(self) -> Any:
        """Fetch the version and load it."""
        from kvae.serving.served import ServedModel

        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "1"
            _fetch_folder(self._version, local)
            return ServedModel(Version(local, "model", 1), _BATCH["max_batch_size"])

    def run_inference(
        self, batch: Sequence[np.ndarray], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterator[PredictionResult]:
        """Answer a batch of rows."""
        del inference_args
        answers = model.call(self._signature, x=stacked(batch))
        for row in range(len(batch)):
            yield PredictionResult(None, {name: value[row] for name, value in answers.items()})

    def batch_elements_kwargs(self) -> dict[str, int]:
        """How many rows Beam puts into a batch."""
        return dict(_BATCH)


class ReadRows(beam.DoFn):
    """A file -> (key, x) of its rows; those that cannot be read as (key, why) beside them.

    Args:
        root: what keys are relative to.
        wanted: what the model takes.
    """

    def __init__(self, root: str, wanted: Wanted):
        super().__init__()
        self._root, self._wanted = root, wanted

    def process(self, file: Any) -> Iterator[Any]:
        """Read one file, which is fetched to this machine first."""
        path = file.metadata.path
        name = path.removeprefix(self._root).lstrip("/")
        if kind_of(path) not in TABLES:
            yield self._made(name, lambda: self._wanted.decode(_content_of(file)))
            return
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / Path(path).name
            _fetch(path, local)
            for row in open_source(local, self._wanted).rows(0):
                _, _, number = row.key.rpartition("#")
                yield self._made(f"{name}#{number}", row.x)

    def _made(self, key: str, x: Any) -> Any:
        try:
            return key, x()
        except Unreadable as error:
            return beam.pvalue.TaggedOutput(_BAD, (key, str(error)))


def _content_of(file: Any) -> bytes:
    """The bytes of an image file; one that is gone, or may not be read, is an error of its row."""
    try:
        with file.open() as opened:
            return opened.read(MAX_BYTES + 1)
    except (FileNotFoundError, PermissionError) as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error


def _fetch(path: str, local: Path) -> None:
    with FileSystems.open(path) as source, local.open("wb") as target:
        shutil.copyfileobj(source, target)


def _fetch_folder(path: str, local: Path) -> None:
    """Copy all files below a folder."""
    for file in _files_below(path):
        target = local / file.removeprefix(path.rstrip("/")).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(file, target)


def _files_below(path: str) -> list[str]:
    return _matching(f"{path.rstrip('/')}/", "**")


def _matching(start: str, pattern: str) -> list[str]:
    """The files whose names are `start` and then match a pattern."""
    # Names are no patterns, and nothing quotes: what matches too much is sorted out again.
    (found,) = FileSystems.match([re.sub(r"[*?\[]", "?", start) + pattern])
    return [file.path for file in found.metadata_list if file.path.startswith(start)]


def _metadata(version: str) -> dict[str, Any]:
    path = f"{version.rstrip('/')}/{METADATA.as_posix()}"
    if not FileSystems.exists(path):
        raise UsageError(
            f"no published version at {version} (saved/NAME/NUMBER is wanted): {path} is not there"
        )
    with FileSystems.open(path) as file:
        return read(file.read(MAX_METADATA_BYTES + 1), path)


def _files_of(source: str) -> tuple[str, list[str]]:
    """What keys are relative to, and the files that hold rows."""
    files = [path for path in _files_below(source) if not _is_hidden(path, source)]
    if not files and kind_of(source) in TABLES and FileSystems.exists(source):
        return source.rpartition("/")[0], [source]
    images = [path for path in files if path.lower().endswith(SUFFIXES)]
    tables = [path for path in files if kind_of(path) in TABLES]
    others = about_not_read(not_read(files))
    if not images and not tables:
        raise DataError(
            f"{source} holds no images ({', '.join(SUFFIXES)}) and no files {', '.join(TABLES)}"
            + "".join(f"; {note}" for note in others)
        )
    for note in others:
        print(f"note: {note}", file=sys.stderr)
    return source, images or tables


def _is_hidden(path: str, root: str) -> bool:
    return any(part.startswith(".") for part in path.removeprefix(root).split("/"))


def run(model: str, source: str, output: str, *, signature: str, options: PipelineOptions) -> None:
    """Run the pipeline and wait for it.

    Args:
        model: folder of a version.
        source: see the module.
        output: what the names of the files start with.
        signature: see `kvae.encode.SIGNATURES`.
        options: Beam's.

    Raises:
        UsageError: the model does not fit, or the output exists.
        DataError: there is nothing to read.
    """
    there = _matching(output, "-*-of-*.parquet")
    if there:
        raise UsageError(f"{there[0]} exists already: remove it, or choose another --output")
    metadata = _metadata(model)
    wanted, outputs = wanted_of(metadata, signature), output_shapes(metadata, signature)
    root, files = _files_of(source)
    _check(source, files[0], wanted)
    handler = KeyedModelHandler(SavedModelHandler(model, signature))

    with beam.Pipeline(options=options) as pipeline:
        read = (
            pipeline
            | "files" >> beam.Create(files)
            | "spread" >> beam.Reshuffle()
            | "open" >> fileio.ReadMatches()
            | "read" >> beam.ParDo(ReadRows(root, wanted)).with_outputs(_BAD, main="rows")
        )
        good = read["rows"] | signature >> RunInference(handler) | beam.MapTuple(_answered)
        bad = read[_BAD] | beam.MapTuple(lambda key, why: (key, {}, why))
        (
            (good, bad)
            | beam.Flatten()
            | beam.BatchElements(min_batch_size=1, max_batch_size=4096)
            | "columns" >> beam.Map(_record_batch, outputs)
            | beam.io.parquetio.WriteToParquetBatched(
                output, schema_of(outputs), file_name_suffix=".parquet"
            )
        )


def _check(source: str, first: str, wanted: Wanted) -> None:
    """See here, before any worker does, that the first file fits the model."""
    if kind_of(first) not in TABLES:
        wanted.check_files(Path(source))
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / Path(first).name
        _fetch(first, local)
        try:
            open_source(local, wanted)
        except KvaeError as error:
            raise type(error)(str(error).replace(str(local), first)) from error


def _answered(key: str, result: PredictionResult) -> tuple[str, dict[str, Any], str | None]:
    return key, result.inference, None


def _record_batch(rows: list[Any], outputs: dict[str, tuple[int, ...]]) -> Any:
    import pyarrow as pa

    good = [answers for _, answers, why in rows if why is None]
    stacked = {name: np.stack([one[name] for one in good]) for name in outputs} if good else {}
    batch = record_batch(
        schema_of(outputs), [key for key, _, _ in rows], stacked, [why for _, _, why in rows]
    )
    return pa.Table.from_batches([batch])


def _arguments(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read the arguments of python -m kvae.encode.beam.

    Returns:
        Keyword arguments of `kvae.encode.beam.run`, and those that are Beam's.

    Raises:
        UsageError: a value that is not allowed.
    """
    parser = cli.Parser(
        prog="python -m kvae.encode.beam",
        description="The work of python -m kvae.encode as an Apache Beam pipeline. All further "
        "options are Beam's, such as --runner.",
    )
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="folder of a version: saved/NAME/NUMBER"
    )
    parser.add_argument(
        "--input", dest="source", required=True, metavar="PATH",
        help="a folder of images; or .parquet, .tfrecord or .npy, a file or a folder",
    )  # fmt: skip
    parser.add_argument(
        "--output", required=True, metavar="PREFIX",
        help="what the files to write start with: PREFIX-00000-of-0000N.parquet",
    )  # fmt: skip
    add_signature(parser)
    cli.add_debug(parser)
    known, rest = parser.parse_known_args(argv)
    given = vars(known)
    given.pop("debug")
    return given, rest


def main(argv: Sequence[str]) -> None:
    """Read the arguments and run the pipeline."""
    given, rest = _arguments(argv)
    options = PipelineOptions(rest, save_main_session=False)
    all_given = options.get_all_options(retain_unknown_options=True)
    unknown = sorted(all_given.keys() - options.get_all_options().keys())
    # Beam drops what it does not know; other runners know more than this machine.
    if unknown and options.view_as(StandardOptions).runner in (None, "DirectRunner"):
        raise UsageError(
            f"neither kvae nor Beam have the options {', '.join(f'--{name}' for name in unknown)}"
        )
    run(**given, options=options)
    print(f"wrote {given['output']}-*.parquet")


if __name__ == "__main__":
    # What is pickled must have a name that workers can import.
    from kvae.encode.beam import main as importable

    sys.exit(cli.run(importable))
