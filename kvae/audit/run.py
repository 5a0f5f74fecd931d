"""The order of an audit: read, compute, ask, compare, write."""

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kvae import __version__, data, files
from kvae.audit import served
from kvae.audit.independent import archive
from kvae.audit.independent.archive import Beyond
from kvae.audit.independent.model import OF_SAMPLER, Model
from kvae.audit.of_data import of_data
from kvae.audit.of_draws import of_draws
from kvae.audit.of_metrics import of_metrics
from kvae.audit.opened import Opened, opened
from kvae.audit.rows import Rows, as_received, as_sent, generated, inputs_of, of_test
from kvae.audit.served import Arrays
from kvae.audit.verdicts import (
    DIFFERS,
    Line,
    compared,
    compared_bits,
    count,
    noise_of,
    not_checked,
    stated,
)
from kvae.data import Dataset
from kvae.data.conditions import conditioned
from kvae.errors import DataError, KvaeError, one_line
from kvae.evaluation import evaluate
from kvae.publish.repository import file_faults
from kvae.saying import progress
from kvae.serving.versions import AUDIT, KERAS_MODEL, Version

#: The variance of discretised logistics is served as a short sum, right to so much of itself.
_SHORT_SUM = 3e-3
#: What a configuration or weights of an unknown form make formulas fail of.
_NOT_UNDERSTOOD = (LookupError, TypeError, ValueError, AttributeError)
#: What reading a damaged file may raise; encrypted ones are RuntimeErrors.
_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, *_NOT_UNDERSTOOD)
_MOST_NAMED = 5
_FEW = 3  # rows that are asked for once more, in another order
#: Share of its largest number by which rounding may move an output that no formula is known of.
_NO_FORMULA = 1e-5
_DIFFERENCE = "sampler less prior"
_ROWS, _AGAIN, _PROBE = "rows", "again", "probe"

Ask = Callable[[Path, dict[str, Arrays]], dict[str, Arrays]]


class Subject:
    """A version, and what the audit makes of its file in float64 and in float32.

    Args:
        version: the published version.
        whole: what its files say.

    Raises:
        DataError: the model's file cannot be read.
        Beyond: the file holds no model that the audit has formulas for.
    """

    def __init__(self, version: Version, whole: Opened):
        self.version, self.probe, self.metadata = version, whole.probe, whole.metadata
        self.dataset: Dataset | None = None  # where the data are at hand
        path = version.path / KERAS_MODEL
        directions = self.metadata.get("directions")
        made = {
            "num_draws": self.metadata["num_draws"],
            "directions": None if directions is None else directions["vectors"],
        }
        try:
            config, weights = archive.read(path)
        except _UNREADABLE as error:
            why = one_line(f"{type(error).__name__}: {error}", 200)
            raise DataError(f"{path} cannot be read: {why}") from error
        try:
            self.config: dict[str, Any] = config["config"]
            self.own, self.rounded = (
                Model(config, weights, dtype=dtype, **made) for dtype in (np.float64, np.float32)
            )
        except _NOT_UNDERSTOOD as error:
            raise Beyond(f"what the file says: {type(error).__name__}: {error}") from error

    def rows(self, moved: Mapping[str, Any], dataset: Dataset | None = None) -> Rows:
        """Test rows where the data are at hand, else rows that the model generates.

        Args:
            moved: where the data are now, see `kvae.evaluation.evaluate.prepare`.
            dataset: the data, if they are loaded already, as the model takes them.

        Raises:
            UsageError, DataError: data were named, and are not there or others.
        """
        try:
            if dataset is None:
                job = evaluate.prepare(str(self.version.path), writes=False, **moved)
                dataset = conditioned(job.dataset, job.conditions)
            self.dataset = dataset
            return of_test(dataset)
        except KvaeError as error:
            if moved.get("data_dir") or moved.get("labels_file") or self._is_of_others(moved):
                raise
            found = generated(self.own, self.config.get("value_range") is not None
                              and len(self.own.element_shape) == 3)  # fmt: skip
            why = one_line(str(error), 200)
            return found._replace(origin=f"{found.origin} (no test rows: {why})")

    def _is_of_others(self, moved: Mapping[str, Any]) -> bool:
        """Whether an option is given that the version's dataset, if it is known, does not have."""
        name = self.metadata["config"].get("dataset")
        if name is None or data.key_of(name) not in data.DATASETS:
            return False
        known = data.options_of(name)
        return any(value and option not in known for option, value in moved.items())


def audit(
    version: Version, moved: Mapping[str, Any], ask: Ask | None = None,
    dataset: Dataset | None = None,
) -> tuple[str, list[Line]]:  # fmt: skip
    """Audit a version.

    Args:
        version: the published version.
        moved: where its data are now, options of `kvae.evaluation.evaluate.prepare`.
        ask: how the version is asked; None: by `kvae.audit.served.ask`.
        dataset: its data, if they are loaded already, as the model takes them.

    Returns:
        Where the rows come from, and a `kvae.audit.verdicts.Line` for each thing looked at.

    Raises:
        UsageError, DataError: the version or data that were named cannot be read.
    """
    # Its matrices are small: threads of NumPy wait for each other longer than they compute.
    with threadpool_limits(1):
        return _audited(version, moved, ask, dataset)


def _audited(
    version: Version, moved: Mapping[str, Any], ask: Ask | None, dataset: Dataset | None
) -> tuple[str, list[Line]]:
    whole = opened(version)
    metadata = whole.metadata
    lines = [_files(version, metadata)]  # whatever else can be said of it
    try:
        subject = Subject(version, whole)
        rows = subject.rows(moved, dataset)
    except Beyond as error:
        return "none", [*lines, not_checked("the model", f"beyond the audit: {error}")]
    lines.append(stated("kvae.json: model", _statements(subject)))
    asked: Arrays = {}
    for name, described in subject.metadata["signatures"].items():
        try:
            asked[name] = inputs_of(name, described["inputs"], rows, subject.own)
        except (Beyond, *_NOT_UNDERSTOOD) as error:
            lines.append(not_checked(name, f"beyond the audit: {error}"))
    again = {
        name: {key: np.ascontiguousarray(array[:_FEW][::-1]) for key, array in inputs.items()}
        for name, inputs in asked.items()
    }
    sent = {
        name: {signature: as_sent(inputs) for signature, inputs in one.items()}
        for name, one in ((_ROWS, asked), (_AGAIN, again))
    }
    noise: dict[str, np.ndarray] = {}
    with progress("auditing", len(asked) + 2, "parts") as advance:
        found = (ask or served.ask)(version.path, sent)
        advance(1)
        for name, inputs in asked.items():
            lines += _of_signature(subject, name, inputs, found[_ROWS][name], noise=noise)
            advance(1)
        if asked:
            lines.append(_alone(subject, found[_ROWS], found[_AGAIN], noise))
        lines += of_draws(subject.own, rows)  # while weights of the rows are the last ones
        lines += _of_probe(subject, found.get(_PROBE, {}), noise)
        if subject.dataset is None:
            lines.append(not_checked("data and metrics.json", "the data are not at hand"))
        else:
            lines += of_data(subject.dataset, version, metadata)
            lines += of_metrics(
                subject.dataset, whole, subject.own, subject.rounded, moved.get("cache_dir")
            )
        advance(1)
    return one_line(rows.origin), lines


@np.errstate(all="ignore")  # what is not finite is judged, not warned of
def _of_signature(
    subject: Subject, name: str, inputs: Mapping[str, np.ndarray], found: dict[str, np.ndarray],
    *, noise: dict[str, np.ndarray], place: str = "",
) -> list[Line]:  # fmt: skip
    """Lines of a signature's outputs.

    Args:
        subject: whose.
        name: of the signature.
        inputs: what it was sent.
        found: what it answered.
        noise: what rounding does to each output; what is found here is kept there.
        place: what the lines are called; "": as the signature is.
    """
    place = place or name
    try:
        own, rounded = (one.answer(name, inputs) for one in (subject.own, subject.rounded))
    except Beyond as error:
        return [not_checked(place, f"beyond the audit: {error}")]
    except _NOT_UNDERSTOOD as error:
        return [not_checked(place, f"the audit fails: {type(error).__name__}: {error}")]
    found, own, rounded = (_with_difference(name, one) for one in (found, own, rounded))
    lines = []
    for key in sorted(found.keys() | own.keys()):
        what = f"{place}/{key}"
        if key not in own:
            lines.append(not_checked(what, "the audit has no such output"))
        elif key not in found:
            lines.append(stated(what, ["the version does not answer it"]))
        elif key == "sample" and _is_bits(subject):
            lines.append(compared_bits(what, found[key], own[key]))
        else:
            short = key == "decoded_variance" and _likelihood(subject) == "DiscretizedLogistic"
            output = f"{name}/{key}"
            noise[output] = np.maximum(noise.get(output, 0.0), noise_of(own[key], rounded[key]))
            lines.append(
                compared(
                    what, found[key], own[key], rounded[key],
                    extra=_SHORT_SUM if short else 0.0, noise_of_more=noise[output],
                    is_sum=key == _DIFFERENCE,
                )
            )  # fmt: skip
    return lines


def _with_difference(name: str, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs, and log r(z) - log p(z): what both weights share is gone but for its rounding."""
    pair = f"{name}{OF_SAMPLER}", name
    if not outputs.keys() >= {*pair}:
        return outputs
    return {**outputs, _DIFFERENCE: outputs[pair[0]] - outputs[pair[1]]}


def _likelihood(subject: Subject) -> str:
    return str(subject.config["likelihood"]["class_name"])


def _is_bits(subject: Subject) -> bool:
    return _likelihood(subject) == "Bernoulli" and len(subject.own.element_shape) == 1


def _alone(subject: Subject, found: Arrays, again: Arrays, noise: Mapping[str, np.ndarray]) -> Line:
    """Whether rows answer the same in another batch, which float32 adds up in another order."""
    faults = []
    for name, outputs in found.items():
        for key, array in outputs.items():
            first, other = array[:_FEW], again[name][key][::-1]
            what = f"{name}/{key}"
            if key == "sample" and _is_bits(subject):
                line = compared_bits(what, other, first)
            else:
                rounding = noise.get(what)
                if rounding is None:  # no formula says how it rounds
                    rounding = noise_of(first, first * np.float32(1 + _NO_FORMULA))
                line = compared(what, other, first, first, noise_of_more=rounding)
            if line.verdict == DIFFERS:
                faults.append(f"{what} of a row depends on the batch around it")
    return stated("rows alone, as in a batch", faults)


def _of_probe(subject: Subject, requests: Arrays, noise: dict[str, np.ndarray]) -> list[Line]:
    """The answers that were kept when the version was published, against the audit's."""
    kept = subject.probe
    if not kept:
        return [not_checked("probe", "the version keeps none")]
    lines: list[Line] = []
    for name, inputs in requests.items():
        found = {
            key.rpartition("/")[2]: array for key, array in kept.items()
            if key.rpartition("/")[0] == name
        }  # fmt: skip
        try:
            given = as_received(inputs, subject.own.element_shape)
        except Beyond as error:
            lines.append(not_checked(f"probe: {name}", f"beyond the audit: {error}"))
            continue
        lines += _of_signature(subject, name, given, found, noise=noise, place=f"probe: {name}")
    return lines


def _files(version: Version, metadata: dict[str, Any]) -> Line:
    sums = metadata.get("files")
    if sums is None:
        return not_checked("files", "kvae.json holds no checksums")
    return stated("files", file_faults(version, sums))


def _statements(subject: Subject) -> list[str]:
    """What kvae.json says of the model, and its file says otherwise."""
    own, said = subject.own, subject.metadata["model"]
    faults = []
    for name, here in (
        ("element_shape", list(own.element_shape)),
        ("latent_dim", own.latent_dim),
    ):
        if said[name] != here:
            faults.append(f"{name} is {here}, kvae.json says {said[name]}")
    for name in ("shift", "scale"):
        if name in said and not _same(said[name], subject.config[name]):
            faults.append(f"{name} is another in kvae.json")
    names = len(subject.metadata.get("condition", {}).get("names", ()))
    if "condition" in subject.metadata and names != own.condition_dim:
        faults.append(f"a condition has {own.condition_dim} numbers, {names} in kvae.json")
    return faults


def _same(said: Any, here: Any) -> bool:
    """Whether numbers are the same but for float32, small ones too."""
    return np.shape(said) == np.shape(here) and np.allclose(said, here, rtol=1e-6, atol=0)


def report(
    version: Version, origin: str, lines: list[Line], measured: str | None = None
) -> dict[str, Any]:
    """What audit.json holds.

    Args:
        version: that was audited.
        origin: of the rows.
        lines: of the audit.
        measured: SHA-256 of the metrics.json that was looked at; None: there was none.
    """
    return {
        "version": f"{version.name}/{version.number}",
        "audited": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_by": {"kvae": __version__, "numpy": np.__version__},
        "rows": origin,
        "metrics": measured,
        "verdicts": count(lines),
        "lines": [line.to_json() for line in lines],
    }


def write(folder: Path, found: dict[str, Any]) -> Path:
    """Write audit.json, whole or not at all; its path."""
    path = folder / AUDIT
    files.replace_text(path, json.dumps(found, indent=1, allow_nan=False))
    return path


def differing(lines: list[Line]) -> str:
    """Which lines differ, for an error: a few by name; "" where none does."""
    wrong = [line.what for line in lines if line.verdict == DIFFERS]
    more = ", ..." if len(wrong) > _MOST_NAMED else ""
    named = ", ".join(wrong[:_MOST_NAMED])
    if not wrong:
        return ""
    return f"{len(wrong)} of {len(lines)} lines differ from the audit's: {named}{more}"
