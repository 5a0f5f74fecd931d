import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from kvae.metrics import pairs
from kvae.metrics.neighbours import Manifold, manifold_metrics, nearest


def normal(count, dim=4, mean=0.0, seed=0):
    return mean + np.random.default_rng(seed).standard_normal((count, dim))


def dense(real, fake, k):
    """The definitions, all distances at once."""
    radius_real, radius_fake = (np.sort(cdist(x, x), axis=1)[:, k] for x in (real, fake))
    between = cdist(real, fake)
    in_real = between < radius_real[:, np.newaxis]
    return {
        "precision": in_real.any(0).mean(),
        "recall": (between < radius_fake).any(1).mean(),
        "density": in_real.sum(0).mean() / k,
        "coverage": (between.min(1) < radius_real).mean(),
    }


def small_chunks(monkeypatch, rows):
    monkeypatch.setattr(pairs, "LEFT", 2 * rows)
    monkeypatch.setattr(pairs, "RIGHT", rows)


def column(*values):
    return np.array(values, np.float64)[:, np.newaxis]


def test_by_hand_on_a_line():
    # Radii of the real points 0, 1, 3 with k = 1: 1, 1, 2; of the fake 3.5, 10: both 6.5.
    found = manifold_metrics(column(0, 1, 3), column(3.5, 10), k=1)
    # 3.5 lies in the ball of 3 alone, 10 in none. From 3.5 all but none of 0, 1, 3 are within 6.5.
    assert found == pytest.approx(
        {"precision": 1 / 2, "recall": 1.0, "density": 1 / 2, "coverage": 1 / 3}
    )


def test_the_kth_nearest_is_counted_among_the_others():
    # With k = 2 the radii of 0, 1, 3 are 3, 2, 3: now 3.5 also lies in no ball but that of 3.
    found = manifold_metrics(column(0, 1, 3), column(2.5, 2.75, 100), k=2)
    # 2.5 and 2.75 lie in all three balls, 100 in none.
    assert found["density"] == pytest.approx(6 / (2 * 3))
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["coverage"] == 1


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e3])
def test_the_border_is_outside(offset):
    # Copies: each real ball holds itself and the k - 1 nearest, the k-th lies on the border.
    x = offset + normal(60, 7)
    found = manifold_metrics(x, x, k=3)
    assert found == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    grid = offset + np.arange(5.0)[:, np.newaxis]
    # The radius is 1 everywhere; points at 0.5 lie in two balls, points at 1 on two borders.
    assert manifold_metrics(grid, grid[:-1] + 0.5, k=1)["density"] == 2
    assert manifold_metrics(grid, grid[1:3], k=1)["density"] == 1


def test_distances_that_differ_by_rounding_alone_are_equal():
    # A turned grid: the 3 to 6 nearest of a point are at one distance, on the border of its ball.
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), axis=-1).reshape(-1, 3)
    turned = 5 + 0.3 * grid @ np.linalg.qr(normal(3, 3))[0]
    shuffled = np.random.default_rng(0).permutation(turned)
    found = manifold_metrics(turned, shuffled, k=3)
    assert found == {"precision": 1.0, "recall": 1.0, "density": 1 / 3, "coverage": 1.0}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_it_is_the_dense_computation(monkeypatch, k, shift):
    small_chunks(monkeypatch, 32)
    real, fake = normal(150), 0.8 * normal(97, mean=shift, seed=1)
    assert manifold_metrics(real, fake, k=k) == pytest.approx(dense(real, fake, k))
    assert manifold_metrics(fake, real, k=k) == pytest.approx(dense(fake, real, k))


def test_one_manifold_judges_many_sets():
    real = normal(150)
    manifold = Manifold(real, k=3)
    for seed, count in ((1, 97), (2, 150), (3, 4)):
        fake = 0.8 * normal(count, seed=seed)
        assert manifold.metrics(fake) == manifold_metrics(real, fake, k=3)
    with pytest.raises(ValueError, match="received 3, real 150, fake 3"):
        manifold.metrics(real[:3])
    with pytest.raises(ValueError, match="received 3, real 3"):
        Manifold(real[:3], k=3)
    with pytest.raises(ValueError, match=r"real must be .* received \(150,\)"):
        Manifold(real[:, 0])


def test_blocks_smaller_than_k_lose_no_neighbour(monkeypatch):
    small_chunks(monkeypatch, 4)
    real, fake = normal(30), normal(21, seed=1)
    assert manifold_metrics(real, fake, k=6) == pytest.approx(dense(real, fake, 6))


def test_no_block_holds_more_than_its_rows():
    pieces = list(pairs.Space(normal(4500), normal(1030), np.zeros(4)).chunks())
    assert max(piece.low.nbytes for piece in pieces) == 2**23
    assert sum(piece.low.size for piece in pieces) == 4500 * 1030


def test_two_samples_of_one_distribution_have_density_one_and_a_known_coverage():
    found = [manifold_metrics(normal(400, seed=s), normal(400, seed=s + 50)) for s in range(8)]
    mean = {name: np.mean([one[name] for one in found]) for name in found[0]}
    assert mean["density"] == pytest.approx(1, abs=0.04)
    assert mean["coverage"] == pytest.approx(1 - 0.5**5, abs=0.01)


def test_a_missing_mode_costs_recall_and_an_invented_one_precision():
    one, two = normal(300, seed=1), normal(300, mean=50.0, seed=2)
    both = np.concatenate([normal(300, seed=3), normal(300, mean=50.0, seed=4)])
    missing = manifold_metrics(both, one)
    assert missing["precision"] > 0.9
    assert missing["recall"] < 0.51
    assert missing["coverage"] < 0.51
    invented = manifold_metrics(two, both)
    assert invented["precision"] < 0.51
    assert invented["recall"] > 0.9
    apart = manifold_metrics(one, two)
    assert apart == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_a_collapsed_set_has_no_recall():
    real = normal(100, mean=3.0)
    collapsed = np.tile(real[7], (50, 1))
    found = manifold_metrics(real, collapsed)
    assert found["precision"] == 1
    assert found["recall"] == 0
    for same in (collapsed, np.zeros((50, 4))):
        assert manifold_metrics(same, same) == dict.fromkeys(found, 0)


@pytest.mark.parametrize(("dtype", "offset"), [(np.float32, 2**12), (np.float64, 2**26)])
def test_an_offset_that_dwarfs_the_distances_changes_nothing(dtype, offset):
    # Steps of 1/64 are exact on either offset, the squares of the norms are not.
    rng = np.random.default_rng(0)
    real, fake = (rng.integers(0, 640, (200, 5)) / 64 for _ in range(2))
    far_real, far_fake = ((x + offset).astype(dtype) for x in (real, fake))
    assert manifold_metrics(far_real, far_fake) == manifold_metrics(real, fake)
    distance, index = nearest(far_fake, far_real)
    np.testing.assert_allclose(distance[:, 0], cdist(fake, real).min(1), rtol=1e-12)
    np.testing.assert_array_equal(index[:, 0], cdist(fake, real).argmin(1))


def sets_that_are_hard_in_float32():
    rng, real, fake = np.random.default_rng(0), normal(150, 8), 0.9 * normal(97, 8, seed=1)
    some = normal(20, 8, seed=2)
    far = np.where(np.arange(8) == 3, 2e4, 0.0)
    yield "copies", some[rng.integers(20, size=150)], some[rng.integers(20, size=97)]
    yield "ties", *(rng.integers(0, 2, (count, 8)).astype(float) for count in (150, 97))
    yield "tiny", 1e-30 * real, 1e-30 * fake
    yield "huge", 1e30 * real, 1e30 * fake
    yield "two far groups", real + far * (np.arange(150) % 2)[:, None], fake + far
    yield "one row in another world", np.concatenate([real, [1e25 * np.ones(8)]]), fake
    yield "one row off", np.concatenate([real, [1e8 * np.ones(8)]]), fake
    yield "far from one another", real, fake + 1e9
    yield "a wide set", real, 300 * fake


@pytest.mark.parametrize("case", [*sets_that_are_hard_in_float32()], ids=lambda case: case[0])
@pytest.mark.parametrize("rows", [16, 1024])
def test_what_float32_cannot_tell_float64_does(monkeypatch, case, rows):
    small_chunks(monkeypatch, rows)
    _, real, fake = case
    assert manifold_metrics(real, fake, k=3) == pytest.approx(dense(real, fake, 3))
    brute = NearestNeighbors(n_neighbors=12, algorithm="kd_tree").fit(real)
    distance, index = nearest(fake, real, 12)
    wanted = brute.kneighbors(fake)[0]
    np.testing.assert_allclose(distance, wanted, rtol=1e-9, atol=1e-12 * np.median(wanted))
    apart = np.linalg.norm(fake[:, None] - real[index], axis=2)
    np.testing.assert_allclose(apart, distance, rtol=1e-12)
    assert all(len(set(places)) == 12 for places in index)


def test_float64_is_asked_where_float32_does_not_do_and_only_there(monkeypatch):
    asked = []
    double = pairs.Space.double
    monkeypatch.setattr(pairs.Space, "double", lambda *args: asked.append(1) or double(*args))
    manifold_metrics(normal(300), normal(300, seed=1))
    assert not asked
    nearest(normal(300), np.tile(normal(3), (100, 1)))
    assert asked


@pytest.mark.parametrize("k", [1, 5, 101])
def test_the_nearest_are_those_of_all_blocks(monkeypatch, k):
    small_chunks(monkeypatch, 16)
    points, references = normal(70), normal(101, seed=1)
    distance, index = nearest(points, references, k)
    between = cdist(points, references)
    np.testing.assert_array_equal(index, between.argsort(1)[:, :k])
    np.testing.assert_allclose(distance, np.sort(between, axis=1)[:, :k], rtol=1e-13)


def test_a_copy_is_at_distance_zero():
    references = (100 + normal(1500, 32)).astype(np.float32)
    order = np.random.default_rng(0).permutation(1500)
    distance, index = nearest(references[order], references)
    np.testing.assert_array_equal(index[:, 0], order)
    assert not distance.any()


def test_sets_that_cannot_be_compared_are_errors():
    x = normal(6)
    with pytest.raises(ValueError, match=r"real and fake must be .* \(6, 4\) and \(6, 3\)"):
        manifold_metrics(x, x[:, :3])
    with pytest.raises(ValueError, match=r"points and references .* received \(4,\) and \(6, 4\)"):
        nearest(x[0], x)
    with pytest.raises(ValueError, match=r"k .* received 6, real 6, fake 6"):
        manifold_metrics(x, x, k=6)
    with pytest.raises(ValueError, match="received 0,"):
        manifold_metrics(x, x, k=0)
    with pytest.raises(ValueError, match="fake must be finite: 1 of 24"):
        manifold_metrics(x, np.where(np.arange(24).reshape(6, 4) == 5, np.inf, x))
    with pytest.raises(ValueError, match="references: at least one"):
        nearest(x, x[:0])
    with pytest.raises(ValueError, match="k must be from 1 to 6, received 7"):
        nearest(x, x, 7)
