"""Served models of images whose every number is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from kvae.data import Dataset, Split
from kvae.evaluation import image_drawing, images, judging, observation
from kvae.evaluation.observation import Observation
from kvae.features import FeatureNet
from kvae.metrics import memorisation, neighbours

SHAPE = (8, 8, 1)


def faces(count, seed, level=128, spread=20):
    """Images of a random brightness and slope: two numbers each."""
    rng = np.random.default_rng(seed)
    bright, slope = rng.normal(size=(2, count, 1, 1, 1))
    ramp = np.linspace(-1, 1, 8)[None, None, :, None]
    images = level + spread * (0.5 * bright + 0.5 * slope * ramp)
    images = images + rng.normal(scale=4, size=(count, *SHAPE))  # no two are equal
    return np.clip(images, 0, 255).astype(np.uint8)


def brightness_and_slope(images):
    scale = 255 if images.dtype == np.uint8 else 1
    x = images.astype(np.float64) / scale
    return np.stack([x.mean(axis=(1, 2, 3)), x[:, :, 4:].mean(axis=(1, 2, 3))], axis=1).astype(
        np.float32
    )


NET = FeatureNet("frechet_known", "brightness and slope", brightness_and_slope)


def data(num_train=800, num_test=400):
    splits = (Split(faces(n, seed)) for seed, n in enumerate((num_train, 50, num_test)))
    return Dataset("images", *splits, {"name": "known"})


class Served:
    """Latents are images, flattened; the prior draws darker ones, the sampler true ones."""

    def __init__(self, sampler="mixture", copies=None):
        self.version = SimpleNamespace(name="known", number=2)
        self.metadata = {"sampler": sampler, "config": {}, "history": {}}
        self.copies = copies

    def call(self, signature, **inputs):
        inputs = {
            name: value.astype(np.float32) / 255 if value.dtype == np.uint8 else value
            for name, value in inputs.items()
        }
        return getattr(self, signature)(**inputs)

    def serving_default(self, x):
        return {"reconstruction": x * np.float32(0.9)}

    def generate_from_prior(self, seed):
        return {"sample": faces(len(seed), int(seed[0]), level=60) / np.float32(255)}

    def generate(self, seed):
        made = faces(len(seed), int(seed[0])) if self.copies is None else self.copies[: len(seed)]
        return {"sample": made / np.float32(255)}

    def encode(self, x):
        flat = x.reshape(len(x), -1)
        return {"mean": flat, "variance": np.full_like(flat, 1e-3)}

    def sample_posterior(self, x, seed):
        return {"latent": x.reshape(len(x), -1)}

    def decode(self, latent):
        decoded = latent.reshape(-1, *SHAPE)
        return {"decoded": decoded + np.float32(0.1), "decoded_variance": decoded * 0 + 0.05}

    def interpolate(self, start, end, fraction):
        fraction = fraction.reshape(-1, 1, 1, 1)
        return {"interpolated": (1 - fraction) * start + fraction * end}

    def edit(self, x, attribute_strength):
        return {"edited": x + attribute_strength.sum(axis=1).reshape(-1, 1, 1, 1) * 0.1}


def observed(served, dataset, num_samples=None, seed=0):
    train = judging.train_features(NET, dataset, seed)
    return Observation(served, dataset, seed=seed, train=train, num_samples=num_samples)


def measured(*given, **named):
    return images.judge_sets(observed(*given, **named))


def at_once(monkeypatch, count):
    for module in (judging, images, observation):
        monkeypatch.setattr(module, "rows_at_once", lambda x: count)


@pytest.fixture(scope="module")
def known():
    return measured(Served(), data())


def test_each_set_is_held_against_the_test_images(known):
    metrics, protocol = known
    floor, sampler = metrics["frechet_known_floor"], metrics["frechet_known_sampler"]
    assert 0 <= floor < 2e-3
    assert sampler < 2e-3
    # Only the mean moves, by 68 levels in both features.
    assert metrics["frechet_known_prior"] == pytest.approx(2 * (68 / 255) ** 2, rel=0.1)
    darker = 2 * (0.1 * 128 / 255) ** 2
    assert metrics["frechet_known_reconstruction"] == pytest.approx(darker, rel=0.2)
    assert metrics["precision_sampler"] > 0.9 > 0.3 > metrics["precision_prior"]
    assert metrics["coverage_sampler"] > 0.9 > 0.3 > metrics["coverage_prior"]
    assert protocol["features"] == "brightness and slope"
    assert protocol["rows_against_test"] == 400


def test_memorisation_says_how_much_of_the_train_split_it_saw(known, monkeypatch):
    assert known[0]["nearest_train_share"] == 1
    monkeypatch.setattr(judging, "MAX_TRAIN_ROWS", 150)
    dataset = data()
    seen = observed(Served(), dataset, num_samples=300)
    assert len(seen.train.features) == 150
    metrics, protocol = images.judge_sets(seen)
    assert metrics["nearest_train_share"] == 150 / len(dataset.train.x)
    assert "of 150 train images" in protocol["nearest_train"]


def test_figures_of_samples_are_means_of_sets_with_their_range(known):
    metrics, _ = known
    for key in (
        "frechet_known_sampler", "recall_prior", "density_sampler",
        "nearest_train_distance_ratio_prior",
    ):  # fmt: skip
        low, high = metrics[f"{key}_range"]
        assert low < metrics[key] < high
    assert "frechet_known_floor_range" not in metrics


def test_copies_in_one_of_five_sets_are_a_fifth_of_the_memorised(monkeypatch):
    at_once(monkeypatch, 400)
    dataset, served, calls = data(), Served(), []
    draw = served.generate

    def generate(seed):
        served.copies = dataset.train.x if len(calls) == 1 else None
        calls.append(seed)
        return draw(seed)

    served.generate = generate
    metrics, protocol = measured(served, dataset)
    low, high = metrics["memorised_fraction_sampler_range"]
    assert low < 0.05 < high == 1
    assert 0.2 <= metrics["memorised_fraction_sampler"] < 0.25
    expected = np.sqrt(0.01 * 0.99 / len(dataset.test.x))
    assert metrics["memorised_fraction_stderr"] == pytest.approx(expected)
    assert "mean, range" in protocol["nearest_train"]


class OnDisk(np.ndarray):
    """An array of which a few rows at a time may be read."""

    def __getitem__(self, key):
        found = super().__getitem__(key)
        assert found.ndim < 4 or len(found) <= 70
        return found


@pytest.mark.parametrize("num_samples", [10_000, 300])
def test_images_are_read_a_part_at_a_time(monkeypatch, num_samples):
    at_once(monkeypatch, 70)
    whole = data()
    splits = (Split(one.x.view(OnDisk)) for one in (whole.train, whole.valid, whole.test))
    found, _ = measured(Served(), Dataset("images", *splits, {}), num_samples)
    expected, _ = measured(Served(), whole, num_samples)
    assert found == expected


def test_what_the_test_images_alone_decide_is_found_once(monkeypatch):
    counts = {"_squared_radii": 0, "eigh": 0, "nearest": 0}

    def counted(place, name):
        function = getattr(place, name)

        def call(*given, **named):
            counts[name] += 1
            return function(*given, **named)

        monkeypatch.setattr(place, name, call)

    counted(neighbours, "_squared_radii")
    counted(np.linalg, "eigh")
    counted(memorisation, "nearest")
    measured(Served(), data())
    # The test images, the floor, the reconstructions and twice five sets; copies of the sets alone.
    assert counts == {"_squared_radii": 13, "eigh": 13, "nearest": 11}


def test_copies_of_train_images_are_found():
    dataset = data()
    metrics, _ = measured(Served(copies=dataset.train.x), dataset)
    assert metrics["memorised_fraction_sampler"] == 1
    assert metrics["memorised_fraction_prior"] < 0.1
    fresh, _ = measured(Served(), dataset)
    assert fresh["memorised_fraction_sampler"] < 0.05


def test_a_model_without_a_sampler_has_no_figures_of_one():
    metrics, _ = measured(Served("none"), data())
    assert not [name for name in metrics if "sampler" in name]
    assert "frechet_known_prior" in metrics


def test_fewer_samples_are_held_against_as_few_test_images():
    _, protocol = measured(Served(), data(), num_samples=100)
    assert protocol["rows_against_test"] == 100


def test_parts_of_a_set_make_the_same_moments(monkeypatch, known):
    at_once(monkeypatch, 70)
    metrics, _ = measured(Served(), data())
    for key in ("frechet_known_reconstruction", "frechet_known_floor"):
        assert metrics[key] == pytest.approx(known[0][key], rel=1e-6, abs=1e-12)


def test_the_worst_reconstructions_of_all_parts_come_first(monkeypatch):
    at_once(monkeypatch, 20)
    monkeypatch.setattr(observation, "WORST_ROWS", 3)
    dataset, served = data(num_test=50), Served()
    found = dataset.test.x / np.float32(255)
    for place, error in ((7, 0.3), (31, 0.5), (2, 0.1)):
        found[place] += np.float32(error)
    parts = iter((found[:20], found[20:40], found[40:]))
    served.serving_default = lambda x: {"reconstruction": next(parts)}
    reconstruction = Observation(served, dataset, seed=0).reconstruction
    assert list(reconstruction.worst.rows) == [31, 7, 2]
    np.testing.assert_array_equal(reconstruction.worst.reconstruction, found[[31, 7, 2]])
    errors = np.sqrt(reconstruction.errors["mse"][[31, 7, 2]])
    np.testing.assert_allclose(errors, [0.5, 0.3, 0.1], rtol=1e-4)


def drawn(folder, served, dataset, seed=0, judged=True):
    seen = observed(served, dataset) if judged else Observation(served, dataset, seed=0)
    image_drawing.draw_images(folder, seen, np.random.default_rng(seed))
    return {path.name for path in folder.iterdir()}


ALWAYS = {
    "generation.png", "reconstruction.png", "worst.png", "interpolation.png", "calibration.png",
    "traversals.png", "traversals.gif",
}  # fmt: skip


def test_which_figures_there_are(tmp_path):
    served, dataset = Served(), data()
    (tmp_path / "few").mkdir()
    assert drawn(tmp_path / "few", served, dataset, judged=False) == ALWAYS
    served.metadata["directions"] = {"names": ["Bright"], "accuracy": [0.9]}
    assert drawn(tmp_path, served, dataset) - {"few"} == ALWAYS | {
        "neighbours.png", "attributes.png"
    }  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    found = {}
    for name in ("draw_neighbours", "draw_worst", "draw_generations"):
        monkeypatch.setattr(
            image_drawing.figures, name, lambda *rest, path, **_: found.update({path.name: rest})
        )
    for name in ("draw_attributes", "draw_calibration"):
        monkeypatch.setattr(
            image_drawing, name, lambda *rest, path, **_: found.update({path.name: rest})
        )
    monkeypatch.setattr(
        image_drawing, "draw_traversals",
        lambda *rest, path, **_: found.update({path.name: rest}),
    )  # fmt: skip
    return found


def test_what_the_figures_show(tmp_path, asked):
    dataset = data()
    served = Served(copies=dataset.train.x)
    served.metadata["directions"] = {"names": ["Bright", "Dim"], "accuracy": [0.9, 0.6]}
    drawn(tmp_path, served, dataset)
    images, _ = asked["generation.png"]
    assert list(images) == ["from the prior", "through the mixture sampler"]
    samples, neighbours, distances, title = asked["neighbours.png"]
    np.testing.assert_allclose(neighbours[:, 0], samples, atol=1e-6)
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-5)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert "sampler" in title
    rows, _, names, strengths, originals = asked["attributes.png"]
    assert names == ["Bright 90%", "Dim 60%"]  # the best told first
    np.testing.assert_allclose(rows[:, strengths.index(0)], originals, atol=1e-6)
    np.testing.assert_allclose(rows[:, -1] - rows[:, -2], 0.1, atol=1e-5)
    stddev, error, _ = asked["calibration.png"]
    np.testing.assert_allclose(stddev, np.sqrt(0.05), rtol=1e-5)
    np.testing.assert_allclose(error, 0.1, rtol=1e-3)


def test_a_traversal_moves_one_latent_alone(tmp_path, asked):
    served = Served()
    # A latent that carries more than the others: the last pixel.
    encode = served.encode

    def louder(x):
        found = encode(x)
        found["mean"] = found["mean"] * np.linspace(0.1, 1, 64, dtype=np.float32)
        return found

    served.encode = louder
    drawn(tmp_path, served, data())
    rows, labels, values, _ = asked["traversals.png"]
    assert len(rows) == len(labels) == 12
    assert labels[0].startswith("z")
    for row, label in zip(rows, labels, strict=True):
        moved = np.flatnonzero(np.ptp(row.reshape(len(values), -1), axis=0) > 1e-5)
        assert list(moved) == [int(label[1:].split()[0]) - 1]
    first = rows[0].reshape(len(values), -1)
    dim = int(labels[0][1:].split()[0]) - 1
    steps = np.diff(first[:, dim])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    assert steps[0] > 0


@pytest.mark.parametrize("count", [30, 501, 1203])
def test_the_mean_image_is_that_of_all_train_images(count):
    dataset = data(num_train=count)
    mean = (dataset.train.x / 255).mean(axis=0)
    error = np.square(dataset.test.x / 255 - mean).mean(axis=(1, 2, 3))
    expected = (-10 * np.log10(error)).mean()
    assert images.constant_psnr(dataset) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("first_broken_set", [0, 3])
def test_samples_that_are_not_finite_cost_themselves_alone(first_broken_set):
    served, calls = Served(), []
    draw = served.generate

    def broken(seed):
        found = draw(seed)
        if len(calls) >= first_broken_set:
            found["sample"][3] = np.inf
        calls.append(seed)
        return found

    served.generate = broken
    metrics, _ = measured(served, data())
    assert metrics["not_finite_samples_sampler"] > 0 == metrics["not_finite_samples_prior"]
    assert "frechet_known_prior" in metrics
    assert "frechet_known_sampler" not in metrics


def test_the_rows_whose_neighbours_are_looked_for_are_of_all_classes(monkeypatch):
    monkeypatch.setattr(judging, "MAX_MANIFOLD_ROWS", 200)
    dark, bright = faces(200, 5, level=40), faces(200, 6, level=200)
    dataset = data()
    test = Split(np.concatenate([dark, bright]))  # sorted by class
    dataset = Dataset("images", test, dataset.valid, test, {})
    metrics, _ = measured(Served(), dataset)
    assert metrics["coverage_reconstruction"] > 0.2
    assert metrics["recall_floor"] > 0.8
