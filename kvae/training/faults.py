"""Numbers that stop being finite: training stops at once, and says where it began.

Nothing is added to a step. Now and then the state of weights and optimizer is kept as an epoch
begins, and training made once more from there: order and noise are functions of seed and step.
"""

import math
import time
from typing import NamedTuple

import keras
import numpy as np

from kvae.errors import UsageError
from kvae.inputs import beside, rows_of
from kvae.probability.noise import StepNoise
from kvae.training.keeping.saving import assign, values_of_variables

_LARGEST_STATE = 1e9  # bytes that are kept of an epoch's start
_SECONDS = 120.0  # to look for the step
_TERMS = ("distortion", "rate")


class Watch(keras.callbacks.Callback):
    """Stop training in the call whose figures, or after the epoch whose weights, are not finite.

    Stands behind `SwapEMAWeights`, which changes weights at both ends of an epoch, and before what
    keeps weights.

    Args:
        seconds_between: how long a state is kept before the next takes its place.
        skipped: an epoch that a run goes on in the middle of; None: there is none.

    Attributes:
        epoch: from 0, the one in which training was stopped; None: none was.
        state: weights and optimizer as an epoch began, sound; None: too large to be kept.
        since: that epoch.
    """

    def __init__(self, seconds_between=20.0, skipped=None):
        super().__init__()
        self.epoch = self.state = None
        self.since = self._now = 0
        self._between, self._kept, self._skipped = seconds_between, -math.inf, skipped

    def on_epoch_begin(self, epoch, logs=None):
        """Keep the state, if it is sound."""
        self._now, now = epoch, time.monotonic()
        is_early = now - self._kept < self._between or epoch == self._skipped
        if is_early or self.epoch is not None:
            return
        variables = _variables(self.model)
        if sum(4 * math.prod(variable.shape) for variable in variables) > _LARGEST_STATE:
            return
        state = values_of_variables(variables)
        if self.state is not None and _first_wrong(variables, state):
            self._stop(epoch - 1)
        else:
            self.state, self.since, self._kept = state, epoch, now

    def on_train_batch_end(self, batch, logs=None):
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            self._stop(self._now)

    def on_epoch_end(self, epoch, logs=None):
        """Look at all figures."""
        if not all(math.isfinite(float(value)) for value in (logs or {}).values()):
            self._stop(epoch)

    def _stop(self, epoch):
        self.epoch = epoch if self.epoch is None else self.epoch
        self.model.stop_training = True


class Fault(NamedTuple):
    """Where numbers stopped being finite.

    Args:
        epoch: from 0.
        step: of the epoch, from 0.
        what: a term, a layer or a weight, in words.
        is_of_data: whether x itself was not finite.
    """

    epoch: int
    step: int
    what: str
    is_of_data: bool = False


def first_fault(vae, watch, calls, is_block, batches, seconds=_SECONDS):
    """Make training once more, from the state that was kept, until something is not finite.

    Args:
        vae: the model; what its weights become is not said.
        watch: that stopped training, with a state.
        calls: of an epoch, what `fit` was given for one.
        is_block: whether a call is a block of steps.
        batches: a function of the number of an epoch: its batches, x or pairs with a condition.
        seconds: after which a single epoch is given up.

    Returns:
        `Fault`; None: there was none, or time was up.
    """
    variables = _variables(vae)
    assign(variables, watch.state)
    epoch, state = watch.since, watch.state
    if epoch < watch.epoch:  # in calls as before, to the epoch in question
        again = Watch(seconds_between=0.0)
        vae.fit(
            batches(epoch), steps_per_epoch=calls, initial_epoch=epoch, epochs=watch.epoch + 1,
            verbose=0, start_prior=False, calibrate=False, callbacks=[again],
        )  # fmt: skip
        epoch, state = again.since, again.state
        assign(variables, state)
    vae.reset_metrics()
    end = time.monotonic() + seconds
    for step, x in enumerate(_single(batches(epoch), calls, is_block)):
        try:
            logs = vae.train_on_batch(*(x if isinstance(x, tuple) else (x,)), return_dict=True)
        except UsageError as error:
            return Fault(epoch, step, str(error), is_of_data=True)
        after = values_of_variables(variables)
        wrong = _first_wrong(variables, after)
        if wrong or not math.isfinite(float(logs["loss"])):
            assign(variables, state)
            return Fault(epoch, step, _what(vae, x, wrong))
        if time.monotonic() > end:
            break
        state = after
    return None


def _single(batches, calls, is_block):
    """The batches of an epoch, out of blocks too, as NumPy arrays."""
    batches = batches.take(calls)
    return (batches.unbatch() if is_block else batches).as_numpy_iterator()


def wrong_weight(vae):
    """The path of the first weight that is not finite; "" where all are."""
    return _first_wrong(vae.variables, values_of_variables(vae.variables))


def _what(vae, x, changed):
    """What is not finite in the next step on x, in words; a variable that it would change so."""
    found = vae.examined(x)
    rows = len(rows_of(x))
    outcome = found.outcome._asdict()
    terms = {name: outcome[name] for name in _TERMS} | found.outcome.estimates
    terms |= {"loss": outcome["loss"]}
    sizes = _sizes(vae, found.gradients)
    for name, values in terms.items():
        wrong = ~np.isfinite(_numpy(values)).reshape(rows, -1).all(1)
        if wrong.any():
            layer = _first_layer(vae, x)
            first = f", first in the output of {layer}" if layer else ""
            return f"the {name} of {wrong.sum():,} of {rows:,} rows is not finite{first}{sizes}"
    if not np.isfinite(_numpy(found.penalty)).all():
        return f"the regularisation losses of the networks are not finite{sizes}"
    for variable, gradient in _backwards(vae, found.gradients):
        if gradient is not None and not np.isfinite(_numpy(gradient)).all():
            return f"the loss is finite, the gradient of {variable.path} is not{sizes}"
    if changed:
        return f"loss and gradients are finite, the step makes {changed} overflow{sizes}"
    return f"by itself this step is finite{sizes}"


def _backwards(vae, gradients):
    """Weights and gradients in the order in which these are computed: the decoder's end first."""
    known = {
        id(one): gradient for one, gradient in zip(vae.trainable_variables, gradients, strict=True)
    }
    networks = [*vae.encoder.trainable_variables, *vae.decoder.trainable_variables]
    others = [one for one in vae.trainable_variables if all(one is not own for own in networks)]
    return [(one, known.get(id(one))) for one in (*reversed(networks), *others)]


def _sizes(vae, gradients):
    """The largest weight and the norm of the gradient, in brackets, as far as they are finite."""
    sizes = {one.path: np.abs(_numpy(one)).max(initial=0) for one in vae.trainable_variables}
    path = max(sizes, key=lambda name: sizes[name])
    squares = [
        np.square(_numpy(one).astype("float64")).sum() for one in gradients if one is not None
    ]
    norm = math.sqrt(sum(squares)) if np.isfinite(squares).all() else math.nan
    told = f"largest weight {sizes[path]:.2g}, of {path}"
    return f" ({told})" if math.isnan(norm) else f" ({told}; norm of the gradient {norm:.2g})"


def _first_layer(vae, x):
    """The path of the first layer whose output is not finite; "" where it cannot be said."""
    x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    rows, condition = vae._parts(x)
    seen = (rows - vae.shift) / vae.scale
    found = _first_of(vae.encoder, beside(seen, condition))
    if found:
        return found
    noise = StepNoise.training(vae.seed, vae.num_steps, np.arange(len(rows), dtype="int32"), 1)
    latent = vae.posterior(x, training=True).draw(noise, "posterior").value
    return _first_of(vae.decoder, beside(latent, condition))


def _first_of(network, inputs):
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    try:
        outputs = keras.Model(network.inputs, [layer.output for layer in layers])(inputs)
    except (AttributeError, TypeError, ValueError):  # a network of one's own, no graph of layers
        outputs = []
    for layer, output in zip(layers, outputs, strict=False):
        if not np.isfinite(_numpy(output)).all():
            return f"{network.name}/{layer.name}"
    return ""


def _variables(vae):
    return [*vae.variables, *vae.optimizer.variables]


def _numpy(values):
    """As float32 or wider where it is a number of half precision."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(values)))


def _first_wrong(variables, values):
    for variable, value in zip(variables, values, strict=True):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return variable.path
    return ""
