"""What models in files of older versions of kvae are asked, then and now."""

from pathlib import Path

import numpy as np

from kvae.client import Client
from kvae.probability.noise import SeededNoise

ARCHIVE = Path(__file__).parent / "fixtures" / "0.1.0.tar.xz"
VERSION = Path("saved") / "gmm" / "1"  # in the archive

#: What `train.py --dataset gmm` was given for the published version. Model "warmup" has the same
#: parts, so that one set of options goes on from either.
OPTIONS = {
    "hidden_units": "8", "latent_dim": 2, "prior_components": 3, "batch_size": 5000, "epochs": 3,
    "jit_compile": False, "mixed_precision": "off",
}  # fmt: skip


def given_to(rows):
    """x, or the pair (x, condition), of the rows of a file."""
    return (rows["x"], rows["condition"]) if "condition" in rows else rows["x"]


def answers(vae, rows):
    """What a model says of fixed rows, by the name of what it says.

    Args:
        vae: the model.
        rows: x, latent and, of a conditional model, condition, of as many rows each.
    """
    given, condition = given_to(rows), rows.get("condition")
    noise = SeededNoise(np.arange(len(rows["x"])), 3)
    mean, variance = vae.encode(given)
    decoded = vae.decode(rows["latent"], condition)
    terms = vae.elbo_terms(given, noise)
    found = {
        "mean": mean,
        "variance": variance,
        "decoded": decoded.mean(),
        "decoded_variance": decoded.variance(),
        "log_weight": vae.log_weight(given, noise),
        "distortion": terms.distortion,
        "rate": terms.rate,
        "generated": vae.generate(
            len(rows["x"]), row_seeds=np.arange(len(rows["x"])) + 7, condition=condition
        ),
    }
    return {name: np.asarray(value) for name, value in found.items()}


def served_answers(path, rows):
    """What a published version answers, by signature and output.

    Args:
        path: of the version.
        rows: x and latent, of as many rows each.
    """
    seed = np.arange(len(rows["x"]))
    asked = {
        "serving_default": {"x": rows["x"]},
        "encode": {"x": rows["x"]},
        "score": {"x": rows["x"]},
        "decode": {"latent": rows["latent"]},
        "generate": {"seed": seed},
        "generate_from_prior": {"seed": seed},
        "sample_posterior": {"x": rows["x"], "seed": seed},
        "log_weight": {"x": rows["x"], "seed": seed},
        "log_likelihood": {"x": rows["x"], "seed": seed},
        "interpolate": {"start": rows["x"], "end": rows["x"][::-1], "fraction": seed / len(seed)},
    }
    with Client(path) as client:
        return {
            f"{signature}/{name}": value
            for signature, inputs in asked.items()
            for name, value in client.call(signature, **inputs).items()
        }


def read(folder, name):
    """The rows of a model and what it answered to them: two dicts of arrays."""
    with np.load(folder / f"{name}.npz") as file:
        found = dict(file)
    rows = {key: found.pop(key) for key in ("x", "latent", "condition") if key in found}
    return rows, found
