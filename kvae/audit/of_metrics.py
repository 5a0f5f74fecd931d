"""metrics.json: its numbers once more, from the rows, the seeds and the model's file."""

import hashlib
import math
from typing import Any

import numpy as np
from scipy.special import logsumexp, xlogy

from kvae.audit.independent import images
from kvae.audit.independent.archive import Beyond
from kvae.audit.independent.model import Model
from kvae.audit.independent.truth import Truth
from kvae.audit.of_images import of_images
from kvae.audit.opened import Opened
from kvae.audit.verdicts import (
    AGREES,
    DIFFERS,
    ERRORS,
    NOT_CHECKED,
    TIMES_ROUNDING,
    Line,
    compared,
    compared_with_chance,
    not_checked,
    rounding_of_mean,
    stated,
)
from kvae.data import Dataset, seen
from kvae.data.conditions import Conditioned
from kvae.data.gmm import mixture_of
from kvae.data.rows import random_rows
from kvae.errors import DataError, one_line
from kvae.evaluation.observation import MAX_CALIBRATION_ROWS
from kvae.evaluation.rows import DAMAGED
from kvae.metrics.likelihood import is_heavy_tailed
from kvae.probability.streams import generator

_DENSITIES = ("prior", "sampler")
#: Numbers of x, of rows that a network is given in float64; of so many rows, if they are no more
#: than the last; and of the decoder's for the bound.
_PASSED, _ENOUGH_ROWS, _MOST_PASSED, _DECODED = {1: 2**18, 3: 2**19}, 128, 2**21, 2**19
_ELBO_DRAWS, _ELBO_ROWS, _BOUND_ROWS = 4, 256, 16
_ACTIVE = 0.01
_FEW = 100  # rows, under which 5 standard errors are passed more often than is said
_DRAWN = 5_000  # samples of the audit's own
_CLOSE = 1e-6  # share of itself by which a number computed in float64 of the same may be off
_SINGLE = 2e-5  # the same, of a mean of what float32 computed
_SETTINGS = ("num_", "effective_sample_draws", "latent_dim")


def _passed(model: Model) -> int:
    """How many numbers of x a network of this kind is given."""
    return _PASSED.get(len(model.element_shape), 2**18)


class _Evaluation:
    """What an evaluation said, and what it was of.

    Args:
        dataset: the data, as the model takes them.
        said: metrics.json.
        each_row: rows.npz.
        own: the model in float64.
        rounded: in float32.
    """

    def __init__(
        self, dataset: Dataset, said: dict[str, Any], each_row: dict[str, np.ndarray],
        own: Model, rounded: Model,
    ):  # fmt: skip
        self.dataset, self.said, self.each_row = dataset, said, each_row
        self.own, self.rounded = own, rounded
        self.count, self.width = len(dataset.test.x), int(np.prod(own.element_shape))
        seed = said.get("origin", {}).get("seed")
        #: Of ELBO, rows and draws of the bound, effective sample, samples, separation, draws, ...
        self.seeds = (
            None if seed is None
            else generator(seed, "measurements").integers(2**31, size=9).tolist()
        )  # fmt: skip
        self.seed = seed
        most = max(16, _passed(own) // self.width)
        if self.width * _ENOUGH_ROWS <= _MOST_PASSED:
            most = max(most, _ENOUGH_ROWS)
        self.places = np.linspace(0, self.count - 1, min(self.count, most)).astype(int)
        self.is_all = len(self.places) == self.count

    def taken(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """Test rows as a signature takes them."""
        some = self.dataset.test.x[places]
        x = np.asarray(some)
        x = x / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)
        return {"x": x, "condition": some.condition} if self.own.condition_dim else {"x": x}

    def line(self, key: str, here: float, error: float = 0.0) -> list[Line]:
        """A number of metrics.json against the audit's, whose standard error is known; or none."""
        if key not in self.said:
            return []
        return [_equal(f"metrics.json: {key}", self.said[key], here, error)]


def of_metrics(
    dataset: Dataset, whole: Opened, own: Model, rounded: Model, cache_dir: str | None = None
) -> list[Line]:
    """Lines about metrics.json of a version, if it was evaluated.

    Args:
        dataset: the data, as the model takes them.
        whole: what the files of the version and of its evaluation say.
        own: its model in float64.
        rounded: in float32.
        cache_dir: where the evaluation kept the network that judges images; None: the default.

    Raises:
        DataError: metrics.json or rows.npz is damaged.
    """
    said = whole.metrics
    if said is None:
        return [not_checked("metrics.json", "the version was not evaluated")]
    try:
        evaluation = _Evaluation(dataset, said, whole.each_row, own, rounded)
        lines = [_checksum(dataset, said)]
        for make in (_of_rows, _elbo, _bound, _reconstructions, _calibration, _of_mixture):
            try:
                lines += make(evaluation)
            except Beyond as error:
                lines.append(not_checked(f"metrics.json: {make.__name__[1:]}", error))
        if len(own.element_shape) == 3:
            lines += of_images(dataset, said, own, rounded, cache_dir)
    except (*DAMAGED, LookupError, TypeError) as error:
        raise DataError(f"{whole.folder}: metrics.json or rows.npz is damaged: {error}") from error
    return [*lines, *_left(said, lines)]


def _left(said: dict[str, Any], lines: list[Line]) -> list[Line]:
    """A line about the numbers that no other line is about."""
    looked_at = {line.what.removeprefix("metrics.json: ") for line in lines}
    left = [
        key for key, value in said.items()
        if key not in looked_at and not key.startswith(_SETTINGS)
        and not key.endswith(("_interval", "_range")) and _are_numbers(value)
    ]  # fmt: skip
    if not left:
        return []
    why = f"{len(left)} that have no second formula here: {', '.join(sorted(left))}"
    # Longer than other notes: each is named.
    return [Line("metrics.json: other numbers", NOT_CHECKED, note=one_line(why, 100 * len(left)))]


def _are_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_are_numbers, value))
    return isinstance(value, int | float)


def _checksum(dataset: Dataset, said: dict[str, Any]) -> Line:
    what, marks = "metrics.json: the test rows", seen.marks(dataset.test.x)
    then = said.get("protocol", {}).get("test_checksum")
    if then is None or marks is None:
        return not_checked(what, "it says no checksum")
    now = hashlib.blake2b(marks.tobytes(), digest_size=16).hexdigest()
    return stated(what, [] if then == now else ["it is of other rows"])


def _equal(what: str, said: Any, here: float, error: float = 0.0) -> Line:
    """Hold a number against the same from float64, or one whose error is known."""
    tolerance = ERRORS * error + _CLOSE * max(abs(here), 1.0)
    difference = abs(float(said) - here)
    return Line(what, DIFFERS if not difference <= tolerance else AGREES, 1, difference, tolerance)


def _mean(one: _Evaluation, key: str, values: np.ndarray, rounded: np.ndarray) -> Line:
    """A mean over all test rows, held to the same or, of some rows, to what chance makes of it.

    Args:
        one: the evaluation.
        key: of metrics.json.
        values: `(rows,)`, in float64.
        rounded: the same in float32.
    """
    error, rounding = 0.0, _rounding(values, rounded)
    if len(values) < one.count:
        if why := _says_nothing(values):
            return not_checked(f"metrics.json: {key}", why)
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return compared_with_chance(f"metrics.json: {key}", one.said[key], float(values.mean()), error,
                                len(values), rounding)  # fmt: skip


def _rounding(values: np.ndarray, rounded: np.ndarray) -> float:
    """What float32 may move a mean by; more than a share of itself where the rows are far off."""
    of_itself = _SINGLE * abs(float(values.mean()))
    return of_itself + TIMES_ROUNDING * float(rounding_of_mean(values, rounded))


def _says_nothing(values: np.ndarray) -> str:
    """Why the standard error of a mean over some of the rows is no guide, or nothing."""
    if len(values) < _FEW:
        return f"{len(values)} rows are too few to say it of all"
    return "one row decides its error" if is_heavy_tailed(values) else ""


def _of_rows(one: _Evaluation) -> list[Line]:
    """Means and standard errors of what rows.npz has of each row, and sums of them."""
    lines: list[Line] = []
    bits = one.width * math.log(2.0)
    for name, values in one.each_row.items():
        if name == "rows":
            continue
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
        lines += one.line(name, float(values.mean())) + one.line(f"{name}_stderr", error)
        if name.startswith("log_likelihood_nats_"):
            key = f"bits_per_dim_bound_{name.rpartition('_')[2]}"
            lines += one.line(key, -float(values.mean()) / bits)
            lines += one.line(f"{key}_stderr", error / bits)
    if {"elbo_nats_prior", "distortion_nats_posterior", "rate_nats_prior"} <= one.said.keys():
        parts = [float(one.said[key]) for key in ("distortion_nats_posterior", "rate_nats_prior")]
        what = "metrics.json: distortion + rate = -elbo"
        off = _SINGLE * max(map(abs, parts))
        lines.append(
            compared_with_chance(what, -one.said["elbo_nats_prior"], sum(parts), 0.0, 1, off)
        )
    return lines


def _elbo(one: _Evaluation) -> list[Line]:
    """The ELBO of each row at the draws that the evaluation's seed says, its parts and the gap."""
    what, key = "metrics.json: the ELBO of each row", "elbo_nats_prior"
    if key not in one.each_row:
        return [not_checked(what, "there is no rows.npz")]
    if one.seeds is None or len(one.each_row[key]) != one.count:
        return [not_checked(what, "it says no seed, or other rows")]
    rng = generator(one.seeds[0], "elbo draws")
    seeds = [rng.integers(2**63, size=one.count) for _ in range(_ELBO_DRAWS)]
    most = max(_ELBO_ROWS, _passed(one.own) // (one.width * _ELBO_DRAWS))
    places = one.places[:: max(1, len(one.places) // most)]
    taken = one.taken(places)
    found = [
        [model.answer("log_weight", {**taken, "seed": own[places]}) for own in seeds]
        for model in (one.own, one.rounded)
    ]
    means = [
        {name: np.mean([draw[name] for draw in draws], axis=0) for name in draws[0]}
        for draws in found
    ]
    lines = [compared(what, one.each_row[key][places], *(mean["log_weight"] for mean in means))]
    wanted = {"distortion_nats_posterior": "distortion", "rate_nats_prior": "rate"}
    if "log_weight_sampler" in means[0]:
        wanted["aggregate_gap_nats_prior"] = "gap"
        for mean in means:
            mean["gap"] = mean["log_weight_sampler"] - mean["log_weight"]
    return lines + [
        _mean(one, key, *(mean[name] for mean in means))
        for key, name in wanted.items() if key in one.said
    ]  # fmt: skip


def _bound(one: _Evaluation) -> list[Line]:
    """The bound of a few rows at the draws of the evaluation's seed, all its draws."""
    what = "metrics.json: the bound of each row"
    num_draws, rows = one.said.get("num_draws"), one.each_row.get("rows")
    values = {
        end: one.each_row[f"log_likelihood_nats_{end}"] for end in _DENSITIES
        if f"log_likelihood_nats_{end}" in one.each_row
    }  # fmt: skip
    if one.seeds is None or num_draws is None or rows is None or not values:
        return [not_checked(what, "it says no seed, or no rows")]
    some = min(_BOUND_ROWS, len(rows), _DECODED // (one.width * num_draws))
    if some < 2:
        return [not_checked(what, "so many draws of large images take longer than an audit")]
    of_rows = np.linspace(0, len(rows) - 1, some).astype(int)
    rng = generator(one.seeds[2], "bound curves")
    rng = generator(int(rng.integers(2**31)), "importance draws")
    per_call = one.own.num_draws
    calls, singles = divmod(num_draws, per_call)
    # Seeds of whole calls come first, those of single draws after the last of them.
    seeds = [rng.integers(2**63, size=len(rows))[of_rows] for _ in range(calls + singles)]
    taken = one.taken(rows[of_rows])
    found: list[dict[str, np.ndarray]] = []
    for model in (one.own, one.rounded):
        logs: dict[str, list[np.ndarray]] = {end: [] for end in values}
        for number, own in enumerate(seeds):
            name = "log_likelihood" if number < calls else "log_weight"
            answer = model.answer(name, {**taken, "seed": own})
            more = math.log(per_call) if number < calls else 0.0
            for end in values:
                logs[end].append(answer[name + ("_sampler" if end == "sampler" else "")] + more)
        found.append(
            {end: logsumexp(each, axis=0) - math.log(num_draws) for end, each in logs.items()}
        )
    return [
        compared(f"{what}, {end}", each[of_rows], found[0][end], found[1][end])
        for end, each in values.items()
    ]


def _reconstructions(one: _Evaluation) -> list[Line]:
    """Errors of reconstruction, similarity and active units, of all test rows or of some."""
    found: tuple[dict[str, list[np.ndarray]], ...] = ({}, {})  # in float64, in float32
    for part in np.array_split(one.places, max(1, len(one.places) // 256)):
        taken = one.taken(part)
        for parts, model in zip(found, (one.own, one.rounded), strict=True):
            images_ = "ssim_reconstruction" in one.said
            for name, values in _reconstructed(model, taken, images_=images_).items():
                parts.setdefault(name, []).append(values)
    whole, rounded = (
        {name: np.concatenate(values) for name, values in parts.items()} for parts in found
    )
    lines = [
        _mean(one, f"{name}_reconstruction", whole[name], rounded[name])
        for name in ("mse", "psnr_db", "ssim")
        if f"{name}_reconstruction" in one.said and name in whole
    ]
    if one.is_all:
        for share in (5, 95):
            key = f"psnr_db_reconstruction_p{share}"
            if key in one.said:
                here = float(np.quantile(whole["psnr_db"], share / 100))
                lines.append(compared_with_chance(f"metrics.json: {key}", one.said[key], here,
                                                  0.0, one.count, 1e-3))  # fmt: skip
    return lines + _of_posteriors(one, whole["mean"], whole["variance"])


def _reconstructed(
    model: Model, taken: dict[str, np.ndarray], *, images_: bool
) -> dict[str, np.ndarray]:
    """What reconstructions from posterior means are like, by name, and the posteriors."""
    x, condition = taken["x"].astype(np.float64), taken.get("condition")
    posterior = model.posterior(taken["x"], condition)
    decoded = np.asarray(model.decode(posterior.mean(), condition).mean(), np.float64)
    errors = np.square(decoded - x).reshape(len(x), -1).mean(axis=1)
    own = {
        "mse": errors, "psnr_db": -10 * np.log10(np.maximum(errors, 1e-10)),
        "mean": posterior.mean(), "variance": posterior.variance(),
    }  # fmt: skip
    return {**own, "ssim": images.similarity(x, decoded)} if images_ else own


def _of_posteriors(one: _Evaluation, mean: np.ndarray, variance: np.ndarray) -> list[Line]:
    """What each latent carries."""
    lines: list[Line] = []
    moved = mean.var(axis=0)
    share = moved / (moved + variance.mean(axis=0))
    key = "active_units_posterior"
    if key in one.said:
        # Of some rows a share near the threshold says nothing; of all it is off by rounding alone.
        off = 1e-3 if one.is_all else 0.5
        low, high = (int((share > _ACTIVE * (1 + sign * off)).sum()) for sign in (1, -1))
        units = one.said[key]
        faults = [] if low <= units <= high else [f"{units} there, {low} to {high} here"]
        lines.append(stated(f"metrics.json: {key}", faults))
    rates = 0.5 * (mean**2 + variance - 1 - np.log(variance)).mean(axis=0)
    for key, values in (
        ("active_fraction_per_dim_posterior", share), ("rate_per_dim_nats_prior", rates),
    ):  # fmt: skip
        if key in one.said and one.is_all:
            then = np.asarray(one.said[key], np.float64)
            if then.shape != values.shape:
                lines.append(stated(f"metrics.json: {key}", [f"{then.size} numbers"]))
                continue
            worst = int(np.argmax(np.abs(then - values)))
            lines.append(compared_with_chance(f"metrics.json: {key}", float(then[worst]),
                                              float(values[worst]), 0.0, one.count,
                                              1e-4 * max(1.0, values[worst])))  # fmt: skip
    return lines


def _calibration(one: _Evaluation) -> list[Line]:
    """The likelihood's variance over its error, at the draws of the evaluation's seed."""
    keys = [key for key in ("mse_draw", "variance_ratio_draw") if key in one.said]
    if not keys or one.seeds is None:
        return []
    rows = random_rows(one.count, MAX_CALIBRATION_ROWS, generator(one.seed, "image measurements"),
                       always=True)  # fmt: skip
    seeds = generator(one.seeds[6], "latents").integers(2**63, size=one.count)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), len(one.places))).astype(int)]
    taken = one.taken(some)
    x, condition = taken["x"].astype(np.float64), taken.get("condition")
    train = one.dataset.train.x
    images_ = len(one.own.element_shape) == 3
    unit = 1.0 if images_ else np.asarray(_plain(train)).var(axis=0, dtype=np.float64)
    unit = np.where(unit > 0, unit, 1.0)

    def drawn(model: Model) -> tuple[np.ndarray, np.ndarray]:
        latent = model.answer("sample_posterior", {**taken, "seed": seeds[some]})["latent"]
        decoded = model.decode(latent, condition)
        parts = np.square(decoded.mean().astype(np.float64) - x), decoded.variance()
        errors, variances = ((part / unit).reshape(len(some), -1).mean(axis=1) for part in parts)
        return errors, variances

    errors, variances = drawn(one.own)
    error, ratio = float(errors.mean()), float(variances.mean() / errors.mean())
    rounding = TIMES_ROUNDING * float(rounding_of_mean(errors, drawn(one.rounded)[0])) / error
    chance = dict.fromkeys(keys, 0.0)
    if len(some) < len(rows):
        if why := _says_nothing(errors):
            return [not_checked(f"metrics.json: {key}", why) for key in keys]
        chance = {"mse_draw": float(errors.std() / error / math.sqrt(len(some)))}
        of_variance = float(variances.std() / variances.mean() / math.sqrt(len(some)))
        chance["variance_ratio_draw"] = chance["mse_draw"] + of_variance
    # The variance of levels is served as a short sum.
    of_levels = one.said.get("bits_per_dim_bound_prior") is not None
    return [
        compared_with_chance(f"metrics.json: {key}", one.said[key], here,
                             chance[key] * abs(here), len(some), (off + rounding) * abs(here))
        for key, here, off in (
            ("mse_draw", error, 1e-4), ("variance_ratio_draw", ratio, 3e-3 if of_levels else 1e-4)
        )
        if key in keys
    ]  # fmt: skip


def _plain(x: Any) -> Any:
    return x.x if isinstance(x, Conditioned) else x


def _of_mixture(one: _Evaluation) -> list[Line]:
    """Gap, outliers and modes of a mixture whose density the card says."""
    dataset, said, each_row, own = one.dataset, one.said, one.each_row, one.own
    if mixture_of(dataset.card) is None or len(own.element_shape) != 1:
        return []
    truth, x = Truth(dataset.card["mixture"]), np.asarray(_plain(dataset.test.x), np.float64)
    values = {"outlier_fraction_test": float(truth.outliers(x).mean())}
    if "rows" in each_row:
        logs = truth.log_prob(x[each_row["rows"]])
        differences = {"true_log_density_nats_test": logs}
        for end in _DENSITIES:
            bound = each_row.get(f"log_likelihood_nats_{end}")
            if bound is not None:
                differences[f"gap_nats_{end}"] = logs - bound
        for key, each in differences.items():
            values[key] = float(each.mean())
            values[f"{key}_stderr"] = float(each.std(ddof=1)) / math.sqrt(len(each))
    lines = [line for key, value in values.items() for line in one.line(key, value)]
    if own.condition_dim:
        return lines
    for end in ("prior", *(["sampler"] if own.has_sampler else [])):
        if f"modes_captured_{end}" in said:
            lines += _modes(truth, one, end)
    return lines


def _modes(truth: Truth, one: _Evaluation, end: str) -> list[Line]:
    """Modes and outliers of draws of the audit's own, of other seeds than the evaluation's."""
    said, own = one.said, one.own
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
    key = f"true_log_density_nats_{end}"
    if key in said:
        logs = truth.log_prob(x)
        lines.append(compared_with_chance(f"metrics.json: {key}", said[key], float(logs.mean()),
                                          float(logs.std() * of_two), _DRAWN))  # fmt: skip
    then = np.asarray(said[f"mode_shares_within_{end}"])
    of_modes = of_two * np.sqrt(np.maximum(each.var(axis=0), 1 / _DRAWN))
    worst = int(np.argmax(np.abs(then - shares) - ERRORS * of_modes))
    lines.append(compared_with_chance(f"metrics.json: mode_shares_within_{end}", float(then[worst]),
                                      float(shares[worst]), float(of_modes[worst]), count,
                                      1 / count))  # fmt: skip
    captured = int(truth.captured(then, count).sum())
    lines += one.line(f"modes_captured_{end}", captured)
    if f"mode_shares_{end}" in said:  # what follows from the shares alone
        whole = np.asarray(said[f"mode_shares_{end}"])
        relative = np.abs(whole - truth.weights) / truth.weights
        lines += one.line(f"largest_relative_weight_error_{end}", float(relative.max()))
        divergence = float((xlogy(whole, whole) - xlogy(whole, truth.weights)).sum())
        lines += one.line(f"weights_kl_nats_{end}", max(0.0, divergence))
    return lines
