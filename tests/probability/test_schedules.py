import pytest

from kvae.probability.schedules import Cyclical, LinearWarmup


def test_warm_up_rises_to_its_target_and_stays():
    schedule = LinearWarmup(2.0, 4)
    assert [float(schedule(step)) for step in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_a_cycle_rises_over_its_first_half_and_starts_anew():
    schedule = Cyclical(2.0, 4)
    assert [float(schedule(step)) for step in range(9)] == [1.0, 2.0, 2.0, 2.0] * 2 + [1.0]


@pytest.mark.parametrize("kind", [LinearWarmup, Cyclical])
def test_schedules_are_read_back_from_their_config(kind):
    again = kind.from_config(kind(0.3, 7).get_config())
    assert [float(again(step)) for step in range(9)] == [
        float(kind(0.3, 7)(step)) for step in range(9)
    ]
    assert float(again(0)) < 0.3
