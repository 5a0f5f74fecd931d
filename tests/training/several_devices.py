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
from kvae.training import devices, fitting, run, start

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
        {"network": "conv", "batch_size": 6, "flip": True, "learning_rate": 2e-5},
    ),
}  # fmt: skip


as_numpy = keras.ops.convert_to_numpy


def _config(folder, count, preset=None, **options):
    given = {"dataset": "arrays", "name": "m", "save": str(folder), "devices": count}
    return resolve({**PLAIN, **given, **options}, preset)


def trained(folder, dataset, count, **options):
    """A run on some devices; the trainable weights that it starts from."""
    config = _config(folder, count, **options)
    rows = conditioned(dataset, conditions_of(dataset, config.condition))
    start = [as_numpy(one) for one in build(config, rows, "float32").trainable_weights]
    return run.fit(config, folder, dataset, publishes=False), start


def compared(folder, dataset, **options):
    """How far apart the runs end: weights, of the largest change of one, and figures."""
    one, start = trained(folder, dataset, 1, **options)
    two, _ = trained(folder, dataset, 2, **options)
    ends = [as_numpy(weight) for weight in one.vae.trainable_weights]
    change = max(np.abs(a - b).max() for a, b in zip(start, ends, strict=True))
    weights = zip(one.vae.get_weights(), two.vae.get_weights(), strict=True)
    history = (
        abs(a - b) / max(1.0, abs(a))
        for name in one.history
        for a, b in zip(one.history[name], two.history[name], strict=True)
    )
    return {
        "weights": float(max(np.abs(a - b).max() for a, b in weights) / change),
        "figures": float(max(history)), "names": sorted(two.history), "steps": two.vae.num_steps,
    }  # fmt: skip


def main(folder):
    """Run all, print JSON."""
    fitting._VALID_BATCH = {"vectors": 12, "images": 4}  # the last has fewer rows than devices
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
