"""What TensorFlow, JAX and torch give for one model: the same weights, the same noise, one machine.

python benchmarks/backends.py [FOLDER] [--backends tensorflow jax torch]

Each backend is a process of its own (KERAS_BACKEND), on the CPU. The first makes the weights and
writes them to FOLDER (a temporary one unless given), the others read them. Compared with the first:

- distortion, rate and log-weight at one draw, over rows in which every pair of a prior, a posterior
  and a likelihood stands, from weights as they start and again after 10 steps of Adam;
- loss, distortion, rate and log-weight of every objective at the noise of a training step;
- the weights after 3 steps of SGD, and the losses of 10 steps of Adam, for every objective, each
  backend by its own `train_step` and compiled as `fit` compiles it.

Prints a Markdown table: of the terms the largest |a - b| / (|distortion| + |rate| + 1), of weights
the largest |a - b|, of losses the largest |a - b| / (|a| + 1).
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

BACKENDS = ("tensorflow", "jax", "torch")
STARTS = ("fresh", "trained")
TERMS = ("distortion", "rate", "log_weight")
_ROWS, _STEPS_BETWEEN, _SGD_STEPS, _ADAM_STEPS = 16, 10, 3, 10

LIKELIHOODS = {
    "fixed variance": {"variance": 0.1},
    "optimal variance": {"variance": "optimal"},
    "variance per channel": {"variance": "per-channel"},
    "heteroscedastic": {"variance": "heteroscedastic"},
    "full covariance": {"variance": "full"},
    "discretized-logistic": {"likelihood": "discretized-logistic", "logistic_components": 3},
    "bernoulli": {"likelihood": "bernoulli"},
}
PRIORS = {
    "standard_normal": {},
    "mixture": {"prior_components": 5},
    "vamp": {"prior_components": 5},
    "flow": {},
}
_POSTERIORS = ("diagonal", "full")

#: Of vectors; each objective stands beside another prior where it may.
OBJECTIVES = {
    "elbo": {"prior": "mixture", "prior_components": 5, "posterior": "full", "variance": "full"},
    "beta": {"prior": "vamp", "prior_components": 5, "beta": 4.0, "kl_warmup_steps": 5},
    "free bits": {"prior": "standard_normal", "free_bits": 0.2, "variance": "shared"},
    "total correlation": {"prior": "standard_normal", "tc_weight": 3.0, "variance": "shared"},
    "iwae": {"prior": "flow", "objective": "iwae", "iwae_draws": 4, "variance": "heteroscedastic"},
}


def covering_rows():
    """Name -> options of `build_vae`: every pair of a prior, a posterior and a likelihood."""
    rows = {}
    for i, (prior, own) in enumerate(PRIORS.items()):
        for j, (likelihood, options) in enumerate(LIKELIHOODS.items()):
            posterior = _POSTERIORS[(i + j) % 2]
            name = f"{prior}, {posterior}, {likelihood}"
            rows[name] = {"prior": prior, "posterior": posterior, **own, **options}
    return rows


def as_taken(x, options):
    """Uint8 images as the likelihood of a row takes them: black and white for "bernoulli"."""
    is_binary = options.get("likelihood") == "bernoulli"
    return np.where(x > 127, 255, 0).astype("uint8") if is_binary else x


def terms_of(vae, x, seed):
    """Distortion, rate and log-weight at one draw of `SeededNoise`: name -> `(batch,)` NumPy."""
    from kvae.probability.noise import SeededNoise, row_seeds

    seeds = row_seeds(seed, len(x))
    terms = vae.elbo_terms(x, SeededNoise(seeds))
    found = (terms.distortion, terms.rate, vae.log_weight(x, SeededNoise(seeds)))
    return dict(zip(TERMS, map(as_numpy, found), strict=True))


def as_numpy(value):
    """A tensor of any backend as float64."""
    import keras

    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(value)).astype("float64")


def worst_differences(first, second):
    """Name -> largest |a - b| / (|distortion| + |rate| + 1), of two results of `terms_of`.

    A loss of several draws is held against the mean of theirs. Where one value is not finite the
    answer is infinity: that is no agreement.
    """
    unit = np.abs(first["distortion"]) + np.abs(first["rate"]) + 1.0
    worst = {}
    for name in first:
        difference = np.abs(first[name] - second[name])
        units = unit.reshape(len(difference), -1).mean(axis=1)
        largest = float(np.max(difference / units))
        worst[name] = largest if np.isfinite(largest) else np.inf
    return worst


def _images():
    """Stripes with some noise, `(16, 8, 8, 3)` uint8."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 3, 8)[:, None, None] * rng.uniform(0.5, 2, (_ROWS, 1, 1, 3)))
    return np.clip(128 + 80 * waves + rng.normal(0, 20, (_ROWS, 8, 8, 3)), 0, 255).astype("uint8")


def _vectors():
    """Correlated ones, `(16, 6)` float32."""
    rng = np.random.default_rng(1)
    return (rng.normal(size=(_ROWS, 6)) @ rng.normal(size=(6, 6)) / 2).astype("float32")


def _started(file, shape, options, make=None):
    """A model with the weights of a file; the first backend writes it, after `make(model)`."""
    import keras

    import kvae

    keras.utils.set_random_seed(0)
    vae = kvae.build_vae(shape, latent_dim=4, seed=3, **options)
    if not file.exists():
        if make:
            make(vae)
        np.savez(file, *vae.get_weights())
    with np.load(file) as weights:
        vae.set_weights([weights[name] for name in weights.files])
    return vae


def _losses(vae, x, optimizer, count, **how):
    """The losses of some training steps, each on all of x."""
    import keras

    jit_compile = keras.backend.backend() == "jax" and not how
    vae.compile(optimizer, jit_compile=jit_compile, **how)
    fit = {"batch_size": len(x), "shuffle": False, "verbose": 0}
    return np.array([vae.fit(x, **fit).history["loss"][0] for _ in range(count)])


def _rows_found(folder):
    """`(start, row)` -> what `terms_of` gives."""
    import keras

    def briefly_trained(vae, x):
        vae.start_prior(x)
        _losses(vae, x, keras.optimizers.Adam(3e-3), _STEPS_BETWEEN, run_eagerly=True)

    found = {}
    for number, (row, options) in enumerate(covering_rows().items()):
        x = as_taken(_images(), options)
        for start in STARTS:
            make = partial(briefly_trained, x=x) if start == "trained" else None
            vae = _started(folder / f"row{number}-{start}.npz", x.shape[1:], options, make)
            found[start, row] = terms_of(vae, x, seed=7)
    return found


def _objectives_found(folder):
    """Objective -> terms of a batch, weights after steps of SGD, losses of steps of Adam."""
    import keras

    x, places = _vectors(), np.arange(_ROWS, dtype="int32")
    found = {}
    for number, (name, options) in enumerate(OBJECTIVES.items()):
        file = folder / f"objective{number}.npz"
        vae = _started(file, x.shape[1:], options, lambda vae: vae.start_prior(x))
        outcome = vae.outcome(x, places, training=True)
        terms = dict(zip(TERMS, (outcome.distortion, outcome.rate, outcome.elbo), strict=True))
        terms = {term: as_numpy(value) for term, value in {**terms, "loss": outcome.loss}.items()}
        _losses(vae, x, keras.optimizers.SGD(1e-3), _SGD_STEPS)
        weights = np.concatenate([weight.ravel() for weight in vae.get_weights()])
        again = _started(file, x.shape[1:], options)
        losses = _losses(again, x, keras.optimizers.Adam(3e-3), _ADAM_STEPS)
        found[name] = {"terms": terms, "weights": weights, "losses": losses}
    return found


def _answer(folder):
    """What the backend of this process gives, into FOLDER/BACKEND.pkl."""
    import keras

    found = {"rows": _rows_found(folder), "objectives": _objectives_found(folder)}
    (folder / f"{keras.backend.backend()}.pkl").write_bytes(pickle.dumps(found))


def _ask(folder, backend):
    """What a backend gives, from a process of its own on the CPU."""
    environment = {
        **os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }  # fmt: skip
    start = time.perf_counter()
    command = [sys.executable, __file__, str(folder), "--answer"]
    subprocess.run(command, env=environment, check=True)
    print(f"{backend}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return pickle.loads((folder / f"{backend}.pkl").read_bytes())


def _lines(first, second):
    """What is compared -> its largest difference between two backends, and where that is."""
    lines = {}
    for start in STARTS:
        rows = {
            row: worst_differences(terms, second["rows"][start, row])
            for (of, row), terms in first["rows"].items() if of == start
        }  # fmt: skip
        for term in TERMS:
            worst = max(rows, key=lambda row, term=term: rows[row][term])
            lines[f"{term}, {start} weights"] = rows[worst][term], worst
    for name, ours in first["objectives"].items():
        theirs = second["objectives"][name]
        terms = worst_differences(ours["terms"], theirs["terms"])
        worst = max(terms, key=terms.get)
        lines[f"{name}: terms and loss"] = terms[worst], worst
        moved = np.max(np.abs(ours["weights"] - theirs["weights"]))
        lines[f"{name}: weights after {_SGD_STEPS} steps of SGD"] = moved, ""
        off = np.abs(ours["losses"] - theirs["losses"]) / (np.abs(ours["losses"]) + 1.0)
        lines[f"{name}: losses of {_ADAM_STEPS} steps of Adam"] = np.max(off), ""
    return lines


def main():
    """Ask each backend, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", help="for the weights and what was found")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--answer", action="store_true", help="as a process of one backend")
    arguments = parser.parse_args()
    if arguments.answer:
        _answer(Path(arguments.folder))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        first, *others = arguments.backends
        reference = _ask(folder, first)
        tables = [_lines(reference, _ask(folder, backend)) for backend in others]
    print("| | " + " | ".join(f"{first} and {other} | worst at" for other in others) + " |")
    print("|---|" + "---|---|" * len(others))
    for what in tables[0]:
        cells = [f"{table[what][0]:.1e} | {table[what][1]}" for table in tables]
        print(f"| {what} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
