"""kvae's distances and manifold metrics beside the peers' own code, on the same random features.

python benchmarks/metric_peers.py --peer-python peer/bin/python [--output peers.md]

    Fréchet distance    `calculate_frechet_distance` of pytorch-fid, and the formula with
                        scipy.linalg.sqrtm
    precision, recall,  `compute_prdc` of prdc, k = 5
    density, coverage

Features are normal, float32, of a few shapes: one with fewer rows than features, one in which each
row comes twice, one in which half of the fake are copies of real ones. The peers compute in an
environment of their own, which nothing here installs:

    python3.11 -m venv peer
    peer/bin/pip install torch numpy pillow scipy scikit-learn
    peer/bin/pip install --no-deps pytorch-fid prdc

The exit status is 1 where a relative difference is above the tolerance: 1e-6 for the Fréchet
distance, since the root of a singular product is that inexact in the peers; 1e-12 for the others,
which are counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from kvae.metrics.frechet import frechet_distance, moments
from kvae.metrics.neighbours import NUM_NEIGHBOURS, manifold_metrics

SHARES = ("precision", "recall", "density", "coverage")
PEERS = {"pytorch-fid": "pytorch_fid", "scipy": "scipy"}
FRECHET_TOLERANCE, COUNT_TOLERANCE = 1e-6, 1e-12

# What the peers' interpreter runs: nothing of kvae.
PEER = """
import contextlib, io, json, sys
from importlib.metadata import version
from unittest import mock
import numpy as np
from prdc import compute_prdc

# Of pytorch-fid the formula alone is wanted: not its net, which needs torchvision.
for name in ("torchvision", "torchvision.transforms", "pytorch_fid.inception"):
    sys.modules[name] = mock.MagicMock()
from pytorch_fid.fid_score import calculate_frechet_distance
from scipy.linalg import sqrtm

found = {}
for path in sys.argv[2:]:
    data = np.load(path)
    real, fake = data["real"], data["fake"]
    means = [x.astype(np.float64).mean(0) for x in (real, fake)]
    covariances = [np.cov(x.astype(np.float64), rowvar=False) for x in (real, fake)]
    with contextlib.redirect_stdout(io.StringIO()):
        one = compute_prdc(real, fake, nearest_k=int(sys.argv[1]))
        one["pytorch_fid"] = calculate_frechet_distance(
            means[0], covariances[0], means[1], covariances[1]
        )
    root = sqrtm(covariances[0] @ covariances[1]).real
    one["scipy"] = np.square(means[0] - means[1]).sum() + np.trace(sum(covariances) - 2 * root)
    found[path] = {name: float(value) for name, value in one.items()}
names = ("pytorch-fid", "prdc", "scipy", "scikit-learn", "numpy")
print(json.dumps({"found": found, "versions": {name: version(name) for name in names}}))
"""


def features():
    """Name of a shape -> real and fake, `(rows, features)` float32."""

    def drawn(rows, dim, seed, shift=0.0, scale=1.0):
        rng = np.random.default_rng(seed)
        # One mixing for both, so that neither covariance is a multiple of the unit matrix.
        mixing = np.random.default_rng(dim).standard_normal((dim, dim)) / np.sqrt(dim)
        return (scale * rng.standard_normal((rows, dim)) @ mixing + shift).astype(np.float32)

    found = {
        f"{rows} x {dim}": (drawn(rows, dim, 0), drawn(rows, dim, 1, 0.05, 0.9))
        for rows, dim in ((2000, 64), (1000, 256))
    }
    found["200 x 256, singular"] = (drawn(200, 256, 0), drawn(200, 256, 1, 0.05, 0.9))
    real, fake = drawn(500, 64, 0), drawn(500, 64, 1, 0.05, 0.9)
    found["1000 x 64, rows twice"] = tuple(np.concatenate([x, x]) for x in (real, fake))
    found["500 x 64, half copies"] = real, np.concatenate([real[:250], fake[:250]])
    return found


def own(real, fake):
    """kvae's numbers."""
    distance = frechet_distance(moments([real]), moments([fake]))
    return {"frechet": distance, **manifold_metrics(real, fake, k=NUM_NEIGHBOURS)}


def difference(own, peer):
    """Relative to the peer's."""
    return abs(own - peer) / max(abs(peer), np.finfo(float).tiny)


def compare(kvae, peer):
    """Lines of the table of one shape, and whether all is within the tolerance."""
    pairs = [("Fréchet distance", name, "frechet", key) for name, key in PEERS.items()]
    pairs += [(name, "prdc", name, name) for name in SHARES]
    lines, fine = [], True
    for title, name, own_key, peer_key in pairs:
        apart = difference(kvae[own_key], peer[peer_key])
        fine &= apart <= (FRECHET_TOLERANCE if own_key == "frechet" else COUNT_TOLERANCE)
        lines.append((title, name, kvae[own_key], peer[peer_key], apart))
    return lines, fine


def main():
    """Draw features, let both compute, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--output", help="Markdown file to write")
    arguments = parser.parse_args()
    drawn = features()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f"{i}.npz") for i, name in enumerate(drawn)}
        for name, (real, fake) in drawn.items():
            np.savez(paths[name], real=real, fake=fake)
        done = subprocess.run(
            [arguments.peer_python, "-c", PEER, str(NUM_NEIGHBOURS), *paths.values()],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    answer = json.loads(done.stdout.splitlines()[-1])
    table = ["| features | metric | peer | kvae | peer's | relative difference |", "|" + "---|" * 6]
    all_fine, largest = True, {}
    for name, (real, fake) in drawn.items():
        lines, fine = compare(own(real, fake), answer["found"][paths[name]])
        all_fine &= fine
        for title, peer, ours, theirs, apart in lines:
            largest[title, peer] = max(largest.get((title, peer), 0.0), apart)
            table.append(f"| {name} | {title} | {peer} | {ours:.6g} | {theirs:.6g} | {apart:.1e} |")
    table += ["", "| metric | peer | largest relative difference |", "|---|---|---|"]
    table += [f"| {title} | {peer} | {apart:.1e} |" for (title, peer), apart in largest.items()]
    versions = ", ".join(f"{name} {number}" for name, number in answer["versions"].items())
    text = "\n".join([f"Peers: {versions}.", "", *table]) + "\n"
    print(text)
    if arguments.output:
        Path(arguments.output).write_text(text)
    if not all_fine:
        sys.exit("kvae and its peers differ by more than the tolerance")


if __name__ == "__main__":
    main()
