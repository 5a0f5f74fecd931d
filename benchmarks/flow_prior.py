"""A flow's couplings, mixing, normalisation, width and blocks: what each is worth as a density.

python benchmarks/flow_prior.py [--steps 500] [--seeds 1] [--epochs 40] [--only TEXT,TEXT]
    [--no-density] [--no-joint] [--dataset NAME --given NAME=VALUE ...] [--json FILE]

First a VAE with a standard normal prior is trained, and flows are fitted to draws from its
posteriors as `--sampler flow` fits them: mean log density of draws from the test split, nats, of
the weights that were best on the valid split. A row changes one thing of the first. Mixings that
kvae does not have are made here: "none" swaps halves alone, "orders alone" never, rotations, a
matrix learned as Glow's.
"no ends": couplings go on far from the data as their networks do.

Then the same VAE is trained with each prior: test ELBO and the bound of 64 draws, nats.

digits are grey, with one variance, unless --black-and-white makes them so, with a Bernoulli
likelihood.
Processor seconds are of the process, tracing and compiling included.
"""

import argparse
import json
import time
from pathlib import Path
from unittest import mock

import numpy as np

import kvae
from kvae import data
from kvae.data import Dataset, Split
from kvae.saying import silence

NUM_DRAWS = 64
#: Priors of the joint part: options of train.py.
PRIORS = {
    "standard_normal": {},
    "mixture": {},
    "flow of kvae 0.1": {"prior": "flow", "flow_layers": 8, "flow_units": 64, "flow_blocks": 0},
    "flow": {},
}


def _variants():
    """Name -> the flow that is fitted, a function of what `Flow` takes."""
    import keras
    from scipy.linalg import lu

    from kvae.priors.flow import Flow

    class Swapped(Flow):
        def _turn(self, dim, rng, layer):
            return super()._turn(dim, rng, 1)

    class Reordered(Flow):
        def _turn(self, dim, rng, layer):
            return super()._turn(dim, rng, 0)

    class Rotated(Flow):
        def _turn(self, dim, rng, layer):
            return np.linalg.qr(rng.normal(size=(dim, dim)))[0]

    class Learned(Flow):
        """Of Glow: P L (U + diag(s)), P fixed, from the same start."""

        def build(self, latent_shape):
            super().build(latent_shape)
            order, lower, upper = (
                np.stack(part) for part in zip(*map(lu, self._turns), strict=True)
            )
            diagonal = np.einsum("lii->li", upper)
            self._order, self._sign = order.astype("float32"), np.sign(diagonal).astype("float32")
            below = np.tril(np.ones_like(order[0], "float32"), -1)
            self._below, self._eye = below, np.eye(len(below), dtype="float32")
            self._parts = []
            for start in (lower * below, upper * below.T, np.log(np.abs(diagonal))):
                weight = self.add_weight(shape=start.shape, initializer="zeros")
                weight.assign(start)
                self._parts.append(weight)

        def _stacked(self):
            ops = keras.ops
            shift, log_scale, _, *rest = super()._stacked()
            lower, upper, size = (part.value for part in self._parts)
            diagonal = ops.expand_dims(ops.exp(size) * self._sign, -1) * self._eye
            upper = upper * self._below.T + diagonal
            turn = ops.matmul(self._order, ops.matmul(lower * self._below + self._eye, upper))
            return [shift, log_scale, turn, *rest]

        def inverse(self, z):
            u, log_det = super().inverse(z)
            return u, log_det + keras.ops.sum(self._parts[-1].value)

    class Unnormalised(Flow):
        def _stacked(self):
            shift, log_scale, *rest = super()._stacked()
            return [0.0 * shift, 0.0 * log_scale, *rest]

    class LearnedRotated(Learned, Rotated):
        pass

    class UnnormalisedRotated(Unnormalised, Rotated):
        pass

    class Far(Flow):
        def _shift_and_log_scale(self, kept, weights):
            shift, log_scale = super()._shift_and_log_scale(keras.ops.sinh(kept), weights)
            far = self._distance(keras.ops.sinh(kept))
            return far * shift, far * log_scale

    def old(**given):
        return Flow(8, hidden_units=64, num_blocks=0, **given)

    def of(kind=Flow, **changes):
        return lambda **given: kind(**changes, **given)

    return {
        "default": of(),
        "flow of kvae 0.1": old,
        "couplings 8": of(num_layers=8),
        "couplings 32": of(num_layers=32),
        "mixing none": of(Swapped),
        "mixing orders alone": of(Reordered),
        "mixing rotations": of(Rotated),
        "mixing learned": of(Learned),
        "mixing learned from rotations": of(LearnedRotated),
        "normalisation off": of(Unnormalised),
        "rotations, normalisation off": of(UnnormalisedRotated),
        "no ends": of(Far),
        "units 128": of(hidden_units=128),
        "units 256": of(hidden_units=256),
        "blocks 2": of(num_blocks=2),
        "couplings 8, units 128": of(num_layers=8, hidden_units=128),
    }  # fmt: skip


def _dataset(name, given, is_black):
    if not is_black:
        return name, given or {"variance": "optimal"}
    found = data.load(name)
    splits = (getattr(found, split).x for split in ("train", "valid", "test"))
    black = [Split(np.where(np.asarray(x) > 127, np.uint8(255), np.uint8(0))) for x in splits]
    return Dataset("images", *black), {"likelihood": "bernoulli", "preset": "digits"}


def _trained(source, given, **options):
    return kvae.train(source, verbose=0, **{**given, **options})


def _held_out(name, draws, make, steps, seed):
    """Fit one flow as the sampler is."""
    from kvae.priors.base import mean_log_prob
    from kvae.samplers import flow

    train, valid, test = draws
    start = time.process_time()
    with mock.patch.multiple(flow, Flow=make, _STEPS=steps):
        fitted = flow.fit(train, valid, prior=None, seed=seed)
    return {
        "flow": name, "seed": seed, "log_density_nats": mean_log_prob(fitted, test),
        "weights": fitted.count_params(), "processor_s": time.process_time() - start,
    }  # fmt: skip


def _densities(args, source, given):
    from sklearn.mixture import GaussianMixture

    from kvae.probability.streams import generator
    from kvae.training.sampler_fitting import posterior_draws

    vae = _trained(source, given, prior="standard_normal", epochs=args.epochs)
    splits = source if isinstance(source, Dataset) else data.load(source)
    draws = [
        posterior_draws(vae, getattr(splits, split).x, generator(place, "train posterior draws"))
        for place, split in enumerate(("train", "valid", "test"))
    ]
    train, _, test = draws
    print(f"{len(train):,} draws of {train.shape[1]} latents", flush=True)
    normal = GaussianMixture(1).fit(train).score(test)
    print(f"{'normal, full covariance':26} {normal:10.3f}", flush=True)
    found = [{"flow": "normal, full covariance", "log_density_nats": normal}]
    for name, make in _variants().items():
        if args.only and not any(part in name for part in args.only.split(",")):
            continue
        for seed in range(args.seeds):
            with silence():
                row = _held_out(name, draws, make, args.steps, seed)
            found.append(row)
            print(
                f"{name:26} {row['log_density_nats']:10.3f} {row['weights']:9,} weights "
                f"{row['processor_s']:6.1f} s", flush=True,
            )  # fmt: skip
    return found


def _joint(args, source, given):
    splits = source if isinstance(source, Dataset) else data.load(source)
    found = []
    for name, options in PRIORS.items():
        for seed in range(args.seeds):
            start = time.process_time()
            options = {"prior": name, **options}
            vae = _trained(source, given, epochs=args.epochs, seed=seed, **options)
            seconds = time.process_time() - start
            x = np.asarray(splits.test.x)
            vae.compile()
            elbo = vae.evaluate(x, batch_size=500, verbose=0, return_dict=True)["elbo"]
            bound = float(np.mean(vae.log_likelihood(x, num_draws=NUM_DRAWS)))
            found.append({
                "prior": name, "seed": seed, "elbo_nats": elbo, "bound_nats": bound,
                "processor_s": seconds,
            })  # fmt: skip
            print(
                f"{name:26} ELBO {elbo:9.3f}   of {NUM_DRAWS} draws {bound:9.3f} {seconds:6.1f} s",
                flush=True,
            )
    return found


def main():
    """Fit, train, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="digits", help="as of train.py")
    parser.add_argument("--given", nargs="*", default=[], help="options of train.py")
    parser.add_argument("--black-and-white", action="store_true", help="images, above a half")
    parser.add_argument("--steps", type=int, default=500, help="of each fit, of 500 draws")
    parser.add_argument("--seeds", type=int, default=1, help="of starts and orders")
    parser.add_argument("--epochs", type=int, default=40, help="of each VAE")
    parser.add_argument("--only", default="", help="flows whose names hold one of these")
    parser.add_argument("--no-density", action="store_true", help="leave out the first part")
    parser.add_argument("--no-joint", action="store_true", help="leave out the second part")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args()
    given = dict(part.split("=", 1) for part in args.given)
    source, given = _dataset(args.dataset, given, args.black_and_white)
    found = {"arguments": {name: str(value) for name, value in vars(args).items()}}
    if not args.no_density:
        found["densities"] = _densities(args, source, given)
    if not args.no_joint:
        found["joint"] = _joint(args, source, given)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
