import pytest

from kvae.schedules import LinearWarmup


def test_warm_up_rises_to_its_target_and_stays():
    schedule = LinearWarmup(2.0, 4)
    assert [float(schedule(step)) for step in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_warm_up_is_read_back_from_its_config():
    again = LinearWarmup.from_config(LinearWarmup(0.3, 7).get_config())
    assert float(again(2)) == pytest.approx(0.3 * 3 / 7)
