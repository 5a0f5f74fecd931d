"""Half precision against float32 on this machine: what training ends at over seeds, and speed.

python benchmarks/mixed_precision.py quality --mode bfloat16 --seeds 5 -- --dataset digits
python benchmarks/mixed_precision.py quality --seeds 3 -- --dataset celeba --data-dir DIR
python benchmarks/mixed_precision.py speed --shape 64 64 3 --mode bfloat16

`quality` trains each seed in both precisions by train.py with the words after `--`, evaluates them
by evaluate.py, and prints for each the test ELBO in nats, the PSNR of reconstructions in dB and the
Frechet distance of the samples, then the difference of the means in standard deviations of float32
over seeds. Models in --save that are already there are not trained again. `speed` times training
steps of the network in turn, precision by precision, and prints the median ratio.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mnist_ladder import parsed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ROOT = Path(__file__).resolve().parents[1]
MEASURES = ("elbo_nats_prior", "psnr_db_reconstruction", "frechet")


def run(program, *words):
    """One of the two programs; what it says is shown if it fails."""
    done = subprocess.run(
        [sys.executable, str(ROOT / program), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{program} {' '.join(words)}\n{done.stdout}{done.stderr}")


def measures_of(mode, seed, save, options):
    """The measures of one run."""
    name = f"{mode}-{seed}"
    if not (save / name).exists():
        words = ["--mixed-precision", mode, "--seed", str(seed), "--save", str(save)]
        run("train.py", *options, *words, "--name", name)
    written = save / name / "evaluation" / "1" / "metrics.json"
    if not written.exists():
        given = [*options, ""]
        at = given.index("--data-dir") if "--data-dir" in given else None
        run("evaluate.py", "--model", str(save / name), *(given[at : at + 2] if at else []))
    found = json.loads(written.read_text())
    samples = [
        key for by in ("sampler", "prior") for key in found
        if key.startswith("frechet_") and key.endswith(by)
    ]  # fmt: skip
    return [found[key] for key in (*MEASURES[:2], samples[0])]


def quality(arguments):
    """Compare what both end at."""
    found = {"off": [], arguments.mode: []}
    with tempfile.TemporaryDirectory() as folder:
        save = Path(arguments.save or folder)
        print(f"{'':14}" + "".join(f"{name:>26}" for name in MEASURES))
        for seed in range(arguments.seeds):
            for mode, rows in found.items():
                rows.append(measures_of(mode, seed, save, arguments.options))
                shown = "".join(f"{value:26.4f}" for value in rows[-1])
                print(f"{mode:9} {seed:<4}{shown}", flush=True)
    columns = (zip(*rows, strict=True) for rows in found.values())
    for name, full, half in zip(MEASURES, *columns, strict=True):
        spread = statistics.stdev(full)
        difference = statistics.mean(half) - statistics.mean(full)
        print(
            f"{name}: float32 {statistics.mean(full):.4f} (deviation {spread:.4f}), "
            f"{arguments.mode} {statistics.mean(half):.4f} ({statistics.stdev(half):.4f}), "
            f"difference {difference:+.4f}, {difference / spread:+.2f} deviations"
        )


def speed(arguments):
    """Compare the times of training steps."""
    import numpy as np

    import kvae
    from kvae.training.precision import choose_policy

    shape, batch = tuple(arguments.shape), 128
    x = np.random.default_rng(0).integers(0, 256, (batch * 5, *shape), dtype="uint8")
    models = {}
    for mode in ("off", arguments.mode):
        policy, _ = choose_policy(mode, "conv")
        vae = kvae.build_vae(shape, latent_dim=64, network="conv", prior="mixture", dtype=policy)
        vae.compile("adam")
        vae.fit(x, batch_size=batch, verbose=0)
        models[mode] = vae
    ratios = []
    for _ in range(arguments.rounds):
        seconds = {}
        for mode, vae in models.items():
            start = time.perf_counter()
            vae.fit(x, batch_size=batch, verbose=0)
            seconds[mode] = time.perf_counter() - start
        ratios.append(seconds[arguments.mode] / seconds["off"])
        print({mode: f"{value / 5:.3f} s a step" for mode, value in seconds.items()}, flush=True)
    print(f"time of {arguments.mode} over float32: median {statistics.median(ratios):.2f}")


def main():
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["quality", "speed"])
    parser.add_argument("--mode", default="bfloat16", choices=["bfloat16", "float16"])
    parser.add_argument("--seeds", type=int, default=5, help="quality: runs of each precision")
    parser.add_argument("--save", help="quality: keep the models here, and use those there")
    parser.add_argument(
        "--shape", type=int, nargs=3, default=[64, 64, 3], help="speed: of an image"
    )
    parser.add_argument("--rounds", type=int, default=5, help="speed: timings of each")
    arguments = parsed(parser)
    {"quality": quality, "speed": speed}[arguments.part](arguments)


if __name__ == "__main__":
    main()
