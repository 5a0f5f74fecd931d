"""What a backend computes from models on the disk, as JSON: run in a process for each backend.

    KERAS_BACKEND=jax python tests/backends/backend_numbers.py FOLDER

reads the models in FOLDER, answers in FOLDER/jax.json and saves a trained model as
FOLDER/jax/optimal.keras. TensorFlow is hidden from others: nothing here may need it.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

if __name__ == "__main__" and os.environ["KERAS_BACKEND"] != "tensorflow":
    sys.modules["tensorflow"] = None

import keras
import numpy as np

import kvae
from kvae import callbacks
from kvae.data import Dataset, Split
from kvae.probability.noise import SeededNoise
from kvae.samplers import flow
from kvae.training import sampler_fitting

ROWS = 8
#: Of each density: shape and options of a model.
DENSITIES = {
    "full": ((3,), {"prior": "mixture", "posterior": "full", "variance": "full"}),
    "flow": ((3,), {"prior": "flow", "variance": "heteroscedastic"}),
    "vamp": ((3,), {"prior": "vamp", "likelihood": "bernoulli", "posterior": "full"}),
    "image": ((8, 8, 1), {"prior": "mixture", "likelihood": "discretized-logistic"}),
    "given": ((3,), {"condition_dim": 2, "variance": "shared", "beta": 0.5, "kl_warmup_steps": 5}),
    "optimal": (
        (2, 3, 1),
        {
            "network": "mlp",
            "variance": "optimal",
            "edge_weight": 2.0,
            "shift": 0.2,
            "scale": 2.0,
            "value_range": None,
        },
    ),
}
#: Of each objective but the ELBO with a beta that warms up, which "given" has: options.
OBJECTIVES = {
    "free_bits": {"free_bits": 0.3},
    "tc_weight": {"tc_weight": 4.0},
    "dreg": {"objective": "iwae", "iwae_draws": 3, "iwae_gradient": "dreg", "posterior": "full"},
}
#: Models that are trained, with each kind of state that a step may change, and how.
TRAINED = {"full": "sgd", "optimal": "sgd", "given": "adam", "dreg": "sgd"}


def rows_of(vae):
    """Rows that the model takes, a pair of a conditional one."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 2, (ROWS, *vae.element_shape)).astype("float32")
    if vae.likelihood.kind == "gaussian":
        x = x + rng.normal(size=x.shape).astype("float32")
    if not vae.condition_dim:
        return x
    return x, rng.normal(size=(ROWS, vae.condition_dim)).astype("float32")


def _lists(found):
    return {name: keras.ops.convert_to_numpy(value).tolist() for name, value in found.items()}


def densities(vae):
    """Terms of each row, and samples."""
    x = rows_of(vae)

    def of_rows(*parts):
        x = parts if vae.condition_dim else parts[0]
        noise = SeededNoise(np.arange(ROWS) + 2**40)
        terms = vae.elbo_terms(x, noise)
        return terms.distortion, terms.rate, vae.log_weight(x, noise), vae(x)

    found = vae.compile_function(of_rows)(*(x if vae.condition_dim else (x,)))
    condition = x[1] if vae.condition_dim else None
    names = ("distortion", "rate", "log_weight", "reconstruction")
    # JAX compiles each operation that stands alone: one program takes half of the time.
    sample = vae.compile_function(lambda: vae.generate(ROWS, 3, condition))()
    return _lists(dict(zip(names, found, strict=True)) | {"sample": sample})


def _compile(vae, optimizer):
    vae.compile(optimizer, jit_compile=keras.backend.backend() == "jax")


def figures(vae, batch_size=ROWS):
    """What `evaluate` says: the objective and its parts at the noise of validation."""
    _compile(vae, keras.optimizers.SGD())
    x = rows_of(vae)
    given = x if vae.condition_dim else (x,)
    return vae.evaluate(*given, batch_size=batch_size, verbose=0, return_dict=True)


def trained(path, kind):
    """Losses of ten steps of Adam or three of SGD, and the weights after them."""
    vae = kvae.load_model(path)
    steps, optimizer = {
        "sgd": (3, keras.optimizers.SGD(1e-2)),
        "adam": (10, keras.optimizers.Adam(1e-2)),
    }[kind]
    _compile(vae, optimizer)
    x = rows_of(vae)
    history = vae.fit(
        *(x if vae.condition_dim else (x,)), epochs=steps, batch_size=ROWS, shuffle=False,
        calibrate=False, verbose=0,
    ).history  # fmt: skip
    found = {"losses": history["loss"], "steps": int(vae.step)}
    return vae, found | {"weights": [weight.tolist() for weight in vae.get_weights()]}


def in_a_block(path):
    """The weights after three steps of SGD in one call."""
    vae = kvae.load_model(path)
    _compile(vae, keras.optimizers.SGD(1e-2))
    block = np.stack([rows_of(vae)] * 3)
    vae.fit((part for part in [(block,)]), steps_per_epoch=1, shuffle=False, verbose=0)
    return [weight.tolist() for weight in vae.get_weights()]


def with_a_flow(vae):
    """Whether a sampler is fitted, and draws."""
    flow._STEPS, flow.Flow = 2, partial(flow.Flow, num_layers=2)
    rng = np.random.default_rng(0)
    splits = [Split(rng.normal(size=(100, 3)).astype("float32")) for _ in range(3)]
    dataset = Dataset("vectors", *splits)
    vae = sampler_fitting.with_sampler(vae, "flow", dataset, seed=0)
    drawn = keras.ops.convert_to_numpy(vae.compile_function(lambda: vae.generate(4))())
    return vae.has_sampler and bool(np.isfinite(drawn).all())


def weighed(vae):
    """Figures, given metrics and the variance of `fit` with weights, the last pass included."""
    x, weight = rows_of(vae), np.arange(ROWS, dtype="float32")
    vae.compile(keras.optimizers.SGD(1e-3), metrics=["mae"], weighted_metrics=["mse"])
    found = vae.fit(
        x, sample_weight=weight, validation_data=(x, None, weight[::-1].copy()), batch_size=4,
        shuffle=False, verbose=0,
    ).history  # fmt: skip
    variance = keras.ops.convert_to_numpy(vae.likelihood.mean_squared_error)
    return {name: values[0] for name, values in found.items()} | {"variance": float(variance[0])}


def numbers(folder):
    """All of it."""
    backend = keras.backend.backend()
    models = {path.stem: path for path in sorted(folder.glob("*.keras"))}
    found = {"backend": backend, "densities": {}, "figures": {}, "trained": {}}
    for name in DENSITIES:
        found["densities"][name] = densities(kvae.load_model(models[name]))
    for name in OBJECTIVES:
        found["figures"][name] = figures(kvae.load_model(models[name]))
    for size in (ROWS, ROWS // 2):
        found["figures"][f"in {size}"] = figures(kvae.load_model(models["given"]), size)
    (folder / backend).mkdir()
    for name, kind in TRAINED.items():
        vae, found["trained"][name] = trained(models[name], kind)
        if name == "optimal":
            vae.save(folder / backend / "optimal.keras")
            found["saved"] = densities(vae)
    found["in_a_block"] = in_a_block(models["optimal"])
    vae = kvae.load_model(models["optimal"])
    x = rows_of(vae)
    vae.calibrate([x[:5], x[5:]])
    found["calibrated"] = keras.ops.convert_to_numpy(vae.likelihood.mean_squared_error).tolist()
    doctor = callbacks.Doctor(x)
    _compile(vae, keras.optimizers.SGD(1e-3))
    vae.fit(x, batch_size=ROWS, shuffle=False, verbose=0, callbacks=[doctor])
    found["doctor"] = {k: v for k, v in doctor.metrics.items() if isinstance(v, float)}
    found["weighed"] = weighed(kvae.load_model(models["optimal"]))
    found["sampler"] = with_a_flow(kvae.load_model(models["dreg"]))
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1])
    answer = json.dumps(numbers(target))
    (target / f"{keras.backend.backend()}.json").write_text(answer)
