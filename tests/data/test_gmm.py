import json

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from kvae.data import gmm
from kvae.errors import UsageError


def rng(seed=0):
    return np.random.default_rng(seed)


def test_density_of_a_standard_normal_by_hand():
    mixture = gmm.Mixture([1.0], [[0.0, 0.0]], [np.eye(2)])
    # log(1 / 2 pi), and two units further out minus 2.
    np.testing.assert_allclose(
        mixture.log_prob(np.array([[0.0, 0.0], [0.0, 2.0]])), [-1.8378770664, -3.8378770664]
    )


@pytest.mark.parametrize(("count", "separation"), [(1, 5.0), (10, 5.0), (50, 0.2)])
def test_density_integrates_to_one_in_1d(count, separation):
    mixture = gmm.random_mixture(count, 1, separation, seed=4)
    low, high = mixture.means.min() - 12, mixture.means.max() + 12
    grid = np.arange(low, high, 0.01)
    assert np.exp(mixture.log_prob(grid[:, None])).sum() * 0.01 == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("warp", [0.0, 0.3])
def test_density_integrates_to_one_in_2d(warp):
    mixture = gmm.random_mixture(5, 2, 1.0, seed=1, warp=warp)
    # At seven standard deviations a bend of 0.3 reaches 0.3 * 48 of the last coordinate's.
    axis = np.arange(np.abs(mixture.means).max() + 8 + 48 * warp, step=0.04)
    axis = np.concatenate([-axis[:0:-1], axis])
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(mixture.log_prob(grid)).sum() * 0.04**2 == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("dim", [1, 3, 32])
def test_density_and_responsibilities_agree_with_scipy(dim):
    mixture = gmm.random_mixture(7, dim, 0.5, seed=2)
    x, _ = mixture.sample(200, rng())
    joint = mixture.weights * np.stack(
        [
            multivariate_normal(mean, covariance).pdf(x)
            for mean, covariance in zip(mixture.means, mixture.covariances, strict=True)
        ],
        axis=1,
    )
    bayes = joint / joint.sum(1, keepdims=True)
    assert (bayes.max(1) < 0.99).any()
    np.testing.assert_allclose(mixture.log_prob(x), np.log(joint.sum(1)), rtol=1e-10)
    np.testing.assert_allclose(mixture.responsibilities(x), bayes, rtol=1e-8, atol=1e-14)


def test_mahalanobis_counts_standard_deviations_along_each_axis():
    mixture = gmm.Mixture([0.5, 0.5], [[0, 0], [10, 0]], [np.diag([4.0, 0.25]), np.eye(2)])
    np.testing.assert_allclose(
        mixture.mahalanobis(np.array([[4.0, 0.0], [0.0, 1.0]])), [[2, 6], [2, np.sqrt(101)]]
    )


def test_far_away_the_density_stays_finite_and_responsibilities_sum_to_one():
    mixture = gmm.random_mixture(10, 3, 5.0, seed=0)
    x = rng().normal(size=(100, 3)) * 1e6
    assert np.isfinite(mixture.log_prob(x)).all()
    np.testing.assert_allclose(mixture.responsibilities(x).sum(1), 1, rtol=1e-12)


def test_a_non_finite_row_spoils_no_other_row():
    mixture = gmm.random_mixture(3, 3, 5.0, seed=0)
    x, _ = mixture.sample(3, rng())
    broken = x.copy()
    broken[1, 0] = np.nan
    assert np.isnan(mixture.log_prob(broken)[1])
    np.testing.assert_array_equal(mixture.log_prob(broken)[[0, 2]], mixture.log_prob(x)[[0, 2]])


def test_chunks_give_what_one_pass_gives(monkeypatch):
    mixture = gmm.random_mixture(4, 3, 0.5, seed=0)
    x, _ = mixture.sample(1000, rng())
    whole = mixture.log_prob(x), mixture.responsibilities(x), mixture.mahalanobis(x)
    monkeypatch.setattr(gmm, "_BLOCK", 7)
    parts = mixture.log_prob(x), mixture.responsibilities(x), mixture.mahalanobis(x)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-300)


def test_samples_have_the_moments_of_their_components():
    mixture = gmm.random_mixture(4, 3, 5.0, seed=3)
    x, component = mixture.sample(400_000, rng(1))
    shares = np.bincount(component, minlength=4) / len(x)
    np.testing.assert_allclose(shares, mixture.weights, atol=4 * 0.5 / np.sqrt(len(x)))
    for k in range(4):
        own = x[component == k]
        np.testing.assert_allclose(own.mean(0), mixture.means[k], atol=5 / np.sqrt(len(own)))
        np.testing.assert_allclose(np.cov(own.T), mixture.covariances[k], atol=0.02)


def test_separated_components_are_told_apart_by_their_responsibility():
    mixture = gmm.random_mixture(10, 3, 8.0, seed=0)
    x, component = mixture.sample(10_000, rng())
    assert (mixture.responsibilities(x).argmax(1) == component).mean() > 0.999


@pytest.mark.parametrize(
    ("count", "dim", "separation"),
    [(1, 1, 5), (10, 3, 5), (50, 1, 5), (50, 2, 0.2), (50, 3, 20), (50, 32, 5), (10, 2, 0)],
)
def test_random_mixtures_keep_their_promises(count, dim, separation):
    for seed in range(20):
        mixture = gmm.random_mixture(count, dim, separation, seed)
        variances = np.linalg.eigvalsh(mixture.covariances)
        assert variances.min() >= 0.4**2 - 1e-9
        assert variances.max() <= 1 + 1e-9
        gaps = np.linalg.norm(mixture.means[:, None] - mixture.means, axis=2)
        gaps = gaps[~np.eye(count, dtype=bool)]
        assert gaps.min(initial=np.inf) >= separation * np.sqrt(variances.max()) * (1 - 1e-9)
        assert mixture.weights.sum() == pytest.approx(1, abs=1e-12)
        assert mixture.weights.min() >= 0.2 / count - 1e-12
        assert count == 1 or mixture.weights.max() > 1.3 * mixture.weights.min()


def test_covariances_are_full_and_turned_every_way():
    mixture = gmm.random_mixture(50, 2, 0.0, seed=0)
    correlation = mixture.covariances[:, 0, 1] / np.sqrt(
        mixture.covariances[:, 0, 0] * mixture.covariances[:, 1, 1]
    )
    assert correlation.max() > 0.4
    assert correlation.min() < -0.4


def test_a_small_separation_overlaps_and_a_large_one_does_not():
    def entropy(separation):
        mixture = gmm.random_mixture(10, 3, separation, seed=0)
        r = mixture.responsibilities(mixture.sample(5000, rng())[0])
        return -(r * np.log(np.maximum(r, 1e-300))).sum(1).mean()

    assert entropy(0.2) > 0.1
    assert entropy(8.0) < 1e-3


def test_the_card_survives_json_exactly():
    mixture = gmm.random_mixture(6, 4, 1.0, seed=0)
    again = gmm.Mixture.from_card(json.loads(json.dumps({**mixture.to_card(), "note": None})))
    x, _ = mixture.sample(100, rng())
    np.testing.assert_array_equal(again.log_prob(x), mixture.log_prob(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [0.5, 0.6]}, "sum to one"),
        ({"weights": [1.5, -0.5]}, "positive"),
        ({"weights": [1.0]}, r"\(1,\)"),
        ({"means": [[0.0], [np.nan]]}, "finite"),
        ({"covariances": [[[1.0]], [[0.0]]]}, "positive definite"),
        ({"covariances": [[[1.0]], [[np.nan]]]}, "finite"),
        ({"means": [0.0, 1.0]}, r"means \(K, D\)"),
        ({"warp": 0.1}, "one dimension cannot be bent"),
        ({"warp": float("nan")}, "warp must be a finite number"),
        ({"warp": None}, "warp must be a finite number"),
    ],
)
def test_numbers_that_are_no_mixture_are_refused(change, message):
    good = {"weights": [0.5, 0.5], "means": [[0.0], [1.0]], "covariances": [[[1.0]], [[2.0]]]}
    with pytest.raises(ValueError, match=message):
        gmm.Mixture.from_card({**good, **change})


def test_a_card_without_a_key_and_points_of_another_width_are_refused():
    with pytest.raises(ValueError, match="covariances"):
        gmm.Mixture.from_card({"weights": [1.0], "means": [[0.0]]})
    with pytest.raises(ValueError, match=r"\(rows, 3\).*\(5, 2\)"):
        gmm.random_mixture(2, 3, 1.0, 0).log_prob(np.zeros((5, 2)))


def test_load_draws_disjoint_splits_of_the_mixture_on_its_card():
    dataset = gmm.load()
    mixture = gmm.Mixture.from_card(json.loads(json.dumps(dataset.card))["mixture"])
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    assert (dataset.kind, dataset.color_by) == ("vectors", "component")
    assert {name: len(split.x) for name, split in splits.items()} == dataset.card["counts"]
    assert dataset.card["counts"] == {"train": 50_000, "valid": 10_000, "test": 10_000}
    everything = np.concatenate([split.x for split in splits.values()])
    assert everything.dtype == np.float32
    assert len(np.unique(everything, axis=0)) == 70_000
    for split in splits.values():
        component = split.labels["component"]
        assert component.dtype == np.int64
        own = mixture.mahalanobis(split.x)[np.arange(len(component)), component]
        # The squared distance of a point to its own component is chi-squared with 3 degrees.
        assert np.square(own).mean() == pytest.approx(3, abs=5 * np.sqrt(6 / len(own)))


def test_the_seed_decides_everything():
    first, again, other = gmm.load(gmm_seed=5), gmm.load(gmm_seed=5), gmm.load(gmm_seed=6)
    np.testing.assert_array_equal(first.test.x, again.test.x)
    assert first.card == again.card
    assert first.card["mixture"] != other.card["mixture"]
    assert not np.isclose(first.test.x, other.test.x).all(1).any()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("gmm_seed", -1, "0 or more"),
        ("gmm_components", 0, "from 1 to 50"),
        ("gmm_components", 51, "from 1 to 50"),
        ("gmm_components", True, "from 1 to 50"),
        ("gmm_dim", 33, "from 1 to 32"),
        ("gmm_dim", 2.5, "from 1 to 32"),
        ("gmm_separation", -0.1, "from 0 to 1000"),
        ("gmm_separation", float("nan"), "from 0 to 1000"),
        ("gmm_separation", float("inf"), "from 0 to 1000"),
        ("gmm_warp", -0.1, "from 0 to 5"),
        ("gmm_warp", 5.1, "from 0 to 5"),
        ("gmm_warp", float("nan"), "from 0 to 5"),
        ("gmm_weights", "flat", "random, steep"),
    ],
)
def test_bad_options_say_what_is_allowed_and_what_came(option, value, allowed):
    with pytest.raises(UsageError, match=f"{option} must be .*{allowed}: received '?{value}"):
        gmm.load(**{option: value})


def test_default_mixtures_and_points_stay_the_recorded_ones():
    first, second = (
        gmm.load(),
        gmm.load(gmm_seed=7, gmm_components=4, gmm_dim=2, gmm_separation=1.0),
    )
    mixture = first.card["mixture"]
    assert mixture.keys() == {"weights", "means", "covariances"}
    assert first.card.keys() == {"name", "source", "seed", "separation", "counts", "mixture"}
    recorded = [0.11400779709541568, 0.14096626587058378, 0.0856781554623517]
    np.testing.assert_allclose(mixture["weights"][:3], recorded, rtol=1e-12)
    recorded = [-7.625254703619549, -2.010801932258115, 8.817512477675539]
    np.testing.assert_allclose(mixture["means"][0], recorded, rtol=1e-12)
    recorded = [0.5480337724354125, -0.29290522542976705, 0.008336610512740093]
    np.testing.assert_allclose(mixture["covariances"][-1][0], recorded, rtol=1e-9)
    recorded = [-4.603030681610107, -10.604578018188477, 0.7933368682861328]
    np.testing.assert_allclose(first.test.x[0], recorded, rtol=1e-6)
    assert first.test.labels["component"][:5].tolist() == [8, 0, 5, 6, 1]
    mixture = second.card["mixture"]
    np.testing.assert_allclose(mixture["weights"][0], 0.2677206503865694, rtol=1e-12)
    np.testing.assert_allclose(
        second.test.x[0], [0.3678661584854126, -1.404882550239563], rtol=1e-6
    )


def test_density_of_a_bent_normal_by_hand():
    mixture = gmm.Mixture([1.0], [[1.0, 3.0]], [np.diag([4.0, 9.0])], warp=0.5)
    # x = (5, 3 + 0.5 * 3 * (2**2 - 1)) is the bent (5, 3): two standard deviations along the first
    # coordinate, none along the last; log(1 / (2 pi * 2 * 3)) - 2.
    x = np.array([[5.0, 7.5]])
    np.testing.assert_allclose(mixture.log_prob(x), -np.log(2 * np.pi * 6) - 2, rtol=1e-12)
    np.testing.assert_allclose(mixture.mahalanobis(x), [[2.0]], rtol=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 32])
def test_density_and_responsibilities_of_bent_components_agree_with_scipy(dim):
    mixture = gmm.random_mixture(7, dim, 0.5, seed=2, warp=1.3)
    x, _ = mixture.sample(200, rng())
    joint, distances = np.empty((200, 7)), np.empty((200, 7))
    for k, (mean, covariance) in enumerate(zip(mixture.means, mixture.covariances, strict=True)):
        y = x.copy()
        u = (x[:, 0] - mean[0]) / covariance[0, 0] ** 0.5
        y[:, dim - 1] = x[:, dim - 1] - 1.3 * covariance[dim - 1, dim - 1] ** 0.5 * (u**2 - 1)
        joint[:, k] = mixture.weights[k] * multivariate_normal(mean, covariance).pdf(y)
        precision = np.linalg.inv(covariance)
        distances[:, k] = np.einsum("ni,ij,nj->n", y - mean, precision, y - mean) ** 0.5
    np.testing.assert_allclose(mixture.log_prob(x), np.log(joint.sum(1)), rtol=1e-9)
    bayes = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(mixture.responsibilities(x), bayes, rtol=1e-7, atol=1e-14)
    np.testing.assert_allclose(mixture.responsibilities(x).sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(mixture.mahalanobis(x), distances, rtol=1e-9)


def test_a_bent_component_has_its_moments_in_closed_form():
    mixture = gmm.random_mixture(3, 3, 2.0, seed=3, warp=0.8)
    x, component = mixture.sample(600_000, rng(1))
    for k in range(3):
        own = x[component == k]
        variance = mixture.covariances[k, 2, 2]
        covariance = mixture.covariances[k].copy()
        covariance[2, 2] += 2 * 0.8**2 * variance
        np.testing.assert_allclose(own.mean(0), mixture.means[k], atol=8 / np.sqrt(len(own)))
        np.testing.assert_allclose(np.cov(own.T), covariance, atol=0.04)
        # Straight and bent parts are uncorrelated, so u**2 - 1 explains exactly warp * stddev.
        u = (own[:, 0] - mixture.means[k, 0]) / mixture.covariances[k, 0, 0] ** 0.5
        bend = ((u**2 - 1) * own[:, 2]).mean() / 2
        assert bend == pytest.approx(0.8 * variance**0.5, abs=0.02)


def test_samples_of_bent_components_lie_at_chi_squared_distances():
    mixture = gmm.random_mixture(3, 4, 5.0, seed=0, warp=2.0)
    x, component = mixture.sample(100_000, rng())
    squared = np.square(mixture.mahalanobis(x)[np.arange(len(x)), component])
    assert squared.mean() == pytest.approx(4, abs=5 * np.sqrt(8 / len(x)))
    assert squared.var() == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("dim", [2, 5])
def test_the_shear_is_undone_by_its_inverse_and_keeps_volumes(dim):
    mixture = gmm.random_mixture(4, dim, 1.0, seed=5, warp=1.7)
    x = rng().normal(size=(50, dim)) * 3
    for k in range(4):
        np.testing.assert_allclose(mixture._shear(mixture._shear(x, k, 1), k, -1), x, atol=1e-12)
        step = 1e-6
        jacobian = np.stack(
            [
                (mixture._shear(x + step * unit, k, 1) - mixture._shear(x - step * unit, k, 1))
                / (2 * step)
                for unit in np.eye(dim)
            ],
            axis=2,
        )
        np.testing.assert_allclose(np.linalg.det(jacobian), 1, atol=1e-6)
        assert np.abs(jacobian - np.eye(dim)).max() > 1


def test_the_shear_leaves_its_argument_alone():
    mixture = gmm.random_mixture(2, 2, 1.0, seed=0, warp=1.0)
    x = rng().normal(size=(10, 2))
    before = x.copy()
    mixture.log_prob(x)
    np.testing.assert_array_equal(x, before)


def test_a_warp_survives_the_card_and_changes_no_gaussian():
    bent = gmm.load(gmm_warp=1.5)
    mixture = gmm.mixture_of(json.loads(json.dumps(bent.card)))
    straight = gmm.Mixture.from_card(gmm.load().card["mixture"])
    assert (mixture.warp, straight.warp) == (1.5, 0.0)
    np.testing.assert_array_equal(mixture.covariances, straight.covariances)
    np.testing.assert_array_equal(mixture.means, straight.means)
    # E[-log p] of separated components is that of straight ones: a shear keeps the entropy.
    entropies = [-m.log_prob(m.sample(50_000, rng())[0]).mean() for m in (mixture, straight)]
    assert entropies[0] == pytest.approx(entropies[1], abs=0.03)


def test_one_dimension_cannot_be_bent():
    with pytest.raises(
        UsageError, match=r"gmm_dim of 2 or more: received gmm_warp 0\.5, gmm_dim 1"
    ):
        gmm.load(gmm_warp=0.5, gmm_dim=1)


@pytest.mark.parametrize("count", [2, 3, 10, 50])
def test_steep_weights_fall_geometrically_to_one_percent(count):
    steep = gmm.random_mixture(count, 2, 1.0, seed=0, weights="steep")
    random = gmm.random_mixture(count, 2, 1.0, seed=0)
    ordered = np.sort(steep.weights)
    assert ordered[0] == pytest.approx(0.01, rel=1e-9)
    assert ordered.sum() == pytest.approx(1, abs=1e-12)
    assert (ordered[1:] > ordered[:-1]).all()
    np.testing.assert_allclose(ordered[1:] / ordered[:-1], ordered[1] / ordered[0], rtol=1e-9)
    np.testing.assert_array_equal(np.argsort(steep.weights), np.argsort(random.weights))
    np.testing.assert_array_equal(steep.means, random.means)
    np.testing.assert_array_equal(steep.covariances, random.covariances)


def test_steep_weights_decide_the_shares_of_the_points_and_stand_on_the_card():
    dataset = gmm.load(gmm_components=3, gmm_weights="steep")
    shares = np.bincount(dataset.train.labels["component"]) / 50_000
    np.testing.assert_allclose(shares, dataset.card["mixture"]["weights"], atol=0.01)
    assert shares.min() == pytest.approx(0.01, abs=0.002)
    assert dataset.card["weights"] == "steep"
    assert gmm.load(gmm_components=1, gmm_weights="steep").card["mixture"]["weights"] == [1.0]


def test_other_weights_and_a_negative_warp_are_refused():
    with pytest.raises(ValueError, match="weights must be one of random, steep: received 'even'"):
        gmm.random_mixture(2, 2, 1.0, seed=0, weights="even")
    with pytest.raises(ValueError, match=r"warp must not be negative: received -0\.5"):
        gmm.random_mixture(2, 2, 1.0, seed=0, warp=-0.5)
