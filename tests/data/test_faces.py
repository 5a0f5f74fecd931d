import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kvae.data import faces
from kvae.errors import UsageError

FACTORS = faces.FACTORS


def sampled(count, seed=0):
    return faces.sample_factors(count, np.random.default_rng(seed))


def repeated(count, **changes):
    """One plain face, `count` times, with some factors changed."""
    middle = {
        name: np.full(count, 0 if factor.values else 0.5 * (factor.low + factor.high))
        for name, factor in FACTORS.items()
    }
    shape = FACTORS["hair_shape"].values.index("straight")
    plain = {"hair_shape": shape, "skin_tone": 0.2, "light": -0.6, "mouth_open": 0.0}
    for name, value in (plain | changes).items():
        middle[name] = np.broadcast_to(value, count)
    return middle


def extremes(name):
    factor = FACTORS[name]
    return np.arange(len(factor.values)) if factor.values else np.array([factor.low, factor.high])


def moved(name, **changes):
    """Float pictures, 64 pixels, in which one factor takes its extremes or all its values."""
    values = extremes(name)
    return faces.draw(repeated(len(values), **changes, **{name: values}), 64).astype(float)


def changed(pictures):
    """Greatest change of each pixel against the first picture, `(64, 64)`."""
    return np.abs(pictures - pictures[0]).max(axis=(0, 3))


def test_the_same_factors_give_the_same_pixels():
    assert np.array_equal(faces.draw(sampled(40), 32), faces.draw(sampled(40), 32))


@pytest.mark.parametrize("image_size", [32, 64, 100])
def test_a_face_does_not_depend_on_the_others_in_its_batch(image_size):
    factors = sampled(48, seed=1)
    together = faces.draw(factors, image_size)
    alone = [
        faces.draw({name: value[[row]] for name, value in factors.items()}, image_size)[0]
        for row in range(48)
    ]
    # Vectorised and scalar sines may differ in their last bit, which rounding can make one level.
    difference = np.abs(together.astype(int) - np.stack(alone))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4


# In company a factor may be hidden: the hair by a hat, the eyes by sunglasses. On the plain face
# each must be seen.
@pytest.mark.parametrize("name", FACTORS)
def test_every_factor_is_visible(name):
    pictures = moved(name)
    if name.endswith("_hue"):  # circles: the opposite is halfway
        pictures = faces.draw(repeated(2, **{name: [0.0, 0.5]}), 64).astype(float)
    for picture in pictures[1:]:
        difference = np.abs(picture - pictures[0]).max(axis=-1)
        # At least ten pixels change by more than a tenth of the range.
        assert (difference > 25).sum() >= 10, name


# The part of the picture, in tenths (top, bottom, left, right), out of which nothing may change.
REGIONS = {
    "glasses": (3.0, 7.0, 1.5, 8.5),
    "eye_color": (3.5, 6.5, 2.0, 8.0),
    "eye_size": (3.0, 7.0, 2.0, 8.0),
    "eye_open": (3.0, 7.0, 2.0, 8.0),
    "gaze": (3.5, 6.5, 2.0, 8.0),
    "brow_weight": (2.5, 6.0, 2.0, 8.0),
    "brow_raise": (2.5, 6.0, 2.0, 8.0),
    "nose_size": (4.0, 7.0, 3.0, 7.0),
    "smile": (4.0, 8.5, 2.0, 8.0),
    "mouth_open": (5.5, 8.5, 3.0, 7.0),
    "lip_color": (5.5, 8.5, 3.0, 7.0),
    "blush": (4.5, 7.5, 1.5, 8.5),
    "beard": (4.0, 8.5, 1.5, 8.5),
    "hat": (0.0, 5.0, 0.0, 10.0),
    "clothes": (6.5, 10.0, 0.0, 10.0),
    "clothes_hue": (7.5, 10.0, 0.0, 10.0),
    "hair_shape": (0.5, 9.0, 0.5, 9.5),
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_factor_changes_nothing_outside_its_region(name):
    difference = changed(moved(name))
    top, bottom, left, right = (round(6.4 * tenths) for tenths in REGIONS[name])
    difference[top:bottom, left:right] = 0
    assert difference.max() == 0


def test_background_leaves_the_face_alone():
    for name in ("background", "background_hue", "background_tone"):
        difference = changed(moved(name))
        assert difference[24:48, 22:42].max() == 0
        assert difference[2, [2, 61]].max() > 0 or name == "background_hue"


def test_background_hue_is_a_circle():
    pictures = moved("background_hue")
    np.testing.assert_array_equal(pictures[0], pictures[1])
    half = faces.draw(repeated(1, background_hue=0.5), 64)[0]
    assert np.abs(half - pictures[0]).mean() > 10


def test_a_turn_of_the_head_to_either_side_mirrors_the_picture():
    # Strands of hair lean to one side at any light, so a bald head.
    plain = repeated(2, tilt=[-0.8, 0.8], turn=[-0.8, 0.8], light=0.0, hair_shape=0)
    both = faces.draw(plain, 64).astype(float)
    assert np.abs(both[0] - both[1][:, ::-1]).mean() < 0.05
    assert np.abs(both[0] - both[1]).mean() > 6


def test_colors_are_what_the_factors_say():
    blond, black = (
        faces.draw(repeated(1, hair_color=FACTORS["hair_color"].values.index(color)), 64)[0]
        for color in ("blond", "black")
    )
    # Just below the top of the head.
    assert blond[12, 32].min() > black[12, 32].max() + 30
    assert blond[12, 32, 0] > blond[12, 32, 2] + 60
    pale, deep = faces.draw(repeated(2, skin_tone=[0.0, 1.0]), 64).astype(int)
    cheek = (slice(38, 42), slice(24, 28))
    assert pale[cheek].mean() > deep[cheek].mean() + 80


def test_the_head_moves_as_far_as_its_factor_says():
    left, right = faces.draw(repeated(2, head_x=[-1.0, 1.0]), 64)
    # 0.2 drawing units are 7.4 of 64 pixels.
    window = left[16:40, 14:46].astype(float)
    shifts = {s: np.abs(window - right[16:40, 14 + s : 46 + s]).mean() for s in range(12)}
    assert min(shifts, key=shifts.get) in (7, 8)


def shrunk(pictures, size):
    count, large = pictures.shape[:2]
    parts = pictures.reshape(count, size, large // size, size, large // size, 3)
    return parts.mean(axis=(2, 4))


@pytest.mark.parametrize(("large", "small"), [(64, 32), (256, 64), (256, 32)])
def test_sizes_show_the_same_faces(large, small):
    factors = sampled(16, seed=2)
    expected = shrunk(faces.draw(factors, large).astype(float), small)
    difference = np.abs(expected - faces.draw(factors, small))
    assert difference.mean() < 2.5
    assert np.quantile(difference, 0.99) < 40


def test_factors_are_in_range_with_their_chances():
    factors = sampled(20_000)
    for name, factor in FACTORS.items():
        values = factors[name]
        if factor.values:
            assert values.dtype == np.int64
            rates = np.bincount(values, minlength=len(factor.values)) / len(values)
            np.testing.assert_allclose(rates, factor.chances, atol=0.015)
            assert sum(factor.chances) == pytest.approx(1)
        else:
            assert values.dtype == np.float32
            assert factor.low <= values.min() and values.max() <= factor.high
            assert (values == factor.low).mean() == pytest.approx(factor.zero, abs=0.015)


def test_factors_are_independent():
    factors = sampled(20_000)
    correlations = np.corrcoef([factors[name] for name in FACTORS])
    np.fill_diagonal(correlations, 0)
    # Five standard errors, 1 / sqrt(20,000) each.
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)


def test_first_factors_do_not_depend_on_the_count():
    few, many = sampled(10), sampled(1000)
    for name in FACTORS:
        np.testing.assert_array_equal(few[name], many[name][:10])


def test_attributes_agree_with_factors():
    factors = sampled(3000)
    found = faces.attributes(factors)
    assert all(value.dtype == bool and value.shape == (3000,) for value in found.values())
    assert all(0.02 < value.mean() < 0.98 for value in found.values())
    names = {name: np.array(f.values)[factors[name]] for name, f in FACTORS.items() if f.values}
    np.testing.assert_array_equal(found["Eyeglasses"], names["glasses"] != "none")
    np.testing.assert_array_equal(found["Wearing_Hat"], names["hat"] != "none")
    np.testing.assert_array_equal(found["Bald"], names["hair_shape"] == "bald")
    np.testing.assert_array_equal(
        found["Blond_Hair"], (names["hair_color"] == "blond") & (names["hair_shape"] != "bald")
    )
    np.testing.assert_array_equal(found["No_Beard"], names["beard"] == "none")
    np.testing.assert_array_equal(found["Smiling"], factors["smile"] > 0.2)
    colors = [found[f"{color}_Hair"] for color in ("Black", "Brown", "Blond", "Gray")]
    assert np.sum([*colors, found["Bald"]], axis=0).max() == 1


@pytest.mark.parametrize("image_size", [0, 31, 257, 64.5])
def test_sizes_that_cannot_be_drawn_are_refused(image_size, tmp_path):
    with pytest.raises(UsageError, match="32 to 256"):
        faces.draw(sampled(1), image_size)
    with pytest.raises(UsageError, match="32 to 256"):
        faces.load(image_size=image_size, faces_count=1, cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smile": np.array([1.5])}, "'smile' must be from -1.0 to 1.0"),
        ({"smile": np.array([np.nan])}, "'smile'"),
        ({"hat": np.array([5])}, "'hat' must be from 0 to 4"),
        ({"hat": np.array([0.5])}, "integer"),
        ({"hat": np.array([0, 1])}, "shape"),
        ({"whiskers": np.array([0])}, "whiskers"),
    ],
)
def test_factors_that_cannot_be_drawn_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        faces.draw(repeated(1) | changes, 32)


@pytest.mark.parametrize("option", [{"faces_seed": -1}, {"faces_count": 0}])
def test_options_out_of_range_are_refused(option, tmp_path):
    with pytest.raises(UsageError, match=next(iter(option))):
        faces.load(**option, cache_dir=str(tmp_path))


def test_any_number_of_processes_draws_the_same():
    factors = sampled(300)
    one, two = (np.concatenate([*faces.draw_batches(factors, 32, n)]) for n in (1, 2))
    assert one.shape == (300, 32, 32, 3)
    np.testing.assert_array_equal(one, two)


def test_a_script_from_standard_input_can_draw_many():
    code = """
import numpy as np
from kvae.data import faces

faces.ROWS_FOR_PROCESSES = 1
factors = faces.sample_factors(2, np.random.default_rng(0))
assert [len(batch) for batch in faces.draw_batches(factors, 32)] == [2]
"""
    subprocess.run([sys.executable, "-"], input=code.encode(), check=True)


def test_load_gives_disjoint_splits_in_a_fixed_order(tmp_path):
    data = faces.load(image_size=32, faces_count=40, cache_dir=str(tmp_path))
    splits = {"train": data.train, "valid": data.valid, "test": data.test}
    assert {name: len(split.x) for name, split in splits.items()} == data.card["counts"]
    assert data.card["counts"] == {"train": 40, "valid": 4, "test": 4}
    pictures = [picture.tobytes() for split in splits.values() for picture in split.x]
    assert len(set(pictures)) == 48
    for split in splits.values():
        factors = {name: split.labels[f"factor_{name}"] for name in FACTORS}
        np.testing.assert_array_equal(split.x, faces.draw(factors, 32))
        for name, value in faces.attributes(factors).items():
            np.testing.assert_array_equal(split.labels[name], value)
    assert data.color_by in data.train.labels
    assert set(data.card["factors"]) == set(FACTORS)


def test_splits_begin_alike_at_any_count_and_size(tmp_path):
    small = faces.load(image_size=32, faces_count=10, cache_dir=str(tmp_path))
    large = faces.load(image_size=48, faces_count=30, cache_dir=str(tmp_path))
    for name in ("train", "valid", "test"):
        few, many = getattr(small, name), getattr(large, name)
        for label, values in few.labels.items():
            np.testing.assert_array_equal(values, many.labels[label][: len(values)])
    same_size = faces.load(image_size=32, faces_count=30, cache_dir=str(tmp_path))
    np.testing.assert_array_equal(same_size.train.x[:10], small.train.x)
    np.testing.assert_array_equal(same_size.test.x[:1], small.test.x)


def test_seeds_give_other_faces(tmp_path):
    first, second = (
        faces.load(image_size=32, faces_count=10, faces_seed=seed, cache_dir=str(tmp_path))
        for seed in (0, 1)
    )
    assert not np.array_equal(first.train.x, second.train.x)


def test_outline_is_true_but_for_the_pixels(tmp_path):
    data = faces.load(image_size=32, faces_count=10, cache_dir=str(tmp_path))
    sketch = faces.outline(image_size=32, faces_count=10, cache_dir=str(tmp_path))
    assert sketch.card == data.card
    assert sketch.train.x.shape == data.train.x.shape and (sketch.train.x == 128).all()
    for name, values in data.test.labels.items():
        np.testing.assert_array_equal(sketch.test.labels[name], values)


def test_the_workers_end_when_their_parent_is_killed(tmp_path):
    """Orphans would wait for ever."""
    script = tmp_path / "draw.py"
    script.write_text(
        "import numpy as np\n"
        "from kvae.data import faces\n"
        "if __name__ == '__main__':\n"
        "    factors = faces.sample_factors(100_000, np.random.default_rng(0))\n"
        "    for batch in faces.draw_batches(factors, 32, num_processes=2):\n"
        "        print('drawn', flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    parent.stdout.readline()
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) >= 2
    parent.kill()
    parent.communicate()
    for _ in range(200):
        if not any(_runs(child) for child in children):
            return
        time.sleep(0.1)
    pytest.fail("workers outlive their parent")


def _runs(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
