"""Half precision against float32 on this machine: validation ELBO over seeds, and speed.

python benchmarks/mixed_precision.py quality --dataset digits --mode bfloat16 --seeds 5
python benchmarks/mixed_precision.py speed --shape 64 64 3 --mode bfloat16

`quality` trains each seed in both precisions and prints the best validation ELBO of each, nats, and
the difference of the means in seed-to-seed standard deviations of float32. `speed` times training
steps of the network in turn, precision by precision, and prints the median ratio.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def best_elbo(dataset, mode, seed, options):
    """The best validation ELBO of one run, nats."""
    from kvae.config import resolve
    from kvae.serving import versions
    from kvae.training import run

    with tempfile.TemporaryDirectory() as save, contextlib.redirect_stdout(io.StringIO()):
        given = {**options, "dataset": dataset, "mixed_precision": mode, "seed": seed, "save": save}
        version = run.train(resolve(given))
        return max(versions.read_metadata(version)["history"]["val_elbo"])


def quality(arguments):
    """Compare validation ELBOs."""
    options = {"epochs": arguments.epochs} if arguments.epochs else {}
    found = {"off": [], arguments.mode: []}
    for seed in range(arguments.seeds):
        for mode, elbos in found.items():
            elbos.append(best_elbo(arguments.dataset, mode, seed, options))
            print(f"seed {seed}  {mode:9} {elbos[-1]:.4f}", flush=True)
    full, half = found.values()
    spread = statistics.stdev(full)
    difference = statistics.mean(half) - statistics.mean(full)
    print(f"float32 mean {statistics.mean(full):.4f}, standard deviation {spread:.4f}")
    print(f"{arguments.mode} mean {statistics.mean(half):.4f}, {statistics.stdev(half):.4f}")
    print(f"difference {difference:+.4f} nats, {difference / spread:+.2f} standard deviations")


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
    parser.add_argument("--dataset", default="digits", help="quality: gmm or digits")
    parser.add_argument("--seeds", type=int, default=5, help="quality: runs of each precision")
    parser.add_argument("--epochs", type=int, help="quality: instead of the preset's")
    parser.add_argument(
        "--shape", type=int, nargs=3, default=[64, 64, 3], help="speed: of an image"
    )
    parser.add_argument("--rounds", type=int, default=5, help="speed: timings of each")
    arguments = parser.parse_args()
    {"quality": quality, "speed": speed}[arguments.part](arguments)


if __name__ == "__main__":
    main()
