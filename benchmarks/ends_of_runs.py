"""SIGTERM at random moments of a training, and disks that fill and empty again.

    python benchmarks/ends_of_runs.py --signals 10
    sudo python benchmarks/ends_of_runs.py --signals 0 --disks     # mounts small file systems

Signals: the seconds from SIGTERM to the end of the process, while it trains, and whether the
command that it printed goes on. Disks: a run into a tmpfs that has no room, room for its history,
or for a checkpoint but no version; it must end with one line and lose nothing: what it rescued is
put back, and once there is room the same command must publish. And a disk that empties while the
run goes on.
"""

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kvae.serving import versions
from kvae.training.keeping import checkpoints

ROOT = Path(__file__).parents[1]
RUNS = {
    "gmm": ["--dataset", "gmm", "--epochs", "2000"],
    "digits": ["--dataset", "digits", "--epochs", "2000"],
    "faces": ["--dataset", "faces", "--faces-count", "5000", "--image-size", "64"],
}
SHORT = ["--dataset", "digits", "--epochs", "30", "--sampler", "none"]
MEGABYTE = 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=10, help="of each run (default: 10)")
    parser.add_argument("--disks", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in RUNS if given.signals else ():
            signals(Path(folder) / name, name, given.signals)
        if given.disks:
            disks(Path(folder) / "disk")


def started(words, **options):
    """Start train.py."""
    return subprocess.Popen(
        [sys.executable, "train.py", *words], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **options,
    )  # fmt: skip


def signals(save, name, count):
    """SIGTERM so often; each run goes on from the one before."""
    rng, seconds, words, steps = random.Random(0), [], [*RUNS[name], "--save", str(save)], [0]
    for _ in range(count):
        with started(words) as process:
            while "figures are nats" not in (line := process.stdout.readline()):
                assert line, process.stderr.read()
            time.sleep(rng.uniform(8, 20))
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            errors = process.communicate()[1]
            seconds.append(time.monotonic() - began)
        assert process.returncode == 143, errors
        (command,) = re.findall(r"go on: +python train\.py (.*)", errors)
        words = shlex.split(command)
        newest = checkpoints.newest(checkpoints.unfinished(save / name / "training"))[0]
        assert newest is not None
        assert newest.step > steps[-1]
        steps.append(newest.step)
    print(
        f"{name:8}{count} signals: median {statistics.median(seconds):.1f} s to the end, longest "
        f"{max(seconds):.1f} s; each run went on, to step {steps[-1]:,}",
        flush=True,
    )


def disks(folder):
    """Runs into file systems of three sizes, and one that empties meanwhile."""
    folder.mkdir()
    for size in ("16k", "600k", "12m"):
        mount(folder, size)
        try:
            with started([*SHORT, "--save", str(folder)], start_new_session=True) as process:
                errors = process.communicate()[1]
            left = sorted(path.name for path in folder.rglob("*.npz"))
            told = [line for line in errors.splitlines() if line.startswith(("error", "saved"))]
            assert process.returncode
            assert not versions.versions(folder / "digits")
            mount(folder, "200m", "remount")
            for path in re.findall(r"saved: (\S*kvae-rescued\S*): ", errors):
                shutil.move(path, folder / "digits" / "training")
            with started([*SHORT, "--save", str(folder)]) as process:
                said, errors = process.communicate()
            assert process.returncode == 0, errors
            went_on = "goes on" in said
            whole = versions.versions(folder / "digits")[0]
            rows = (folder / "digits" / "training" / "history.csv").read_text().splitlines()
            print(
                f"{size:5} there: {', '.join(left) or 'nothing'}; said: {' | '.join(told)}\n"
                f"      with room {'it goes on' if went_on else 'it starts'}: {whole.path.name} "
                f"published, history of {len(rows) - 1} epochs",
                flush=True,
            )
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    mount(folder, "100m")
    try:
        filler = folder / "filler"
        with started([*SHORT, "--save", str(folder), "--epochs", "300"]) as process:
            while not (folder / "digits" / "training" / "history.csv").exists():
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(MEGABYTE // 64))
                except OSError:
                    pass
            time.sleep(25)
            filler.unlink(missing_ok=True)
            errors = process.communicate()[1]
        notes = [line for line in errors.splitlines() if line.startswith("note")]
        rows = (folder / "digits" / "training" / "history.csv").read_text().splitlines()
        print(
            f"a disk that is full for 25 s: status {process.returncode}, history of "
            f"{len(rows) - 1} epochs, said: {' | '.join(notes)}"
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mount(folder, size, *flags):
    """A tmpfs of a size."""
    options = ",".join([*flags, f"size={size}"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


if __name__ == "__main__":
    main()
