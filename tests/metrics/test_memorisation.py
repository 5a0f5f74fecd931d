import numpy as np
import pytest

from kvae.metrics.memorisation import Near, compared, near_train, sharpness


def normal(count, seed, dim=3):
    return np.random.default_rng(seed).standard_normal((count, dim))


TRAIN, TEST = normal(1000, 0), normal(1000, 1)


def _metrics(samples, test, train):
    return compared(*(near_train(points, train) for points in (samples, test)))


def test_copies_of_training_rows_are_all_memorised():
    copies = np.random.default_rng(2).permutation(TRAIN)[:400]
    found = _metrics(copies, TEST, TRAIN)
    assert found["nearest_train_distance_ratio"] == found["nearest_train_distance"] == 0
    assert found["memorised_fraction"] == 1
    assert found["nearest_train_distance_test"] > 0.1


def test_fresh_data_have_a_ratio_of_one_and_a_hundredth_at_most():
    found = [_metrics(normal(1000, 10 + s), normal(1000, 40 + s), TRAIN) for s in range(12)]
    ratio, fraction = (
        np.mean([one[name] for one in found])
        for name in ("nearest_train_distance_ratio", "memorised_fraction")
    )
    assert ratio == pytest.approx(1, abs=0.03)
    assert 0.002 < fraction < 0.012


def test_the_fraction_of_copies_among_fresh_samples_is_found():
    mixed = np.concatenate([TRAIN[:300] + 1e-6, normal(700, 5)])
    found = _metrics(mixed, TEST, TRAIN)
    assert 0.3 <= found["memorised_fraction"] < 0.3 + 0.7 * 0.02


def test_samples_away_from_all_data_are_not_memorised():
    found = _metrics(TEST + 20, TEST, TRAIN)
    assert found["nearest_train_distance_ratio"] > 10
    assert found["memorised_fraction"] == 0


def test_samples_that_vary_too_little_are_near_but_no_copies():
    train, test = normal(2000, 0, dim=16), normal(1000, 1, dim=16)
    found = _metrics(0.8 * normal(1000, 2, dim=16), test, train)
    assert found["nearest_train_distance_ratio"] < 0.9
    assert found["memorised_fraction"] < 0.02


def test_by_hand():
    train = np.array([[0.0], [100.0]])
    # Distances of 101 test rows 1, 1.01, ... 2 to the nearest, 99, 98.99, ... 98 to the other: the
    # median is 1.5, the 1% quantile of their ratio that of 1.01.
    test = np.linspace(1, 2, 101)[:, np.newaxis]
    samples = np.array([[0.5], [1.005], [1.02], [97.0]])
    near = [
        Near(near_train(points, train).distances, np.ones(len(points)))
        for points in (samples, test)
    ]
    found = compared(*near)
    assert found == pytest.approx(
        {
            "nearest_train_distance": (1.005 + 1.02) / 2,
            "nearest_train_distance_test": 1.5,
            "nearest_train_distance_ratio": (1.005 + 1.02) / 3,
            "memorised_fraction": 2 / 4,
        }
    )


@pytest.mark.parametrize("dim", [32, 128])
def test_midpoints_of_two_rows_are_nearer_than_new_data_and_no_copies(dim):
    train, test = normal(1000, 0, dim), normal(1000, 1, dim)
    pairs = np.random.default_rng(2).permutation(1000).reshape(-1, 2)
    middle = train[pairs].mean(1)
    found = _metrics(middle, test, train)
    assert found["nearest_train_distance_ratio"] < 0.9
    assert found["memorised_fraction"] < 0.05
    # A little noise makes no new row of a copy.
    copies = train[:500] + 0.1 * normal(500, 3, dim)
    assert _metrics(copies, test, train)["memorised_fraction"] == 1


def test_samples_that_look_like_nothing_are_no_copies_of_the_row_that_does_too():
    """All far from the data, and nearest to one outlier of the train rows."""
    train, test = normal(1000, 0, 16), normal(1000, 1, 16)
    train[0] = 30.0
    found = _metrics(25.0 + normal(200, 2, 16), test, train)
    assert found["memorised_fraction"] == 0


def test_blurred_copies_are_told_from_sharp_ones():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(300, 8, 8, 3))
    blurred = (images + np.roll(images, 1, axis=1) + np.roll(images, 1, axis=2)) / 3
    assert (sharpness(blurred) < 0.8 * sharpness(images)).all()
    flat = images.reshape(300, -1)
    test = rng.uniform(size=(300, 192))

    def copied(points, of):
        near = near_train(
            points, flat, point_sharpness=sharpness(of), train_sharpness=sharpness(images)
        )
        return compared(near, near_train(test, flat))["memorised_fraction"]

    assert copied(flat + 1e-3, images) == 1
    assert copied(flat + 1e-3, blurred) == 0


def test_sharpness_by_hand():
    image = np.zeros((1, 2, 2, 1))
    image[0, 0, 0] = 0.5
    # Two differences down, two across; of each one is 0.5, whose square is 0.25.
    assert sharpness(image) == pytest.approx([0.125 + 0.125])
    assert sharpness(np.ones((2, 1, 1, 3))).tolist() == [0, 0]
    assert sharpness(np.full((1, 4, 4, 1), 2.0)).tolist() == [0]


def test_the_unit_of_the_features_does_not_matter_to_the_shares():
    samples = 0.5 * normal(200, 3)
    found = _metrics(samples, TEST, TRAIN)
    scaled = _metrics(1000 * samples, 1000 * TEST, 1000 * TRAIN)
    name = "nearest_train_distance_ratio"
    assert scaled[name] == pytest.approx(found[name])
    assert scaled["memorised_fraction"] == found["memorised_fraction"]
    assert scaled["nearest_train_distance_test"] == pytest.approx(
        1000 * found["nearest_train_distance_test"]
    )


def test_samples_exactly_as_far_as_all_test_rows_are_not_memorised():
    found = _metrics(np.full((5, 2), -1.0), np.ones((5, 2)), np.zeros((3, 2)))
    assert found["nearest_train_distance_ratio"] == 1
    assert found["memorised_fraction"] == 0


def test_where_test_rows_are_copies_too_there_is_no_ratio_but_copies_count():
    found = _metrics(np.array([[0.0], [1.0]]), np.zeros((4, 1)), np.zeros((4, 1)))
    assert found == {
        "nearest_train_distance": 0.5,
        "nearest_train_distance_test": 0.0,
        "memorised_fraction": 0.5,
    }


def test_features_that_cannot_be_compared_are_errors():
    with pytest.raises(ValueError, match=r"received \(1000, 2\) and \(1000, 3\)"):
        _metrics(TEST[:, :2], TEST, TRAIN)
    with pytest.raises(ValueError, match="must be finite"):
        _metrics(TEST * np.nan, TEST, TRAIN)
