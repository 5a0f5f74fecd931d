"""--devices and TF_CONFIG: the devices that make each step together."""

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kvae import backend
from kvae.config import OF_OUTPUT, Config
from kvae.errors import KvaeError, UsageError, brief
from kvae.model import VAE
from kvae.saying import say
from kvae.training.keeping.saving import assign, values_of_variables
from kvae.training.machines import cluster
from kvae.training.machines.cluster import Cluster
from kvae.training.machines.waiting import wait_for
from kvae.training.start import compile_for, replicas_of

# Which machines may have each of their own; one of them alone writes what OF_OUTPUT says.
_PLACES = (*OF_OUTPUT, "data_dir", "cache_dir")
MOST_CPUS = 16  # logical ones: they are for a trial


class One:
    """One device, as Keras takes it: nothing is distributed."""

    told = ""
    is_many_machines = False
    #: Whether this process writes, fits samplers and publishes.
    writes = True

    def scope(self):
        """The context in which weights are made, and in which they are trained."""
        return nullcontext()

    def split(self, dataset: tf.data.Dataset) -> Any:
        """What `fit` takes for batches: each device its rows of them."""
        return dataset

    def valid_batch(self, size: int, rows: int) -> int:
        """Rows of a batch of the valid split.

        Args:
            size: as many at most.
            rows: of the split.
        """
        del rows
        return size

    def single(self, config: Config, vae: VAE, steps: int) -> VAE:
        """A trained model as all that follows takes it, with its optimizer.

        Args:
            config: all options.
            vae: made in the scope; called outside of it.
            steps: of an epoch.
        """
        del config, steps
        return vae

    def check(self, vae: VAE) -> None:
        """Refuse a model that these devices do not train as one does.

        Args:
            vae: the model.

        Raises:
            UsageError: it is one.
        """

    def agree(self, config: Config, data: Any) -> None:
        """See that all machines train the same.

        Args:
            config: all options.
            data: JSON values that say which data there are.

        Raises:
            UsageError: they do not.
        """

    def shared(self, content: bytes) -> bytes:
        """What the machine that writes gives here."""
        return content

    def leave(self) -> None:
        """Wait until all machines are done: what ends sooner looks to the others as if it died."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A context in which machines compute together.

        Raises:
            KvaeError: one of them has gone.
        """
        yield


class Several(One):
    """More than one, of any backend."""

    def check(self, vae):
        """See `One`; `kvae.training.preflight` knows options, but no objects of one's own."""
        if vae.objective.compares_rows:
            raise UsageError(
                "the objective compares the rows of a batch with one another, which one device "
                f"alone sees together; received {self.told}"
            )

    def single(self, config, vae, steps):
        """See `One`: a copy on the device that all else computes on."""
        twin = VAE.from_config(vae.get_config())
        twin.set_weights(vae.get_weights())
        twin.prior_started = vae.prior_started
        compile_for(config, twin, steps)
        twin.optimizer.build(twin.trainable_variables)
        assign(twin.optimizer.variables, values_of_variables(vae.optimizer.variables))
        return twin


class Mirrored(Several):
    """Replicas of TensorFlow."""

    def __init__(self, strategy: tf.distribute.Strategy, told: str):
        self._strategy, self.told = strategy, told

    def scope(self):
        """See `One`."""
        return self._strategy.scope()


class Machines(Several):
    """Processes of TensorFlow, with a device each: what TF_CONFIG says."""

    is_many_machines = True

    def __init__(self, strategy: tf.distribute.Strategy, machines: Cluster):
        self._strategy, self._machines = strategy, machines
        self.told = f"one on each of {len(machines.addresses)} machines ({cluster.VARIABLE})"
        self.writes = machines.is_chief

    def scope(self):
        """See `One`."""
        return self._strategy.scope()

    def split(self, dataset):
        """See `One`; of a batch that they do not divide some have a row more."""
        count = len(self._machines.addresses)
        own = self._machines.rank

        @tf.autograph.experimental.do_not_convert
        def part(*batch):
            rows = tf.shape(batch[0])[0]
            start, end = own * rows // count, (own + 1) * rows // count
            found = tuple(tensor[start:end] for tensor in batch)
            return found if len(found) > 1 else found[0]

        return self._strategy.distribute_datasets_from_function(lambda _: dataset.map(part))

    def agree(self, config, data):
        """See `One`."""
        values = {key: one for key, one in config.to_dict().items() if key not in _PLACES}
        own = json.dumps({**values, "data": data}, sort_keys=True, default=str).encode()
        first, *others = map(json.loads, self._gathered(own))
        for rank, other in enumerate(others, 1):
            differ = [key for key in sorted({*first, *other}) if first.get(key) != other.get(key)]
            if differ:
                told = (
                    f"{key} {brief(first.get(key))} and {brief(other.get(key))}" for key in differ
                )
                addresses = self._machines.addresses
                raise UsageError(
                    f"{cluster.VARIABLE}: all machines are started with the same options and data; "
                    f"{addresses[0]} and {addresses[rank]} have {'; '.join(told)}"
                )

    def shared(self, content):
        """See `One`."""
        return self._gathered(content if self.writes else b"")[0]

    def leave(self):
        """See `One`."""
        with suppress(KvaeError):  # whatever became of the others, this one is done
            self.shared(b"")

    @contextmanager
    def watched(self):
        """See `One`."""
        try:
            yield
        except tf.errors.OpError as error:
            raise KvaeError(
                f"{cluster.VARIABLE}: {' or '.join(self._machines.others)} has gone, or cannot be "
                "reached; the same command on all machines goes on from the last checkpoint"
            ) from error

    def _gathered(self, content):
        """What each machine gives, in their order."""
        with self.watched():
            size = self._strategy.gather(tf.constant([len(content)]), axis=0).numpy()
            padded = np.frombuffer(content + b"\0" * (-len(content) % 4), "int32")
            # Of nothing TensorFlow gathers nothing, but not from one machine alone.
            padded = np.append(padded, np.int32(0))
            whole = self._strategy.gather(tf.constant(padded), axis=0).numpy()
        ends = np.cumsum(-(-size // 4) + 1)
        return [
            part.tobytes()[:count] for part, count in zip(np.split(whole, ends), size, strict=False)
        ]


class Sharded(Several):
    """Devices of JAX."""

    def __init__(self, devices: list[str], told: str):
        self._count, self._distribution, self.told = len(devices), _by_rows(devices), told

    def scope(self):
        """See `One`."""
        return self._distribution.scope()

    def valid_batch(self, size, rows):
        """See `One`; batches that the devices do not divide are computed whole by each of them.

        Keras lays out all batches of a pass as the first.
        """
        if rows % self._count == 0:
            return max(self._count, size - size % self._count)
        return size - 1 if size % self._count == 0 else size


def chosen(config: Config, model: VAE | None = None) -> One:
    """The devices of a run, before TensorFlow or JAX have looked for them.

    Args:
        config: all options.
        model: that is trained, if it is there already; it may have a strategy of its own.

    Raises:
        UsageError: there are fewer, or the process uses them already in another way.
    """
    machines = cluster.read()
    if machines is not None:
        return _of_machines(machines)
    if model is not None and replicas_of(model) > 1:
        told = f"{replicas_of(model)} of the model's own strategy"
        return Mirrored(model.distribute_strategy, told)
    if config.devices == 1:
        return One()
    if config.backend == backend.JAX:
        return _of_jax(config.devices)
    return _of_tensorflow(config.devices)


@functools.cache  # a process has one
def _of_machines(machines):
    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(gpus[:1], "GPU")
    tf.get_logger().setLevel("ERROR")  # that `gather` is traced for each size is no news
    say(f"waits      for {', '.join(machines.others)}", flush=True)
    wait_for(int(machines.addresses[machines.rank].rpartition(":")[2]), machines.others)
    return Machines(tf.distribute.MultiWorkerMirroredStrategy(), machines)


def _of_tensorflow(count):
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        _check_gpus(count, len(gpus), "TensorFlow")
        names = tuple(f"GPU:{number}" for number in range(count))
        return Mirrored(_mirrored(names), ", ".join(names))
    _check_cpus(count)
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or ()) < count:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError:
            raise _started(count, len(tf.config.list_logical_devices("CPU"))) from None
    return Mirrored(_mirrored(tuple(f"CPU:{number}" for number in range(count))), _trial(count))


@functools.cache  # the sums of a second one of the same devices would take those of the first
def _mirrored(names):
    return tf.distribute.MirroredStrategy(names)


def _of_jax(count):
    import jax

    with suppress(RuntimeError):  # JAX has started
        jax.config.update("jax_num_cpu_devices", min(count, MOST_CPUS))  # of GPUs it says nothing
    found = jax.devices()
    if found[0].platform == "cpu":
        _check_cpus(count)
        if len(found) < count:
            raise _started(count, len(found))
        told = _trial(count)
    else:
        _check_gpus(count, len(found), "JAX")
        told = ", ".join(map(str, found[:count]))
    return Sharded([f"{one.platform}:{one.id}" for one in found[:count]], told)


def _check_gpus(count, there, library):
    if count > there:
        raise UsageError(
            f"--devices must be at most {there}, the GPUs that {library} sees here; received "
            f"{count}"
        )


def _check_cpus(count):
    if count > MOST_CPUS:
        raise UsageError(
            f"--devices must be at most {MOST_CPUS} where there are no GPUs: logical CPUs are for "
            f"a trial; received {count}"
        )


def _started(count, there):
    return UsageError(
        f"--devices {count}: this process computes on {there} of CPU already, which cannot be "
        "divided again: ask for the devices before anything else is computed"
    )


def _trial(count):
    return f"{count} logical CPUs: no GPU is seen, and this is a trial that gains nothing"


def _by_rows(devices):
    class ByRows(keras.distribution.DataParallel):
        """Keras's, which takes the steps of a block for rows."""

        def get_data_layout(self, data_shape):
            axis = 1 if len(data_shape) == 3 else 0  # of vectors (steps, batch, features)
            axes = [None] * len(data_shape)
            if data_shape[axis] % len(devices) == 0:
                axes[axis] = self.batch_dim_name
            return keras.distribution.TensorLayout(axes, self.device_mesh)

    return ByRows(devices=devices)
