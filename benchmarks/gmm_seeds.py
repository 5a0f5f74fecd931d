"""Train on many random mixtures, measure each model's gap to the truth; a row each, none left out.

python benchmarks/gmm_seeds.py --seeds 0-19 [--jobs 2] [--in-process] [--recheck 0.004]
    [--output rows.json] [-- OPTIONS OF train.py]

Every model is trained by the command train.py, whose whole wall time is shown (start-up included;
with --jobs above 1, of commands that share the machine). It is measured through its SavedModel, as
by evaluate.py, without figures: the importance-weighted bound of 500 draws on all 10,000 test
points and 10,000 generated points (100,000 with many or rare components), for the prior and for the
fitted sampler.

With --in-process each job is one process with one thread that trains and measures one mixture after
another: the same training and sampler, the same signatures, but nothing is imported anew, written,
published or judged. The seconds are those of training alone.
With --recheck, 128 draws are enough at first: the bound is looser then, and the gap not smaller.
What has a gap above that, of the prior or the sampler, is measured once more, with 500 draws on
50,000 points of the same mixture that nothing was trained, chosen or measured on, and 100,000
generated ones; the row shows that.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NUM_DRAWS, FEW_DRAWS = 500, 128
MANY_POINTS, MANY_GENERATED = 50_000, 100_000  # of what is measured once more
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


def measure(call, dataset, has_sampler, points=None, num_draws=NUM_DRAWS):
    """The figures of one model, prior and sampler.

    Args:
        call: name of a signature, its inputs as arrays -> arrays by output name.
        dataset: what the model was trained on.
        has_sampler: whether there is one.
        points: `(n, D)` to measure on, beside 100,000 generated; None: the test split.
        num_draws: of the bound.
    """
    import numpy as np

    from kvae.data.gmm import mixture_of
    from kvae.evaluation.naming import DENSITIES, of
    from kvae.metrics.likelihood import gap, importance_bounds
    from kvae.metrics.modes import mode_metrics, num_generated_for, outlier_fraction
    from kvae.scores import NUM_DRAWS as DRAWS_PER_CALL

    mixture = mixture_of(dataset.card)
    x = dataset.test.x if points is None else points
    suffixes = [""]

    def ask(signature):
        def answer(x, seed):
            found = call(signature, x=x, seed=seed)
            suffixes[1:] = ["_sampler"] if f"{signature}_sampler" in found else []
            return np.stack([found[signature + suffix] for suffix in suffixes])

        return answer

    bounds = importance_bounds(
        ask("log_weight"), ask("log_likelihood"), x,
        num_draws=[num_draws], draws_per_call=DRAWS_PER_CALL, seed=0,
    )[num_draws]  # fmt: skip
    metrics = {"outlier_fraction_test": outlier_fraction(x, mixture)}
    for density, bound in zip(DENSITIES, bounds, strict=False):
        found = gap(mixture.log_prob(x), bound)
        metrics |= of(density, {name: found[name] for name in ("gap_nats", "gap_nats_stderr")})
    count = num_generated_for(mixture) if points is None else MANY_GENERATED
    seeds = np.random.default_rng(1).integers(2**63, size=count)
    signatures = {"prior": "generate_from_prior"}
    if has_sampler:
        signatures["sampler"] = "generate"
    for density, signature in signatures.items():
        found = mode_metrics(call(signature, seed=seeds)["sample"], mixture)
        metrics |= of(density, found)
    return metrics


def measure_twice(call, dataset, has_sampler, recheck):
    """As `measure`; where a gap is above `recheck` on many fresh points, as the row then says."""
    if recheck is None:
        return measure(call, dataset, has_sampler)
    metrics = measure(call, dataset, has_sampler, num_draws=FEW_DRAWS)
    gaps = [metrics[f"gap_nats_{of}"] for of in ("prior", "sampler") if f"gap_nats_{of}" in metrics]
    if max(gaps) <= recheck:
        return metrics
    import numpy as np

    from kvae.data.gmm import mixture_of

    mixture, seed = mixture_of(dataset.card), dataset.card["seed"]
    points, _ = mixture.sample(MANY_POINTS, np.random.default_rng([seed, MANY_POINTS]))
    again = measure(call, dataset, has_sampler, points.astype(np.float32))
    first = {name: metrics[name] for name in ("gap_nats_prior", "outlier_fraction_prior")}
    return {**again, "num_points": MANY_POINTS, "before_recheck": first}


def measure_version(path, recheck=None):
    """The figures of a published version."""
    from kvae import data
    from kvae.serving.served import ServedModel
    from kvae.serving.versions import find_version

    served = ServedModel(find_version(path), 2000)
    config = served.metadata["config"]
    dataset = data.load("gmm", **{name: config[name] for name in data.options_of("gmm")})
    return measure_twice(served.call, dataset, served.metadata["sampler"] != "none", recheck)


def measure_model(vae, dataset, recheck=None):
    """The figures of a model that nobody published: its signatures as graphs."""
    import tensorflow as tf

    from kvae.data.rows import joined, slices
    from kvae.serving.signatures import endpoints

    graphs = {
        name: tf.function(one.function, input_signature=one.inputs, autograph=False)
        for name, one in endpoints(vae).items()
    }

    def call(signature, **inputs):
        count = len(inputs["seed"])
        return joined(
            [
                {
                    name: value.numpy()
                    for name, value in graphs[signature](
                        *(tf.constant(part[rows]) for part in inputs.values())
                    ).items()
                }
                for rows in slices(count, 2000)
            ]
        )

    return measure_twice(call, dataset, vae.has_sampler, recheck)


def run(options, save, recheck=None):
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
    code = (
        "import gmm_seeds, json; "
        f"print('@' + json.dumps(gmm_seeds.measure_version({save!r}, {recheck!r})))"
    )
    measured = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, check=False, text=True,
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if measured.returncode:
        raise RuntimeError(f"measuring {' '.join(options)}: {measured.stderr}")
    shutil.rmtree(save)
    return {**json.loads(measured.stdout.split("@", 1)[1]), "train_seconds": seconds}


def _one_thread():
    """Of a worker: its process computes with one thread, and knows where kvae is."""
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    os.environ.update({**dict.fromkeys(threads, "1"), "TF_CPP_MIN_LOG_LEVEL": "2"})
    sys.path.insert(0, str(ROOT))


def run_in_process(options, recheck=None):
    """As `run`, in this process and without publishing; the seconds are those of training."""
    from kvae import backend, workflow
    from kvae.saying import silence
    from kvae.training.preflight import load
    from kvae.training.program import arguments

    config, _, _ = arguments(options)
    dataset = load(config)
    backend.quiet_keras()
    from kvae.training.forgetting import forgotten

    with silence(), forgotten():
        start = time.perf_counter()
        vae = workflow.run(config, dataset, publishes=False)
        seconds = time.perf_counter() - start
        return {**measure_model(vae, dataset, recheck), "train_seconds": seconds}


def run_in_turn(jobs, options_of_runs, *, in_process=False, recheck=None):
    """`run` or `run_in_process` for each set of options, `jobs` at a time; yields rows in order."""
    if in_process:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, _one_thread) as pool:
            yield from pool.map(run_in_process, options_of_runs, itertools.repeat(recheck))
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(
            lambda item: run(item[1], str(Path(folder) / str(item[0])), recheck),
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
    parser.add_argument("--in-process", action="store_true", help="many runs in one process")
    parser.add_argument("--recheck", type=float, help="gap above which to measure once more")
    parser.add_argument("--output", help="write the rows to this JSON file")
    parser.add_argument("options", nargs="*", help="options of train.py, after --")
    arguments = parser.parse_args()
    print(HEADER, flush=True)
    rows = []
    settings = [["--gmm-seed", str(seed), *arguments.options] for seed in arguments.seeds]
    found = run_in_turn(
        arguments.jobs, settings, in_process=arguments.in_process, recheck=arguments.recheck
    )
    for seed, metrics in zip(arguments.seeds, found, strict=True):
        rows.append({"gmm_seed": seed, **metrics})
        print(row_of(f"--gmm-seed {seed}", metrics), flush=True)
    print(summary(rows))
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
