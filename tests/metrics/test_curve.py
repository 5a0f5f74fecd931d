import numpy as np
import pytest
from scipy.special import logsumexp

from kvae.metrics.curve import bound_curves, bound_point, num_draws_of_curves

SPREAD = 0.8


def log_normal(shift=0.0, draws=1):
    """Weights exp(shift + spread e - spread^2 / 2): of mean exp(shift), whatever the row."""

    def answer(x, seeds):
        noise = np.random.default_rng(seeds[0]).standard_normal((draws, len(x)))
        weights = shift + SPREAD * noise - SPREAD**2 / 2
        found = logsumexp(weights, axis=0) - np.log(draws)
        return np.stack([found, found - 1])

    return answer


def curves(rows, num_draws, truth=True, **options):
    x = np.arange(rows, dtype=float)
    return bound_curves(
        log_normal(), log_normal(draws=64), x, 0 * x if truth else None,
        num_draws=num_draws, draws_per_call=64, seed=0, **options,
    )  # fmt: skip


def where(points):
    return [(point["num_draws"], point["rows"]) for point in points]


def test_the_gap_falls_as_the_spread_of_the_weights_says():
    prior, sampler = curves(3000, 500)
    assert where(prior) == where(sampler) == [
        (1, 3000), (10, 3000), (100, 3000), (500, 3000), (500, 1000), (5000, 1000)
    ]  # fmt: skip
    for point, other in zip(prior, sampler, strict=True):
        assert point["gap_nats"] == pytest.approx(-point["bound_nats"])
        assert other["gap_nats"] == pytest.approx(point["gap_nats"] + 1)
    gaps, errors = ([point[key] for point in prior] for key in ("gap_nats", "gap_nats_stderr"))
    assert gaps[0] == pytest.approx(SPREAD**2 / 2, abs=4 * errors[0])
    assert errors[0] == pytest.approx(SPREAD / np.sqrt(3000), rel=0.05)
    # With many draws Var[w] / (2 K E[w]^2): the delta method's first term.
    variance = np.exp(SPREAD**2) - 1
    for which, count in ((2, 100), (3, 500), (4, 500), (5, 5000)):
        assert gaps[which] == pytest.approx(variance / 2 / count, abs=4 * errors[which])


def test_many_draws_stand_beside_fewer_of_the_same_rows():
    rows = []

    def note(x, seeds):
        rows.append(x)
        return x[None]

    truth = np.arange(5000.0) / 7
    (points,) = bound_curves(
        note, note, 3.0 * np.arange(5000), truth, num_draws=500, draws_per_call=64, seed=3
    )
    some = rows[-1]
    assert len(some) == len(np.unique(some)) == 1000
    assert not np.array_equal(some, 3.0 * np.arange(1000))
    expected = bound_point(some, 500, some / 3 / 7)
    assert points[-2] == pytest.approx(expected)
    assert points[-1] == pytest.approx({**expected, "num_draws": 5000})


@pytest.mark.parametrize(
    ("num_draws", "counts"),
    [(1, [1]), (2, [1, 2]), (64, [1, 10, 64]), (499, [1, 10, 100, 499])],
)
def test_no_more_draws_than_asked_for_below_500(num_draws, counts):
    assert where(curves(30, num_draws)[0]) == [(count, 30) for count in counts]


def test_more_than_500_draws_add_their_own_point_and_5000_are_not_taken_twice():
    on_all, on_some = [1, 10, 100, 500, 600], [500, 5000]
    assert where(curves(1001, 600)[0]) == [
        *((count, 1001) for count in on_all), *((count, 1000) for count in on_some)
    ]  # fmt: skip
    assert where(curves(20, 5001)[0]) == [(k, 20) for k in (1, 10, 100, 500, 5000, 5001)]
    assert where(curves(20, 500)[0])[-2:] == [(500, 20), (5000, 20)]


def test_without_a_truth_there_is_no_gap_and_one_point_may_be_enough():
    ((point,), _) = curves(50, 500, truth=False, only_last=True)
    assert sorted(point) == ["bound_nats", "bound_nats_stderr", "num_draws", "rows"]
    assert (point["num_draws"], point["rows"]) == (500, 50)


def test_a_point_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="finite: 1 of 3"):
        bound_point(np.array([0.0, -np.inf, 0.0]), 5)


def test_a_point_by_hand():
    # Deviations 2, 0, -2, 0: a variance of 8 / 3, a squared error of a quarter of it.
    point = bound_point(np.array([-1.0, -3.0, -5.0, -3.0]), 7, np.full(4, -2.5))
    assert point == pytest.approx(
        {
            "num_draws": 7, "rows": 4, "bound_nats": -3.0, "bound_nats_stderr": np.sqrt(2 / 3),
            "gap_nats": 0.5, "gap_nats_stderr": np.sqrt(2 / 3),
        }
    )  # fmt: skip


def test_the_error_of_a_point_names_its_draws_and_its_density():
    broken = np.array([0.0, -np.inf, 0.0])
    with pytest.raises(ValueError, match=r"^the bound of 1 draw must be finite"):
        bound_point(broken, 1)

    def call(x, seeds):
        return np.stack([0 * x, np.where(x == 1, np.nan, 0)])

    with pytest.raises(
        ValueError, match=r"^the bound of 64 draws \(sampler\) must be finite: 1 of"
    ):
        bound_curves(
            call, call, np.arange(3.0), None, num_draws=64, draws_per_call=64, seed=0,
            only_last=True, names=("prior", "sampler"),
        )  # fmt: skip


@pytest.mark.parametrize("num_draws", [1, 64, 128, 500, 1000, 5000])
@pytest.mark.parametrize("only_last", [False, True])
def test_the_draws_that_are_announced_are_those_that_are_taken(num_draws, only_last):
    taken, per_call = [], 64

    def asked(of_each):
        def answer(x, seeds):
            taken.append(of_each * len(x))
            return np.zeros((1, len(x)))

        return answer

    bound_curves(
        asked(1), asked(per_call), np.zeros((3, 2), "float32"), None, num_draws=num_draws,
        draws_per_call=per_call, seed=0, only_last=only_last,
    )  # fmt: skip
    told = num_draws_of_curves(3, num_draws, draws_per_call=per_call, only_last=only_last)
    assert sum(taken) == told
