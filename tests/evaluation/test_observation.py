"""What an evaluation asks a model for, how often, and that figures show what numbers are of."""

import math
import weakref
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ndtri

from kvae.data import Dataset, Split
from kvae.data.conditions import Conditioned
from kvae.data.faces.factors import FACTORS
from kvae.data.gmm import random_mixture
from kvae.data.images.pixels import as_unit_interval
from kvae.errors import IncompleteError
from kvae.evaluation import drawing, evaluate, factors, image_drawing, judging, observation
from kvae.evaluation.observation import SHOWN_ROWS, WORST_ROWS, Observation
from kvae.features import FeatureNet
from kvae.metrics.reconstruction import psnr_of

NUM_TRAIN, NUM_TEST = 400, 260
SHAPE = (8, 8, 1)


class Served:
    """A model of noise that its seeds decide; it counts what it is asked for.

    Attributes:
        calls: signature -> calls.
        rows: signature -> rows in all of them.
        times: signature -> how often each test row was handed to it.
        answers: signature -> what it answered first.
    """

    def __init__(self, dataset, sampler="flow"):
        self.version = SimpleNamespace(name="fake", number=1)
        self.metadata = {
            "num_draws": 4, "fingerprint": "f", "versions": {}, "sampler": sampler,
            "config": {"posterior": "diagonal", "prior": "standard_normal"},
            "history": {},
        }  # fmt: skip
        self._shape = dataset.test.x.shape[1:]
        self._places = {_key(row): place for place, row in enumerate(_floats(dataset.test.x))}
        self.calls, self.rows, self.times, self.answers = Counter(), Counter(), {}, {}

    def call(self, signature, **inputs):
        inputs = {name: _floats(values) for name, values in inputs.items()}
        self.calls[signature] += 1
        self.rows[signature] += len(next(iter(inputs.values())))
        times = self.times.setdefault(signature, np.zeros(len(self._places), int))
        for row in inputs.get("x", ()):
            if _key(row) in self._places:
                times[self._places[_key(row)]] += 1
        found = getattr(self, signature)(**inputs)
        self.answers.setdefault(signature, found)
        return found

    def encode(self, x):
        mean = x.reshape(len(x), -1)[:, :2] * 3
        return {"mean": mean, "variance": np.full_like(mean, 0.1)}

    def sample_posterior(self, x, seed):
        return {"latent": self.encode(x)["mean"] + _noise(seed, (2,)) * np.float32(0.3)}

    def serving_default(self, x):
        return {"reconstruction": x * np.float32(0.9)}

    def decode(self, latent):
        decoded = np.resize(latent.T, (*self._shape, len(latent))).transpose(3, 0, 1, 2) / 3
        return {"decoded": decoded, "decoded_variance": np.square(decoded) + np.float32(0.1)}

    def generate_from_prior(self, seed):
        return {"sample": _noise(seed, self._shape) * np.float32(0.1) + np.float32(0.5)}

    def generate(self, seed):
        return {"sample": self.generate_from_prior(seed)["sample"] + np.float32(0.05)}

    def log_weight(self, x, seed):
        noise = _noise(seed, ())
        return {
            "log_weight": noise, "log_weight_sampler": noise + 1, "distortion": 1 - noise,
            "rate": noise * 0 - 1,
        }  # fmt: skip

    def log_likelihood(self, x, seed):
        return {"log_likelihood": _noise(seed, ()), "log_likelihood_sampler": _noise(seed, ())}

    def interpolate(self, start, end, fraction):
        return {"interpolated": start}


def _floats(values):
    return np.asarray(as_unit_interval(values))


def _key(row):
    return row.astype(np.float32).tobytes()


def _noise(seed, shape):
    """Normal numbers `(rows, *shape)`, each row's a function of its own seed alone."""
    words = seed.astype(np.uint64)[:, None] + np.arange(1, 1 + math.prod(shape), dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    uniform = (words >> np.uint64(40)) / 2**24 + 2**-25
    return ndtri(uniform).reshape(len(seed), *shape).astype(np.float32)


NET = FeatureNet(
    "frechet_known", "the corners", lambda x: _floats(x)[:, ::7, ::7, 0].reshape(-1, 4)
)


def vectors():
    mixture, rng = random_mixture(3, 2, 5.0, 0), np.random.default_rng(1)
    splits = []
    for count in (NUM_TRAIN, 50, NUM_TEST):
        x, component = mixture.sample(count, rng)
        splits.append(Split(x.astype(np.float32), {"component": component}))
    return Dataset("vectors", *splits, {"mixture": mixture.to_card()}, color_by="component")


def images():
    rng = np.random.default_rng(1)
    splits = (
        Split(rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8))
        for count in (NUM_TRAIN, 50, NUM_TEST)
    )
    return Dataset("images", *splits, {})


def evaluated(dataset, monkeypatch, folder, **options):
    """The model after an evaluation, its numbers, and what each figure was asked to show."""
    served, asked = Served(dataset), {}
    modules = (
        drawing, drawing.vector_figures, drawing.latent_figures, image_drawing,
        image_drawing.figures,
    )  # fmt: skip
    for module in modules:
        for name, drawn in [*vars(module).items()]:
            if name.startswith("draw_") and drawn.__module__.startswith("kvae.figures"):
                monkeypatch.setattr(
                    module, name, lambda *rest, path, **_: asked.update({path.name: rest})
                )
    monkeypatch.setattr("kvae.serving.served.ServedModel", lambda *_: served)
    monkeypatch.setattr(evaluate, "feature_net", lambda *_, **__: NET)
    # Several parts, the last of which is not full.
    for module in (observation, judging):
        monkeypatch.setattr(
            module, "rows_at_once", lambda x: 70 if dataset.kind == "images" else 20_000
        )
    job = evaluate.Job(served.version, dataset, dataset.color_by, folder)
    with pytest.raises(IncompleteError) as raised:  # the pages of a model that says so little
        evaluate.evaluate(job, num_draws=8, **options)
    return served, raised.value.made, asked


def by_calls(served):
    return {name: (served.calls[name], served.rows[name]) for name in served.calls}


@pytest.fixture
def of_vectors(monkeypatch, tmp_path):
    dataset = vectors()
    return dataset, *evaluated(dataset, monkeypatch, tmp_path)


@pytest.fixture
def of_images(monkeypatch, tmp_path):
    dataset = images()
    return dataset, *evaluated(dataset, monkeypatch, tmp_path)


def test_vectors_pass_encoder_and_decoder_once(of_vectors):
    _, served, metrics, _ = of_vectors
    for signature in ("encode", "sample_posterior", "serving_default"):
        assert (served.times[signature] == 1).all(), signature
    found = by_calls(served)
    # All of them, for numbers and figures together.
    assert found["encode"] == found["sample_posterior"] == (1, NUM_TEST)
    assert found["serving_default"] == (2, 2 * NUM_TEST)  # as many train rows
    samples = (1, metrics["num_generated"])
    assert found["generate"] == found["generate_from_prior"] == samples
    assert found["interpolate"][0] == 1
    assert found.keys() == {
        "encode", "sample_posterior", "serving_default", "generate", "generate_from_prior",
        "interpolate", "log_weight", "log_likelihood",
    }  # fmt: skip


@pytest.mark.parametrize("num_samples", [None, 150])
def test_images_pass_encoder_and_decoder_once(monkeypatch, tmp_path, num_samples):
    monkeypatch.setattr(observation, "MAX_CALIBRATION_ROWS", 100)
    served, _, asked = evaluated(images(), monkeypatch, tmp_path, num_samples=num_samples)
    for signature in ("encode", "sample_posterior", "serving_default"):
        assert (served.times[signature] == 1).all(), signature
    found = by_calls(served)
    assert found["encode"] == found["sample_posterior"] == (1, NUM_TEST)
    parts = -(-NUM_TEST // 70)
    assert found["serving_default"] == (2 * parts, 2 * NUM_TEST)  # as many train rows
    traversed = asked["traversals.png"][0]
    count = np.prod(traversed.shape[:2])
    assert found["decode"] == (2 + 1, 100 + count)
    in_a_set = num_samples or NUM_TEST
    samples = (5 * -(-in_a_set // 70), 5 * in_a_set)
    assert found["generate"] == found["generate_from_prior"] == samples
    assert found["interpolate"][0] == 1


def test_vectors_that_are_shown_are_those_that_were_measured(of_vectors):
    dataset, served, metrics, asked = of_vectors
    _, _, shown, _, title = asked["generation.png"]
    samples = served.answers["generate"]["sample"]
    np.testing.assert_array_equal(shown, samples[:NUM_TEST])
    assert "flow sampler" in title
    x, reconstruction, component, _ = asked["reconstruction.png"]
    np.testing.assert_array_equal(x, dataset.test.x)
    np.testing.assert_array_equal(component, dataset.test.labels["component"])
    error = np.square(x - reconstruction, dtype=np.float64).mean()
    assert metrics["mse_reconstruction"] == pytest.approx(error, rel=1e-6)
    np.testing.assert_array_equal(asked["rates.png"][0], metrics["rate_per_dim_nats_prior"])
    latents = asked["latent_tsne.png"][0]
    np.testing.assert_array_equal(latents, served.answers["encode"]["mean"])


def test_calibration_is_drawn_from_what_its_ratio_is_of(of_images):
    _, _, metrics, asked = of_images
    stddev, error, _ = asked["calibration.png"]
    assert len(stddev) == len(error) == NUM_TEST
    squared_error = np.square(error).mean()
    assert metrics["mse_draw"] == pytest.approx(squared_error, rel=1e-12)
    ratio = np.square(stddev).mean() / squared_error
    assert metrics["variance_ratio_draw"] == pytest.approx(ratio, rel=1e-12)


def test_calibration_is_at_the_draws_of_the_posterior(of_images):
    dataset, served, _, asked = of_images
    decoded = served.decode(served.answers["sample_posterior"]["latent"])
    error = np.square(decoded["decoded"] - _floats(dataset.test.x)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(np.square(asked["calibration.png"][1]), error, rtol=1e-5)


def test_images_that_are_shown_are_those_that_were_measured(of_images):
    dataset, served, metrics, asked = of_images
    x = _floats(dataset.test.x)
    originals, shown, _ = asked["reconstruction.png"]
    assert len(originals) == SHOWN_ROWS
    np.testing.assert_array_equal(shown, served.serving_default(originals)["reconstruction"])
    worst, reconstruction, psnr, title = asked["worst.png"]
    mse = np.square(x * 0.1).mean(axis=(1, 2, 3))
    assert metrics["mse_reconstruction"] == pytest.approx(mse.mean(), rel=1e-5)
    order = np.argsort(-mse)[:WORST_ROWS]
    np.testing.assert_array_equal(worst, x[order])
    np.testing.assert_array_equal(reconstruction, x[order] * np.float32(0.9))
    np.testing.assert_allclose(psnr, psnr_of(mse[order]), rtol=1e-5)
    assert f"of {NUM_TEST} test images" in title
    generated, _ = asked["generation.png"]
    for words, signature in (("prior", "generate_from_prior"), ("flow", "generate")):
        (own,) = (part for name, part in generated.items() if words in name)
        np.testing.assert_array_equal(own, served.answers[signature]["sample"][:SHOWN_ROWS])
    near = asked["neighbours.png"][0]
    np.testing.assert_array_equal(near, served.answers["generate"]["sample"][: len(near)])
    np.testing.assert_array_equal(asked["rates.png"][0], metrics["rate_per_dim_nats_prior"])
    labels = asked["traversals.png"][1]
    rates = sorted(metrics["rate_per_dim_nats_prior"], reverse=True)
    assert [label.split()[1] for label in labels] == [f"{rate:.1f}" for rate in rates]


def test_of_reconstructed_images_those_that_figures_show_are_kept_and_no_more():
    dataset = images()
    found = Observation(Served(dataset), dataset, seed=0).reconstruction
    for kept, count in ((found.shown, SHOWN_ROWS), (found.worst, WORST_ROWS)):
        assert len(kept.rows) == len(kept.reconstruction) == count
        assert kept.reconstruction.base is None  # a view would keep its whole part
    assert {name: len(values) for name, values in found.errors.items()} == dict.fromkeys(
        ("mse", "psnr_db", "ssim"), NUM_TEST
    )


def test_one_part_of_reconstructed_images_is_in_memory_at_a_time(monkeypatch):
    monkeypatch.setattr(observation, "rows_at_once", lambda x: 20)
    dataset = images()
    served = Served(dataset)
    parts, alive = [], []

    def serving_default(x):
        alive.append(sum(part() is not None for part in parts))
        found = x * np.float32(0.9)
        parts.append(weakref.ref(found))
        return {"reconstruction": found}

    served.serving_default = serving_default
    served.answers["serving_default"] = None  # which the fake would else keep
    assert len(np.unique(Observation(served, dataset, seed=0).reconstruction.worst.rows // 20)) > 5
    assert len(alive) == NUM_TEST // 20
    assert max(alive) <= 1


def test_the_features_of_a_set_are_those_of_its_parts():
    x, kept = _floats(images().test.x), np.arange(NUM_TEST) % 3 == 0
    found = judging.features_of(NET, (x[:100], x[100:130], x[130:]), kept)
    np.testing.assert_array_equal(found.kept, NET.extract(x)[kept])
    np.testing.assert_allclose(found.moments.mean, NET.extract(x).mean(axis=0), rtol=1e-5)


def test_what_comes_first_decides_nothing():
    """The first samples are the same whether a figure asks before the numbers or after them."""
    dataset = images()
    before, after = (Observation(Served(dataset), dataset, seed=3) for _ in range(2))
    for source in before.sources:
        first = before.first_images(source)
        whole = np.concatenate(list(next(after.image_sets(source))))
        np.testing.assert_array_equal(first, whole[:SHOWN_ROWS])
        np.testing.assert_array_equal(after.first_images(source), first)
        assert after.first_images(source).base is None
    assert before.served.rows["generate"] == SHOWN_ROWS


def test_each_seed_is_of_one_part():
    dataset = images()
    seen = Observation(Served(dataset), dataset, seed=0)
    assert len(set(seen.seeds)) == len(seen.seeds)
    known = replace(dataset, card={"factors": {}})
    with_factors = Observation(seen.served, known, seed=0)
    assert with_factors.factor_seed == seen.factor_seed
    ours, theirs = (one.sets.sample_seeds["prior"][0][0] for one in (seen, with_factors))
    assert ours != theirs  # whose seed would else be that of disentanglement


def test_factors_are_held_against_the_posterior_that_there_is(monkeypatch):
    rng, dataset = np.random.default_rng(0), images()
    splits = []
    for split in (dataset.train, dataset.valid, dataset.test):
        labels = {f"factor_{name}": rng.integers(0, 3, len(split.x)) for name in FACTORS}
        splits.append(Split(split.x, labels))
    dataset = Dataset("images", *splits, {"factors": {}})
    found = {}
    monkeypatch.setattr(factors, "_TEST_ROWS", 100)
    monkeypatch.setattr(factors, "mutual_information_gap", lambda *_: 0.0)
    monkeypatch.setattr(
        factors, "dci", lambda train, _, test, __, seed: found.update(train=train, test=test) or {}
    )
    monkeypatch.setattr(factors, "factor_vae_score", lambda *_, **__: {"factor_vae_posterior": 0.5})
    seen = Observation(Served(dataset), dataset, seed=0)
    factors.disentanglement(seen)
    assert (seen.served.times["encode"] == 1).all()
    assert by_calls(seen.served)["encode"] == (2, NUM_TRAIN + NUM_TEST)
    # The unit is the same for both splits: train codes tell it.
    codes = seen.served.encode(_floats(dataset.train.x))["mean"]
    unit = codes[0] / found["train"][0]
    assert len(found["test"]) == 100
    for row in found["test"] * unit:
        assert np.isclose(seen.posterior.mean, row, atol=1e-5).all(axis=1).any()


def test_of_a_conditional_model_no_image_is_drawn_anew():
    dataset = images()
    test = Split(Conditioned(dataset.test.x, np.ones((NUM_TEST, 1), np.float32)))
    given = Dataset("images", dataset.train, dataset.valid, test, {"factors": {}})
    for data, has_factors in ((dataset, False), (given, False)):
        seen = Observation(Served(data), data, seed=0)
        assert seen.has_factors is has_factors
    assert seen.is_conditioned
