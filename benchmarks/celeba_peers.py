"""CelebA at equal epochs or equal time: the student report's setting, pythae's VAE, and kvae.

python benchmarks/celeba_peers.py --data-dir ~/celeba --peer-python peer/bin/python \
    --seeds 0 1 2 --output peers.md

    report      preset report-celeba: the report's net, variance 0.1; samples of the prior
    pythae      its VAE, the same net, its own defaults; its normal and mixture-of-10 samplers
    calibrated  the report's net with kvae's likelihood, schedule and sampler
    kvae        the preset celeba but for the crop, for `--minutes` alone

All train on the CPU, on the train split, choose on valid (all the epoch, kvae its sampler too), and
are held against valid and test together, because there are few images. One feature net, trained on
the train split's attributes, judges all. With `--minutes M` each trains for M minutes instead of
`--epochs`. Seconds and minutes start when imports are done and the data in memory, with the
building of the net; the trials that tell how many epochs fit into the minutes are in both, and the
fit of the sampler is in the seconds. pythae and torch are no dependencies of kvae and live in an
environment of their own:

    python3.11 -m venv peer
    peer/bin/pip install torch pythae==0.1.2 --extra-index-url https://download.pytorch.org/whl/cpu

Without `--peer-python` pythae's rows are left out.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the peer's samplers would not go where its model is

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from kvae import data
from kvae.config import resolve
from kvae.data import Split
from kvae.data.images.pixels import as_unit_interval
from kvae.features import feature_net
from kvae.figures.images import draw_sheet
from kvae.metrics.frechet import frechet_distance, moments
from kvae.metrics.neighbours import manifold_metrics
from kvae.metrics.reconstruction import row_errors
from kvae.training import run

ROOT = Path(__file__).resolve().parents[1]
NUM_SAMPLES = 2000
COLUMNS = (
    "method", "seed", "epochs", "seconds", "PSNR, dB", "reconstructions", "prior", "sampler",
    "precision", "recall", "density", "coverage",
)  # fmt: skip
CALIBRATED = {
    "network": "conv", "latent_dim": 50, "variance": "optimal",
    "learning_rate": 1e-3, "learning_rate_schedule": "cosine", "sampler": "auto",
    "prior": "standard_normal", "flip": False, "ema_momentum": 0.0,
}  # fmt: skip


class Found(NamedTuple):
    """What a method gave.

    Args:
        epochs: trained.
        seconds: of building the net, training and fitting the sampler.
        reconstructions: of valid and test, `(n, height, width, 3)` floats in [0, 1].
        samples: "prior" or "sampler" -> images.
    """

    epochs: int
    seconds: float
    reconstructions: np.ndarray
    samples: dict[str, np.ndarray]


def _kvae(method, dataset, arguments, seed):
    given = {"dataset": "celeba", "data_dir": arguments.data_dir, "crop": arguments.crop}
    preset = "report-celeba" if method == "report" else None
    if method != "kvae":
        given["batch_size"] = arguments.batch_size
    if method == "calibrated":
        given |= CALIBRATED
    start = time.perf_counter()
    if arguments.minutes:
        given["epochs"] = _epochs_in(arguments, given, preset, dataset, seed)
    else:
        given["epochs"] = arguments.epochs
    config = resolve({**given, "seed": seed}, preset)
    with tempfile.TemporaryDirectory() as folder:
        vae = run.fit(config, Path(folder), dataset).vae
    seconds = time.perf_counter() - start
    real = _real(dataset)
    parts = np.array_split(real, -(-len(real) // 250))
    reconstructions = np.clip(np.concatenate([np.asarray(vae(part)) for part in parts]), 0, 1)
    samples = {"prior": _drawn(vae.with_sampler(None), seed)}
    if vae.has_sampler:
        samples["sampler"] = _drawn(vae, seed)
    return Found(config.epochs, seconds, reconstructions, samples)


def _epochs_in(arguments, given, preset, dataset, seed):
    """How many epochs leave a tenth of the time for the sampler; the trials count as time."""

    def trial(epochs):
        start = time.perf_counter()
        config = resolve({**given, "epochs": epochs, "seed": seed, "sampler": "none"}, preset)
        with tempfile.TemporaryDirectory() as folder:
            run.fit(config, Path(folder), dataset)
        return time.perf_counter() - start

    # What is spent once (compiling, most of all) is told from the price of an epoch.
    one, three = trial(1), trial(3)
    price = (three - one) / 2
    return max(1, int((54.0 * arguments.minutes - (one + three) - (one - price)) / price))


def _drawn(vae, seed):
    # Row i of a call draws with its seed plus i: models of neighbouring seeds share no draw.
    first = seed * NUM_SAMPLES
    starts = range(first, first + NUM_SAMPLES, 250)
    images = [np.asarray(vae.generate(250, seed=start)) for start in starts]
    return np.clip(np.concatenate(images), 0, 1)


def _pythae(dataset, arguments, seed, folder):
    inputs, output = Path(folder) / "data.npz", Path(folder) / "found.npz"
    np.savez(inputs, train=dataset.train.x, valid=dataset.valid.x, reconstruct=_real(dataset))
    subprocess.run(
        [
            arguments.peer_python, ROOT / "benchmarks" / "pythae_images.py", inputs, output,
            "--epochs", str(arguments.epochs), "--minutes", str(arguments.minutes),
            "--batch-size", str(arguments.batch_size), "--num-samples", str(NUM_SAMPLES),
            "--seed", str(seed),
        ],
        check=True,
    )  # fmt: skip
    found = np.load(output)
    reconstructions, seconds = found["reconstructions"].astype(np.float32), float(found["seconds"])
    for name in ("normal", "mixture"):
        samples = found[f"{name}/samples"].astype(np.float32)
        key = "prior" if name == "normal" else "sampler"
        yield name, Found(
            int(found["epochs"]), seconds + float(found[f"{name}/seconds"]), reconstructions,
            {key: samples},
        )  # fmt: skip


def _real(dataset):
    return np.concatenate([dataset.valid.x, dataset.test.x])


def _row(method, seed, found, real, real_features, net):
    reference = moments([real_features])

    def distance(images):
        return frechet_distance(moments([net.extract(images)]), reference)

    errors = row_errors(as_unit_interval(real), found.reconstructions, images=True)
    drawn = found.samples.get("sampler", found.samples.get("prior"))
    manifold = manifold_metrics(real_features, net.extract(drawn))
    row = {
        "method": method, "seed": seed, "epochs": found.epochs, "seconds": found.seconds,
        "PSNR, dB": float(errors["psnr_db"].mean()),
        "reconstructions": distance(found.reconstructions),
        **{name: distance(images) for name, images in found.samples.items()}, **manifold,
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


def _floor(dataset, real_features, net):
    """As many train images as there are samples.

    The net has seen them: a perfect sampler's images, which it has not, may come nearer.
    """
    rows = np.random.default_rng(0).permutation(len(dataset.train.x))[:NUM_SAMPLES]
    features = net.extract(dataset.train.x[np.sort(rows)])
    distance = frechet_distance(moments([features]), moments([real_features]))
    manifold = manifold_metrics(real_features, features)
    return {"method": "train images", "sampler": distance, **manifold}


def _sheet(folder, method, found):
    for kind, images in found.samples.items():
        path = folder / f"{method.replace(', ', '-')}-{kind}.png"
        draw_sheet(images[:36], f"{method}: {kind}", path=path)


def _table(rows):
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = [row.get(name, "") for name in COLUMNS]
        shown = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main():
    """Train all, judge all, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--crop", default="center140")
    parser.add_argument("--peer-python")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=0.0, help="instead of --epochs")
    parser.add_argument("--batch-size", type=int, default=128, help="of all but kvae's preset")
    parser.add_argument("--methods", nargs="+", choices=["report", "pythae", "calibrated", "kvae"])
    parser.add_argument("--output", help="Markdown file to write")
    parser.add_argument("--figures", help="folder for sheets of samples")
    arguments = parser.parse_args()
    methods = arguments.methods or (
        ["pythae", "kvae"] if arguments.minutes else ["report", "pythae", "calibrated"]
    )
    if "pythae" in methods and arguments.methods and not arguments.peer_python:
        parser.error("pythae needs --peer-python")
    dataset = data.load("celeba", data_dir=arguments.data_dir, crop=arguments.crop)
    net = feature_net("attributes", dataset)
    real = _real(dataset)
    real_features = net.extract(real)
    rows = [_floor(dataset, real_features, net)]
    # Directions of attributes are no part of what is compared.
    plain = {name: Split(getattr(dataset, name).x) for name in ("train", "valid", "test")}
    dataset = replace(dataset, **plain)
    figures = Path(arguments.figures) if arguments.figures else None
    if figures:
        figures.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        for method, found in _methods(methods, dataset, arguments, seed):
            rows.append(_row(method, seed, found, real, real_features, net))
            if figures and seed == arguments.seeds[0]:
                _sheet(figures, method, found)
            keras.backend.clear_session()
    text = f"{net.description}\n\n{_table(rows)}\n"
    print(f"\n{text}")
    if arguments.output:
        Path(arguments.output).write_text(text)


def _methods(methods, dataset, arguments, seed):
    for method in methods:
        if method == "pythae":
            if arguments.peer_python:
                with tempfile.TemporaryDirectory() as folder:
                    for name, found in _pythae(dataset, arguments, seed, folder):
                        yield f"pythae, {name}", found
            continue
        yield method, _kvae(method, dataset, arguments, seed)


if __name__ == "__main__":
    main()
