import numpy as np
import pytest

from kvae.data import faces
from kvae.data.faces import interventions
from kvae.data.faces.interventions import fixed_factor_batches
from kvae.errors import UsageError

FACTORS = faces.FACTORS


def drawn(names, batch, size=32, seed=0):
    return fixed_factor_batches(names, batch, size, np.random.default_rng(seed))


@pytest.fixture
def chosen(monkeypatch):
    """The factors that the pictures were drawn from."""
    seen = []

    def draw(factors, image_size):
        seen.append(factors)
        return faces.draw(factors, image_size)

    monkeypatch.setattr(interventions, "draw", draw)
    return seen


def test_one_factor_is_shared_and_all_others_vary(chosen):
    names = list(FACTORS)
    batch = 24
    drawn(names, batch)
    (factors,) = chosen
    assert all(value.shape == (len(names) * batch,) for value in factors.values())
    for index, fixed in enumerate(names):
        for name, values in factors.items():
            values = values[index * batch : (index + 1) * batch]
            if name == fixed:
                assert len(set(values.tolist())) == 1, name
            else:
                # Even earrings, three in four without, are all alike once in 1,000 batches.
                assert len(set(values.tolist())) > 1 or name == "earrings", name


def test_each_batch_has_a_value_of_its_own(chosen):
    drawn(["smile"] * 40 + ["hat"] * 40, 3)
    (factors,) = chosen
    smiles = factors["smile"].reshape(80, 3)[:40]
    assert (smiles == smiles[:, :1]).all()
    assert len(np.unique(smiles)) == 40
    assert smiles.min() < -0.5 < 0.5 < smiles.max()
    hats = factors["hat"].reshape(80, 3)[40:, 0]
    # As often as in random faces, five standard errors.
    assert (hats == 0).mean() == pytest.approx(0.76, abs=5 * np.sqrt(0.76 * 0.24 / 40))
    assert len(np.unique(hats)) > 2


def test_pictures_are_those_of_the_factors():
    rng = np.random.default_rng(7)
    factors = faces.sample_factors(8, rng)
    for name, rows in (("background", slice(0, 4)), ("head_x", slice(4, 8))):
        factors[name][rows] = factors[name][rows][0]
    pictures = drawn(["background", "head_x"], 4, 48, seed=7)
    assert pictures.shape == (8, 48, 48, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, faces.draw(factors, 48))


def test_the_generator_decides():
    first = drawn(["hat", "smile"], 3)
    np.testing.assert_array_equal(first, drawn(["hat", "smile"], 3))
    assert not np.array_equal(first, drawn(["hat", "smile"], 3, seed=1))
    rng = np.random.default_rng(0)
    once, again = (fixed_factor_batches(["hat", "smile"], 3, 32, rng) for _ in range(2))
    assert not np.array_equal(once, again)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(UsageError, match="received whiskers"):
        drawn(["hat", "whiskers"], 2)
    with pytest.raises(UsageError, match="batch must be at least 1: received 0"):
        drawn(["hat"], 0)
    with pytest.raises(UsageError, match="32 to 256"):
        drawn(["hat"], 2, size=16)
