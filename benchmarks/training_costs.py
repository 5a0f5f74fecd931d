"""What checkpoints cost of a training, and its peak of memory beside the estimate of --dry-run.

    python benchmarks/training_costs.py [--epochs N] [--batches 16 64 256] [--sizes 32 64]

Each row is a process of its own, on drawn faces. Checkpoints: seconds of copying and writing in
all, as a share of the seconds of training, the longest one, and the size of a file. Memory: the
most that the process had at a time, to the end of training and with publication.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEASURED = """
import sys, time
from kvae import memory
from kvae.training import program
from kvae.training.keeping import saving
spent, sizes = [], []
write = saving.Saving._write
def timed(self, values, **place):
    began = time.monotonic()
    write(self, values, **place)
    spent.append(time.monotonic() - began)
    sizes.extend(path.stat().st_size for path in self._folder.glob("checkpoint-*.npz"))
    timed.seconds, timed.peak = self.seconds, memory.peak()
saving.Saving._write = timed
values = saving.values_of
def copied(vae):
    began = time.monotonic()
    found = values(vae)
    spent.append(time.monotonic() - began)
    return found
saving.values_of = copied
program.main(sys.argv[1:])
print("MEASURED", len(sizes), sum(spent), timed.seconds, max(spent), max(sizes),
      timed.peak, memory.peak())
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--faces", type=int, default=2560, help="drawn faces to train on")
    given = parser.parse_args()
    print("size batch  dry-run GB  peak GB  ratio  published GB  checkpoints  share  longest s  MB")
    with tempfile.TemporaryDirectory() as folder:
        for size in given.sizes:
            for batch in given.batches:
                row(folder, size, batch, given)


def row(folder, size, batch, given):
    words = ["--dataset", "faces", "--faces-count", str(given.faces), "--image-size", str(size)]
    words += ["--batch-size", str(batch), "--epochs", str(given.epochs), "--sampler", "none"]
    words += ["--save", str(Path(folder) / f"{size}-{batch}")]
    dry = output([sys.executable, "train.py", *words, "--dry-run"])
    estimate = float(re.search(r"takes about ([\d.]+) GB of memory", dry)[1])
    line = output([sys.executable, "-c", MEASURED, *words]).splitlines()[-1]
    count, spent, seconds, longest, largest, peak, most = map(float, line.split()[1:])
    print(
        f"{size:4}{batch:6}{estimate:12.1f}{peak / 1e9:9.1f}{peak / 1e9 / estimate:7.2f}"
        f"{most / 1e9:14.1f}{count:13.0f}{spent / seconds:7.2%}{longest:11.2f}{largest / 1e6:9.1f}",
        flush=True,
    )


def output(words):
    """What a command prints; its standard error where it fails."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
