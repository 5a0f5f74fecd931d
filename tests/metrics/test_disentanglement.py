import itertools
import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from kvae.metrics import disentanglement as module
from kvae.metrics.disentanglement import (
    completeness,
    dci,
    discretised,
    disentanglement,
    factor_vae_score,
    mutual_information,
    mutual_information_gap,
)


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost more than they gain on so few points."""
    with threadpool_limits(1):
        yield


def grid(*counts, repeats=1):
    """Every combination of factor values equally often: no factor tells anything of another."""
    return np.tile(np.array([*itertools.product(*map(range, counts))]), (repeats, 1))


FACTORS = grid(4, 3, 5, repeats=10)
SCALES = np.array([-0.02, 7.0, 300.0])


def ideal(factors):
    """Each factor in a dimension of its own, in another order, unit and origin."""
    return SCALES * factors[:, [2, 0, 1]] + 5


def turned(factors):
    """A factor pair, rotated by 45 degrees."""
    return factors @ np.array([[1.0, 1.0], [1.0, -1.0]])


def entropy(counts):
    return -sum(c / sum(counts) * math.log(c / sum(counts)) for c in counts if c)


def test_bins_have_equal_width():
    values = np.array([-1.0, 3.0, -0.01, 0.0, 0.99, 1.0, 2.9])
    assert discretised(values, 4).tolist() == [0, 3, 0, 1, 1, 2, 3]
    assert discretised(np.full(3, 0.1), 20).tolist() == [discretised(np.full(1, 0.1), 20)[0]] * 3
    uniform = np.append(np.random.default_rng(0).random(10_000), [0.0, 1.0])
    np.testing.assert_array_equal(discretised(uniform, 7), np.floor(uniform * 7).clip(max=6))


def test_the_information_of_a_sum():
    # I(a; a + b) = H(a + b) - H(b): the sum of two fair dice with four faces.
    codes = grid(4, 4).sum(1, keepdims=True)
    expected = entropy([1, 2, 3, 4, 3, 2, 1]) - math.log(4)
    np.testing.assert_allclose(mutual_information(codes, grid(4, 4)), [[expected, expected]])


def test_information_and_gap_from_the_joint_table():
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((300, 3))
    factors = np.stack([rng.integers(-2, 2, 300), (codes[:, 1] > 0.3) * 7, rng.integers(0, 9, 300)])
    factors = factors.T
    codes[:, 2] += factors[:, 0]
    table = np.zeros((3, 3))
    for i, j in itertools.product(range(3), range(3)):
        edges = np.histogram(codes[:, i], 6)[1]
        for low, high in itertools.pairwise(edges):
            inside = (codes[:, i] >= low) & ((codes[:, i] < high) | (high == edges[-1]))
            for value in set(factors[:, j]):
                both, same = (inside & (factors[:, j] == value)).mean(), factors[:, j] == value
                if both:
                    table[i, j] += both * math.log(both / (inside.mean() * same.mean()))
    np.testing.assert_allclose(mutual_information(codes, factors, bins=6), table)
    gaps = []
    for j in range(3):
        _, second, largest = sorted(table[:, j])
        counts = np.unique(factors[:, j], return_counts=True)[1]
        gaps.append((largest - second) / entropy(counts.tolist()))
    assert mutual_information_gap(codes, factors, bins=6) == pytest.approx(np.mean(gaps))


def test_the_gap_of_ideal_codes_is_one():
    assert mutual_information_gap(ideal(FACTORS), FACTORS) == pytest.approx(1)
    idle = np.zeros((len(FACTORS), 2))
    assert mutual_information_gap(np.hstack([ideal(FACTORS), idle]), FACTORS) == pytest.approx(1)


def test_the_gap_of_codes_that_do_not_stand_alone_is_zero():
    assert mutual_information_gap(np.full((len(FACTORS), 3), 0.7), FACTORS) == 0
    twice = np.hstack([ideal(FACTORS), -ideal(FACTORS)])
    assert mutual_information_gap(twice, FACTORS) == pytest.approx(0, abs=1e-12)
    assert mutual_information_gap(turned(grid(5, 5)), grid(5, 5)) == pytest.approx(0, abs=1e-12)


def test_one_dimension_has_no_rival():
    factors = grid(4, 3)
    # All of the first factor, nothing of the second.
    assert mutual_information_gap(factors[:, :1], factors) == pytest.approx(0.5)


def test_scores_of_importance_by_hand():
    one_for_both, half = np.array([[1.0, 1.0], [0.0, 0.0]]), np.repeat(np.eye(2), 2, axis=0) / 2
    assert (disentanglement(one_for_both), completeness(one_for_both)) == (0, 1)
    assert disentanglement(half) == 1
    # ln 2 of ln 4.
    assert completeness(half) == pytest.approx(0.5)
    # A code of weight 3/4 that is all for one factor, and one of 1/4 that is even.
    assert disentanglement([[6.0, 0.0], [1.0, 1.0], [0.0, 0.0]]) == pytest.approx(0.75)
    assert disentanglement(np.zeros((3, 2))) == completeness(np.zeros((3, 2))) == 0
    for shape in ((3, 7), (1, 5)):
        assert disentanglement(np.ones(shape)) == pytest.approx(0, abs=1e-12)
    assert disentanglement([[2.0], [1.0]]) == completeness([[2.0, 1.0]]) == 1


def test_scores_of_random_importance_from_the_definition():
    importance = np.random.default_rng(0).random((4, 3)) * [1.0, 5.0, 0.1]
    importance[1, 2] = 0
    for score, matrix in ((disentanglement, importance), (completeness, importance.T)):
        expected = 0
        for row in matrix:
            fractions = row / row.sum()
            spread = -sum(p * math.log(p, matrix.shape[1]) for p in fractions if p)
            expected += row.sum() / importance.sum() * (1 - spread)
        assert score(importance) == pytest.approx(expected)


def halves(codes, factors):
    order = np.random.default_rng(0).permutation(len(codes))
    first, second = np.array_split(order, 2)
    return codes[first], factors[first], codes[second], factors[second]


def test_ideal_codes_are_used_alone():
    found = dci(*halves(ideal(FACTORS), FACTORS), seed=0)
    for part in ("disentanglement", "completeness", "informativeness"):
        assert found[f"dci_{part}_posterior"] == pytest.approx(1, abs=1e-6)
    assert found["dci_informativeness_posterior_train"] == pytest.approx(1, abs=1e-6)


def test_codes_that_carry_nothing_are_not_used():
    noise = np.random.default_rng(1).standard_normal((len(FACTORS), 12))
    found = dci(*halves(np.hstack([noise, ideal(FACTORS)]), FACTORS), seed=0)
    assert (
        found["dci_disentanglement_posterior"] > 0.99 and found["dci_completeness_posterior"] > 0.99
    )


def test_codes_given_twice_are_disentangled_but_not_complete():
    factors = grid(4, 4, repeats=25)
    found = dci(*halves(np.hstack([factors, factors]), factors), seed=0)
    assert found["dci_disentanglement_posterior"] == pytest.approx(1, abs=1e-6)
    # Each factor is served by two of four codes.
    assert found["dci_completeness_posterior"] == pytest.approx(0.5, abs=0.03)


def test_turned_codes_are_informative_but_not_disentangled():
    factors = grid(5, 5, repeats=20)
    found = dci(*halves(turned(factors), factors), seed=0)
    assert found["dci_informativeness_posterior"] == 1
    assert (
        found["dci_disentanglement_posterior"] < 0.05 and found["dci_completeness_posterior"] < 0.05
    )


def test_constant_codes_tell_no_more_than_chance():
    known, hidden = np.array([[0, 0]] * 6 + [[1, 2]] * 4), np.array([[0, 0]] * 3 + [[1, 1]] * 7)
    found = dci(np.ones((10, 4)), known, np.ones((10, 4)), hidden, seed=0)
    assert found["dci_disentanglement_posterior"] == found["dci_completeness_posterior"] == 0
    assert found["dci_informativeness_posterior_chance"] == pytest.approx(0.3)
    assert found["dci_informativeness_posterior"] == pytest.approx(0.3)
    assert found["dci_informativeness_posterior_train"] == pytest.approx(0.6)


def test_informativeness_is_that_of_the_test_rows():
    factors = grid(2, 2, repeats=50)
    wrong = factors.copy()
    wrong[:, 0] = 1 - wrong[:, 0]
    found = dci(factors, factors, factors, wrong, seed=0)
    assert found["dci_informativeness_posterior_train"] == 1
    assert (
        found["dci_informativeness_posterior"]
        == found["dci_informativeness_posterior_chance"]
        == 0.5
    )


def test_dci_of_random_codes_from_its_definition():
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    codes, factors = rng.standard_normal((400, 3)), rng.integers(0, 3, (400, 2))
    codes[:, 0] += 2 * factors[:, 0]
    codes[:, 1] += factors.sum(1)
    split = codes[:250], factors[:250], codes[250:], factors[250:]
    found = dci(*split, seed=3)
    forests = [
        RandomForestClassifier(**module.FOREST, random_state=3).fit(codes[:250], factors[:250, j])
        for j in range(2)
    ]
    matrix = np.stack([forest.feature_importances_ for forest in forests], axis=1)
    assert found["dci_disentanglement_posterior"] == disentanglement(matrix)
    assert found["dci_completeness_posterior"] == completeness(matrix)
    right = [forests[j].predict(codes[250:]) == factors[250:, j] for j in range(2)]
    assert found["dci_informativeness_posterior"] == pytest.approx(np.mean(right))
    assert 0.05 < found["dci_disentanglement_posterior"] < 0.95
    assert found == dci(*split, seed=3) != dci(*split, seed=4)


def batches_of(encode, *counts, batch=32):
    """`fixed_codes` of uniform factors with these numbers of values."""

    def fixed_codes(chosen, rng):
        factors = rng.integers(counts, size=(len(chosen), batch, len(counts)))
        for index, factor in enumerate(chosen):
            factors[index, :, factor] = factors[index, 0, factor]
        return np.stack([encode(one) for one in factors])

    return fixed_codes


def voted(fixed_codes, num_factors, variances, num_train=120, num_test=70, seed=0):
    return factor_vae_score(
        fixed_codes, num_factors, variances, num_train=num_train, num_test=num_test, seed=seed
    )


def test_ideal_codes_always_vote_right():
    # Unless it is scaled, the first dimension has a standard deviation of 0.028: too little.
    def encode(factors):
        return [4.0, 1.0, 1.0] * ideal(factors)

    found = voted(batches_of(encode, 4, 3, 5), 3, encode(FACTORS).var(0))
    assert found == {
        "factor_vae_posterior": 1,
        "factor_vae_posterior_train": 1,
        "factor_vae_dimensions_posterior": 3,
    }

    def twice(factors):
        return np.hstack([encode(factors), -encode(factors), np.full((len(factors), 1), 0.5)])

    found = voted(batches_of(twice, 4, 3, 5), 3, twice(FACTORS).var(0))
    assert found == {
        "factor_vae_posterior": 1,
        "factor_vae_posterior_train": 1,
        "factor_vae_dimensions_posterior": 6,
    }


def test_codes_without_the_factors_vote_by_chance():
    noise = np.random.default_rng(5)
    found = voted(
        lambda chosen, _: noise.standard_normal((len(chosen), 16, 3)), 4, np.ones(3), 400, 400
    )
    assert found["factor_vae_posterior"] == pytest.approx(0.25, abs=0.09)


def test_dimensions_that_hardly_vary_take_no_part():
    codes = batches_of(ideal, 4, 3, 5)
    assert voted(codes, 3, [0.0, 0.0499**2, 0.0])["factor_vae_posterior"] == 0
    assert voted(codes, 3, [0.0, 0.0499**2, 0.0])["factor_vae_dimensions_posterior"] == 0
    assert voted(codes, 3, [0.0, 0.0501**2, 0.0])["factor_vae_dimensions_posterior"] == 1
    # Two of the three factors are known, the third is guessed.
    found = voted(codes, 3, [0.0, *ideal(FACTORS).var(0)[1:]], 300, 300)
    assert (
        found["factor_vae_dimensions_posterior"] == 2 and 0.6 < found["factor_vae_posterior"] < 0.9
    )


def test_votes_from_their_definition():
    calls = []
    mixed = batches_of(lambda factors: factors @ np.random.default_rng(2).random((3, 5)), 4, 3, 5)

    def recorded(chosen, rng):
        codes = mixed(chosen, rng)
        calls.append((chosen, codes))
        return codes

    variances = np.array([1.0, 0.7, 0.0, 3.0, 2.0])
    found = voted(recorded, 3, variances)
    assert [len(chosen) for chosen, _ in calls] == [50, 50, 20, 50, 20]
    votes = []
    for chosen, codes in calls:
        for factor, batch in zip(chosen, codes, strict=True):
            ratios = {d: np.var(batch[:, d]) / variances[d] for d in (0, 1, 3, 4)}
            votes.append((min(ratios, key=ratios.get), factor))
    train, test = votes[:120], votes[120:]
    best = {d: max(range(3), key=lambda k: train.count((d, k))) for d in (0, 1, 3, 4)}
    for name, some in (("factor_vae_posterior_train", train), ("factor_vae_posterior", test)):
        assert found[name] == pytest.approx(np.mean([best[d] == k for d, k in some]))
    assert 0.35 < found["factor_vae_posterior"] < 0.95
    chosen = np.bincount([factor for _, factor in votes], minlength=3)
    # Six standard errors of 190 thirds.
    assert np.abs(chosen - 190 / 3).max() < 6 * math.sqrt(190 * 2 / 9)
    assert found == voted(mixed, 3, variances) != voted(mixed, 3, variances, seed=1)


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros((4, 2)), np.zeros((4, 2), int), r"factors has one alone in columns \[0, 1\]"),
        (np.zeros((4, 2)), np.eye(4), "whole numbers, see `discretised`: received float64"),
        (np.zeros((4, 2)), np.eye(3, dtype=int), r"received \(4, 2\) and \(3, 3\)"),
        (np.zeros(4), np.eye(4, dtype=int), r"received \(4,\) and \(4, 4\)"),
        (np.zeros((4, 2)), np.zeros((4, 0), int), r"\(4, 0\)"),
        (np.full((4, 2), np.nan), np.eye(4, dtype=int), "codes must be finite: 8 of 8"),
    ],
)
def test_codes_and_factors_that_cannot_be_compared_are_refused(codes, factors, message):
    with pytest.raises(ValueError, match=message):
        mutual_information_gap(codes, factors)
    with pytest.raises(ValueError, match=message):
        dci(codes, factors, codes, factors, seed=0)


def test_impossible_input_is_an_error():
    codes, factors = grid(2, 2), grid(2, 2)
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(4, 1\)"):
        dci(codes, factors, codes[:, :1], factors, seed=0)
    with pytest.raises(ValueError, match="same factors"):
        dci(codes, factors, codes, factors[:, :1], seed=0)
    with pytest.raises(ValueError, match="bins must be at least 2: received 1"):
        mutual_information_gap(codes, factors, bins=1)
    with pytest.raises(ValueError, match=r"values must be \(n,\): received \(4, 2\)"):
        discretised(codes, 3)
    with pytest.raises(ValueError, match="negative: received -1"):
        disentanglement([[1.0, -1.0]])
    with pytest.raises(ValueError, match=r"\(d, f\): received \(1,\)"):
        disentanglement([1.0])
    with pytest.raises(ValueError, match="importance must be finite"):
        completeness([[np.inf]])


def test_votes_that_cannot_be_cast_are_refused():
    fixed_codes = batches_of(ideal, 4, 3, 5)
    with pytest.raises(ValueError, match=r"at least 2 factors .* received 1, 120 and 70"):
        voted(fixed_codes, 1, np.ones(3))
    with pytest.raises(ValueError, match="received 3, 120 and 0"):
        voted(fixed_codes, 3, np.ones(3), num_test=0)
    with pytest.raises(ValueError, match=r"received .*, the least -1"):
        voted(fixed_codes, 3, [1.0, -1.0, 1.0])
    with pytest.raises(ValueError, match=r"\(50, batch, 4\) .* received \(50, 32, 3\)"):
        voted(fixed_codes, 3, np.ones(4))
    with pytest.raises(ValueError, match=r"at least 2: received \(50, 1, 3\)"):
        voted(batches_of(ideal, 4, 3, 5, batch=1), 3, np.ones(3))
    with pytest.raises(ValueError, match="codes must be finite"):
        voted(lambda chosen, rng: fixed_codes(chosen, rng) * np.nan, 3, np.ones(3))
