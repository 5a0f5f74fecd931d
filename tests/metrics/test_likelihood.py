import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from kvae.metrics.likelihood import (
    effective_sample_metrics,
    gap,
    importance_bounds,
    is_heavy_tailed,
    mean_and_stderr,
)

NOISE = 0.5
EVIDENCE = norm(0, np.sqrt(1 + NOISE**2))


def log_mean_exp(log_weights):
    return logsumexp(log_weights, axis=0) - np.log(len(log_weights))


def one_bound(log_weight, log_likelihood, x, *, num_draws, **options):
    found = importance_bounds(log_weight, log_likelihood, x, num_draws=[num_draws], **options)
    assert list(found) == [num_draws]
    return found[num_draws]


def linear_gaussian(widening, draws=1):
    """x = z + noise, z standard normal: a posterior `widening` times too wide, else exact."""

    def log_mean_weight(x, seeds):
        noise = np.stack([np.random.default_rng(seed).standard_normal(draws) for seed in seeds])
        mean = x[:, None] / (1 + NOISE**2)
        stddev = widening * NOISE / np.sqrt(1 + NOISE**2)
        z = mean + stddev * noise
        log_joint = norm.logpdf(x[:, None], z, NOISE) + norm.logpdf(z)
        return log_mean_exp((log_joint - norm.logpdf(z, mean, stddev)).T)

    return log_mean_weight


def data(count):
    return EVIDENCE.rvs(count, random_state=0)


def test_with_the_exact_posterior_every_draw_gives_the_evidence():
    x = data(50)
    for num_draws in (1, 5, 7):
        bound = one_bound(
            linear_gaussian(1), linear_gaussian(1, 3), x, num_draws=num_draws, draws_per_call=3,
            seed=0,
        )  # fmt: skip
        np.testing.assert_allclose(bound, EVIDENCE.logpdf(x), rtol=1e-12)


def test_with_a_wide_posterior_the_bound_rises_towards_the_evidence():
    x = data(1000)
    gaps = [
        gap(
            EVIDENCE.logpdf(x),
            one_bound(
                linear_gaussian(3), linear_gaussian(3, 16), x, num_draws=num_draws,
                draws_per_call=16, seed=1,
            ),
        )
        for num_draws in (1, 8, 128)
    ]  # fmt: skip
    means = [one["gap_nats"] for one in gaps]
    # The ELBO is short by KL(q, posterior) = (9 - 1) / 2 - log 3.
    assert means[0] == pytest.approx(4 - np.log(3), abs=4 * gaps[0]["gap_nats_stderr"])
    assert means[0] > 5 * means[1] > 25 * means[2]
    assert abs(means[2]) < 0.02


@pytest.mark.parametrize(
    ("num_draws", "draws_per_call", "full", "single"),
    [(1, 64, 0, 1), (64, 64, 1, 0), (67, 64, 1, 3), (200, 64, 3, 8), (5, 1, 5, 0)],
)
def test_exactly_the_draws_asked_for_as_in_one_log_mean_exp(
    num_draws, draws_per_call, full, single
):
    drawn, calls = [], {"full": 0, "single": 0}
    rng = np.random.default_rng(0)

    def call(kind, draws):
        def answer(x, seeds):
            calls[kind] += 1
            drawn.append(30 * rng.standard_normal((draws, len(x))))
            return log_mean_exp(drawn[-1])

        return answer

    bound = one_bound(
        call("single", 1), call("full", draws_per_call), np.zeros(4),
        num_draws=num_draws, draws_per_call=draws_per_call, seed=0,
    )  # fmt: skip
    everything = np.concatenate(drawn)
    assert calls == {"full": full, "single": single}
    assert len(everything) == num_draws
    np.testing.assert_allclose(bound, logsumexp(everything, axis=0) - np.log(num_draws), rtol=1e-12)


def seeds_used(seed):
    used = []

    def note(x, seeds):
        used.append(seeds)
        return np.zeros(len(x))

    one_bound(note, note, np.zeros(1000), num_draws=70, draws_per_call=8, seed=seed)
    return np.concatenate(used)


def test_every_row_of_every_call_has_a_seed_of_its_own():
    first = seeds_used(0)
    assert first.dtype == np.int64
    assert first.min() >= 0
    assert len(first) == (8 + 6) * 1000
    assert len(np.unique(first)) == len(first)
    np.testing.assert_array_equal(seeds_used(0), first)
    assert not np.isin(seeds_used(1), first).any()


def test_impossible_and_broken_rows_stay_what_they_are():
    def answer(x, seeds):
        return np.array([-np.inf, np.nan, -1e30, 2.0])

    bound = one_bound(answer, answer, np.zeros(4), num_draws=5, draws_per_call=2, seed=0)
    np.testing.assert_array_equal(bound[:2], [-np.inf, np.nan])
    np.testing.assert_allclose(bound[2:], [-1e30, 2.0])


def test_impossible_requests_are_refused():
    def column(x, seeds):
        return np.zeros((len(x), 1))

    with pytest.raises(ValueError, match=r"answer \(\.\.\., 3\): received \(3, 1\)"):
        one_bound(column, column, np.zeros(3), num_draws=1, draws_per_call=1, seed=0)
    with pytest.raises(ValueError, match=r"at least 1: received \[0\] and 4"):
        one_bound(column, column, np.zeros(3), num_draws=0, draws_per_call=4, seed=0)


def test_densities_that_differ_between_the_calls_are_refused():
    def one(x, seeds):
        return np.zeros((1, len(x)))

    def two(x, seeds):
        return np.zeros((2, len(x)))

    with pytest.raises(ValueError, match=r"same densities: received \[\(1, 3\), \(2, 3\)\]"):
        one_bound(one, two, np.zeros(3), num_draws=5, draws_per_call=4, seed=0)
    with pytest.raises(ValueError, match=r"received \[\] and 4"):
        importance_bounds(one, one, np.zeros(3), num_draws=[], draws_per_call=4, seed=0)


def test_several_bounds_come_from_the_first_draws_of_the_largest():
    drawn = {"full": [], "single": []}
    rng = np.random.default_rng(0)

    def call(kind, draws):
        def answer(x, seeds):
            drawn[kind].append(5 * rng.standard_normal((draws, 2, len(x))))
            return log_mean_exp(drawn[kind][-1])

        return answer

    bounds = importance_bounds(
        call("single", 1), call("full", 8), np.zeros(4), num_draws=[30, 1, 10, 11],
        draws_per_call=8, seed=0,
    )  # fmt: skip
    # 30 = 3 x 8 + 6: the 3 calls and the 6 draws serve all others too.
    full, single = np.concatenate(drawn["full"]), np.concatenate(drawn["single"])
    assert (len(full), len(single)) == (24, 6)
    assert list(bounds) == [1, 10, 11, 30]
    for count, bound in bounds.items():
        used = np.concatenate([full[: count // 8 * 8], single[: count % 8]])
        assert bound.shape == (2, 4)
        np.testing.assert_allclose(bound, log_mean_exp(used), rtol=1e-12)


def test_equal_weights_are_all_worth_the_same():
    log_weights = np.tile([-1e5, 0.0, 700.0], (16, 1))
    assert effective_sample_metrics(log_weights) == pytest.approx(
        {
            "effective_sample_fraction": 1,
            "effective_sample_fraction_p5": 1,
            "effective_sample_draws": 16,
        }
    )


def test_one_weight_above_all_others_is_worth_one_draw():
    log_weights = np.zeros((10, 100))
    log_weights[0] = 800.0
    log_weights[:, 50:] = np.log([[3.0], [1.0]] * 5)
    # Half of the rows: 1 / 10. The others: (5 x 4)^2 / (5 x 10) of 10 draws.
    found = effective_sample_metrics(log_weights)
    assert found["effective_sample_fraction"] == pytest.approx((0.1 + 0.8) / 2)
    assert found["effective_sample_fraction_p5"] == pytest.approx(0.1)


def test_the_share_of_a_proposal_twice_too_wide():
    # E[w]^2 / E[w^2] of a unit normal under one with standard deviation s: sqrt(2 s^2 - 1) / s^2.
    z = norm(0, 2).rvs((20_000, 4), random_state=0)
    found = effective_sample_metrics(norm.logpdf(z) - norm.logpdf(z, 0, 2))
    assert found["effective_sample_fraction"] == pytest.approx(np.sqrt(7) / 4, rel=0.02)


def test_weights_that_allow_no_answer_are_errors():
    with pytest.raises(ValueError, match="log_weights must be finite: 1 of 4"):
        effective_sample_metrics(np.array([[0.0, -np.inf], [0.0, 0.0]]))
    with pytest.raises(ValueError, match=r"\(draws, n\): received \(4,\)"):
        effective_sample_metrics(np.zeros(4))


def test_mean_and_standard_error_by_hand():
    # Deviations -1, 0, 1: variance 1, over the root of three.
    assert mean_and_stderr(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, 1 / np.sqrt(3)))


def test_the_standard_error_is_the_spread_of_repeated_means():
    samples = np.random.default_rng(0).exponential(size=(2000, 100))
    stderr = np.mean([mean_and_stderr(sample)[1] for sample in samples])
    assert stderr == pytest.approx(samples.mean(1).std(), rel=0.05)


def test_the_gap_of_a_shifted_gaussian_is_its_kl_and_pairing_makes_it_sharp():
    x = np.random.default_rng(0).standard_normal(10_000)
    result = gap(norm.logpdf(x), norm.logpdf(x, 0.1))
    # KL = 0.1^2 / 2; the paired difference has standard deviation 0.1.
    assert result["gap_nats_stderr"] == pytest.approx(0.001, rel=0.05)
    assert result["gap_nats"] == pytest.approx(0.005, abs=4 * 0.001)
    assert result["gap_nats_stderr"] < 0.2 * mean_and_stderr(norm.logpdf(x))[1]


def test_values_that_allow_no_answer_are_errors():
    with pytest.raises(ValueError, match="finite: 1 of 3"):
        mean_and_stderr(np.array([0.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match="n >= 2"):
        mean_and_stderr(np.array([0.0]))
    with pytest.raises(ValueError, match="model_log_likelihood must be finite: 1 of 2"):
        gap(np.zeros(2), np.array([0.0, -np.inf]))
    with pytest.raises(ValueError, match=r"\(2,\) and \(2, 1\)"):
        gap(np.zeros(2), np.zeros((2, 1)))


def test_the_message_of_a_mean_says_of_what():
    with pytest.raises(ValueError, match=r"^values must be finite: 1 of 2"):
        mean_and_stderr(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match=r"^the ELBO must be finite: 1 of 2"):
        mean_and_stderr(np.array([0.0, np.inf]), "the ELBO")
    with pytest.raises(ValueError, match=r"^the ELBO: a standard error needs"):
        mean_and_stderr(np.array([0.0]), "the ELBO")


def test_tails_are_heavy_where_the_variance_rests_on_one_value():
    rng = np.random.default_rng(0)
    for count in (200, 1000, 10_000):
        assert not is_heavy_tailed(rng.standard_normal(count))
        assert not is_heavy_tailed(rng.exponential(size=10 * count))
        assert is_heavy_tailed(rng.standard_cauchy(count))
    # Of few values nothing can be said, of equal ones nothing is wrong.
    assert not is_heavy_tailed(np.array([0.0] * 100 + [1.0]))
    assert not is_heavy_tailed(np.ones(500))
