"""What each part of the recipe for mixtures contributes: one part changed at a time.

python benchmarks/gmm_ablations.py [--jobs 2] [--seeds 0] [--output rows.json]

Every row is trained and measured as in gmm_seeds.py, on a separated mixture (the default) and on an
overlapping one (--gmm-separation 0), for each seed. The table is printed as Markdown.
"""

import argparse
import json
import math
from pathlib import Path

from gmm_seeds import run_in_turn, seeds_of

ABLATIONS = {
    "the recipe": [],
    "no linear path": ["--no-linear-path"],
    "diagonal posterior": ["--posterior", "diagonal"],
    "variance heteroscedastic": ["--variance", "heteroscedastic"],
    "variance shared": ["--variance", "shared"],
    "not standardised": ["--no-standardize"],
    "constant learning rate": ["--learning-rate-schedule", "constant"],
    "iwae of 4 draws": ["--objective", "iwae", "--iwae-draws", "4"],
    "prior vamp": ["--prior", "vamp"],
    "prior flow": ["--prior", "flow"],
    "prior standard_normal": ["--prior", "standard_normal"],
    "sampler flow": ["--sampler", "flow"],
    "sampler second-stage": ["--sampler", "second-stage"],
    "prior standard_normal, sampler flow": ["--prior", "standard_normal", "--sampler", "flow"],
}  # fmt: skip
DATA = {"separated": [], "overlapping": ["--gmm-separation", "0"]}


def cell(rows, key, form):
    """The mean over the seeds; a dash where no run has a sampler."""
    values = [row[key] for row in rows if key in row]
    if not values and not key.endswith("_sampler"):
        raise KeyError(f"no run has {key}")
    return format(sum(values) / len(values), form) if values else "-"


def stderr_cell(rows, key, form):
    """The standard error of the mean over the seeds, whose own errors are independent."""
    errors = [row[key] for row in rows]
    return format(math.hypot(*errors) / len(errors), form)


def line(name, rows):
    """A row of the Markdown table, for one kind of data."""
    gap = cell(rows, "gap_nats_prior", ".4f")
    gap = f"{gap} ± {stderr_cell(rows, 'gap_nats_prior_stderr', '.4f')}"
    cells = [
        gap, cell(rows, "gap_nats_sampler", ".4f"),
        cell(rows, "modes_captured_prior", ".3g"), cell(rows, "modes_captured_sampler", ".3g"),
        cell(rows, "outlier_fraction_prior", ".4f"), cell(rows, "outlier_fraction_sampler", ".4f"),
        cell(rows, "train_seconds", ".0f"),
    ]  # fmt: skip
    return f"| {name} | {' | '.join(cells)} |"


def main():
    """Print a table for each kind of data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds_of, default=[0], help="0-2, or 0,5,7")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--only", nargs="+", choices=ABLATIONS, default=list(ABLATIONS))
    parser.add_argument("--output", help="write the rows to this JSON file")
    arguments = parser.parse_args()
    found = {}
    for kind, data_options in DATA.items():
        print(f"\n{kind}, mean of seeds {arguments.seeds}\n")
        print("| change | gap, nats | sampler | modes | sampler | outliers | sampler | seconds |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        settings = [
            ["--gmm-seed", str(seed), *data_options, *ABLATIONS[name]]
            for name in arguments.only
            for seed in arguments.seeds
        ]
        rows = run_in_turn(arguments.jobs, settings)
        for name in arguments.only:
            own = [next(rows) for _ in arguments.seeds]
            found[f"{kind}: {name}"] = own
            print(line(name, own), flush=True)
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
