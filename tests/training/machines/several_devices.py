"""What one device and two make of equal runs, as JSON: run in a process for each backend.

KERAS_BACKEND=jax python tests/training/machines/several_devices.py FOLDER vectors images
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
from kvae.data.conditions import conditioned, conditions_of
from kvae.errors import UsageError
from kvae.training import fitting, run
from kvae.training.machines import devices
from kvae.training.start import build

RNG = np.random.default_rng(0)
PLAIN = {
    "dataset": "arrays", "name": "m", "standardize": False, "sampler": "none", "seed": 3,
    "learning_rate": 0.01, "learning_rate_schedule": "constant", "mixed_precision": "off",
    "prior": "standard_normal", "posterior": "diagonal", "variance": "optimal", "latent_dim": 2,
}  # fmt: skip


def _data(train, valid, shape, label=None):
    splits = [RNG.uniform(size=(rows, *shape)).astype("float32") for rows in (train, valid, 10)]
    labels = tuple(RNG.integers(0, 2, len(x)).astype(bool) for x in splits)
    return kvae.Dataset.from_arrays(
        splits[0], valid=splits[1], test=splits[2], labels={label: labels} if label else None
    )


#: Name -> data, and options beside `PLAIN`. The last batch of the valid split is one row.
RUNS = {
    "vectors": (
        _data(40, 13, (3,), "on"),
        {"hidden_units": (8,), "jit_compile": False, "batch_size": 8, "clip_norm": 0.5,
         "ema_momentum": 0.5, "condition": ("on",), "epochs": 2},
    ),
    "images": (
        _data(18, 13, (8, 8, 1)),
        {"network": "conv", "batch_size": 6, "flip": True, "learning_rate": 2e-5, "epochs": 1},
    ),
}  # fmt: skip


def as_numpy(weights):
    """Arrays of some weights."""
    return [keras.ops.convert_to_numpy(weight) for weight in weights]


def config_of(folder, name, count):
    """The options of a run."""
    _, options = RUNS[name]
    return resolve({**PLAIN, **options, "save": str(folder), "devices": count})


def trained(folder, name, count):
    """A run on some devices."""
    config = config_of(folder, name, count)
    return run.fit(config, folder, RUNS[name][0], publishes=False)


def compared(folder, name):
    """How far apart the runs end: weights, of the largest change of one, and figures."""
    one, two = trained(folder, name, 1), trained(folder, name, 2)
    config = config_of(folder, name, 1)
    dataset = conditioned(RUNS[name][0], conditions_of(RUNS[name][0], config.condition))
    begun = as_numpy(build(config, dataset, "float32").trainable_weights)
    return {
        "figures": max(
            abs(a - b) / max(1.0, abs(a))
            for figure in one.history
            for a, b in zip(one.history[figure], two.history[figure], strict=True)
        ),
        "weights": apart(one.vae, two.vae, begun), "names": sorted(two.history),
        "steps": two.vae.num_steps,
    }  # fmt: skip


def apart(one, two, begun):
    """How far apart two models are, of the largest change of a weight since training began."""
    ends = as_numpy(one.trainable_weights)
    change = max(np.abs(a - b).max() for a, b in zip(begun, ends, strict=True))
    weights = zip(one.get_weights(), two.get_weights(), strict=True)
    return float(max(np.abs(a - b).max() for a, b in weights) / change)


def main(folder, names):
    """Run all, print JSON."""
    fitting._VALID_BATCH = {"vectors": 12, "images": 4}
    devices.chosen(config_of(folder, names[0], 2))  # before one device computes
    keras.optimizers.Adam = keras.optimizers.SGD  # Adam would hide what is summed twice
    found = {name: compared(folder, name) for name in names}
    try:
        devices.chosen(config_of(folder, names[0], 4))
    except UsageError as error:
        found["started"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
