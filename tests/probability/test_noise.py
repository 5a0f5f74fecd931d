import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kvae.errors import UsageError
from kvae.probability.noise import PURPOSES, SeededNoise, StepNoise, row_seeds, threefry2x32

# The known answers that come with the authors' library Random123: counter, key, words.
KNOWN_ANSWERS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
SEEDS = [5, -5, 2**62 + 3]
# Whole numbers that overflow are what an optimiser of graphs might get wrong.
pytestmark = pytest.mark.usefixtures("optimized_graphs")
# Numbers of one backend as JSON; of a child process, and here.
NUMBERS = f"""
import json
import keras
import numpy as np
from kvae.probability.noise import SeededNoise, StepNoise, threefry2x32

def words(counter, key):
    pairs = ([np.array([word], "uint32") for word in pair] for pair in (key, counter))
    return [int(word[0]) for word in threefry2x32(*pairs)]

def tensor(values):
    return keras.ops.convert_to_tensor(np.array(values, "int32"))

seeded = SeededNoise(np.array({SEEDS}), 7)
training = StepNoise.training(-3, tensor(9), tensor([0, 1, 5]), draws=2)
validation = StepNoise.validation(2**40, tensor([0, 1, 5]))
sources = dict(seeded=seeded, signed=SeededNoise(tensor([5, -5]), tensor([7, 7])),
               training=training, validation=validation)
def numbers_of(kind):
    found = {{name: getattr(source, kind)("latent", 3) for name, source in sources.items()}}
    return {{name: np.asarray(values).tolist() for name, values in found.items()}}

numbers = dict(
    known=[words(counter, key) for counter, key, _ in {KNOWN_ANSWERS}],
    uniform=numbers_of("uniform"), normal=numbers_of("normal"),
)
"""


def _words(counter, key, ops):
    found = threefry2x32(
        *([np.array([word], "uint32") for word in pair] for pair in (key, counter)), ops
    )
    return [int(word[0]) for word in found]


@pytest.mark.parametrize("ops", [keras.ops, np], ids=["keras", "numpy"])
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_answers(counter, key, expected, ops):
    assert _words(counter, key, ops) == list(expected)


@pytest.fixture(scope="module")
def numbers():
    found = {}
    exec(NUMBERS, found)
    return found["numbers"]


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_every_backend_gives_the_same_numbers(backend, numbers):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    child = subprocess.run(
        [sys.executable, "-c", f"{NUMBERS}\nprint(json.dumps(numbers))"],
        env=os.environ | {"KERAS_BACKEND": backend}, cwd=Path(__file__).parents[2],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(child.stdout)
    assert found["known"] == [list(words) for *_, words in KNOWN_ANSWERS]
    assert found["uniform"] == numbers["uniform"]
    for name, normal in numbers["normal"].items():
        np.testing.assert_allclose(found["normal"][name], normal, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rows", "pairs"), [(1, 1), (2, 2), (3, 3), (3, 2), (5, 8)])
def test_threefry_broadcasts_keys_and_counters_as_numpy_does(rows, pairs):
    column = np.arange(rows, dtype="uint32")[:, None]
    counter = np.full((1, 1), 9, "uint32"), np.arange(pairs, dtype="uint32")[None, :]
    for key, own in (((column, column + 3), counter), (counter, (column, counter[1]))):
        for found, expected in zip(threefry2x32(key, own), threefry2x32(key, own, np), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_published_versions_keep_their_numbers(numbers):
    # Of seeds 5, -5 and 2^62 + 3, draw 7: what SavedModels that were exported earlier answer.
    np.testing.assert_allclose(
        numbers["uniform"]["seeded"],
        [
            [0.3830223083496094, 0.6968919634819031, 0.9510999917984009],
            [0.8480833172798157, 0.7542262077331543, 0.6210625767707825],
            [0.7300032377243042, 0.34407293796539307, 0.18576596677303314],
        ],
        rtol=0,
    )


def test_a_seed_gives_the_same_numbers_as_integer_array_or_tensor():
    def uniform(seed):
        return np.asarray(SeededNoise(seed).uniform("latent", 4))

    expected = uniform(np.array([7, -7], "int64"))
    for seed in ([7, -7], tf.constant([7, -7], tf.int64), tf.constant([7, -7], tf.int32)):
        np.testing.assert_array_equal(uniform(seed), expected)
    np.testing.assert_array_equal(uniform(np.array([2**64 - 7], "uint64")), expected[1:])
    np.testing.assert_array_equal(
        uniform(np.array([2**32 - 7])), uniform(tf.constant([2**32 - 7], tf.uint32))
    )


@pytest.mark.parametrize(
    ("seed", "draw"),
    [
        ([1.5], 0), ([2**64], 0), ([True], 0), (tf.constant([1.0]), 0),
        ([1], -1), ([1], 2**28), ([1], 0.5), ([1], np.array([0, 2**28])),
    ],
)  # fmt: skip
def test_seeds_and_draws_that_are_none_are_refused(seed, draw):
    with pytest.raises(UsageError, match=r"^(seeds|draws) must be whole numbers"):
        SeededNoise(seed, draw)


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
    from kvae.probability.noise import _unit_interval

    ends = np.asarray(_unit_interval(np.array([0, 2**32 - 1], "uint32")))
    assert 0.0 < ends[0] < 1e-9
    assert 1.0 - 1e-7 < ends[1] < 1.0


def _step(step=3, seed=1, rows=4, draws=1):
    return StepNoise.training(seed, step, tf.range(rows), draws)


def test_a_step_is_a_function_of_seed_step_row_draw_and_purpose():
    first = np.asarray(_step().normal("posterior", 5))
    np.testing.assert_array_equal(first, _step(tf.Variable(3)).normal("posterior", 5))
    compiled = tf.function(lambda step: _step(step).normal("posterior", 5), jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant(3)), first, rtol=1e-5, atol=1e-6)
    some = StepNoise.training(1, 3, tf.constant([2, 0])).normal("posterior", 5)
    np.testing.assert_allclose(some, first[[2, 0]], rtol=1e-6)


def test_steps_seeds_purposes_draws_rows_and_validation_share_no_numbers():
    sources = [_step(step, seed, draws=3) for step in range(4) for seed in (0, 1, -1, 2**32)]
    sources += [StepNoise.validation(seed, tf.range(4), 3) for seed in (0, 1, -1, 2**32)]
    values = [np.asarray(one.uniform(name, 6)).ravel() for one in sources for name in PURPOSES]
    assert len(np.unique(values)) == np.size(values) == 20 * len(PURPOSES) * 4 * 3 * 6


def test_the_draws_of_a_row_follow_one_another_and_are_independent_normals():
    noise = np.asarray(_step(rows=3, draws=4).uniform("posterior", 5)).reshape(3, 4, 5)
    row = StepNoise.training(1, 3, tf.constant([1]), 4).uniform("posterior", 5)
    np.testing.assert_array_equal(noise[1], row)
    normal = np.asarray(_step(rows=5000, draws=4).normal("posterior", 5))
    assert stats.kstest(normal.ravel(), "norm").pvalue > 1e-3
    together = normal.reshape(5000, 20)
    assert np.abs(np.corrcoef(together.T) - np.eye(20)).max() < 0.06
    assert abs(np.corrcoef(normal[:-4, 0], normal[4:, 0])[0, 1]) < 0.03
    after = np.asarray(_step(4, rows=5000, draws=4).normal("posterior", 5))
    assert abs(np.corrcoef(normal.ravel(), after.ravel())[0, 1]) < 0.02


def test_a_graph_knows_the_shape_of_its_noise_and_holds_the_rounds_once():
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int64)], autograph=False)
    def ask(seed):
        source = SeededNoise(seed)
        return source.normal("latent", 3), source.uniform("component", 5)

    graph = ask.get_concrete_function().graph
    assert [one.shape.as_list() for one in graph.structured_outputs] == [[None, 3], [None, 5]]
    calls = [one for one in graph.get_operations() if "PartitionedCall" in one.type]
    assert len(calls) == 2 and len({one.get_attr("f").name for one in calls}) == 1
    assert len(graph.get_operations()) < 150  # of one source alone


def test_a_row_of_validation_does_not_depend_on_its_batch():
    whole = np.asarray(StepNoise.validation(9, tf.range(10)).uniform("posterior", 4))
    part = StepNoise.validation(9, tf.range(6, 10)).uniform("posterior", 4)
    np.testing.assert_array_equal(part, whole[6:])


def test_counters_of_rows_of_steps_and_of_seeds_never_meet(monkeypatch):
    """The second word: below 2^28 of SeededNoise, above of the others, which differ in its top."""
    seen = {}

    def recorded(name, make):
        calls = []

        def threefry(key, counter, ops=keras.ops):
            calls.append(np.asarray(counter[1]).ravel() >> 28)
            return threefry2x32(key, counter, ops)

        monkeypatch.setattr("kvae.probability.noise.threefry2x32", threefry)
        make()
        seen[name] = {int(top) for tops in calls for top in tops}

    def ask(source):
        for purpose in PURPOSES:
            source.uniform(purpose, 6)

    recorded("rows of their own seeds", lambda: ask(SeededNoise([1, 2], 2**28 - 1)))
    training, validation = _step(draws=2), StepNoise.validation(2**40, tf.range(4))
    recorded("training", lambda: ask(training))
    recorded("validation", lambda: ask(validation))
    recorded("the word of a seed", lambda: _step(seed=2**40))
    recorded("seeds of rows", lambda: row_seeds(3, 4))
    assert seen["rows of their own seeds"] == {0}
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())) == 13


def test_a_step_of_many_draws_and_elements_is_refused():
    with pytest.raises(UsageError, match=r"at most 2\^28 pairs .* received 402,653,184"):
        _step(draws=2**27).normal("posterior", 5)
    with pytest.raises(UsageError, match="at most 2"):
        SeededNoise([1]).uniform("latent", 2**30)
    for wrong in ({"seed": 0.5}, {"seed": 2**64}, {"step": -1}, {"draws": 0}, {"draws": 1.0}):
        with pytest.raises(UsageError, match="must be whole numbers"):
            _step(**wrong)


def test_no_two_seeds_have_equal_seeds_of_rows():
    seeds = np.concatenate([row_seeds(seed, 201) for seed in range(201)])
    assert seeds.dtype == np.int64
    assert len(np.unique(seeds)) == 201 * 201
    np.testing.assert_array_equal(row_seeds(200, 7), seeds[-201:-194])


def test_seeds_of_rows_are_the_same_everywhere():
    expected = [8408019379785520035, -5945103614257853818, -3813764758177679918]
    np.testing.assert_array_equal(row_seeds(-1, 3), expected)
    np.testing.assert_array_equal(row_seeds(2**64 - 1, 3), expected)
    assert len(row_seeds(0, 0)) == 0


@pytest.mark.parametrize(("seed", "count"), [(0.5, 1), (2**64, 1), (0, -1), (0, 1.0), (0, 2**33)])
def test_seeds_of_rows_want_whole_numbers(seed, count):
    with pytest.raises(UsageError, match="must be whole numbers"):
        row_seeds(seed, count)
