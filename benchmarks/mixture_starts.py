"""scikit-learn's GaussianMixture from many starts, one at a time: how much a start decides.

python benchmarks/mixture_starts.py [--seeds 0-4] [--starts 20] [--separation 5 0] [--output FILE]

Fits of the true number of full-covariance components to the train split of the mixtures that
`train.py --dataset gmm` draws, each from a single start; measured as evaluate.py measures samples,
the gap exactly. A row is a way to start: least, median and greatest over all starts of all
mixtures, how many starts capture every mode, and what the start of the highest likelihood of the
train rows gives, mixture by mixture, as `n_init` chooses it.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from kvae import data
from kvae.data.gmm import mixture_of
from kvae.metrics.likelihood import gap
from kvae.metrics.modes import mode_metrics

WAYS = ("kmeans", "k-means++", "random_from_data", "random")


def _fit(dataset, way, start):
    """One start: likelihood of train rows, and what is measured."""
    mixture, test = mixture_of(dataset.card), dataset.test.x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = GaussianMixture(
            mixture.num_components, init_params=way, max_iter=1000, random_state=start
        ).fit(np.asarray(dataset.train.x, np.float64))
    points = found.sample(10_000)[0]
    modes = mode_metrics(points, mixture)
    return {
        "likelihood": found.lower_bound_,
        "gap": gap(mixture.log_prob(test), found.score_samples(test))["gap_nats"],
        "modes": modes["modes_captured"],
        "outliers": modes["outlier_fraction"],
    }


def _spread(rows, name, form):
    values = [row[name] for row in rows]
    return ", ".join(form.format(value) for value in np.quantile(values, (0, 0.5, 1)))


def main():
    """Fit, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-4", help="of the mixtures, first-last")
    parser.add_argument("--starts", type=int, default=20, help="of each mixture and way")
    parser.add_argument("--separation", type=float, nargs="+", default=[5.0, 0.0])
    parser.add_argument("--output", help="Markdown file to write")
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split("-"))
    lines = [
        f"scikit-learn {sklearn.__version__}, {arguments.starts} starts of each way on each of the "
        f"mixtures {arguments.seeds}",
        "",
        "| separation | start | gap, nats: least, median, greatest | modes of 10 | outliers "
        "| starts with all modes | gap of the likeliest start: median, worst |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for separation in arguments.separation:
        datasets = [
            data.load("gmm", gmm_seed=seed, gmm_separation=separation)
            for seed in range(first, last + 1)
        ]
        for way in WAYS:
            with threadpool_limits(1):
                found = [
                    [_fit(dataset, way, start) for start in range(arguments.starts)]
                    for dataset in datasets
                ]
            rows = [row for of_one in found for row in of_one]
            best = [max(of_one, key=lambda row: row["likelihood"])["gap"] for of_one in found]
            whole = sum(row["modes"] == 10 for row in rows)
            cells = (
                f"{separation:g}", way, _spread(rows, "gap", "{:.4f}"),
                _spread(rows, "modes", "{:.0f}"), _spread(rows, "outliers", "{:.4f}"),
                f"{whole} of {len(rows)}", f"{np.median(best):.4f}, {max(best):.4f}",
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    if arguments.output:
        Path(arguments.output).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
