"""What one device and two make of equal runs, as JSON: run in a process for each backend.

KERAS_BACKEND=jax python tests/training/several_devices.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np

import kvae
from kvae.config import resolve
from kvae.training import devices, run, start

RNG = np.random.default_rng(0)
PLAIN = {
    "standardize": False, "sampler": "none", "learning_rate": 0.01, "seed": 3, "epochs": 1,
    "learning_rate_schedule": "constant", "mixed_precision": "off", "latent_dim": 2,
    "prior": "standard_normal", "posterior": "diagonal", "variance": "optimal",
}  # fmt: skip


def _data(train, valid, shape, labels=False):
    split = [RNG.uniform(size=(rows, *shape)).astype("float32") for rows in (train, valid, valid)]
    of_splits = tuple(RNG.integers(0, 2, len(x)).astype(bool) for x in split)
    return kvae.Dataset.from_arrays(
        split[0], valid=split[1], test=split[2], labels={"on": of_splits} if labels else None
    )


#: Name -> data, and options beside `PLAIN`. The last batch of the valid split is one row.
RUNS = {
    "vectors": (
        _data(40, 13, (3,), labels=True),
        {"hidden_units": (8,), "jit_compile": False, "batch_size": 8, "clip_norm": 0.5,
         "ema_momentum": 0.5, "condition": ("on",)},
    ),
    "images": (
        _data(18, 13, (8, 8, 1)),
        {"network": "conv", "batch_size": 6, "flip": True, "learning_rate": 1e-4},
    ),
}  # fmt: skip


def _config(folder, count, preset=None, **options):
    given = {"dataset": "arrays", "name": "m", "save": str(folder), "devices": count}
    return resolve({**PLAIN, **given, **options}, preset)


def trained(folder, dataset, count, preset=None, **options):
    """The start and the end of a run: weights, figures."""
    config = _config(folder, count, preset, **options)
    first = start.build(config, conditioned(dataset, config), "float32").get_weights()
    fitted = run.fit(config, folder, dataset, publishes=False)
    return first, fitted


def conditioned(dataset, config):
    """As `run.fit` does it."""
    from kvae.data.conditions import conditioned, conditions_of

    return conditioned(dataset, conditions_of(dataset, config.condition))


def compared(folder, dataset, **options):
    """How far apart they end, of the largest change of a weight; and how far apart figures are."""
    first, one = trained(folder, dataset, 1, **options)
    _, two = trained(folder, dataset, 2, **options)
    ends = [fitted.vae.get_weights() for fitted in (one, two)]
    change = max(np.abs(a - b).max() for a, b in zip(ends[0], first, strict=True) if a.ndim)
    apart = max(np.abs(a - b).max() for a, b in zip(*ends, strict=True))
    figures = max(
        abs(a - b) / max(1.0, abs(a))
        for name in one.history
        for a, b in zip(one.history[name], two.history[name], strict=True)
    )
    after = two.vae.optimizer.learning_rate  # it is compiled
    return {
        "change": float(change), "weights": float(apart / change), "figures": float(figures), "steps": two.vae.num_steps,
        "figures_of": sorted(two.history), "epochs": len(two.history["loss"]),
        "rate": float(keras.ops.convert_to_numpy(after)),
    }  # fmt: skip


def main(folder):
    """Run all, print JSON."""
    run._VALID_BATCH = {"vectors": 12, "images": 4}  # the last has fewer rows than devices
    keras.optimizers.Adam = keras.optimizers.SGD  # which does not hide what is summed twice
    devices.chosen(_config(folder, 2))  # before one of them computes
    found = {}
    for name, (dataset, options) in RUNS.items():
        t = __import__("time").time()
        print(name, found)
        found[name] = compared(Path(folder), dataset, **options)
        print(name, __import__("time").time() - t)
    print("found", json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
