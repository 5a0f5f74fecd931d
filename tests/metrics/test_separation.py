import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from kvae.data.gmm import Mixture, random_mixture
from kvae.metrics import separation
from kvae.metrics.separation import (
    bayes_metrics,
    can_be_separated,
    can_be_told,
    held_out_auc,
    separation_metrics,
)

FAR = random_mixture(4, 3, 12.0, seed=0)


@pytest.fixture(autouse=True)
def _one_thread():
    """As in `measure`: threads cost more than they gain on so few points."""
    with threadpool_limits(1):
        yield


def drawn(mixture=FAR, count=1200):
    return mixture.sample(count, np.random.default_rng(0))


def test_labels_far_apart_are_told_without_error():
    found = separation_metrics(*drawn(), seed=0)
    assert found["knn_accuracy"] == found["ari"] == 1
    assert found["silhouette"] > 0.7


def test_shuffled_labels_are_told_by_chance_alone():
    points, labels = drawn()
    shuffled = np.random.default_rng(1).permutation(labels)
    found = separation_metrics(points, shuffled, seed=0)
    assert found["knn_accuracy"] < np.bincount(labels).max() / len(labels) + 0.05
    assert found["ari"] == pytest.approx(0, abs=0.02)
    assert found["silhouette"] < 0.05


def test_a_collapsed_latent_tells_nothing():
    labels = np.arange(1000) % 4
    found = separation_metrics(np.zeros((1000, 2), np.float32), labels, seed=0)
    assert found["knn_accuracy"] < 0.35
    assert found["ari"] == 0
    assert found["silhouette"] == 0


def test_two_overlapping_normals_come_near_their_bayes_rate():
    from scipy.stats import norm

    mixture = Mixture([0.5, 0.5], [[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    x, component = drawn(mixture, 20_000)
    limit = bayes_metrics(x, component, mixture)
    # The boundary is 0, the error Phi(-1); the ARI of equal halves with accuracy a is (2a - 1)^2.
    accuracy = norm.cdf(1)
    assert limit["accuracy_bayes"] == pytest.approx(accuracy, abs=0.01)
    assert limit["ari_bayes"] == pytest.approx((2 * accuracy - 1) ** 2, abs=0.02)
    found = separation_metrics(x, component, seed=0)
    assert accuracy - 0.03 < found["knn_accuracy"] < accuracy + 0.005
    assert found["ari"] == pytest.approx(limit["ari_bayes"], abs=0.03)


def test_the_silhouette_by_hand():
    # (b - a) / max(a, b), a to the own label, b to the other. At 0: a = 0. At 1: a = 0.5 / 4,
    # b = 1. The stray at 0.5: both are 0.5.
    points = np.array([[0.0]] * 5 + [[1.0]] * 4 + [[0.5]])
    labels = np.array([0] * 5 + [1] * 5)
    expected = (5 * 1 + 4 * (1 - 0.5 / 4) + 0) / 10
    assert separation_metrics(points, labels, seed=0)["silhouette"] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e-5, 1e6])
def test_the_scale_of_a_space_does_not_matter(scale):
    points, labels = drawn(random_mixture(4, 3, 3.0, seed=1))
    plain = separation_metrics(points, labels, seed=0)
    assert separation_metrics(scale * points, labels, seed=0) == pytest.approx(plain, abs=0.01)


def test_the_names_of_the_labels_do_not_matter():
    points, labels = drawn()
    named = separation_metrics(points, 100 - 7 * labels, seed=0)
    assert named == separation_metrics(points, labels, seed=0)
    halves = separation_metrics(points, labels < 2, seed=0)
    assert halves["knn_accuracy"] == 1


def test_one_seed_gives_the_same_numbers():
    points, labels = drawn(random_mixture(4, 3, 1.0, seed=1), 300)
    first = separation_metrics(points, labels, seed=3)
    assert first == separation_metrics(points, labels, seed=3)
    assert first != separation_metrics(points, labels, seed=4)


def test_which_labels_can_be_separated():
    assert can_be_separated(np.arange(50) % 10)
    assert can_be_separated(np.arange(20) % 2 == 0)
    assert not can_be_separated(np.arange(49) % 10)  # under five a label
    assert not can_be_separated(np.zeros(50, int))
    assert not can_be_separated(np.arange(5000) % 51)
    assert can_be_separated(np.arange(5000) % 50)
    assert not can_be_separated(np.arange(1000) < 9)  # one has over 99%
    assert can_be_separated(np.arange(1000) < 10)
    assert not can_be_separated(np.linspace(0, 1, 50).round())
    assert not can_be_separated(np.zeros(0, int))


def test_impossible_input_is_an_error():
    points, labels = drawn(count=100)
    with pytest.raises(ValueError, match="received 1 of int64 in 100 rows"):
        separation_metrics(points, 0 * labels, seed=0)
    with pytest.raises(ValueError, match=r"received \(100, 3\) and \(99,\)"):
        separation_metrics(points, labels[1:], seed=0)
    points[3, 1] = np.nan
    with pytest.raises(ValueError, match="points must be finite: 1 of 300"):
        separation_metrics(points, labels, seed=0)


def test_neighbours_are_sought_among_a_number_of_random_rows(monkeypatch):
    # Two lines of points side by side: only dense neighbours tell them apart.
    labels = np.arange(4000) % 2
    points = np.stack([np.linspace(0, 200, 4000), 2 * labels], axis=1)
    assert separation_metrics(points, labels, seed=0)["knn_accuracy"] > 0.9
    monkeypatch.setattr(separation, "MAX_NEIGHBOUR_ROWS", 40)
    found = separation_metrics(points, labels, seed=0)["knn_accuracy"]
    assert found < 0.8
    assert found * 20 == pytest.approx(round(found * 20))


def test_the_auc_is_that_of_a_shift_and_of_nothing_for_noise(rng):
    labels = np.arange(2000) % 2 == 0
    noise = rng.normal(size=(2000, 3))
    # The distance of two unit normals is 1: P(a < b) = Phi(1 / sqrt 2) = 0.760.
    shifted = noise + np.array([1.0, 0, 0]) * labels[:, None]
    assert held_out_auc(shifted, labels, seed=0) == pytest.approx(0.760, abs=0.03)
    # 200 dimensions of noise are told in fitting, not on points held out.
    assert held_out_auc(rng.normal(size=(400, 200)), labels[:400], seed=0) < 0.6


def test_a_label_of_which_few_rows_are_chosen_is_not_told(monkeypatch):
    labels = np.arange(1000) < 40
    assert can_be_told(labels, seed=0)
    monkeypatch.setattr(separation, "MAX_NEIGHBOUR_ROWS", 50)
    assert not can_be_told(labels, seed=0)
    assert can_be_told(np.arange(1000) % 2, seed=0)
    assert not can_be_told(np.arange(1000) / 3, seed=0)
