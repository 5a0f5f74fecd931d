"""Kill trainings at random moments, take each to its end, and compare with one that nobody killed.

    python benchmarks/kill_and_resume.py --kills 50

Each run is started by one command again and again, and killed by SIGKILL after a random time, until
it has ended by itself: while it loads, trains, writes a checkpoint, fits its sampler or publishes.
What must be equal bit for bit: weights, best weights and optimizer, history but for times, options,
train rows, and the answers of the published version to its probe. Work that was lost is the time
from the last checkpoint, or from where a process that wrote none began to train, to the kill: its
start, some seconds of imports and compiling, is not in it, the fit of its sampler is.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from kvae.serving import versions
from kvae.training.keeping import checkpoints

ROOT = Path(__file__).parents[1]
FACES = ["--faces-count", "1000", "--image-size", "32", "--latent-dim", "8"]
#: Name -> options of a run that trains for a minute or so.
RUNS = {
    "gmm": ["--dataset", "gmm", "--epochs", "40"],
    "digits": ["--dataset", "digits", "--epochs", "100", "--sampler", "mixture"],
    "faces": ["--dataset", "faces", *FACES, "--epochs", "6", "--ema-momentum", "0.99"],
}
LEAST_SECONDS = 0.5  # of a process that is killed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="in all (default: 50)")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=[*RUNS])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for place, name in enumerate(given.runs):
            share = given.kills // len(given.runs) + (place < given.kills % len(given.runs))
            different += trial(Path(folder) / name, name, share, rng)
    sys.exit(1 if different else 0)


def trial(folder, name, kills, rng):
    """Kill runs of one kind so often; how many ended otherwise than the one that nobody killed."""
    began = time.monotonic()
    status = finish(folder / "whole", name)
    seconds = time.monotonic() - began
    assert status == 0, f"{name} does not train"
    wanted = state(folder / "whole", name)
    lost, starts, ended, different = [], 0, 0, 0
    while len(lost) < kills:
        save = folder / "killed"
        shutil.rmtree(save, ignore_errors=True)
        is_done = False
        while not is_done:
            starts += 1
            limit = rng.uniform(LEAST_SECONDS, 1.1 * seconds) if len(lost) < kills else None
            is_done, gone = until(save, name, limit)
            lost += [] if gone is None else [gone]
        ended += 1
        differences = compare(wanted, state(save, name))
        different += bool(differences)
        for each in differences:
            print(f"{name}: {each} differs", flush=True)
    median, worst = statistics.median(lost), max(lost)
    print(
        f"{name:8}{seconds:6.0f} s a run; {len(lost)} kills in {ended} runs of {starts} starts; "
        f"{ended - different} of {ended} equal; seconds lost: median {median:.1f}, worst "
        f"{worst:.1f}",
        flush=True,
    )
    return different


class Process:
    """The one command, and when it began to train."""

    def __init__(self, save, name):
        words = [sys.executable, "train.py", *RUNS[name], "--save", str(save)]
        self.own = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.lines, self.began = [], None
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.own.stdout:
            self.lines.append(line)
            if line.startswith("figures are nats"):
                self.began = time.time()

    def wait(self, limit=None):
        """Wait for its end, or kill it after a time; its exit status, None: it was killed."""
        try:
            status = self.own.wait(limit)
        except subprocess.TimeoutExpired:
            self.own.send_signal(signal.SIGKILL)
            self.own.wait()
            status = None
        self.reader.join()
        self.own.stdout.close()
        return status


def finish(save, name):
    """Let a run end by itself; its exit status."""
    process = Process(save, name)
    status = process.wait()
    if status:
        print("".join(process.lines))
    return status


def until(save, name, limit):
    """Start a run and kill it after a time; whether it was over, and seconds lost (None: no kill).

    A run is over once it is published and marked so: the same command would begin another then.
    """
    process = Process(save, name)
    status = process.wait(limit)
    killed = time.time()
    if status:
        raise SystemExit(f"{name}: status {status}\n{''.join(process.lines)}")
    if status == 0:
        return True, None
    if (save / name / "training" / checkpoints.FINISHED).exists():
        return True, 0.0
    if process.began is None:
        return False, 0.0
    written = [path.stat().st_mtime for path in (save / name / "training").glob("*.npz")]
    return False, killed - max([process.began, *written])


def state(save, name):
    """What a run leaves, by name."""
    found = versions.versions(save / name)
    if len(found) != 1:
        return {"versions": len(found)}
    (version,) = found
    metadata = versions.read_metadata(version)
    last = checkpoints.read(save / name / "training" / checkpoints.FINISHED)
    with (save / name / "training" / "history.csv").open() as file:
        rows = [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(file)
        ]
    found = {
        "history": metadata["history"],
        "history.csv": rows,
        "options": {key: v for key, v in metadata["config"].items() if key != "save"},
        "course": {key: v for key, v in metadata["course"].items() if key != "run"},
        "weights": last.weights,
        "optimizer": last.optimizer,
        "best weights": last.best_weights,
        "train rows": last.train_rows,
        "step": last.step,
    }
    with np.load(version.path / versions.PROBE) as probe:
        return found | {f"probe {key}": probe[key] for key in probe.files}


def compare(wanted, found):
    """The names of what differs."""
    return [
        name
        for name in sorted({*wanted, *found})
        if name not in wanted or name not in found or not _equal(wanted[name], found[name])
    ]


def _equal(one, other):
    if isinstance(one, list) and one and isinstance(one[0], np.ndarray):
        return len(one) == len(other) and all(map(np.array_equal, one, other))
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


if __name__ == "__main__":
    main()
