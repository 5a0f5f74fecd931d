"""Data and metrics.json: splits without common rows, counts, and numbers computed once more."""

import hashlib
import json
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from kvae.audit.independent.archive import Beyond
from kvae.audit.independent.model import Model
from kvae.audit.independent.truth import Truth
from kvae.audit.verdicts import (
    AGREES,
    DIFFERS,
    ERRORS,
    Line,
    compared,
    compared_with_chance,
    not_checked,
    stated,
)
from kvae.data import Dataset, seen
from kvae.data.conditions import Conditioned
from kvae.data.gmm import mixture_of
from kvae.errors import DataError
from kvae.probability.streams import generator
from kvae.serving.versions import TRAIN_ROWS, Version

METRICS, ROWS = "metrics.json", "rows.npz"
#: Rows whose nearest neighbours are looked for; of more, the first of a random order.
_NEIGHBOURS, _NUMBERS = 5_000, 2**24
_NEAR = 0.05  # of the usual distance between neighbours
#: Numbers of x, of rows that a network is given in float64.
_PASSED = {1: 2**18, 3: 2**19}
_ELBO_DRAWS = 4
_ACTIVE = 0.01
_DRAWN = 5_000  # samples of the audit's own
_CLOSE = 1e-6  # share of itself by which a number computed in float64 of the same may be off


def of_data(dataset: Dataset, version: Version, metadata: dict[str, Any]) -> list[Line]:
    """Lines about the splits.

    Args:
        dataset: the data, as the model takes them.
        version: that was trained on them.
        metadata: of its kvae.json.
    """
    lines = [stated("data: counts of the card", _counts(dataset, metadata))]
    marks = {name: seen.marks(getattr(dataset, name).x) for name in ("train", "valid", "test")}
    if any(found is None for found in marks.values()):
        return [*lines, not_checked("data: rows of several splits", "there are too many rows")]
    known: Any = marks
    lines.append(_trained_on(version, known))
    train = set(known["train"].tolist())
    others = train | set(known["valid"].tolist())
    equal = sum(mark in others for mark in known["test"].tolist())
    lines.append(_of_chance("data: test rows equal to train or valid rows", equal,
                            len(known["test"]), len(known["train"]) - len(train),
                            len(known["train"])))  # fmt: skip
    lines.append(_near(dataset))
    return lines


def _counts(dataset: Dataset, metadata: dict[str, Any]) -> list[str]:
    said = metadata["data_card"].get("counts", {})
    left_out = metadata.get("course", {}).get("left_out", {})
    faults = []
    for name, count in said.items():
        here, gone = len(getattr(dataset, name).x), left_out.get(name, 0)
        if here not in (count, count - gone):
            faults.append(f"{here:,} {name} rows, the card says {count:,}")
    return faults


def _trained_on(version: Version, marks: dict[str, np.ndarray]) -> Line:
    """Whether the rows that the version says it was trained on are the train rows, and no other."""
    what = "data: rows trained on"
    then = seen.read(version.path / TRAIN_ROWS)
    if then is None:
        return not_checked(what, "the version does not say which they were")
    trained, train = set(then.tolist()), set(marks["train"].tolist())
    faults = []
    lacking = len(train - trained)
    if lacking:
        faults.append(f"{lacking:,} train rows are not among them")
    for name in ("valid", "test"):
        found = sum(mark in trained and mark not in train for mark in marks[name].tolist())
        if found:
            faults.append(f"{found:,} {name} rows are among them")
    return Line(what, DIFFERS if faults else AGREES, len(then), note="; ".join(faults))


def _of_chance(what: str, found: int, rows: int, usual: int, of: int) -> Line:
    """Hold a count of test rows against what is usual among train rows, which chance moves."""
    share = usual / max(of, 1)
    most = rows * share
    most += ERRORS * float(np.sqrt(most * (1 + rows / max(of, 1)))) if usual else 0.0
    verdict = DIFFERS if found > most else AGREES
    note = f"{usual:,} of {of:,} train rows have such another" if usual else ""
    return Line(what, verdict, rows, float(found), most, note)


def _near(dataset: Dataset) -> Line:
    """Whether test rows lie nearer to train rows than train rows to each other."""
    what = "data: test rows near train rows"
    width = int(np.prod(dataset.train.x.shape[1:]))
    train = _some(dataset.train.x, max(2, _NUMBERS // width))
    test = _some(dataset.test.x, min(_NEIGHBOURS, len(train)))
    asked = train[: len(test)]
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), 1.0)
    train, test, asked = train / scale, test / scale, asked / scale
    own, others = _nearest(train, asked, 2)[:, 1], _nearest(train, test, 1)[:, 0]
    if not np.median(own):
        return not_checked(what, "most train rows have an equal one")
    bound = _NEAR * float(np.median(own))
    line = _of_chance(what, int((others < bound).sum()), len(test), int((own < bound).sum()),
                      len(asked))  # fmt: skip
    of = f"nearer than {bound:.2g}, a twentieth of what is usual"
    some = f"; {len(train):,} of {len(dataset.train.x):,} train rows"
    return Line(what, line.verdict, line.rows, line.largest, line.tolerance,
                of + (some if len(train) < len(dataset.train.x) else ""))  # fmt: skip


def _some(x: Any, most: int) -> np.ndarray:
    """Rows `(n, numbers)` float32, random ones if there are more."""
    places = np.arange(len(x))
    if len(x) > most:
        places = np.random.default_rng(0).permutation(len(x))[:most]
    x = x.x if isinstance(x, Conditioned) else x
    return np.asarray(x[np.sort(places)], np.float32).reshape(len(places), -1)


def _nearest(rows: np.ndarray, asked: np.ndarray, count: int) -> np.ndarray:
    """Distances to the nearest rows, `(asked, count)`; a tree helps in few dimensions alone."""
    if rows.shape[1] <= 10:
        return cKDTree(rows).query(asked, count)[0].reshape(len(asked), count)
    squares, found = np.square(rows).sum(axis=1), []
    for start in range(0, len(asked), 256):
        part = asked[start : start + 256]
        near = squares - 2 * part @ rows.T
        places = np.argpartition(near, count - 1, axis=1)[:, :count]
        exact = np.linalg.norm(part[:, None, :] - rows[places], axis=2)
        found.append(np.sort(exact, axis=1))
    return np.concatenate(found)


def of_metrics(dataset: Dataset, version: Version, own: Model, rounded: Model) -> list[Line]:
    """Lines about metrics.json of a version, if it was evaluated.

    Args:
        dataset: the data, as the model takes them.
        version: the published version.
        own: its model in float64.
        rounded: in float32.

    Raises:
        DataError: metrics.json or rows.npz is damaged.
    """
    path = version.evaluation / METRICS
    if not path.is_file():
        return [not_checked("metrics.json", "the version was not evaluated")]
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        each_row = {}
        if (version.evaluation / ROWS).is_file():
            with np.load(version.evaluation / ROWS) as stored:
                each_row = dict(stored)
        lines = [_checksum(dataset, said)]
        for make in (_elbo, _reconstructions, _of_mixture):
            try:
                lines += make(dataset, said, each_row, own, rounded)
            except Beyond as error:
                lines.append(not_checked("metrics.json", f"beyond the audit: {error}"))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} or its rows.npz is damaged: {error}") from error
    return lines


def _checksum(dataset: Dataset, said: dict[str, Any]) -> Line:
    what, marks = "metrics.json: the test rows", seen.marks(dataset.test.x)
    then = said.get("protocol", {}).get("test_checksum")
    if then is None or marks is None:
        return not_checked(what, "it says no checksum")
    now = hashlib.blake2b(marks.tobytes(), digest_size=16).hexdigest()
    return stated(what, [] if then == now else ["it is of other rows"])


def _taken(split: Any, places: np.ndarray, own: Model) -> dict[str, np.ndarray]:
    """Rows of a split as a signature takes them."""
    some = split.x[places]
    x = np.asarray(some)
    x = x / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)
    return {"x": x, "condition": some.condition} if own.condition_dim else {"x": x}


def _elbo(dataset, said, each_row, own, rounded) -> list[Line]:  # type: ignore[no-untyped-def]
    """The ELBO of each row at the draws that the evaluation's seed says, and the mean of all."""
    what, key = "metrics.json: the ELBO of each row", "elbo_nats_prior"
    if key not in each_row:
        return [not_checked(what, "there is no rows.npz")]
    lines = [
        _equal(f"metrics.json: {name}", said[name], float(each_row[name].mean()))
        for name in (key, "log_likelihood_nats_prior", "log_likelihood_nats_sampler")
        if name in each_row
    ]
    seed = said.get("origin", {}).get("seed")
    if seed is None or len(each_row[key]) != len(dataset.test.x):
        return [*lines, not_checked(what, "it says no seed, or other rows")]
    of_elbo = int(generator(seed, "measurements").integers(2**31, size=9)[0])
    rng, count = generator(of_elbo, "elbo draws"), len(dataset.test.x)
    seeds = [rng.integers(2**63, size=count) for _ in range(_ELBO_DRAWS)]
    places = _evenly(count, min(256, _most(own)))
    taken = _taken(dataset.test, places, own)
    values = [
        np.mean(
            [model.answer("log_weight", {**taken, "seed": one[places]})["log_weight"]
             for one in seeds], axis=0
        )
        for model in (own, rounded)
    ]  # fmt: skip
    return [*lines, compared(what, each_row[key][places], *values)]


def _most(own: Model) -> int:
    numbers = int(np.prod(own.element_shape))
    return max(16, _PASSED.get(len(own.element_shape), 2**18) // numbers)


def _evenly(count: int, most: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def _equal(what: str, said: float, here: float, error: float = 0.0) -> Line:
    """Hold a number against the same from float64, or one whose error is known."""
    tolerance = ERRORS * error + _CLOSE * max(abs(here), 1.0)
    difference = abs(said - here)
    return Line(what, DIFFERS if not difference <= tolerance else AGREES, 1, difference, tolerance)


def _reconstructions(dataset, said, each_row, own, rounded) -> list[Line]:  # type: ignore[no-untyped-def]
    """Errors of reconstruction and active units, of all test rows or of some."""
    count = len(dataset.test.x)
    places = _evenly(count, _most(own))
    lines: list[Line] = []
    errors, means, variances = [], [], []
    for part in np.array_split(places, max(1, len(places) // 256)):
        taken = _taken(dataset.test, part, own)
        posterior = own.posterior(taken["x"], taken.get("condition"))
        decoded = own.decode(posterior.mean(), taken.get("condition")).mean()
        errors.append(np.square(decoded - taken["x"]).reshape(len(part), -1).mean(axis=1))
        means.append(posterior.mean())
        variances.append(posterior.variance())
    error, mean, variance = map(np.concatenate, (errors, means, variances))
    is_all, slack = len(places) == count, 2e-5
    for key, values in (
        ("mse_reconstruction", error),
        ("psnr_db_reconstruction", -10 * np.log10(np.maximum(error, 1e-10))),
    ):
        if key in said:
            here = float(values.mean())
            spread = 0.0 if is_all else float(values.std() / np.sqrt(len(values)))
            lines.append(
                compared_with_chance(f"metrics.json: {key}", said[key], here, spread,
                                     len(values), slack * abs(here))
            )  # fmt: skip
    if "active_units_posterior" in said:
        moved = mean.var(axis=0)
        share = moved / (moved + variance.mean(axis=0))
        # Of some rows a share near the threshold says nothing; of all it is off by rounding alone.
        off = 1e-3 if is_all else 0.5
        low, high = (int((share > _ACTIVE * (1 + sign * off)).sum()) for sign in (1, -1))
        units = said["active_units_posterior"]
        faults = [] if low <= units <= high else [f"{units} there, {low} to {high} here"]
        lines.append(stated("metrics.json: active_units_posterior", faults))
    return lines


def _of_mixture(dataset, said, each_row, own, rounded) -> list[Line]:  # type: ignore[no-untyped-def]
    """Gap, outliers and modes of a mixture whose density the card says."""
    if mixture_of(dataset.card) is None or len(own.element_shape) != 1:
        return []
    truth, x = Truth(dataset.card["mixture"]), np.asarray(dataset.test.x, np.float64)
    lines = []
    outliers = float(truth.outliers(x).mean())
    values = {"outlier_fraction_test": outliers}
    if "rows" in each_row:
        logs = truth.log_prob(x[each_row["rows"]])
        values["true_log_density_nats_test"] = float(logs.mean())
        for end in ("prior", "sampler"):
            bound = each_row.get(f"log_likelihood_nats_{end}")
            if bound is not None:
                values[f"gap_nats_{end}"] = float((logs - bound).mean())
    lines += [_equal(f"metrics.json: {key}", said[key], value) for key, value in values.items()
              if key in said]  # fmt: skip
    if own.condition_dim:
        return lines
    for end in ("prior", *(["sampler"] if own.has_sampler else [])):
        if f"modes_captured_{end}" in said:
            lines += _modes(truth, said, own, end)
    return lines


def _modes(truth: Truth, said: dict[str, Any], own: Model, end: str) -> list[Line]:
    """Modes and outliers of draws of the audit's own, of other seeds than the evaluation's."""
    count = int(said.get("num_generated", 10_000))
    rng = np.random.default_rng(0)
    noise = own.noise(rng.integers(2**63, size=_DRAWN))
    latent = (own.prior if end == "prior" else own.sampler).draw(noise)
    x = own.observed(own.decode(latent), noise)
    outliers, each = truth.outliers(x), truth.shares(x)
    shares = each.mean(axis=0)
    share = float(outliers.mean())
    # Of two samples; at least one more point may lie out there in each.
    of_two = np.sqrt(1 / count + 1 / _DRAWN)
    error = float(np.sqrt(max(share, 1 / _DRAWN)) * of_two)
    key = f"outlier_fraction_{end}"
    lines = [compared_with_chance(f"metrics.json: {key}", said[key], share, error, _DRAWN)]
    then = np.asarray(said[f"mode_shares_within_{end}"])
    of_modes = of_two * each.std(axis=0)
    worst = int(np.argmax(np.abs(then - shares) - ERRORS * of_modes))
    lines.append(compared_with_chance(f"metrics.json: mode_shares_within_{end}", float(then[worst]),
                                      float(shares[worst]), float(of_modes[worst]), count,
                                      1 / count))  # fmt: skip
    captured = int(truth.captured(then, count).sum())
    lines.append(_equal(f"metrics.json: modes_captured_{end}", said[f"modes_captured_{end}"],
                        captured))  # fmt: skip
    return lines
