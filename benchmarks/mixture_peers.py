"""The mixture against its peers: kvae, mixtures of scikit-learn and VAEs of pythae, one run each.

python benchmarks/mixture_peers.py --peer-python peer/bin/python --output peers.md

Five straight and five curved mixtures (`--gmm-warp 0.75`: a point two standard deviations out is
lifted by 2.25 of them), every method on the same 50,000 training rows, none left out. pythae and
torch are no dependencies of kvae and live in an environment of their own:

    python3.11 -m venv peer
    peer/bin/pip install torch pythae==0.1.2 --extra-index-url https://download.pytorch.org/whl/cpu

Without `--peer-python` pythae's rows are left out, and the output says so.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from kvae import __version__, data
from kvae.config import resolve
from kvae.data.gmm import mixture_of
from kvae.metrics.likelihood import mean_and_stderr
from kvae.metrics.modes import (
    OUTLIER_PROBABILITY,
    RELATIVE_TOLERANCE,
    mode_metrics,
    num_generated_for,
)
from kvae.metrics.two_sample import (
    MAX_COMPARED_ROWS,
    MAX_REFERENCES,
    NUM_COMPARED,
    TwoSample,
    compare,
)

ROOT = Path(__file__).resolve().parents[1]
BIC_COUNTS = (6, 8, 9, 10, 11, 12, 15, 20, 30, 40, 60, 100)
QUICK_BIC_COUNTS = (5, 10, 20)
# The loss of pythae's VAE has unit noise, which hides most of a standardised mixture. The beta of
# its BetaVAE is that noise's variance, up to the scale of the loss.
PYTHAE_BETAS = {"pythae VAE": 1.0, "pythae BetaVAE 1e-4": 1e-4}
COLUMNS = (
    "method", "modes", "outliers", "gap, nats", "sliced W. ratio", "energy ratio", "seconds",
    "remark",
)  # fmt: skip
HOW = f"""\
One run of each method on each mixture. modes: captured within {RELATIVE_TOLERANCE:.0%} of their
weight, of those that there are. outliers: share of samples farther from every component than all
but {OUTLIER_PROBABILITY:.1%} of its own.
gap: mean over the test points of true log p(x) minus the model's, with the error of the paired
differences: exact for mixtures of scikit-learn; kvae's is that of its 500-draw bound; pythae's of
its own 500-draw get_nll on the first 2,000 test rows, with the unit variance of its loss, where it
has a density. Ratios: distance of samples to test points over that of fresh true samples; 1 is
perfect. seconds: wall time; kvae: the command train.py, start-up and export included; pythae: its
imports, training and fit of the sampler; scikit-learn: the fit, with all candidates for BIC.

kvae: train.py and evaluate.py without further options; "prior" is the training prior, "sampler"
the density that generate draws from. scikit-learn: full covariances, k-means starts, tol 1e-3,
max_iter 1000; BIC: one start of each number. pythae: the same hidden layers, without kvae's linear
path, latent dimension 3, mse, batch size, epochs and Adam's falling learning rate those of kvae,
standardised inputs, its best epoch on the valid rows; its samples are means of the decoder. Both
its models with NormalSampler ("prior") and GaussianMixtureSampler of 10, its default, and of 30.

The unit noise of pythae's VAE is too much for these data, so its BetaVAE stands beside it. Its beta
is tuned on test measures of mixtures that are in this table, in pythae's favour: of 0.1, 0.01,
0.001 and 0.0001 on straight mixture 0, and 0.001 and 0.0001 on curved mixture 0, one run each,
0.0001 left the fewest outliers; nothing smaller was tried, and other measures did not all agree.
get_nll knows no beta, so BetaVAE has no density here.
scikit-learn and torch run on one thread, which was faster where other work shared the cores;
kvae's threads are TensorFlow's default."""


class Row(NamedTuple):
    """A method on a mixture.

    Args:
        method: its name.
        modes: captured, of `num_modes`.
        num_modes: how many there are.
        outliers: share of the samples.
        gap: `(mean, stderr)` nats, or None where there is no density.
        sliced: ratio of the sliced Wasserstein distance.
        energy: ratio of the energy distance.
        seconds: wall time; None where nothing was fitted.
        remark: what else must be said.
    """

    method: str
    modes: int
    num_modes: int
    outliers: float
    gap: tuple[float, float] | None
    sliced: float
    energy: float
    seconds: float | None
    remark: str = ""

    def cells(self):
        """The row of the table."""
        return (
            self.method, f"{self.modes} of {self.num_modes}", f"{self.outliers:.4f}",
            "" if self.gap is None else "{:.4f} ± {:.4f}".format(*self.gap),
            f"{self.sliced:.2f}", f"{self.energy:.2f}",
            "" if self.seconds is None else f"{self.seconds:.1f}", self.remark,
        )  # fmt: skip


class Case:
    """A mixture with what its samples are measured by.

    Args:
        seed: `--gmm-seed`.
        warp: `--gmm-warp`.
    """

    def __init__(self, seed, warp):
        self.seed, self.warp = seed, warp
        self.data = data.load("gmm", gmm_seed=seed, gmm_warp=warp)
        self.mixture = mixture_of(self.data.card)
        self.rng = np.random.default_rng(seed)
        test = self.rng.permutation(self.data.test.x)[:MAX_COMPARED_ROWS]
        self._num_compared = NUM_COMPARED * len(test)
        self.count = max(self._num_compared, num_generated_for(self.mixture))
        self._between = TwoSample(test, seed=seed)
        references = (self.mixture.sample(len(test), self.rng)[0] for _ in range(MAX_REFERENCES))
        self._perfect = [self._between.distances(reference) for reference in references]

    def row(self, method, samples, *, gap=None, seconds=None, remark=""):
        """Measure samples, which may come in any order."""
        samples = self.rng.permutation(samples)
        parts = np.split(samples[: self._num_compared], NUM_COMPARED)
        distances = compare([self._between.distances(part) for part in parts], self._perfect)
        modes = mode_metrics(samples, self.mixture)
        return Row(
            method, modes["modes_captured"], modes["num_modes"], modes["outlier_fraction"], gap,
            distances["sliced_wasserstein_ratio"], distances["energy_distance_ratio"],
            seconds, remark,
        )  # fmt: skip

    def gap(self, log_prob):
        """Mean and error of the gap of a density at the first test rows."""
        truth = self.mixture.log_prob(self.data.test.x[: len(log_prob)])
        return mean_and_stderr(truth - log_prob)


def truth_rows(case):
    """What a perfect model would show."""
    yield case.row(
        "fresh true sample", case.mixture.sample(case.count, case.rng)[0], gap=(0.0, 0.0)
    )


def kvae_rows(case, quick):
    """The training prior and the sampler of kvae's defaults."""
    with tempfile.TemporaryDirectory() as save:
        options = ["--gmm-seed", str(case.seed), "--gmm-warp", str(case.warp)]
        options += ["--epochs", "2"] if quick else []
        seconds = _run([sys.executable, ROOT / "train.py", "--save", save, *options])
        _run([sys.executable, ROOT / "evaluate.py", "--model", save])
        (found,) = Path(save).glob("*/evaluation/*/metrics.json")
        metrics = json.loads(found.read_text())
    for density in ("prior", "sampler"):
        if f"modes_captured_{density}" not in metrics:
            continue
        gap = tuple(metrics.get(f"gap_nats_{density}{end}") for end in ("", "_stderr"))
        bug = metrics.get(f"gap_is_a_bug_{density}")
        yield Row(
            f"kvae, {density}", metrics[f"modes_captured_{density}"], metrics["num_modes"],
            metrics[f"outlier_fraction_{density}"], None if None in gap else gap,
            metrics[f"sliced_wasserstein_ratio_{density}"],
            metrics[f"energy_distance_ratio_{density}"], seconds,
            "BUG: the bound lies above the truth" if bug else "",
        )  # fmt: skip


def gaussian_mixture_rows(case, quick):
    """Mixtures of scikit-learn with the true number of components, and with one chosen by BIC."""
    for starts in (1, 10):
        start = time.perf_counter()
        fitted = _fit(case, 10, starts)
        seconds = time.perf_counter() - start
        yield _fitted_row(case, f"scikit-learn, 10, n_init={starts}", fitted, seconds)
    start = time.perf_counter()
    counts = QUICK_BIC_COUNTS if quick else BIC_COUNTS
    fits = [_fit(case, count, 1) for count in counts]
    best = min(fits, key=lambda fit: fit.bic(case.data.train.x))
    seconds = time.perf_counter() - start
    edge = ", the most that was tried" if best.n_components == max(counts) else ""
    remark = f"{best.n_components} components{edge}"
    yield _fitted_row(case, "scikit-learn, BIC", best, seconds, remark)


def _fit(case, count, starts):
    mixture = GaussianMixture(count, n_init=starts, max_iter=1000, random_state=case.seed)
    return mixture.fit(case.data.train.x.astype(np.float64))


def _fitted_row(case, method, fitted, seconds, remark=""):
    if not fitted.converged_:
        remark = ", ".join(filter(None, (remark, "EM did not converge")))
    gap = case.gap(fitted.score_samples(case.data.test.x))
    samples = fitted.sample(case.count)[0]
    return case.row(method, samples, gap=gap, seconds=seconds, remark=remark)


def pythae_rows(case, quick, python):
    """VAEs of pythae, each with the samplers of `pythae_vae.py`."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        splits = {name: getattr(case.data, name).x for name in ("train", "valid", "test")}
        np.savez(given, **splits)
        budget = resolve({})
        options = [
            "--num-samples", str(case.count), "--epochs", "2" if quick else str(budget.epochs),
            "--batch-size", str(budget.batch_size), "--learning-rate", str(budget.learning_rate),
            "--hidden-units", *map(str, budget.hidden_units),
        ]  # fmt: skip
        for name, beta in PYTHAE_BETAS.items():
            script = [python, ROOT / "benchmarks" / "pythae_vae.py", given, found]
            _run([*script, *options, "--beta", str(beta)])
            with np.load(found) as arrays:
                yield from _pythae_rows(case, name, arrays)


def _pythae_rows(case, name, arrays):
    for key in arrays:
        sampler, what = key.split("/")
        if what != "samples":
            continue
        log_prob = f"{sampler}/log_prob"
        gap = case.gap(arrays[log_prob]) if log_prob in arrays else None
        seconds = float(arrays[f"{sampler}/seconds"])
        yield case.row(f"{name}, {sampler}", arrays[key], gap=gap, seconds=seconds)


def _run(command):
    """Run a command without a word, or stop with its last ones; the seconds that it took."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shown = " ".join(map(str, command))
        sys.exit(f"{shown}\nended with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def table(header, rows):
    """Markdown that is aligned in a terminal too."""
    rows = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def summary(cases):
    """Mean and worst of each method over the mixtures of one kind."""
    methods = {row.method: [] for rows in cases for row in rows}
    for row in (row for rows in cases for row in rows):
        methods[row.method].append(row)
    header = ("method", *(f"{name}: mean, worst" for name in COLUMNS[1:-1]))
    return table(header, [_mean_and_worst(method, rows) for method, rows in methods.items()])


def _mean_and_worst(method, rows):
    columns = (
        ("{:.1f}", min, [row.modes for row in rows]),
        ("{:.4f}", max, [row.outliers for row in rows]),
        ("{:.4f}", max, [row.gap and row.gap[0] for row in rows]),
        ("{:.2f}", max, [row.sliced for row in rows]),
        ("{:.2f}", max, [row.energy for row in rows]),
        ("{:.1f}", max, [row.seconds for row in rows]),
    )
    cells = [method]
    for form, worst, values in columns:
        known = None not in values
        shown = (form.format(value) for value in (np.mean(values), worst(values))) if known else ()
        cells.append(", ".join(shown))
    return cells


def peer_versions(python):
    """The versions of torch and pythae in another environment; stops where they are not there."""
    ask = "from importlib.metadata import version as v; import torch, pythae; " \
        "print('torch', v('torch') + ', pythae', v('pythae'))"  # fmt: skip
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} cannot import torch and pythae (see --help):\n{done.stderr[-500:]}")
    return done.stdout.strip()


def conditions(arguments):
    """What must stand above the numbers."""
    names = ("tensorflow", "scikit-learn", "numpy")
    others = (f"{name} {version(name)}" for name in names)
    versions = ", ".join([f"kvae {__version__}", *others])
    if arguments.peer_python:
        peer = peer_versions(arguments.peer_python)
    else:
        peer = "pythae LEFT OUT: no --peer-python was given (see --help)"
    quick = "QUICK: two epochs and few numbers for BIC, no result\n\n" if arguments.quick else ""
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return f"# The mixture against its peers\n\n{quick}{versions}; {peer}; {machine}\n\n{HOW}\n"


def run_case(case, arguments):
    """All rows of a mixture."""
    rows = []
    sources = [truth_rows(case), kvae_rows(case, arguments.quick)]
    sources += [gaussian_mixture_rows(case, arguments.quick)]
    if arguments.peer_python:
        sources += [pythae_rows(case, arguments.quick, arguments.peer_python)]
    for source in sources:
        for row in source:
            print("  " + "  ".join(filter(None, row.cells())), file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def main():
    """Print the tables, and write them after every mixture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--warp", type=float, nargs="+", default=[0.0, 0.75])
    parser.add_argument("--peer-python", metavar="PATH", help="interpreter with torch and pythae")
    parser.add_argument("--output", metavar="FILE", help="markdown file to write the tables to")
    parser.add_argument("--quick", action="store_true", help="two epochs: does it run at all?")
    arguments = parser.parse_args()
    parts = [conditions(arguments)]
    print(parts[0], flush=True)

    def add(text):
        parts.append(text)
        print(text, flush=True)
        if arguments.output:
            Path(arguments.output).write_text("\n".join(parts))

    with threadpool_limits(1):
        for warp in arguments.warp:
            cases = []
            for seed in arguments.seeds:
                cases.append(run_case(Case(seed, warp), arguments))
                cells = [row.cells() for row in cases[-1]]
                add(f"## --gmm-seed {seed} --gmm-warp {warp:g}\n\n{table(COLUMNS, cells)}\n")
            add(f"## All {len(cases)} of --gmm-warp {warp:g}\n\n{summary(cases)}\n")


if __name__ == "__main__":
    main()
