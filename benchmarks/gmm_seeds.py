"""Train on many random mixtures, measure each model's gap to the truth; a row each, none left out.

python benchmarks/gmm_seeds.py --seeds 0-19 [--jobs 2] [--output rows.json] [-- OPTIONS OF train.py]

Every model is trained by the command train.py, whose whole wall time is shown (start-up included;
with --jobs above 1, of commands that share the machine). It is measured through its SavedModel, as
by evaluate.py, without figures: the importance-weighted bound of 500 draws on all 10,000 test
points and 10,000 generated points (100,000 with many or rare components), for the prior and for the
fitted sampler.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NUM_DRAWS = 500
COLUMNS = {
    "gap_nats_prior": "gap",
    "gap_nats_prior_stderr": "±",
    "gap_nats_sampler": "gap, sampler",
    "modes_captured_prior": "modes",
    "modes_captured_sampler": "modes, s.",
    "outlier_fraction_prior": "outliers",
    "outlier_fraction_sampler": "outl., s.",
    "outlier_fraction_test": "outl., true",
    "largest_relative_weight_error_prior": "weight err.",
    "largest_relative_weight_error_sampler": "w. err., s.",
    "train_seconds": "seconds",
}


def measure(version):
    """The figures of one published version, prior and sampler."""
    import numpy as np

    from kvae import data
    from kvae.data.gmm import mixture_of
    from kvae.evaluation.naming import DENSITIES, of
    from kvae.metrics.likelihood import gap, importance_bounds
    from kvae.metrics.modes import mode_metrics, num_generated_for, outlier_fraction
    from kvae.serving.served import ServedModel
    from kvae.serving.versions import find_version

    served = ServedModel(find_version(version), 2000)
    config = served.metadata["config"]
    options = {name: config[name] for name in data.options_of("gmm")}
    dataset = data.load("gmm", **options)
    mixture, x = mixture_of(dataset.card), dataset.test.x
    suffixes = [
        suffix
        for suffix in ("", "_sampler")
        if f"log_weight{suffix}" in served.metadata["signatures"]["log_weight"]["outputs"]
    ]

    def ask(signature):
        def call(x, seed):
            found = served.call(signature, x=x, seed=seed)
            return np.stack([found[signature + suffix] for suffix in suffixes])

        return call

    bounds = importance_bounds(
        ask("log_weight"), ask("log_likelihood"), x,
        num_draws=[NUM_DRAWS], draws_per_call=served.metadata["num_draws"], seed=0,
    )[NUM_DRAWS]  # fmt: skip
    metrics = {"outlier_fraction_test": outlier_fraction(x, mixture)}
    for density, bound in zip(DENSITIES, bounds, strict=False):
        found = gap(mixture.log_prob(x), bound)
        metrics |= of(density, {name: found[name] for name in ("gap_nats", "gap_nats_stderr")})
    seeds = np.random.default_rng(1).integers(2**63, size=num_generated_for(mixture))
    signatures = {"prior": "generate_from_prior"}
    if served.metadata["sampler"] != "none":
        signatures["sampler"] = "generate"
    for density, signature in signatures.items():
        found = mode_metrics(served.call(signature, seed=seeds)["sample"], mixture)
        metrics |= of(density, found)
    return metrics


def run(options, save):
    """Train by the command line; the measured figures and the seconds of the command."""
    start = time.perf_counter()
    trained = subprocess.run(
        [sys.executable, ROOT / "train.py", "--save", save, *options],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if trained.returncode:
        raise RuntimeError(f"train.py {' '.join(options)}: {trained.stderr}")
    # In a process of its own, so that no run depends on those before it.
    code = f"import gmm_seeds, json; print('@' + json.dumps(gmm_seeds.measure({save!r})))"
    measured = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, check=False, text=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if measured.returncode:
        raise RuntimeError(f"measuring {' '.join(options)}: {measured.stderr}")
    shutil.rmtree(save)
    return {**json.loads(measured.stdout.split("@", 1)[1]), "train_seconds": seconds}


def run_in_turn(jobs, options_of_runs):
    """`run` for each set of options, `jobs` at a time; yields the rows in order."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(
            lambda item: run(item[1], str(Path(folder) / str(item[0]))),
            enumerate(options_of_runs),
        )


def row_of(name, metrics):
    """One line of the table."""
    values = (f"{metrics[key]:.4g}" if key in metrics else "-" for key in COLUMNS)
    return f"{name:24}" + "  ".join(
        f"{value:>{_width(title)}}" for value, title in zip(values, COLUMNS.values(), strict=True)
    )


def _width(title):
    return max(len(title), 8)


HEADER = f"{'':24}" + "  ".join(f"{title:>{_width(title)}}" for title in COLUMNS.values())


def seeds_of(text):
    """`0-3` or `0,5,7`."""
    if "-" in text:
        first, last = text.split("-")
        return list(range(int(first), int(last) + 1))
    return [int(part) for part in text.split(",")]


def summary(rows):
    """Median and worst of what matters."""
    import statistics

    lines = []
    for key in COLUMNS:
        values = [row[key] for row in rows if key in row]
        if not values or key == "gap_nats_prior_stderr":
            continue
        worst = min(values) if "modes" in key else max(values)
        lines.append(f"{COLUMNS[key]:14}median {statistics.median(values):.4g}, worst {worst:.4g}")
    lowest = min(
        row[f"gap_nats_{density}"] / row[f"gap_nats_{density}_stderr"]
        for row in rows
        for density in ("prior", "sampler")
        if f"gap_nats_{density}" in row
    )
    return "\n".join([*lines, f"lowest gap in standard errors: {lowest:.2f}"])


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds_of, default=list(range(5)), help="0-19, or 0,5,7")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--output", help="write the rows to this JSON file")
    parser.add_argument("options", nargs="*", help="options of train.py, after --")
    arguments = parser.parse_args()
    print(HEADER, flush=True)
    rows = []
    settings = [["--gmm-seed", str(seed), *arguments.options] for seed in arguments.seeds]
    for seed, metrics in zip(arguments.seeds, run_in_turn(arguments.jobs, settings), strict=True):
        rows.append({"gmm_seed": seed, **metrics})
        print(row_of(f"--gmm-seed {seed}", metrics), flush=True)
    print(summary(rows))
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
