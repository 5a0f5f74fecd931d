"""Plants faults, one at a time, and asks the audit: which line finds each, or why none does.

    python benchmarks/audit_faults.py [--only WORD ...]

Three small models are trained and published: V of vectors of a mixture, I of drawn faces in colour,
B of digits of two levels. A fault of kvae is patched in while a model is published once more, and
is gone when that version is audited; a fault of a version is written into a copy of its files, one
of an evaluation into metrics.json or rows.npz, one of the data into a split. What cannot be found,
or not at that size, is planted too. Prints a table.
"""

import argparse
import contextlib
import copy
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import h5py
import keras
import numpy as np

import kvae
from kvae.audit import run, served
from kvae.audit.independent import priors as independent_priors
from kvae.audit.of_metrics import of_metrics
from kvae.audit.opened import opened
from kvae.audit.verdicts import DIFFERS
from kvae.data import Split, gmm, seen
from kvae.directions import Directions
from kvae.evaluation import evaluate
from kvae.likelihoods.gaussian import Gaussian
from kvae.model import VAE
from kvae.priors import mixture
from kvae.priors.mixture import Mixture
from kvae.probability import noise
from kvae.probability.distributions import Affine, DiagonalNormal, FullNormal
from kvae.probability.distributions.discrete import Bernoulli
from kvae.publish import publish
from kvae.scores import Antithetic
from kvae.serving import signatures
from kvae.serving.versions import KERAS_MODEL, METADATA, PROBE, TRAIN_ROWS, Version, find_version
from kvae.terms import ElboTerms, WeightTerms

ops = keras.ops
ROWS, SHOWN = 64, 2
QUICK = {"epochs": 4, "jit_compile": False, "verbose": 0}
BASES = {
    "V": {
        "dataset": "gmm", "gmm_components": 6, "gmm_dim": 3, "hidden_units": "16,16",
        "posterior": "full", "prior": "mixture", "prior_components": 6, "sampler": "mixture",
        "variance": "shared", "batch_size": 256,
    },
    "I": {
        "dataset": "faces", "faces_count": 120, "image_size": 32, "network": "conv",
        "latent_dim": 4, "prior": "standard_normal", "sampler": "none", "variance": "per-channel",
    },
    "B": {
        "dataset": "digits", "binarize": "threshold", "network": "mlp", "hidden_units": "32",
        "likelihood": "bernoulli", "latent_dim": 4, "prior": "standard_normal", "sampler": "none",
    },
}  # fmt: skip
EVALUATED = {"V": {}, "B": {"features": "pca"}}
DRAWN = ("sample_posterior", "generate", "log_weight")


class Base(NamedTuple):
    """A published version, its model and data."""

    version: Version
    vae: VAE
    dataset: object


class Fault(NamedTuple):
    """What is planted.

    Args:
        what: a few words for the table.
        where: "kvae", "version", "evaluation", "data", or "both implementations".
        base: which model.
        plant: of kvae: a context manager; of the others: (base, copied version) -> dataset or None.
        names: signatures that are published, of kvae's.
        why: of a fault that is not found.
    """

    what: str
    where: str
    base: str
    plant: object
    names: tuple = ()
    why: str = ""


def with_result(owner, name, change):
    """A patch of a method whose result is changed: `change(result)`."""
    plain = getattr(owner, name)
    return mock.patch.object(owner, name, lambda self, *a, **k: change(plain(self, *a, **k)))


def with_self(owner, name, change):
    """The same, `change(self, result)`."""
    plain = getattr(owner, name)
    return mock.patch.object(owner, name, lambda self, *a, **k: change(self, plain(self, *a, **k)))


def with_argument(owner, name, change):
    """A patch of a method whose first argument is changed."""
    plain = getattr(owner, name)
    return mock.patch.object(owner, name, lambda self, x, *a, **k: plain(self, change(x), *a, **k))


def closed_form(self, *given, densities=None, **options):
    """Weights of the closed-form rate."""
    terms = VAE.elbo_terms(self, *given, **options)
    return [WeightTerms(*terms) for _ in densities or (self.prior,)]


def spherical(self, start, end, fraction):
    """Interpolation along a great circle."""
    first, last = self.posterior(start).mean(), self.posterior(end).mean()
    share = ops.reshape(ops.cast(fraction, "float32"), (-1, 1))
    sizes = ops.norm(first, axis=1, keepdims=True) * ops.norm(last, axis=1, keepdims=True)
    angle = ops.arccos(0.999 * ops.sum(first * last, axis=1, keepdims=True) / sizes)
    latent = (ops.sin((1 - share) * angle) * first + ops.sin(share * angle) * last) / ops.sin(angle)
    return self.decode(latent).mean(), latent


def swapped_halves(self, purpose, size):
    """Box and Muller's sines before their cosines."""
    found = PLAIN_NORMAL(self, purpose, 2 * -(-size // 2))
    half = ops.shape(found)[1] // 2
    return ops.concatenate([found[:, half:], found[:, :half]], axis=1)[:, :size]


def without_sign(self, purpose, size):
    """Antithetic draws of which both are the first."""
    pairs = noise.SeededNoise(ops.zeros_like(self._draws), self._draws // 2)
    return ops.tile(pairs.normal(purpose, size), (self._batch_size, 1))


def unrotated(self, noise):
    """Draws of a mixture through L^-1 where it is L^-T."""
    component = mixture.draw_component(self.logits, noise)
    root = ops.inv(self._precision_cholesky())
    step = ops.einsum("bij,bj->bi", ops.take(root, component, axis=0),
                      noise.normal("latent", self._latent_dim))  # fmt: skip
    return ops.take(self.means, component, axis=0) + step


def first_weights(logits, noise):
    """Components by the weights in the wrong order."""
    return PLAIN_COMPONENT(logits[::-1], noise)


def of_a_prior(vae, density, seed, condition):
    """`generate` from the prior, whatever was fitted."""
    return PLAIN_GENERATE(vae, vae.prior, seed, condition)


PLAIN_NORMAL = noise._Noise.normal
PLAIN_COMPONENT, PLAIN_GENERATE = mixture.draw_component, signatures._generate
PLAIN_SEED, PLAIN_CALL = noise._key_of, keras.layers.Conv2D.call
PLAIN_IMAGES, PLAIN_EDIT = signatures.images_of, signatures._edit
PLAIN_INTERPOLATE, PLAIN_POSTERIOR = VAE.interpolate, VAE.posterior
OFF = np.float32(np.log(1.01))

#: Faults of kvae while it publishes.
OF_KVAE = [
    ("a sign in posterior draws", "V", lambda: mock.patch.object(
        FullNormal, "_from_white", lambda self, white: self._mean - self._stddev * white
        - ops.einsum("bij,bj->bi", self._below, self._stddev * white)), DRAWN),
    ("a dropped constant: log of the scale of x", "V", lambda: with_self(
        Affine, "log_prob", lambda self, value: value + ops.sum(ops.log(
            ops.convert_to_tensor(self._scale)) * np.ones(3, np.float32))), ("log_weight",)),
    ("a dropped log 2 pi of one dimension of p(z)", "V", lambda: with_result(
        Mixture, "log_prob", lambda value: value + np.float32(0.9189385)), ("log_weight",)),
    ("streams swapped: latent and component", "V", lambda: mock.patch.object(
        noise, "PURPOSES", ("latent", "component", *noise.PURPOSES[2:])), DRAWN),
    ("seeds without their upper half", "V", lambda: mock.patch.object(
        noise, "_key_of", lambda seed: (PLAIN_SEED(seed)[0], 0 * PLAIN_SEED(seed)[1])), DRAWN),
    ("one seed for all rows", "V", lambda: mock.patch.object(
        noise, "_key_of", lambda seed: tuple(0 * word + word[:1] for word in PLAIN_SEED(seed))),
     DRAWN),
    ("Box and Muller's sines first", "V", lambda: mock.patch.object(
        noise._Noise, "normal", swapped_halves), DRAWN),
    ("density of the sampler off by 1%", "V", lambda: with_self(
        Mixture, "log_prob", lambda self, value: value + (OFF if self.name == "sampler" else 0)),
     ("log_weight",)),
    ("density of prior and sampler off by 1%", "V", lambda: with_result(
        Mixture, "log_prob", lambda value: value + OFF), ("log_weight",)),
    ("the closed-form rate in a weight", "I", lambda: mock.patch.object(
        VAE, "weight_terms", closed_form), ("log_weight",)),
    ("variance of the decoder off by 2%", "V", lambda: with_result(
        Gaussian, "current_variance", lambda value: 1.02 * value), ("decode", "log_weight")),
    ("variance of the decoder clipped to 1e-3", "V", lambda: with_result(
        Gaussian, "current_variance", lambda value: ops.minimum(value, 1e-3 + 0 * value)),
     ("decode",)),
    ("variances of the channels in another order", "I", lambda: with_result(
        Gaussian, "current_variance", lambda value: value[::-1]), ("decode", "log_weight")),
    ("the posterior's least variance 1e-2 for 1e-8", "I", lambda: mock.patch.object(
        DiagonalNormal, "min_variance", 1e-2), ("encode",)),
    ("posterior variance off by 1%", "I", lambda: with_result(
        DiagonalNormal, "variance", lambda value: 1.01 * value), ("encode",)),
    ("weights of the components in another order", "V", lambda: mock.patch.object(
        mixture, "draw_component", first_weights), ("generate_from_prior",)),
    ("components' covariances not transposed", "V", lambda: mock.patch.object(
        Mixture, "sample", unrotated), ("generate_from_prior",)),
    ("generate from the prior, not the sampler", "V", lambda: mock.patch.object(
        signatures, "_generate", of_a_prior), ("generate",)),
    ("generate at a temperature of 0.9", "V", lambda: mock.patch.object(
        noise._Noise, "normal", lambda self, purpose, size: (
            0.9 if purpose == "latent" else 1.0) * PLAIN_NORMAL(self, purpose, size)),
     ("generate",)),
    ("a spherical interpolation", "V", lambda: mock.patch.object(
        VAE, "interpolate", spherical), ("interpolate",)),
    ("fractions of interpolation from the other end", "V", lambda: mock.patch.object(
        VAE, "interpolate", lambda self, start, end, fraction: PLAIN_INTERPOLATE(
            self, end, start, fraction)), ("interpolate",)),
    ("edits 5% too strong", "I", lambda: mock.patch.object(
        signatures, "_edit", lambda vae, x, directions: PLAIN_EDIT(
            vae, x, directions._replace(vectors=1.05 * directions.vectors))), ("edit",)),
    ("rows that see their batch's mean, 1% of it", "V", lambda: mock.patch.object(
        VAE, "posterior", lambda self, x, *a, **k: PLAIN_POSTERIOR(
            self, x + 0.01 * ops.mean(x, axis=0), *a, **k)), ("encode",)),
    ("antithetic draws without their sign", "V", lambda: mock.patch.object(
        Antithetic, "normal", without_sign), ("score",)),
    ("beta 0.5 in the score's ELBO", "V", lambda: with_result(
        VAE, "elbo_terms", lambda terms: ElboTerms(terms.distortion, 0.5 * terms.rate)),
     ("score",)),
    ("free bits counted in the score's ELBO", "I", lambda: with_result(
        VAE, "elbo_terms", lambda terms: ElboTerms(
            terms.distortion, ops.maximum(terms.rate, 30.0))), ("score",)),
    ("a bound of 64 draws divided by 63", "B", lambda: with_result(
        signatures._Draws, "log_likelihood", lambda found: {
            key: value + np.float32(np.log(64 / 63)) for key, value in found.items()}),
     ("log_likelihood",)),
    ("convolutions moved by one pixel", "I", lambda: mock.patch.object(
        keras.layers.Conv2D, "call", lambda self, x: PLAIN_CALL(self, ops.roll(x, 1, axis=1))),
     ("encode",)),
    ("colours of files in another order", "I", lambda: mock.patch.object(
        signatures, "images_of", lambda *a, **k: PLAIN_IMAGES(*a, **k)[..., ::-1]),
     ("encode_bytes",)),
    ("levels of files over 256", "I", lambda: mock.patch.object(
        signatures, "images_of", lambda *a, **k: PLAIN_IMAGES(*a, **k) * (255 / 256)),
     ("encode_bytes",)),
    ("x moved by another shift before the encoder", "V", lambda: with_argument(
        VAE, "_posterior_of_standardised", lambda x: x + 0.01), ("encode",)),
    ("log-likelihood of bits 2% too large", "B", lambda: with_self(
        Bernoulli, "log_prob", lambda self, value: 1.02 * value), ("log_weight",)),
    ("mean of bits reversed", "B", lambda: with_result(
        Bernoulli, "mean", lambda value: 1 - value), ("decode",)),
]  # fmt: skip


def tampered(path, change):
    """Change the weights of a `.keras` file: `change(name, array)`."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    content = io.BytesIO(parts["model.weights.h5"])

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            item[...] = change(name, item[...])

    with h5py.File(content, "r+") as file:
        file.visititems(visit)
    parts["model.weights.h5"] = content.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def said(change):
    """A fault of kvae.json: `change(content)`."""

    def plant(base, version):
        path = version.path / METADATA
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return plant


def of_other_weights(base, version):
    """The file of another training beside this SavedModel."""
    other = np.random.default_rng(0)
    tampered(version.path / KERAS_MODEL, lambda name, array: array + 0.05 * other.normal(
        size=array.shape) if array.dtype.kind == "f" else array)  # fmt: skip


def of_one_weight(base, version):
    """One number of one kernel, off by 1%."""

    def change(name, array):
        if "decoder" in name and array.ndim == 2:
            array.flat[0] *= 1.01
        return array

    tampered(version.path / KERAS_MODEL, change)


def of_a_file(base, version):
    """A byte of the model card."""
    path = version.path / "MODEL_CARD.md"
    path.write_bytes(b"#" + path.read_bytes()[1:-1] + b" ")


def of_the_probe(base, version):
    """An answer of the probe, off by 1%."""
    with np.load(version.path / PROBE) as stored:
        kept = dict(stored)
    kept["encode/mean"] = kept["encode/mean"] * np.float32(1.01)
    np.savez(version.path / PROBE, **kept)


def with_test_row(name, row):
    """A test row that another split has, or nearly."""

    def plant(base, version):
        x = np.array(base.dataset.test.x)
        x[7] = getattr(base.dataset, name).x[5] + np.float32(row)
        return replace(base.dataset, test=Split(x, base.dataset.test.labels))

    return plant


def trained_on_a_test_row(base, version):
    """The rows trained on have a test row among them."""
    rows = np.concatenate([base.dataset.train.x[1:], base.dataset.test.x[:1]])
    seen.write(version.path / TRAIN_ROWS, seen.marks(rows))


def of_other_counts(base, version):
    """The card says ten test rows more."""
    said(lambda content: content["data_card"].setdefault("counts", {}).update(
        test=len(base.dataset.test.x) + 10))(base, version)  # fmt: skip


def metrics(change):
    """A fault of an evaluation: `change(metrics, rows)`."""

    def plant(base, version):
        folder = version.evaluation
        content = json.loads((folder / "metrics.json").read_text())
        with np.load(folder / "rows.npz") as stored:
            rows = dict(stored)
        change(content, rows)
        (folder / "metrics.json").write_text(json.dumps(content))
        np.savez(folder / "rows.npz", **rows)

    return plant


def of_a_row(content, rows):
    """One row's ELBO too high, and the mean with it."""
    rows["elbo_nats_prior"][0] += 1
    content["elbo_nats_prior"] = float(rows["elbo_nats_prior"].mean())


def better(content, rows):
    """The bound of every row 0.01 nats higher, and all that follows from it."""
    for key in ("log_likelihood_nats_prior", "log_likelihood_nats_sampler"):
        if key in rows:
            rows[key] = rows[key] + 0.01
            content[key] += 0.01
            content[f"gap_nats_{key.rpartition('_')[2]}"] -= 0.01


#: Faults of versions, data and evaluations.
OF_FILES = [
    ("the model's file is of another training", "version", "V", of_other_weights),
    ("one weight of the file off by 1%", "version", "V", of_one_weight),
    ("a file changed after publication", "version", "V", of_a_file),
    ("kvae.json: shift off by 1%", "version", "V", said(lambda content: content["model"].update(
        shift=[1.01 * value + 0.01 for value in content["model"]["shift"]]))),
    ("kvae.json: an attribute's direction turned", "version", "I", said(
        lambda content: content["directions"]["vectors"].reverse())),
    ("an answer of the probe off by 1%", "version", "V", of_the_probe),
    ("kvae.json: counts of the data card", "version", "V", of_other_counts),
    ("a test row among the rows trained on", "version", "V", trained_on_a_test_row),
    ("a test row equal to a train row", "data", "V", with_test_row("train", 0.0)),
    ("a test row equal to a valid row", "data", "V", with_test_row("valid", 0.0)),
    ("a test row nearly a train row", "data", "V", with_test_row("train", 1e-5)),
    ("the ELBO of one row 1 nat higher", "evaluation", "V", metrics(of_a_row)),
    ("all bounds 0.01 nats higher, consistently", "evaluation", "V", metrics(better)),
    ("metrics.json of other test rows", "evaluation", "V", metrics(
        lambda content, rows: content["protocol"].update(test_checksum="0" * 32))),
    ("metrics.json of another seed", "evaluation", "V", metrics(
        lambda content, rows: content["origin"].update(seed=1))),
]  # fmt: skip


@contextlib.contextmanager
def shared(factor):
    """The sampler's density off by a factor, in both implementations."""
    more = float(np.log(factor))
    with (
        with_result(Mixture, "log_prob", lambda value: value + np.float32(more)),
        with_result(independent_priors.Mixture, "log_prob", lambda value: value + more),
    ):
        yield


#: What both implementations have alike, and what no number of a version says.
BEYOND = [
    ("density of the mixtures off by 10%, in both", "both implementations", "V",
     lambda: shared(1.1), ""),
    ("density of the mixtures off by 1%, in both", "both implementations", "V",
     lambda: shared(1.01), "chance moves an integral in three dimensions by 1%"),
    ("the decoder's variance off by 1e-6 of itself", "kvae", "V", lambda: with_result(
        Gaussian, "current_variance", lambda value: (1 + 1e-6) * value),
     "float32 rounds as far"),
    ("trained with beta 0.5 where 1 was said", "training", "V", None,
     "another model, and a right one: no formula of a version has its objective"),
    ("the epoch chosen by test rows", "training", "V", None,
     "no file says what a choice looked at"),
]  # fmt: skip


def no_figures(*given, **options):
    """In place of those of an evaluation."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[""], help="words of a fault, or of where it is"
    )
    given = parser.parse_args()

    def wanted(what, where):
        return any(word in f"{what}, {where}" for word in given.only)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(gmm, NUM_TRAIN=5_000, NUM_VALID=1_000, NUM_TEST=1_000),
        mock.patch("kvae.audit.rows.MAX_ROWS", ROWS),
        mock.patch.multiple("kvae.evaluation.drawing", draw=no_figures, draw_map=no_figures),
    ):
        Table(Path(folder), wanted).print()


class Table:
    """Bases, faults, and a line for each."""

    def __init__(self, folder, wanted):
        self._folder, self._wanted, self._number = folder, wanted, 0
        self._bases, self._found, self._missed = {}, 0, []
        self._answers = {}

    def base(self, name):
        """Train and evaluate a base when it is first needed; it must agree itself."""
        if name not in self._bases:
            options = {**QUICK, **BASES[name]}
            with contextlib.redirect_stdout(io.StringIO()):
                kvae.train(options.pop("dataset"), output=self._folder, name=name, **options)
                version = find_version(str(self._folder / name))
                dataset = evaluate.prepare(str(version.path), writes=False).dataset
                if name in EVALUATED:
                    kvae.evaluate(
                        version.path, output=version.evaluation, num_draws=100, **EVALUATED[name]
                    )
            self._bases[name] = Base(version, kvae.load_model(version.path), dataset)
            self.row(f"none: {name} as it is", "", self.audited(version, dataset), expected=False)
        return self._bases[name]

    def print(self):
        """All faults, one after the other."""
        print("| fault | planted in | found by |\n|---|---|---|", flush=True)
        for what, base, plant, names in OF_KVAE:
            if self._wanted(what, "kvae"):
                self.row(what, "kvae", self.of_kvae(self.base(base), plant, names))
        for what, where, base, plant in OF_FILES:
            if self._wanted(what, where):
                self.row(what, where, self.of_files(self.base(base), plant))
        for base in EVALUATED:
            what = f"every number of metrics.json of {base} off by 2% at once"
            if self._wanted(what, "evaluation"):
                self.each_metric(what, self.base(base))
        for what, where, base, plant, why in BEYOND:
            if self._wanted(what, where) and plant is not None:
                self.row(what, where, self.of_both(self.base(base), where, plant), why)
            elif self._wanted(what, where):
                print(f"| {what} | {where} | not planted: {why} |")
        print(f"\n{self._found} found, {len(self._missed)} not: {'; '.join(self._missed)}")

    def row(self, what, where, wrong, why="", *, expected=True):
        """A line of the table."""
        shown = ", ".join(f"`{line}`" for line in wrong[:SHOWN])
        shown += f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        if expected:
            self._found += bool(wrong)
            self._missed += [] if wrong else [what]
        print(f"| {what} | {where} | {shown or 'nothing'}{': ' + why if why else ''} |", flush=True)

    def audited(self, version, dataset):
        """The lines that differ."""
        _, lines = run.audit(version, {}, self.ask, dataset)
        return [line.what for line in lines if line.verdict == DIFFERS]

    def ask(self, folder, requests):
        """The session loader's answers; a copy that serves the same graph is asked once."""
        graph = (folder / "saved_model.pb").read_bytes()
        sent = repr([(name, sorted(one)) for name, one in requests.items()]).encode()
        arrays = [
            array.tobytes() for one in requests.values() for given in one.values()
            for array in given.values()
        ]  # fmt: skip
        key = hashlib.sha256(b"".join([graph, sent, *arrays])).digest()
        if key not in self._answers:
            self._answers[key] = served.answered(folder, requests)
        return copy.deepcopy(self._answers[key])

    def published(self, base, names, patch):
        """A version that is published while a fault is in kvae."""
        metadata = json.loads((base.version.path / METADATA).read_text())
        found = metadata.get("directions") if "edit" in names else None
        self._number += 1
        endpoints = signatures.endpoints

        def few(*given, **options):
            made = endpoints(*given, **options)
            return {name: made[name] for name in names}

        with mock.patch.object(signatures, "endpoints", few), patch:
            return publish(
                base.vae, self._folder / "faulty", f"m{self._number}",
                config=metadata["config"], card=metadata["data_card"], history={},
                directions=None if found is None else Directions.from_json(found),
            )  # fmt: skip

    def of_kvae(self, base, plant, names):
        """What differs of a version that is published while a fault is in kvae."""
        # What no answer enters is as it is of the base itself.
        with mock.patch.multiple(
            run, of_data=lambda *a: [], of_metrics=lambda *a: [], of_draws=lambda *a: []
        ):
            return self.audited(self.published(base, names, plant()), base.dataset)

    def of_files(self, base, plant):
        """What differs of a copy into which a fault is written."""
        version = self.copied(base)
        return self.audited(version, plant(base, version) or base.dataset)

    def copied(self, base):
        """A copy of a version and its evaluation."""
        self._number += 1
        folder = self._folder / "copies" / f"m{self._number}"
        shutil.copytree(base.version.path.parent, folder)
        return find_version(str(folder))

    def of_both(self, base, where, plant):
        """What differs where both implementations have a fault."""
        if where == "kvae":
            version = self.published(base, ("log_weight", "decode"), plant())
            return self.audited(version, base.dataset)
        with plant():
            version = self.published(base, ("log_weight",), contextlib.nullcontext())
            return self.audited(version, base.dataset)

    def each_metric(self, what, base):
        """Every number of metrics.json changed: how many are named by a line that differs."""
        version = self.copied(base)
        subject = run.Subject(version, opened(version))
        path = version.evaluation / "metrics.json"
        whole = json.loads(path.read_text())
        keys = [key for key, value in whole.items() if isinstance(value, float) and value
                and not key.endswith(("_interval", "_range"))]  # fmt: skip
        units = [key for key in whole if key.startswith(("active_units", "modes_captured"))]

        def differing(changed):
            path.write_text(json.dumps({**whole, **changed}))
            lines = of_metrics(base.dataset, opened(version), subject.own, subject.rounded)
            return {line.what.removeprefix("metrics.json: ") for line in lines
                    if line.verdict == DIFFERS}  # fmt: skip

        wrong = differing({key: 1.02 * whole[key] for key in keys}
                          | {key: whole[key] + 1 for key in units})  # fmt: skip
        missed = [key for key in (*keys, *units) if key not in wrong]
        # Two that only their sum tells; so each is changed by itself.
        alone = ("distortion_nats_posterior", "rate_nats_prior")
        missed = [key for key in missed if key not in alone
                  or not differing({key: 1.02 * whole[key]})]  # fmt: skip
        count = len(keys) + len(units)
        named = ", ".join(f"`{key}`" for key in missed)
        print(f"| {what} | evaluation | {count - len(missed)} of {count}; not {named} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
