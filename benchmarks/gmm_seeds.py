"""Train and evaluate on several random mixtures; print a row for each, none left out.

python benchmarks/gmm_seeds.py --seeds 0 1 2 3 4 [-- OPTIONS OF train.py]

Wall time is of the whole command train.py, start-up included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = (
    "gap_nats", "gap_nats_stderr", "modes_captured", "num_modes", "outlier_fraction",
    "true_outlier_fraction", "weights_kl_nats", "largest_relative_weight_error",
)  # fmt: skip


def run(seed, options, save):
    """One mixture: its metrics and the seconds of train.py."""
    program = [sys.executable, ROOT / "train.py", "--save", save, "--gmm-seed", str(seed)]
    start = time.perf_counter()
    subprocess.run([*program, *options], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    subprocess.run(
        [sys.executable, ROOT / "evaluate.py", "--model", save], check=True, capture_output=True
    )
    newest = max(Path(save).glob("*/evaluation/*/metrics.json"), key=lambda p: p.stat().st_mtime)
    return json.loads(newest.read_text()), seconds


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("options", nargs="*", help="options of train.py, after --")
    arguments = parser.parse_args()
    print("seed  " + "  ".join(COLUMNS) + "  train_seconds", flush=True)
    with tempfile.TemporaryDirectory() as save:
        for seed in arguments.seeds:
            metrics, seconds = run(seed, arguments.options, save)
            values = [f"{metrics[name]:.4g}" for name in COLUMNS]
            print(f"{seed}  {'  '.join(values)}  {seconds:.1f}", flush=True)


if __name__ == "__main__":
    main()
