import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from kvae.metrics.likelihood import gap, importance_log_likelihood, log_mean_exp, mean_and_stderr

NOISE = 0.5
EVIDENCE = norm(0, np.sqrt(1 + NOISE**2))


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
        bound = importance_log_likelihood(
            linear_gaussian(1), linear_gaussian(1, 3), x, num_draws=num_draws, draws_per_call=3,
            seed=0,
        )  # fmt: skip
        np.testing.assert_allclose(bound, EVIDENCE.logpdf(x), rtol=1e-12)


def test_with_a_wide_posterior_the_bound_rises_towards_the_evidence():
    x = data(1000)
    gaps = [
        gap(
            EVIDENCE.logpdf(x),
            importance_log_likelihood(
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

    bound = importance_log_likelihood(
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

    importance_log_likelihood(note, note, np.zeros(1000), num_draws=70, draws_per_call=8, seed=seed)
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

    bound = importance_log_likelihood(
        answer, answer, np.zeros(4), num_draws=5, draws_per_call=2, seed=0
    )
    np.testing.assert_array_equal(bound[:2], [-np.inf, np.nan])
    np.testing.assert_allclose(bound[2:], [-1e30, 2.0])


def test_impossible_requests_are_refused():
    def column(x, seeds):
        return np.zeros((len(x), 1))

    with pytest.raises(ValueError, match=r"answer \(3,\): received \(3, 1\)"):
        importance_log_likelihood(
            column, column, np.zeros(3), num_draws=1, draws_per_call=1, seed=0
        )
    with pytest.raises(ValueError, match="at least 1: received 0 and 4"):
        importance_log_likelihood(
            column, column, np.zeros(3), num_draws=0, draws_per_call=4, seed=0
        )


def test_log_mean_exp_by_hand_and_far_outside_the_range_of_exp():
    weights = np.array([[1.0, 4.0], [3.0, 0.0]])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(log_mean_exp(np.log(weights)), np.log([2.0, 2.0]))
    np.testing.assert_allclose(log_mean_exp(np.full((3, 2), -5000.0)), -5000.0)


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
