import numpy as np
import pytest
from scipy import stats

from kvae.noise import PURPOSES, SeededNoise, threefry2x32


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # The known answers that come with the authors' library Random123.
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_answers(counter, key, expected):
    words = threefry2x32(
        [np.array([word], "uint32") for word in key],
        [np.array([word], "uint32") for word in counter],
    )
    assert [int(word[0]) for word in words] == list(expected)


def test_a_row_depends_on_its_own_seed_alone():
    together, alone = SeededNoise(np.array([7, 8, 9])), SeededNoise(np.array([8]))
    np.testing.assert_array_equal(together.uniform("latent", 5)[1:2], alone.uniform("latent", 5))
    # Logarithms and cosines may differ in the last bit between places in a vector register.
    np.testing.assert_allclose(
        together.normal("latent", 5)[1:2], alone.normal("latent", 5), rtol=1e-6
    )


def test_all_64_bits_of_a_seed_matter():
    seeds = np.array([5, 5 + 2**32, 5 - 2**63, -5], "int64")
    values = np.asarray(SeededNoise(seeds).uniform("latent", 1))
    assert len(np.unique(values)) == 4


def test_purposes_draws_and_neighbouring_seeds_share_no_numbers():
    seen = []
    for seed in range(4):
        for draw in range(4):
            noise = SeededNoise(np.array([seed]), draw)
            seen += [np.asarray(noise.uniform(purpose, 9))[0] for purpose in PURPOSES]
    values = np.concatenate(seen)
    assert len(np.unique(values)) == len(values) == 4 * 4 * len(PURPOSES) * 9


def test_a_shorter_draw_begins_a_longer_one_only_in_its_own_stream():
    noise = SeededNoise(np.array([3]))
    np.testing.assert_array_equal(
        noise.uniform("latent", 4), SeededNoise(np.array([3])).uniform("latent", 4)
    )
    assert not np.isin(noise.uniform("latent", 4), noise.uniform("component", 4)).any()


@pytest.mark.parametrize("size", [1, 2, 7])
def test_uniform_and_normal_have_their_distributions(size):
    noise = SeededNoise(np.arange(100_000 // size))
    uniform = np.asarray(noise.uniform("component", size)).ravel()
    normal = np.asarray(noise.normal("component", size)).ravel()
    assert uniform.min() > 0.0 and uniform.max() < 1.0
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3


def test_elements_and_rows_are_uncorrelated():
    normal = np.asarray(SeededNoise(np.arange(50_000)).normal("latent", 4))
    across = np.corrcoef(normal.T) - np.eye(4)
    next_row = [np.corrcoef(normal[:-1, i], normal[1:, i])[0, 1] for i in range(4)]
    assert np.abs(across).max() < 0.02
    assert np.abs(next_row).max() < 0.02


def test_the_ends_of_the_word_stay_inside_the_interval():
    from kvae.noise import _unit_interval

    ends = np.asarray(_unit_interval(np.array([0, 2**32 - 1], "uint32")))
    assert 0.0 < ends[0] < 1e-9
    assert 1.0 - 1e-7 < ends[1] < 1.0
