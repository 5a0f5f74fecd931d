"""The density that `generate` draws from, fitted to posterior draws after training."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kvae.config import AUTO_SAMPLER, NO_SAMPLER
from kvae.data import MIN_SPLIT_ROWS, Dataset, Split
from kvae.data.rows import in_parts, rows_at_once
from kvae.data.splits import random_tenth
from kvae.errors import DEBUGGING, UsageError
from kvae.inputs import as_float
from kvae.metrics.frechet import frechet_distance, moments
from kvae.model import VAE
from kvae.options import arguments
from kvae.priors.base import mean_log_prob
from kvae.probability.noise import SeededNoise, StepNoise
from kvae.probability.streams import generator
from kvae.registry import find, options_of, refuse_others
from kvae.samplers import SAMPLERS
from kvae.saying import say
from kvae.scores import checked_rows

_MAX_LATENTS, _MAX_DRAWS_PER_ROW = 50_000, 20
_PART_ROWS = {2: 5000, 4: 250}  # a row's noise is that of its place among these parts
# Two moments see little of a density: what has none of its own must be clearly nearer than the
# best of those that have, and that must be clearly farther than train draws are by chance.
_CLEARLY, _ABOVE_CHANCE = 0.8, 2.0


def with_sampler(vae: VAE, name: str, dataset: Dataset, *, seed: int, **options: Any) -> VAE:
    """The model with a sampler fitted to posterior draws of the train split.

    Args:
        vae: a trained model.
        name: a key of SAMPLERS, "auto" for the best of them on held-out draws, or "none".
        dataset: train and valid split are used.
        seed: of draws and starts.
        **options: what the sampler, or each of them, declares.

    Returns:
        The model, its weights shared.

    Raises:
        Exception: the sampler cannot be fitted; of "auto", none of them can.
    """
    if name == NO_SAMPLER:
        return vae
    train = posterior_draws(vae, dataset.train.x, generator(seed, "train posterior draws"))
    valid = posterior_draws(vae, dataset.valid.x, generator(seed, "valid posterior draws"))
    if name == AUTO_SAMPLER:
        sampler = _best(vae.prior, train, valid, seed, options)
    else:
        sampler = _fitted(name, vae.prior, train, valid, seed, options)
    held_out = mean_log_prob(vae.prior, valid)
    say(f"           the prior finds the same draws likely by {held_out:.4f} nats")
    return vae.with_sampler(sampler)


def _fitted(name, prior, train, valid, seed, options):
    say(f"sampler    fitting {name} to {len(train):,} posterior draws", flush=True)
    fit = find(SAMPLERS, name, "sampler")
    own = arguments(SAMPLERS[name].options, options)
    return fit(train, valid, prior=prior, seed=seed, **own)


def _best(prior, train, valid, seed, options):
    """The best of all samplers and the prior itself, on held-out draws.

    Likelihood decides among exact densities. One that has none is compared with their best by the
    Fréchet distance between as many samples and held-out draws: it must be nearer by a fifth, and
    their best at twice the distance of as many train draws.
    """
    fitted, failed = {}, []
    for name in SAMPLERS:
        try:
            fitted[name] = _fitted(name, prior, train, valid, seed, options)
        except Exception as error:  # the others may do
            if DEBUGGING.is_on:
                raise
            print(f"sampler    {name} NOT fitted: {error}", file=sys.stderr)
            failed.append(error)
    if failed and not fitted:
        raise failed[0]
    exact = {name: one for name, one in fitted.items() if one.exact_density} | {"prior": prior}
    scores = {name: mean_log_prob(one, valid) for name, one in exact.items()}
    best = max(scores, key=lambda name: scores[name] if np.isfinite(scores[name]) else -np.inf)
    shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    say(f"sampler    auto: nats held out: {shown}")
    others = {name: one for name, one in fitted.items() if not one.exact_density}
    if others:
        distances = {
            name: _frechet(one, valid, seed) for name, one in (others | {best: exact[best]}).items()
        }
        chance = frechet_distance(moments([train[: len(valid)]]), moments([valid]))
        nearest = min(others, key=lambda name: distances[name])
        shown = ", ".join(f"{name} {value:.4f}" for name, value in distances.items())
        say(f"           Fréchet distance to held-out draws: {shown}, train draws {chance:.4f}")
        is_far = distances[best] > _ABOVE_CHANCE * chance
        best = nearest if is_far and distances[nearest] < _CLEARLY * distances[best] else best
    say(f"           {best} is taken")
    return None if best == "prior" else fitted[best]


def _frechet(density, valid, seed):
    seeds = generator(seed, "sampler distance").integers(2**63, size=len(valid))
    parts = [
        keras.ops.convert_to_numpy(density.sample(SeededNoise(part)))
        for part in in_parts(seeds, rows_at_once(valid))
    ]
    if not all(np.isfinite(part).all() for part in parts):
        return np.inf
    return frechet_distance(moments(parts), moments([valid]))


def some_rows(
    x: np.ndarray, rng: np.random.Generator, most: int = _MAX_LATENTS
) -> Iterator[np.ndarray]:
    """Random rows of `x`, in parts that a model can take at once.

    Args:
        x: `(rows, ...)`, `Conditioned` or not, as the parts will be.
        rng: of the choice and its order.
        most: rows in all.
    """
    rows = rng.permutation(len(x))[:most]
    for part in np.array_split(rows, -(-len(rows) // _PART_ROWS[x.ndim])):
        yield x[np.sort(part)]


def posterior_draws(vae: VAE, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws from q(z given x), several a row where there are few rows, in random order.

    Args:
        vae: the model.
        x: `(rows, ...)`.
        rng: of rows, draws and order.

    Returns:
        At most 50,000 draws, `(n, latent_dim)` float32.
    """
    copies = max(1, min(_MAX_DRAWS_PER_ROW, _MAX_LATENTS // min(len(x), _MAX_LATENTS)))

    seed, found, count = int(rng.integers(2**63)), [], 0

    @vae.compile_function
    def draw(part, places):
        posterior = vae.posterior(part).repeat(copies)
        return posterior.sample(StepNoise.validation(seed, places, copies), "posterior")

    for part in some_rows(x, rng):
        places = np.arange(count, count + len(part), dtype="int32")
        found.append(keras.ops.convert_to_numpy(draw(as_float(part), places)))
        count += len(part)
    return rng.permutation(np.concatenate(found))


def checked_options(sampler: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a sampler, or of "auto" those of any, as values.

    Args:
        sampler: a key of SAMPLERS, or "auto".
        options: by name, as given.

    Raises:
        UsageError: it has no such option, or a value is not allowed.
    """
    chosen = tuple(SAMPLERS) if sampler == AUTO_SAMPLER else (sampler,)
    refuse_others(
        options, {"sampler": SAMPLERS}, {"sampler": chosen},
        name_of=lambda option: option.name, shown=str,
    )  # fmt: skip
    declared = options_of(SAMPLERS[name] for name in chosen)
    return {name: declared[name].read(value, name) for name, value in options.items()}


def split_of(vae: VAE, x: Any, valid: Any, seed: int) -> Dataset:
    """Rows to fit on and rows to choose on.

    Args:
        vae: the model.
        x: rows, as `fit` takes them.
        valid: likewise; None: a tenth of `x`, which is left out there.
        seed: of that tenth.

    Raises:
        UsageError: rows that `fit` would refuse, or too few.
    """
    rows = checked_rows(vae, x)
    if valid is None:
        if len(rows) < MIN_SPLIT_ROWS:
            raise UsageError(f"{MIN_SPLIT_ROWS} rows at least are needed, received {len(rows)}")
        kept, held_out = random_tenth(np.arange(len(rows)), seed)
        rows, valid = rows[kept], rows[held_out]
    else:
        valid = checked_rows(vae, valid)
    kind = "images" if len(vae.element_shape) == 3 else "vectors"
    return Dataset(kind, Split(rows), Split(valid), Split(valid))
