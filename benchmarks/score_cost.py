"""Could a score be cheaper? Its 16 antithetic draws beside other sets of draws.

    python benchmarks/score_cost.py [--data gmm digits faces] [--draws 4 6 8 12 16] [--sets 20]
        [--rows 300] [--reference 1000] [--json FILE]

A model of each kind of data is trained with its preset (faces: 32x32, few epochs). The score of
test rows is the ELBO over a few draws that are the same for all rows; the truth beside it is that
of --reference independent draws. Sets of draws:

  antithetic  as `kvae.scores` takes them: pairs of minus and plus of independent normal draws
  orthogonal  pairs whose directions are orthogonal, all of the length sqrt(dimensions): exact for
              what is quadratic in z once there are as many pairs as dimensions
  corners     minus and plus of rows of a Hadamard matrix, every number -1 or 1: exact for sums of
              squares of single dimensions, and for products of two whose columns differ
  sobol       minus and plus of scrambled Sobol points

Of each the mean over --sets sets: Spearman's rank correlation with the truth, the root mean square
error in nats, that without the shift which all rows share, and the area under the ROC curve between
test rows and outliers (rows whose numbers were shuffled among features). `now` is the very set of
`vae.score`. Then seconds of processor time of a score of all rows.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

OPTIONS = {
    "gmm": {}, "digits": {},
    "faces": {"image_size": 32, "faces_count": 2000, "epochs": 5, "cache": False},
}  # fmt: skip
DESIGNS = ("antithetic", "orthogonal", "corners", "sobol")


def normals(design, count, dim, rng):
    """`(count, dim)`: some draws of standard normal noise, each beside its opposite."""
    from scipy.linalg import hadamard

    pairs = count // 2
    if design == "antithetic":
        half = rng.standard_normal((pairs, dim))
    elif design == "sobol":
        from scipy.stats import qmc

        power = max(1, math.ceil(math.log2(pairs)))
        engine = qmc.MultivariateNormalQMC(np.zeros(dim), rng=rng)
        half = engine.random(2**power)[:pairs]
    elif design == "corners":
        order = 2 ** math.ceil(math.log2(pairs))
        columns = np.concatenate([rng.permutation(order) for _ in range(-(-dim // order))])[:dim]
        half = hadamard(order)[:pairs, columns] * rng.choice([-1.0, 1.0], dim)
    else:
        bases = []
        while sum(map(len, bases)) < pairs:
            q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
            bases.append((q * np.sign(np.diag(r))).T)
        half = math.sqrt(dim) * np.concatenate(bases)[:pairs]
    return np.stack([half, -half], axis=1).reshape(-1, dim).astype("float32")


class Fixed:
    """Noise that is there already, the same for all rows."""

    def __init__(self, draws, rows):
        self._draws, self._rows = draws, rows

    def normal(self, purpose, size):
        """`(rows * count, size)`."""
        del purpose
        if size != self._draws.shape[1]:
            raise ValueError(f"draws of {self._draws.shape[1]} numbers, {size} wanted")
        return np.tile(self._draws, (self._rows, 1))


def scores(vae, x, draws, rows_at_once=50):
    """The ELBO of each row over these draws, `(rows,)` nats."""
    import keras

    from kvae.inputs import as_float, repeat_rows

    found = []
    for start in range(0, len(x), rows_at_once):
        part = as_float(x[start : start + rows_at_once])
        posterior, totals = vae.posterior(part), 0.0
        for first in range(0, len(draws), 64):
            some = draws[first : first + 64]
            terms = vae.elbo_terms(
                repeat_rows(part, len(some)), Fixed(some, len(part)),
                posterior=posterior.repeat(len(some)),
            )  # fmt: skip
            values = keras.ops.convert_to_numpy(terms.elbo).reshape(len(part), -1)
            totals = totals + values.sum(1, dtype="float64")
        found.append(totals / len(draws))
    return np.concatenate(found)


def figures(found, truth, count):
    """Of the first `count` rows rank correlation and errors; of all the area under the curve."""
    from scipy.stats import rankdata, spearmanr

    error = found[:count] - truth[:count]
    ranks = rankdata(found)
    others = len(found) - count
    area = (ranks[:count].sum() - count * (count + 1) / 2) / (count * others)
    return {
        "spearman": float(spearmanr(found[:count], truth[:count])[0]),
        "spearman_all": float(spearmanr(found, truth)[0]),
        "rmse": float(np.sqrt((error**2).mean())), "rmse_centred": float(error.std()),
        "auc": float(area),
    }  # fmt: skip


def measure(name, given):
    """Train, and compare."""
    import kvae
    from kvae import data
    from kvae.config import resolve
    from kvae.scores import Antithetic

    options = {**OPTIONS[name], **({"epochs": given.epochs} if given.epochs else {})}
    vae = kvae.train(name, sampler="none", verbose=0, **options)
    config = resolve({"dataset": name, **options})
    test = data.load(name, **config.own("dataset")).test.x
    rng = np.random.default_rng(0)
    x = test[np.sort(rng.permutation(len(test))[: given.rows])]
    flat = x.reshape(len(x), -1)
    outliers = rng.permuted(flat, axis=0 if name == "gmm" else 1).reshape(x.shape)
    both, dim = np.concatenate([x, outliers]), vae.latent_dim
    truth = scores(vae, both, normals("antithetic", given.reference, dim, rng))
    now = np.asarray(Antithetic(np.arange(16, dtype="int32"), 1).normal("posterior", dim))
    rows = [{"design": "now", "draws": 16, **figures(scores(vae, both, now), truth, len(x))}]
    for design in DESIGNS:
        for draws in given.draws:
            began = time.process_time()
            sets = [
                figures(scores(vae, both, normals(design, draws, dim, rng)), truth, len(x))
                for _ in range(given.sets)
            ]
            seconds = (time.process_time() - began) / given.sets
            mean = {key: float(np.mean([one[key] for one in sets])) for key in sets[0]}
            rows.append({"design": design, "draws": draws, **mean, "processor_s": seconds})
    print(f"{name}: {dim} latent dimensions, {len(x)} test rows, {len(outliers)} outliers")
    print("design      draws  spearman  with outliers   rmse  centred     auc  processor s")
    for row in rows:
        print(
            f"{row['design']:11}{row['draws']:6}{row['spearman']:10.5f}{row['spearman_all']:15.5f}"
            f"{row['rmse']:7.3f}{row['rmse_centred']:9.3f}{row['auc']:8.4f}"
            f"{row.get('processor_s', math.nan):13.2f}",
            flush=True,
        )
    return rows


def main():
    """Measure each kind of data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=OPTIONS, default=[*OPTIONS])
    parser.add_argument("--draws", type=int, nargs="+", default=[2, 4, 8, 12, 16])
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--reference", type=int, default=1000)
    parser.add_argument("--epochs", type=int, help="in place of the preset's")
    parser.add_argument("--json")
    given = parser.parse_args()
    found = {name: measure(name, given) for name in given.data}
    if given.json:
        Path(given.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
