import numpy as np
import pytest

from kvae.metrics.latents import active_fraction, active_units


def test_fractions_by_hand():
    mean = np.array([[-1.0, 0.0, 5.0], [1.0, 0.0, 5.0]])
    variance = np.array([[1.0, 1.0, 0.0], [5.0, 1.0, 0.0]])
    # Variance of the means 1 against a mean variance of 3; a collapsed one; a constant one.
    np.testing.assert_allclose(active_fraction(mean, variance), [0.25, 0, 0])
    assert active_units(mean, variance) == 1


def test_the_exact_posterior_of_ppca_is_active_where_the_signal_is():
    # x_d = s_d z_d + noise: q has variance 1 / (1 + s^2), so the fraction is s^2 / (1 + s^2).
    scale = np.array([3.0, 1.0, 0.2, 0.05])
    rng = np.random.default_rng(0)
    x = scale * rng.standard_normal((200_000, 4)) + rng.standard_normal((200_000, 4))
    mean = x * scale / (1 + scale**2)
    variance = np.broadcast_to(1 / (1 + scale**2), mean.shape)
    np.testing.assert_allclose(
        active_fraction(mean, variance), scale**2 / (1 + scale**2), rtol=0.02
    )
    assert active_units(mean, variance) == 3


def test_the_scale_of_a_latent_does_not_matter():
    rng = np.random.default_rng(0)
    mean, variance = rng.standard_normal((50, 3)), rng.random((50, 3))
    scale = np.array([1e-4, 1.0, 1e4])
    np.testing.assert_allclose(
        active_fraction(mean * scale, variance * scale**2), active_fraction(mean, variance)
    )


def test_the_threshold_is_one_hundredth():
    mean = np.array([[-1.0, -1.0], [1.0, 1.0]])
    assert active_units(mean, np.array([[98.9, 99.1]] * 2)) == 1


def test_impossible_input_is_an_error():
    with pytest.raises(ValueError, match="mean must be finite"):
        active_units(np.array([[np.nan]]), np.ones((1, 1)))
    with pytest.raises(ValueError, match="negative: received -1"):
        active_units(np.zeros((2, 1)), np.array([[1.0], [-1.0]]))
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(2, 2\)"):
        active_units(np.zeros((2, 1)), np.ones((2, 2)))
