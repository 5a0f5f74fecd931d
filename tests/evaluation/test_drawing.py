from types import SimpleNamespace

import numpy as np
import pytest

from kvae.data import Dataset, Split
from kvae.data.gmm import Mixture, random_mixture
from kvae.evaluation import drawing
from kvae.evaluation.observation import Observation
from kvae.training.keeping.best_weights import full_beta


class Served:
    """A model that is its mixture; its sampler's density is 0.25 nats higher."""

    def __init__(self, mixture, sampler="none", exact=True):
        self.version = SimpleNamespace(name="bent", number=7)
        history = {"val_rate": [1.0, 2.0], "val_distortion": [5.0, 3.0]}
        self.metadata = {"num_draws": 64, "sampler": sampler, "history": history, "config": {}}
        self.mixture, self.exact, self.seeds = mixture, exact, {}

    def call(self, signature, **inputs):
        self.seeds[signature] = inputs.get("seed")
        return getattr(self, signature)(**inputs)

    def generate(self, seed):
        return {"sample": self.mixture.sample(len(seed), np.random.default_rng(seed))[0]}

    generate_from_prior = generate

    def log_likelihood(self, x, seed):
        assert len(np.unique(seed)) == len(x)
        found = {"log_likelihood": self.mixture.log_prob(x)}
        if self.metadata["sampler"] != "none" and self.exact:
            found["log_likelihood_sampler"] = found["log_likelihood"] + 0.25
        return found

    def encode(self, x):
        return {"mean": x[:, :1], "variance": x[:, :1] * 0 + 1}  # one dimension needs no t-SNE

    def serving_default(self, x):
        return {"reconstruction": x}

    def interpolate(self, start, end, fraction):
        fraction = fraction[:, None]
        return {"interpolated": start * (1 - fraction) + end * fraction}


_TABLE = {"name": "arrays", "columns": ["left", "right"]}


def dataset(mixture, *, known=True, label_names=None):
    x, component = mixture.sample(60, np.random.default_rng(0))
    split = Split(x.astype(np.float32), {"component": component})
    card = {"mixture": mixture.to_card()} if known else {**_TABLE}
    if label_names:
        card["label_names"] = {"component": label_names}
    return Dataset("vectors", split, split, split, card=card, color_by="component")


def curve(gap=None):
    point = {"num_draws": 1, "rows": 60, "bound_nats": -3.0, "bound_nats_stderr": 0.1}
    return [point if gap is None else point | {"gap_nats": gap, "gap_nats_stderr": 0.01}]


LATENT = {
    "active_fraction_per_dim_posterior": [0.9],
    "rate_nats_prior": 2.1,
    "distortion_nats_posterior": 2.9,
}


def metrics_of(mixture, *suffixes):
    found = {"num_generated": 10_000, **LATENT}
    for suffix in ("_prior", *suffixes):
        found[f"bound_curve{suffix}"] = curve(0.5)
        found[f"mode_shares{suffix}"] = (
            mixture.weights * (0.9 if suffix == "_sampler" else 1.0)
        ).tolist()
        found[f"mode_captured{suffix}"] = [True] * mixture.num_components
    return found


@pytest.fixture
def mixture():
    straight = random_mixture(3, 2, 5.0, 0)
    return Mixture(straight.weights, straight.means, straight.covariances, 0.5)


@pytest.fixture
def asked(monkeypatch):
    """What the functions that draw were asked for: file name -> (arguments, options)."""
    found = {}

    def keep(*arguments, path, **options):
        found[path.name] = (arguments, options)

    for owner, name in (
        (drawing.vector_figures, "draw_generation"),
        (drawing.vector_figures, "draw_reconstruction"),
        (drawing.vector_figures, "draw_interpolation"),
        (drawing.latent_figures, "draw_tsne"),
        (drawing, "draw_density"),
        (drawing, "draw_recall"),
        (drawing, "draw_bound"),
        (drawing, "draw_rates"),
        (drawing, "draw_curves"),
        (drawing, "draw_rate_distortion"),
    ):
        monkeypatch.setattr(owner, name, keep)
    return found


def draw(folder, served, data, metrics, seed=0, label=None):
    label = data.color_by if label is None else label
    observation = Observation(served, data, seed=seed, label=label)
    drawing.draw_map(folder, observation)
    drawing.draw(folder, observation, metrics=metrics)


VECTOR_FIGURES = {
    "generation.png", "reconstruction.png", "interpolation.png", "latent_tsne.png", "rates.png",
    "rate_distortion.png",
}  # fmt: skip
TRUE_FIGURES = {"density.png", "recall.png"}


def test_a_mixture_gets_all_figures_the_same_ones_each_time(tmp_path, mixture):
    for name in "ab":
        (tmp_path / name).mkdir()
        draw(tmp_path / name, Served(mixture), dataset(mixture), metrics_of(mixture))
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == VECTOR_FIGURES | TRUE_FIGURES | {"bound.png"}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_data_without_a_truth_get_no_figures_of_one(tmp_path, mixture, asked):
    draw(
        tmp_path,
        Served(mixture),
        dataset(mixture, known=False),
        LATENT | {"bound_curve_prior": curve()},
    )
    assert asked.keys() == VECTOR_FIGURES | {"bound.png"}
    (true_x, component, generated, likeliest, _), _ = asked["generation.png"]
    assert not component.any()
    assert not likeliest.any()
    assert len(true_x) == len(generated)
    assert asked["reconstruction.png"][1]["names"] == ["left", "right"]


def test_every_title_names_the_model_and_its_version(tmp_path, mixture, asked):
    draw(tmp_path, Served(mixture), dataset(mixture), metrics_of(mixture))
    for name, (arguments, _) in asked.items():
        title = arguments[-2 if name == "rates.png" else -1]
        assert title.startswith("bent version 7 (")


def test_the_generated_points_are_said_to_come_from_where_they_do(tmp_path, mixture, asked):
    draw(tmp_path, Served(mixture), dataset(mixture), metrics_of(mixture))
    assert "generated from the prior" in asked["generation.png"][0][-1]
    draw(tmp_path, Served(mixture, "flow"), dataset(mixture), metrics_of(mixture, "_sampler"))
    assert "generated through the flow sampler" in asked["generation.png"][0][-1]


def test_density_is_the_served_bound_at_the_points_of_the_slices(tmp_path, mixture, asked):
    draw(tmp_path, Served(mixture, "flow"), dataset(mixture), metrics_of(mixture, "_sampler"))
    (slices, truth, models, title), _ = asked["density.png"]
    assert list(models) == ["prior", "flow sampler"]
    assert "64 draws" in title
    for one, true, prior, sampler in zip(slices, truth, *models.values(), strict=True):
        points = one.points().astype(np.float32)  # the truth too is of what the model is asked
        np.testing.assert_array_equal(true, mixture.log_prob(points))
        np.testing.assert_array_equal(prior, true)
        np.testing.assert_allclose(sampler - prior, 0.25)


def test_a_sampler_without_an_exact_density_has_shares_but_neither_density_nor_bound(
    tmp_path, mixture, asked
):
    metrics = metrics_of(mixture, "_sampler")
    del metrics["bound_curve_sampler"]
    draw(tmp_path, Served(mixture, "second-stage", exact=False), dataset(mixture), metrics)
    assert list(asked["density.png"][0][2]) == ["prior"]
    assert list(asked["bound.png"][0][0]) == ["prior"]
    _, shares, captured, title = asked["recall.png"][0]
    assert list(shares) == list(captured) == ["prior", "second-stage sampler"]
    np.testing.assert_allclose(shares["second-stage sampler"], 0.9 * mixture.weights)
    np.testing.assert_allclose(shares["prior"], mixture.weights)
    assert "10,000" in title


def test_the_map_is_coloured_by_the_label_with_the_names_of_its_classes(tmp_path, mixture, asked):
    names = ["red", "green", "blue"]
    data = dataset(mixture, known=False, label_names=names)
    draw(tmp_path, Served(mixture), data, LATENT)
    assert asked.keys() == VECTOR_FIGURES
    (latents, labels, label, title), options = asked["latent_tsne.png"]
    np.testing.assert_array_equal(latents, data.test.x[:, :1])
    np.testing.assert_array_equal(labels, data.test.labels["component"])
    assert (label, options["class_names"]) == ("component", names)
    assert "coloured by component, which a linear classifier tells with AUC" in title
    draw(tmp_path, Served(mixture), data, LATENT, label="")
    (_, labels, label, title), options = asked["latent_tsne.png"]
    assert (label, options["class_names"], labels.any()) == ("", (), False)
    assert title == "bent version 7 (arrays, 2 epochs): the latent space"


def test_the_dimensions_are_drawn_by_rate_where_that_is_known(tmp_path, mixture, asked):
    metrics = metrics_of(mixture) | {"active_fraction_per_dim_posterior": [0.9, 0.005]}
    draw(tmp_path, Served(mixture), dataset(mixture), metrics)
    shown, active, _, unit = asked["rates.png"][0]
    np.testing.assert_array_equal(shown, [0.9, 0.005])
    np.testing.assert_array_equal(active, [True, False])
    assert "spread" in unit
    draw(
        tmp_path,
        Served(mixture),
        dataset(mixture),
        metrics | {"rate_per_dim_nats_prior": [2.0, 0.1]},
    )
    shown, _, _, unit = asked["rates.png"][0]
    np.testing.assert_array_equal(shown, [2.0, 0.1])
    assert unit == "rate, nats"
    points, history, _ = asked["rate_distortion.png"][0]
    assert points == {"test": (2.1, 2.9)}
    assert history == {"val_rate": [1.0, 2.0], "val_distortion": [5.0, 3.0]}


@pytest.mark.parametrize("figure", ["elbo", "loss"])
def test_the_curves_of_a_training_are_those_that_the_version_knows(
    tmp_path, mixture, asked, figure
):
    served = Served(mixture)
    draw(tmp_path, served, dataset(mixture), metrics_of(mixture))
    assert "curves.png" not in asked  # of a version that knows no more than it was given here
    names = ["elbo", "distortion", "rate", "loss"]
    history = {f"{split}{name}": [1.0, 2.0] for split in ("", "val_") for name in names}
    course = {"best": {"epoch": 2, "figure": figure, "value": 2.0}, "start": {"elbo": 0.5}}
    served.metadata |= {"history": history, "course": course, "config": {"kl_warmup_epochs": 9}}
    draw(tmp_path, served, dataset(mixture), metrics_of(mixture))
    (given, _), options = asked["curves.png"]
    assert given == history
    assert options == {
        "best": 2, "chosen_by": figure, "start": {"elbo": 0.5}, "rising": [(1, 2)],
    }  # fmt: skip


@pytest.mark.parametrize("valid", [[], [1.0]])
def test_of_a_validation_of_some_epochs_no_curves_are_drawn(tmp_path, mixture, asked, valid):
    served, names = Served(mixture), ("elbo", "distortion", "rate")
    history = {name: [1.0, 2.0] for name in names} | {f"val_{name}": valid for name in names}
    served.metadata |= {"history": history}
    draw(tmp_path, served, dataset(mixture), metrics_of(mixture))
    assert "curves.png" not in asked


@pytest.mark.parametrize(
    "config",
    [{}, *({"kl_warmup_epochs": n} for n in (1, 7, 30)),
     *({"kl_cycle_epochs": n} for n in (1, 2, 3, 4, 5, 9, 40))],
)  # fmt: skip
def test_beta_rises_in_the_epochs_whose_weights_do_not_count(config):
    is_full = full_beta(config)
    spans = drawing._rising(config, 20)
    rising = {epoch for first, last in spans for epoch in range(first, last + 1)}
    assert rising & {*range(1, 21)} == {epoch for epoch in range(1, 21) if not is_full(epoch - 1)}


def test_another_seed_draws_other_points(tmp_path, mixture, asked):
    seeds = []
    for seed in (0, 0, 1):
        served = Served(mixture)
        draw(tmp_path, served, dataset(mixture), metrics_of(mixture), seed=seed)
        seeds.append((served.seeds["generate_from_prior"], served.seeds["log_likelihood"]))
    for first, again, other in zip(*seeds, strict=True):
        np.testing.assert_array_equal(first, again)
        assert not (first == other).any()


def test_a_density_that_is_no_number_is_an_error(tmp_path, mixture):
    served = Served(mixture)
    served.log_likelihood = lambda x, seed: {"log_likelihood": np.full(len(x), np.nan)}
    with pytest.raises(ValueError, match=r"prior must be numbers: .* are NaN"):
        draw(tmp_path, served, dataset(mixture), metrics_of(mixture))
