"""Processor time of a training step in two checkouts of kvae, in turn, and of a program's start.

    python benchmarks/step_cost.py --other ../kvae-before --rounds 5

The other checkout is another commit of this repository (`git worktree add ../kvae-before COMMIT`),
run by the same Python. Each round measures both, one after the other: a step of the preset gmm (a
block of 200 compiled by XLA) and one of the student report's network on images (64x64, batches of
64), `import kvae` and `train.py --help`. Processor time, of all threads, is what a busy machine
changes least; the ratio of each round is taken before the median.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEP = """
import json, sys, time
import keras, numpy as np, tensorflow as tf
import kvae
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
if sys.argv[1] == "gmm":
    x = rng.normal(size=(1, 200, 256, 3)).astype("float32")
    vae = kvae.build_vae((3,), latent_dim=3, hidden_units=(64,) * 4, prior="mixture",
                         posterior="full", variance="full", prior_components=30)
    calls, steps, options = 20, 200, {"jit_compile": True}
else:
    x = rng.integers(0, 256, (8, 64, 64, 64, 3), dtype="uint8")
    vae = kvae.build_vae((64, 64, 3), latent_dim=50, variance=0.1)
    calls, steps, options = 2, 8, {"jit_compile": False}
vae.compile(keras.optimizers.Adam(1e-3), **options)
data = tf.data.Dataset.from_tensor_slices(x)
vae.fit(data, verbose=0)
clock, wall = time.process_time(), time.perf_counter()
vae.fit(data, epochs=calls, verbose=0)
total = calls * steps
print(json.dumps([(time.process_time() - clock) / total, (time.perf_counter() - wall) / total]))
"""


def _step(checkout, name):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STEP, name], cwd=checkout, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _start(checkout, *words):
    before = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=checkout, capture_output=True, check=True)
    return [time.perf_counter() - before] * 2


MEASURED = {
    "step of gmm, ms": lambda checkout: _step(checkout, "gmm"),
    "step of conv, ms": lambda checkout: _step(checkout, "conv"),
    "import kvae, ms": lambda checkout: _start(checkout, "-c", "import kvae"),
    "train.py --help, ms": lambda checkout: _start(checkout, "train.py", "--help"),
}


def main():
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", required=True, type=Path, help="the checkout to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print("| | here | other | ratio, median (least to most) | ratio of wall time |")
    print("|---|---|---|---|---|")
    for name, measure in MEASURED.items():
        rounds = [(measure(ROOT), measure(arguments.other)) for _ in range(arguments.rounds)]
        here, other = (1000 * statistics.median(one[k][0] for one in rounds) for k in (0, 1))
        ratios = sorted(a[0] / b[0] for a, b in rounds)
        walls = statistics.median(a[1] / b[1] for a, b in rounds)
        print(
            f"| {name} | {here:.3f} | {other:.3f} | {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f}) | {walls:.3f} |", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
