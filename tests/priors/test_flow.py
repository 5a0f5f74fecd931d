"""What a flow is beside what every prior is: invertible, started at data, bounded."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvae.errors import UsageError
from kvae.priors.flow import Flow

LOG_2PI = math.log(2 * math.pi)
#: Arguments of flows; the last is that of kvae 0.1.
FLOWS = [
    {"num_layers": 3, "hidden_units": 8, "num_blocks": 1},
    {"num_layers": 2, "hidden_units": 4, "num_blocks": 2},
    {"num_layers": 3, "hidden_units": 8, "num_blocks": 0},
]


def _flow(dim, size=0.3, **given):
    """A flow whose weights are moved off their start."""
    flow = Flow(**given)
    flow.build((None, dim))
    rng = np.random.default_rng(0)
    flow.set_weights([w + size * rng.normal(size=w.shape) for w in flow.get_weights()])
    return flow


def _points(rows, dim, size=1.0, seed=1):
    return (size * np.random.default_rng(seed).normal(size=(rows, dim))).astype("float32")


class _Given:
    """A source whose normal numbers are known."""

    def __init__(self, u):
        self.normal = lambda purpose, size: keras.ops.convert_to_tensor(u)


@pytest.mark.parametrize("given", FLOWS, ids=str)
@pytest.mark.parametrize("dim", [2, 5])
def test_the_density_is_that_of_the_noise_over_the_jacobian_of_sampling(dim, given):
    flow = _flow(dim, **given)
    u = tf.constant(_points(6, dim))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(u)
        z = flow.sample(_Given(u))
        columns = [z[:, column] for column in range(dim)]
    jacobian = np.stack([tape.gradient(column, u) for column in columns], axis=1)
    log_det = np.linalg.slogdet(jacobian.astype("float64"))[1]
    assert np.abs(log_det).max() > 0.3  # and not of a map that leaves volumes alone
    expected = -0.5 * np.sum(LOG_2PI + np.square(u), axis=1) - log_det
    np.testing.assert_allclose(flow.log_prob(z), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def strong():
    """A flow of 32 couplings that move data far, as those of a trained one do."""
    flow = Flow(32, hidden_units=16)
    flow.build((None, 6))
    rng = np.random.default_rng(0)
    kernels = [weight for weight in flow.weights if weight.name.startswith("kernel")]
    for weight in (kernels[0], kernels[-1]):
        weight.assign(0.6 * rng.normal(size=weight.shape) / math.sqrt(weight.shape[1]))

    @tf.function
    def there_and_back(z):
        u, log_det = flow.inverse(z)
        return flow.forward(u), log_det, flow.log_prob(z)

    return there_and_back


@pytest.mark.parametrize("distance", [1.0, 100.0, 1e4])
def test_it_is_undone_to_the_accuracy_of_float32_near_and_far(strong, distance):
    z = _points(500, 6, distance)
    again, log_det, log_prob = (np.asarray(found) for found in strong(z))
    errors = np.abs(again - z).max(axis=1) / np.abs(z).max(axis=1)
    assert np.median(errors) < 2e-6
    assert errors.max() < 1e-3  # of a row that a rotation lays near in all kept coordinates
    assert np.isfinite(log_prob).all()
    if distance == 1.0:
        assert np.abs(log_det).mean() > 1  # and it is no turn alone
    else:  # couplings fade
        assert np.abs(log_det).mean() < 1


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_two_layers_move_every_coordinate(dim):
    for seed in range(5):
        flow = _flow(dim, 0.0, num_layers=2, hidden_units=2, seed=seed)
        last = [weight for weight in flow.weights if weight.name.startswith("bias")][-1]
        last.assign(np.ones(last.shape))
        assert np.all(np.asarray(flow.forward(np.zeros((1, dim), "float32"))) > 0.1)


@pytest.mark.parametrize(("num_layers", "sign"), [(2, 1), (12, -1)])
def test_no_couplings_leave_float32_together(num_layers, sign):
    """With every scale at its bound the density of far points is a number, with a gradient."""
    flow = _flow(2, 0.0, num_layers=num_layers, hidden_units=2)
    last = [weight for weight in flow.weights if weight.name.startswith("bias")][-1]
    last.assign(np.broadcast_to([0.0, sign * 1e6], last.shape))  # of no shift
    z = tf.constant([[-1e4, 1e4], [1e4, 1e-3], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        log_prob = flow.log_prob(z)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, z)).all()
    log_det = float(flow.inverse(z)[1][2])
    assert log_det == pytest.approx(-sign * min(3.0 * num_layers, 30.0), rel=1e-5)


def test_the_normalisation_starts_at_zero_mean_and_unit_variance():
    latents = 5.0 + _points(1000, 4) @ _points(4, 4, seed=3)
    flow = _flow(4, num_layers=5, hidden_units=8)
    flow.initialize(latents, None)
    u = np.asarray(flow.inverse(latents)[0])
    np.testing.assert_allclose(u.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(u.std(axis=0), 1.0, atol=1e-4)
    assert np.abs(flow.layer_shift).max() > 1e-3  # each layer has a start of its own
    assert np.asarray(flow.layer_log_scale).std() > 0.05


def test_the_last_normalisation_alone_is_that_of_latents():
    latents = 3.0 + _points(500, 2) @ np.array([[2.0, 0.0], [1.0, 0.1]], "float32")
    for num_blocks in (0, 1):
        flow = Flow(3, hidden_units=4, num_blocks=num_blocks)
        flow.build((None, 2))
        flow.initialize(latents, None)
        shift, log_scale = flow.get_weights()[:2]
        np.testing.assert_allclose(shift, latents.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(log_scale, np.log(latents.std(axis=0)), rtol=1e-4)


def test_equal_latents_start_a_flow_that_is_finite():
    flow = Flow(4, hidden_units=4)
    flow.build((None, 3))
    flow.initialize(np.full((100, 3), 7.0, "float32"), None)
    assert np.isfinite(flow.log_prob(np.full((2, 3), 7.0, "float32"))).all()


def test_a_seed_gives_one_start_and_another_seed_another():
    z = _points(5, 4)

    def found(seed):
        flow = Flow(3, hidden_units=4, seed=seed)
        flow.build((None, 4))
        return np.asarray(flow.log_prob(z)), np.concatenate([*map(np.ravel, flow.get_weights())])

    for first, again, other in zip(found(1), found(1), found(2), strict=True):
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 1e-3


def test_a_configuration_of_kvae_0_1_is_the_flow_that_it_was():
    """The numbers are those that kvae 0.1 gave."""
    flow = Flow.from_config({"name": "flow", "num_layers": 2, "hidden_units": 4, "seed": 3})
    flow.build((None, 3))
    weights = [0.5 * np.sin(1.0 + np.arange(w.size)).reshape(w.shape) for w in flow.get_weights()]
    of_coupling = [(1, 4), (4,), (4, 4), (4,), (4, 4), (4,)]
    assert [w.shape for w in weights] == [(3,), (3,), *of_coupling, *of_coupling]
    flow.set_weights(weights)
    z = np.array([[0.3, -1.2, 2.0], [0.0, 0.5, -0.4]], "float32")
    np.testing.assert_allclose(flow.log_prob(z), [-5.7518063, -5.7680416], rtol=1e-5)
    drawn = [[-2.0963449, -0.4943087, 2.0400014], [1.1390219, 0.4907155, 0.6170627]]
    np.testing.assert_allclose(flow.sample(_Given(z)), drawn, rtol=1e-5)


@pytest.mark.parametrize("given", FLOWS[1:], ids=str)
def test_a_graph_holds_its_loop_once(given):
    def size(num_layers):
        flow = _flow(4, **{**given, "num_layers": num_layers})
        of = tf.function(flow.log_prob).get_concrete_function(tf.TensorSpec((None, 4)))
        lines = str(of.graph.as_graph_def()).splitlines()  # its own nodes, and its functions'
        return sum(line in ("node {", "    node_def {") for line in lines)

    of_weights = len(_flow(4, **given).weights) if given["num_blocks"] == 0 else 0
    assert size(4) - size(2) <= 4 * of_weights  # those of kvae 0.1 are stacked first


@pytest.mark.parametrize(
    ("name", "value"), [("num_layers", 0), ("hidden_units", 0), ("num_blocks", -1)]
)
def test_what_is_no_flow_is_refused(name, value):
    with pytest.raises(UsageError, match=f"{name} takes a whole number from .*received {value}"):
        Flow(**{name: value})
    with pytest.raises(UsageError, match="needs 2 dimensions, received 1"):
        Flow().build((None, 1))
