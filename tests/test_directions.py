import json

import numpy as np
import pytest
from scipy.stats import norm

from kvae.directions import Directions, fit_directions


def normals(rows, latent_dim, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, latent_dim))


def coins(rows, chance, seed):
    return np.random.default_rng(seed).random(rows) < chance


def fitted(latents, labels, valid_latents=None, valid_labels=None, **options):
    """Train and valid alike, unless valid is given."""
    if valid_latents is None:
        valid_latents, valid_labels = latents, labels
    return fit_directions(latents, labels, valid_latents, valid_labels, **{"seed": 0, **options})


def vector_of(directions, name):
    return directions.vectors[directions.names.index(name)]


def held_for(directions, name):
    return directions.held[directions.names.index(name)]


def test_strength_one_takes_the_negatives_mean_to_the_positives():
    latents, label = normals(2000, 3), coins(2000, 0.2, seed=1)
    latents[label] += [0.5, -2.0, 0.0]
    found = fitted(latents, {"a": label})
    moved = latents[~label] + found.vectors[0]
    np.testing.assert_allclose(moved.mean(0), latents[label].mean(0), atol=1e-6)
    np.testing.assert_allclose(found.vectors[0], [0.5, -2.0, 0.0], atol=0.2)


def test_it_follows_where_latents_lie_rather_than_the_boundarys_normal():
    """With a covariance C and a mean difference d the normal is C^-1 d, here (5, -4)."""
    root = np.linalg.cholesky([[1.0, 0.8], [0.8, 1.0]])
    label = coins(20_000, 0.5, seed=1)
    latents = normals(20_000, 2) @ root.T + np.outer(label, [2.0, 0.7])
    np.testing.assert_allclose(fitted(latents, {"a": label}).vectors[0], [2.0, 0.7], atol=0.05)


def confounded(rows=20_000):
    """b in 80% of the rows with a and 30% of those without."""
    a = coins(rows, 0.3, seed=1)
    b = np.where(a, coins(rows, 0.8, seed=2), coins(rows, 0.3, seed=3))
    latents = normals(rows, 3) + np.outer(a, [1.0, 0.0, 0.0]) + np.outer(b, [0.0, 2.0, 0.0])
    return latents, {"a": a, "b": b}


def test_of_correlated_attributes_each_vector_is_the_planted_one():
    latents, labels = confounded()
    found = fitted(latents, labels)
    assert held_for(found, "a") == ("b",)
    assert held_for(found, "b") == ("a",)
    np.testing.assert_allclose(vector_of(found, "a"), [1, 0, 0], atol=0.06)
    np.testing.assert_allclose(vector_of(found, "b"), [0, 2, 0], atol=0.06)
    # The plain difference carries half a unit of b: 80% against 30%.
    plain = fitted(latents, {"a": labels["a"]}).vectors[0]
    np.testing.assert_allclose(plain, [1, 1, 0], atol=0.06)


def test_many_correlated_attributes_are_told_apart_together():
    rows, rng = 20_000, np.random.default_rng(1)
    common = rng.normal(size=rows)
    labels = {name: common + rng.normal(size=rows) > 0.3 for name in "abcd"}
    planted = np.diag([1.0, 2.0, -1.0, 0.5])
    latents = normals(rows, 4) + np.stack(list(labels.values()), 1) @ planted
    found = fitted(latents, labels)
    for name, wanted in zip("abcd", planted, strict=True):
        assert set(held_for(found, name)) == set("abcd") - {name}
        np.testing.assert_allclose(vector_of(found, name), wanted, atol=0.07)


def test_attributes_hardly_correlated_are_not_held():
    labels = {"a": coins(5000, 0.3, seed=1), "b": coins(5000, 0.5, seed=2)}
    latents = normals(5000, 2)
    found = fitted(latents, labels)
    assert found.held == ((), ())
    for name, label in labels.items():
        plain = latents[label].mean(0) - latents[~label].mean(0)
        np.testing.assert_allclose(vector_of(found, name), plain, atol=1e-6)


def test_what_an_attribute_excludes_or_implies_moves_along():
    rows = 6000
    color = np.random.default_rng(1).choice(4, rows, p=[0.1, 0.3, 0.3, 0.3])
    labels = {"blond": color == 1, "black": color == 2, "fair": color <= 1}
    latents = normals(rows, 4) * 0.1 + np.eye(4)[color]
    found = fitted(latents, labels)
    # Blond is always fair and never black; fair is never black, and blond or not.
    assert held_for(found, "blond") == held_for(found, "black") == ()
    assert held_for(found, "fair") == ("blond",)
    others = color != 1
    plain = latents[~others].mean(0) - latents[others].mean(0)
    np.testing.assert_allclose(vector_of(found, "blond"), plain, atol=1e-6)
    assert vector_of(found, "blond")[2] < -0.3


def test_a_label_that_others_add_up_to_keeps_a_part_of_its_own():
    """a is b or c, which exclude one another: held both, nothing of a would be left."""
    kind = np.random.default_rng(1).choice(3, 6000, p=[0.6, 0.25, 0.15])
    labels = {"a": kind > 0, "b": kind == 1, "c": kind == 2}
    latents = normals(6000, 2) * 0.1 + np.array([[0.0, 0.0], [1.0, 1.0], [1.0, -1.0]])[kind]
    found = fitted(latents, labels)
    assert held_for(found, "a") == ("b",)  # the more correlated one
    # Beside b, a tells c from neither.
    np.testing.assert_allclose(vector_of(found, "a"), [1.0, -1.0], atol=0.02)


def test_twins_of_a_held_label_change_nothing():
    latents, labels = confounded(4000)
    with_twin = fitted(latents, {**labels, "twin": labels["b"]})
    alone = fitted(latents, labels)
    np.testing.assert_allclose(vector_of(with_twin, "a"), vector_of(alone, "a"), atol=1e-6)


def two_normals(rows, seed, distance=2.0, chance=0.05):
    label = coins(rows, chance, seed)
    latents = normals(rows, 2, seed + 1)
    latents[:, 0] += distance * label
    return latents, {"a": label}


def test_accuracy_of_two_normals_is_that_of_the_middle_however_rare_one_is():
    train, valid = two_normals(20_000, seed=1), two_normals(20_000, seed=3)
    found = fitted(*train, *valid)
    assert found.accuracy[0] == pytest.approx(norm.cdf(1.0), abs=0.015)


def test_accuracy_is_held_out():
    """Labels by chance: told in train, where latents are many, and not in valid."""
    labels = {"a": coins(60, 0.5, seed=1)}
    many = {"a": coins(4000, 0.5, seed=2)}
    found = fitted(normals(60, 50), labels, normals(4000, 50, seed=5), many)
    assert found.accuracy[0] == pytest.approx(0.5, abs=0.04)


def test_the_best_told_attributes_come_first():
    rows = 3000
    labels = {name: coins(rows, 0.4, seed) for seed, name in enumerate("abc")}
    latents = normals(rows, 3, seed=9) + np.stack(list(labels.values()), 1) * [0.5, 3.0, 1.5]
    found = fitted(latents, labels)
    assert found.names == ("b", "c", "a")
    assert np.all(np.diff(found.accuracy) < 0)
    for place, axis in enumerate([1, 2, 0]):
        assert np.argmax(np.abs(found.vectors[place])) == axis


def test_units_of_the_latents_are_those_of_the_vectors():
    latents, labels = confounded(3000)
    scale = np.array([1e-3, 1.0, 1e3])
    found, scaled = fitted(latents, labels), fitted(latents * scale - 5, labels)
    assert scaled.names == found.names
    np.testing.assert_allclose(scaled.vectors, found.vectors * scale, rtol=1e-4)
    np.testing.assert_allclose(scaled.accuracy, found.accuracy)


def test_an_absent_attribute_moves_the_other_way():
    latents, labels = confounded(3000)
    found = fitted(latents, labels)
    absent = fitted(latents, {**labels, "a": ~labels["a"]})
    np.testing.assert_allclose(vector_of(absent, "a"), -vector_of(found, "a"), atol=1e-6)


def test_rare_attributes_are_left_out_and_named():
    labels = {
        "19": np.arange(400) < 19,
        "20": np.arange(400) < 20,
        "all but 19": np.arange(400) >= 19,
        "never in valid": np.arange(400) % 2 == 0,
        "number": np.arange(400),
    }
    valid = {**labels, "never in valid": np.zeros(400, bool)}
    found = fitted(normals(400, 2), labels, normals(400, 2), valid)
    assert found.names == ("20",)
    assert found.left_out == ("19", "all but 19", "never in valid")


def test_no_attribute_at_all_is_no_direction():
    found = fitted(normals(400, 2), {"rare": np.arange(400) < 3})
    assert found.names == found.held == ()
    assert found.vectors.shape == (0, 2)
    assert found.left_out == ("rare",)


def test_a_collapsed_dimension_stays():
    latents, labels = confounded(1000)
    latents[:, 2] = 7.0
    np.testing.assert_allclose(fitted(latents, labels).vectors[:, 2], 0, atol=1e-6)


def test_rows_beyond_the_most_are_left_out_by_the_seed():
    latents, labels = confounded(4000)
    order = np.argsort(labels["a"], kind="stable")  # the first rows have no positives
    latents, labels = latents[order], {name: label[order] for name, label in labels.items()}
    few = [fitted(latents, labels, max_rows=1000, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(few[0].vectors, few[1].vectors)
    assert not np.allclose(few[0].vectors, few[2].vectors)
    np.testing.assert_allclose(vector_of(few[0], "a"), [1, 0, 0], atol=0.3)
    whole = [fitted(latents, labels, max_rows=4000, seed=seed).vectors for seed in (0, 1)]
    np.testing.assert_array_equal(*whole)


def test_what_does_not_fit_is_refused():
    latents, labels = confounded(200)
    bad = latents.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="train latents must be finite"):
        fitted(bad, labels, latents, labels)
    with pytest.raises(ValueError, match="valid latents must be finite"):
        fitted(latents, labels, bad, labels)
    with pytest.raises(ValueError, match=r"train label 'a' must be bool \(199,\)"):
        fitted(latents[1:], labels, latents, labels)
    with pytest.raises(ValueError, match=r"valid label 'a' must be bool \(200,\): received int64"):
        fitted(latents, labels, latents, {**labels, "a": labels["a"].astype(np.int64)})
    with pytest.raises(ValueError, match="valid labels lack 'b': received a"):
        fitted(latents, labels, latents, {"a": labels["a"]})
    with pytest.raises(ValueError, match="same latent_dim"):
        fitted(latents, labels, latents[:, :2], labels)


def test_directions_are_kept_as_json():
    directions = Directions(
        ("a", "b"),
        np.float32([[0.1, 2.0], [3.0, 1 / 3]]),
        np.array([0.9, 0.7]),
        (("b",), ()),
        ("c",),
    )
    again = Directions.from_json(json.loads(json.dumps(directions.to_json())))
    np.testing.assert_array_equal(again.vectors, directions.vectors)
    np.testing.assert_array_equal(again.accuracy, directions.accuracy)
    assert (again.names, again.held, again.left_out) == (("a", "b"), (("b",), ()), ("c",))
