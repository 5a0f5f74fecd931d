import numpy as np
import pytest

from kvae.metrics.reconstruction import reconstruction_metrics


def images(count=3):
    return np.random.default_rng(0).random((count, 8, 8, 3)).astype(np.float32)


def test_an_error_of_a_tenth_everywhere_is_20_db():
    x = np.full((2, 4, 4, 1), 0.5)
    metrics = reconstruction_metrics(x, x + 0.1, images=True)
    assert metrics == pytest.approx({"reconstruction_mse": 0.01, "psnr_db": 20})


def test_psnr_is_the_mean_over_images_not_the_psnr_of_the_mean():
    x = np.full((2, 4, 4, 1), 0.5)
    errors = np.array([0.1, 0.01]).reshape(2, 1, 1, 1)
    metrics = reconstruction_metrics(x, x + errors, images=True)
    assert metrics["psnr_db"] == pytest.approx((20 + 40) / 2)
    assert metrics["reconstruction_mse"] == pytest.approx((0.01 + 0.0001) / 2)


def test_an_exact_copy_counts_100_db():
    x = images(2)
    half = x.copy()
    half[0] = np.clip(x[0], 0, 0)
    assert reconstruction_metrics(x, x, images=True)["psnr_db"] == 100
    assert reconstruction_metrics(x, half, images=True)["psnr_db"] == pytest.approx(
        50 - 5 * np.log10(np.square(x[0].astype(np.float64)).mean())
    )


def test_vectors_have_a_squared_error_in_their_own_units_and_no_psnr():
    x = np.array([[0.0, 100.0], [3.0, 4.0]])
    metrics = reconstruction_metrics(x, np.zeros((2, 2)), images=False)
    assert metrics == pytest.approx({"reconstruction_mse": (10_000 + 9 + 16) / 4})


def test_many_rows_in_float32_lose_nothing():
    x = np.zeros((3001, 2), np.float32)
    reconstruction = np.full((3001, 2), 0.1, np.float32)
    reconstruction[0] = 1e4
    expected = (1e8 + 3000 * np.float64(np.float32(0.1)) ** 2) / 3001
    metrics = reconstruction_metrics(x, reconstruction, images=False)
    assert metrics["reconstruction_mse"] == pytest.approx(expected, rel=1e-12)


def test_bytes_ranges_shapes_and_nan_are_errors():
    x = images()
    with pytest.raises(ValueError, match="received x uint8"):
        reconstruction_metrics((x * 255).astype(np.uint8), x, images=True)
    with pytest.raises(ValueError, match=r"\[0, 1\]: received .* to "):
        reconstruction_metrics(x * 255, x, images=True)
    with pytest.raises(ValueError, match=r"x \(3, 8, 8, 3\), reconstruction \(2, 8, 8, 3\)"):
        reconstruction_metrics(x, x[:2], images=True)
    broken = x.copy()
    broken[1, 2, 3, 0] = np.nan
    with pytest.raises(ValueError, match="reconstruction must be finite: 1 of 576"):
        reconstruction_metrics(x, broken, images=True)
