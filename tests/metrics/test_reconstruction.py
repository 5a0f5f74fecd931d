import numpy as np
import pytest

from kvae.metrics.bootstrap import bootstrap_interval
from kvae.metrics.reconstruction import mean_errors, row_errors


def reconstruction_metrics(x, reconstruction, *, images, seed=0):
    return mean_errors(row_errors(x, reconstruction, images=images), seed=seed)


def images(count=3):
    return np.random.default_rng(0).random((count, 8, 8, 3)).astype(np.float32)


def test_an_error_of_a_tenth_everywhere_is_20_db():
    x = np.full((2, 4, 4, 1), 0.5)
    metrics = reconstruction_metrics(x, x + 0.1, images=True)
    # Flat images: no covariance, (2 a b + C1) / (a^2 + b^2 + C1) of their levels is left.
    ssim = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    expected = {
        "mse_reconstruction": 0.01,
        "psnr_db_reconstruction": 20,
        "ssim_reconstruction": ssim,
    }
    for name, value in expected.items():
        rounding = 1e-9 if name == "ssim_reconstruction" else 1e-12
        assert metrics.pop(name) == pytest.approx(value, abs=rounding)
        assert metrics.pop(f"{name}_interval") == pytest.approx([value, value], abs=rounding)
    assert metrics == pytest.approx(
        {"psnr_db_reconstruction_p5": 20, "psnr_db_reconstruction_p95": 20}
    )


def test_psnr_is_the_mean_over_images_not_the_psnr_of_the_mean():
    x = np.full((2, 4, 4, 1), 0.5)
    errors = np.array([0.1, 0.01]).reshape(2, 1, 1, 1)
    metrics = reconstruction_metrics(x, x + errors, images=True)
    assert metrics["psnr_db_reconstruction"] == pytest.approx((20 + 40) / 2)
    assert metrics["mse_reconstruction"] == pytest.approx((0.01 + 0.0001) / 2)


def test_an_exact_copy_counts_100_db():
    x = images(2)
    half = x.copy()
    half[0] = np.clip(x[0], 0, 0)
    assert reconstruction_metrics(x, x, images=True)["psnr_db_reconstruction"] == 100
    assert reconstruction_metrics(x, half, images=True)["psnr_db_reconstruction"] == pytest.approx(
        50 - 5 * np.log10(np.square(x[0].astype(np.float64)).mean())
    )


def test_vectors_have_a_squared_error_in_their_own_units_and_no_psnr():
    x = np.array([[0.0, 100.0], [3.0, 4.0]])
    metrics = reconstruction_metrics(x, np.zeros((2, 2)), images=False)
    assert metrics.pop("mse_reconstruction") == (10_000 + 9 + 16) / 4
    # Of two rows 500 of 1,000 resamples take both, 250 each one twice.
    assert metrics == {"mse_reconstruction_interval": [12.5, 5000]}


def test_many_rows_in_float32_lose_nothing():
    x = np.zeros((3001, 2), np.float32)
    reconstruction = np.full((3001, 2), 0.1, np.float32)
    reconstruction[0] = 1e4
    expected = (1e8 + 3000 * np.float64(np.float32(0.1)) ** 2) / 3001
    metrics = reconstruction_metrics(x, reconstruction, images=False)
    assert metrics["mse_reconstruction"] == pytest.approx(expected, rel=1e-12)


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
    with pytest.raises(ValueError, match=r"height, width, channels\): received \(3, 192\)"):
        reconstruction_metrics(x.reshape(3, -1), x.reshape(3, -1), images=True)
    with pytest.raises(ValueError, match=r"n >= 2: received \(1,\)"):
        reconstruction_metrics(x[:1], x[:1], images=True)


def noisy(shape, seed=0):
    """Images with structure, and copies of them in which it is partly lost."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.standard_normal(shape), axis=1)
    x = (x - x.min()) / (x.max() - x.min())
    return x, np.clip(x + 0.1 * rng.standard_normal(shape), 0, 1)


def ssim_by_definition(a, b):
    """Of two `(height, width)` images: Wang et al. 2004, equations 13 to 17, window by window."""
    side = min(11, *a.shape)
    place = np.arange(side) - (side - 1) / 2
    window = np.exp(-(place[:, np.newaxis] ** 2 + place**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for row in range(a.shape[0] - side + 1):
        for col in range(a.shape[1] - side + 1):
            p, q = (image[row : row + side, col : col + side] for image in (a, b))
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            cov = (window * (p - mean_p) * (q - mean_q)).sum()
            found.append(
                (2 * mean_p * mean_q + c1)
                * (2 * cov + c2)
                / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
            )
    return np.mean(found)


@pytest.mark.parametrize("shape", [(3, 16, 14, 1), (2, 13, 15, 3), (2, 8, 12, 1), (2, 12, 6, 1)])
def test_ssim_is_that_of_its_definition_averaged_over_channels(shape):
    x, worse = noisy(shape)
    expected = [
        np.mean([ssim_by_definition(a[..., c], b[..., c]) for c in range(shape[-1])])
        for a, b in zip(x, worse, strict=True)
    ]
    assert 0.05 < min(expected) < max(expected) < 0.95
    ssim = row_errors(x, worse, images=True)["ssim"]
    assert ssim == pytest.approx(expected, abs=1e-5)


def test_ssim_of_copies_negatives_and_more_images_than_are_taken_at_once():
    x, _ = noisy((150, 12, 12, 1))
    kept = x.copy()
    kept[100:] = 1 - x[100:]
    ssim = row_errors(x, kept, images=True)["ssim"]
    assert ssim[:100] == pytest.approx(np.ones(100), abs=1e-6)
    assert ssim[100:].max() < 0.2
    some = row_errors(x[90:110], kept[90:110], images=True)["ssim"]
    assert ssim[90:110] == pytest.approx(some, abs=1e-6)


def test_what_is_outside_the_range_counts_as_it_is_but_for_ssim():
    x, worse = noisy((4, 12, 12, 1))
    worse[:, 3, 4], worse[:, 5, 6] = 0, 1
    beyond = worse + np.where(worse == 1, 0.5, 0) - np.where(worse == 0, 0.5, 0)
    inside, outside = (row_errors(x, image, images=True) for image in (worse, beyond))
    np.testing.assert_array_equal(inside["ssim"], outside["ssim"])
    assert (outside["mse"] > inside["mse"]).all()
    assert outside["mse"] == pytest.approx(((beyond - x) ** 2).mean(axis=(1, 2, 3)))


def test_rows_are_each_their_own():
    x, worse = noisy((9, 12, 12, 1))
    worse[4] = x[4]
    rows = row_errors(x, worse, images=True)
    assert sorted(rows) == ["mse", "psnr_db", "ssim"]
    assert (rows["mse"][4], rows["psnr_db"][4]) == (0, 100)
    assert rows["psnr_db"] == pytest.approx(-10 * np.log10(np.maximum(rows["mse"], 1e-10)))
    alone = [row_errors(x[i : i + 1], worse[i : i + 1], images=True) for i in range(9)]
    for name, values in rows.items():
        assert values == pytest.approx([one[name][0] for one in alone], abs=1e-6)


def test_means_intervals_and_quantiles_are_those_of_the_rows():
    x, worse = noisy((40, 12, 12, 1))
    worse[:3] = x[:3]
    rows = row_errors(x, worse, images=True)
    metrics = reconstruction_metrics(x, worse, images=True, seed=5)
    for name in ("mse", "psnr_db", "ssim"):
        key = f"{name}_reconstruction"
        assert metrics[key] == rows[name].mean()
        assert metrics[f"{key}_interval"] == list(bootstrap_interval(rows[name], seed=5))
        assert metrics[f"{key}_interval"][0] < metrics[key] < metrics[f"{key}_interval"][1]
    ordered = np.sort(rows["psnr_db"])
    assert ordered[1] <= metrics["psnr_db_reconstruction_p5"] <= ordered[2]
    assert ordered[-3] <= metrics["psnr_db_reconstruction_p95"] <= ordered[-2]
    again = reconstruction_metrics(x, worse, images=True, seed=6)
    assert again["ssim_reconstruction_interval"] != metrics["ssim_reconstruction_interval"]


@pytest.mark.parametrize("shape", [(7, 13, 30, 3), (2, 64, 64, 3), (3, 8, 8, 1)])
def test_ssim_is_that_of_tensorflow_but_for_its_rounding(shape):
    import tensorflow as tf

    x = np.random.default_rng(0).random(shape).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 0.2, shape).astype(np.float32)
    worse, side = np.clip(x + noise, 0, 1), min(11, shape[1])
    found = row_errors(x, worse, images=True)["ssim"]
    expected = tf.image.ssim(x, worse, 1.0, filter_size=side, filter_sigma=1.5).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.max() < 0.95
