"""Every likelihood x network x kind of data, and every preset, through train, publish and evaluate.

Small sizes and one epoch: whether each goes through the doors that users take, not how well. A row
is right if both commands end without an error and every number of metrics.json is finite or null.
TFDS presets need their data: `--tfds NAME`.

    python benchmarks/every_part.py [--celeba DIR] [--tfds NAME] [--only WORD]
"""

import argparse
import contextlib
import io
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from kvae.config import PRESETS
from kvae.data import DATASETS
from kvae.evaluation import program as evaluate
from kvae.likelihoods import LIKELIHOODS
from kvae.networks import NETWORKS
from kvae.training import program as train

OF_DATA = {
    "gmm": [],
    "digits": [],
    "faces": ["--faces-count", "400", "--image-size", "32"],
    "folder": ["--data-dir", "FOLDER", "--image-size", "16"],
    "celeba": ["--data-dir", "CELEBA", "--image-size", "16"],
    "arrays": ["--data-dir", "TABLE"],
    "mnist": ["--data-dir", "MNIST"],
    "fashion-mnist": ["--data-dir", "MNIST"],
}
SPLITS = ("train", "test")
NEEDS_CACHE = ("faces", "folder", "celeba", "tfds")


def _rows():
    """Name -> arguments of train.py."""
    found = {}
    for likelihood in LIKELIHOODS:
        for network in NETWORKS:
            if network == "mlp" and likelihood != "discretized-logistic":
                table = "BINARY" if likelihood == "bernoulli" else "TABLE"
                given = ["--dataset", "arrays", "--data-dir", table, "--network", network]
                given += ["--likelihood", likelihood]
                given += [] if likelihood == "gaussian" else ["--no-standardize"]
                found[f"vectors {network} {likelihood}"] = given
            given = ["--dataset", "digits", "--network", network, "--likelihood", likelihood]
            given += ["--binarize"] if likelihood == "bernoulli" else []
            found[f"images {network} {likelihood}"] = given
    for preset, values in PRESETS.items():
        dataset = values["dataset"]
        given = ["--preset", preset, *OF_DATA.get(dataset, ["--image-size", "16"])]
        if dataset.startswith("tfds"):
            given += ["--dataset", "TFDS", "--preset", preset]
        found[f"preset {preset}"] = given
    return found


def _files(folder):
    """Small data of every kind: a table, one of 0 and 1, photos, 28x28 images of ten classes."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(600, 4)) @ rng.normal(size=(4, 4))
    np.savetxt(folder / "table.csv", table, delimiter=",", header="a,b,c,d", comments="")
    np.save(folder / "binary.npy", (rng.random((600, 8)) < 0.5).astype("float32"))
    images = {split: rng.integers(0, 256, (600, 28, 28), dtype=np.uint8) for split in SPLITS}
    labels = {split: rng.integers(0, 10, 600, dtype=np.uint8) for split in SPLITS}
    np.savez(
        folder / "mnist.npz",
        **{f"x_{split}": x for split, x in images.items()},
        **{f"y_{split}": y for split, y in labels.items()},
    )
    (folder / "photos").mkdir()
    for number in range(400):
        levels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(levels).resize((20, 20)).save(folder / "photos" / f"{number}.png")


def _numbers(value):
    if isinstance(value, dict):
        for own in value.values():
            yield from _numbers(own)
    elif isinstance(value, list):
        for own in value:
            yield from _numbers(own)
    elif isinstance(value, float):
        yield value


def _see(given, folder, places):
    """Train and evaluate; what went wrong, or the ELBO."""
    given = [places.get(word, word) for word in given]
    saved = folder / "saved"
    options = ["--epochs", "1"]
    options += ["--cache-dir", str(folder / "cache")] if _caches(given) else []
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train.main([*given, *options, "--save", str(saved), "--name", "row"])
            words = ["--model", str(saved / "row"), "--output", str(saved / "figures")]
            words += [] if _is_of_vectors(given) else ["--num-samples", "200"]
            evaluate.main([*words, "--num-draws", "16"])
    except Exception as error:  # every row is told
        return False, f"{type(error).__name__}: {error}"
    metrics = json.loads((saved / "figures" / "metrics.json").read_text())
    wrong = [value for value in _numbers(metrics) if not math.isfinite(value)]
    count = len([*(saved / "figures").glob("*.png")])
    return not wrong, f"elbo {metrics['elbo_nats_prior']:.4g} nats, {count} figures"


def _is_of_vectors(given):
    return any(word.endswith(("arrays", "gmm")) for word in given)


def _caches(given):
    words = " ".join(given)
    return any(name in words for name in NEEDS_CACHE)


def main():
    """Run all rows and print them as they end."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--celeba", metavar="DIR", help="a copy of CelebA, for its two presets")
    parser.add_argument("--tfds", metavar="NAME", help="a prepared dataset, such as tfds:mnist")
    parser.add_argument("--only", default="", metavar="WORD", help="rows whose name has it")
    arguments = parser.parse_args()
    right, all_rows = 0, 0
    print("| row | right | what |\n|---|---|---|")
    for name, given in _rows().items():
        if arguments.only not in name:
            continue
        if ("celeba" in name and not arguments.celeba) or ("tfds" in name and not arguments.tfds):
            print(f"| {name} | not run | its data were not given |", flush=True)
            continue
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            _files(folder)
            places = {
                "TABLE": str(folder / "table.csv"), "BINARY": str(folder / "binary.npy"),
                "FOLDER": str(folder / "photos"), "CELEBA": str(arguments.celeba),
                "TFDS": str(arguments.tfds), "MNIST": str(folder / "mnist.npz"),
            }  # fmt: skip
            start = time.perf_counter()
            ok, what = _see(given, folder, places)
        right, all_rows = right + ok, all_rows + 1
        print(
            f"| {name} | {'yes' if ok else 'NO'} | {what}, {time.perf_counter() - start:.0f} s |",
            flush=True,
        )
    print(f"\n{right} of {all_rows} rows right; {len(DATASETS)} datasets, {len(PRESETS)} presets")
    raise SystemExit(right != all_rows)


if __name__ == "__main__":
    main()
