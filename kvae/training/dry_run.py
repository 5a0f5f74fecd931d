"""--dry-run: the configuration, the model and the time of an epoch, and no training."""

import math
import time

import keras
import numpy as np
import tensorflow as tf

from kvae import memory
from kvae.config import Config
from kvae.data import Dataset
from kvae.data.conditions import conditioned, conditions_of
from kvae.data.rows import MOST_NUMBERS
from kvae.inputs import as_float
from kvae.saying import duration
from kvae.training.machines import devices
from kvae.training.precision import choose_policy
from kvae.training.preflight import outline
from kvae.training.start import build, compile_for, replicas_of, steps_of

_ORDER_BYTES, _BLOCKS = 40, 4


def dry_run(config: Config, dataset: Dataset | None = None) -> None:
    """Print the configuration, the model and the estimated time of an epoch.

    Args:
        config: all options.
        dataset: the data, or their outline; None: they are looked at.
    """
    group = devices.chosen(config)
    policy, reason = choose_policy(config.mixed_precision, config.network)
    dataset = outline(config) if dataset is None else dataset
    dataset = conditioned(dataset, conditions_of(dataset, config.condition))
    with group.scope():
        vae = build(config, dataset, policy)
    for name, value in {**config.to_dict(), "devices": group.told or config.devices}.items():
        print(f"  {name:24}{value}")
    print(f"  {'precision':24}{policy}: {reason}\n")
    for network in (vae.encoder, vae.decoder):
        _print_layers(network)
    print(f"parameters: {vae.count_params():,} (prior and likelihood included)")
    with group.scope():
        seconds = _epoch_seconds(config, dataset, vae, group)
    steps = steps_of(config, dataset)
    print(f"an epoch of {steps} steps takes about {seconds:.1f} s on this machine")
    print(end=_memory(vae, dataset, steps * config.batch_size))
    total = duration(seconds * config.epochs)
    print(f"{config.epochs} epoch{'s' * (config.epochs != 1)}: about {total}, without validation")


def _memory(vae, dataset, rows):
    """A line on what training needs of memory: what a few steps took, and what it keeps beside.

    Of vectors, which are here, with them: the order of an epoch's rows, as it is drawn, and the
    blocks of batches that wait, are made, are looked at and are trained on.
    """
    taken = memory.peak()
    if taken is None:
        return ""
    optimizer = sum(memory.BYTES * math.prod(one.shape) for one in vae.optimizer.variables)
    weights = sum(memory.BYTES * math.prod(one.shape) for one in vae.variables)
    # The best weights, a checkpoint as it is written, and what faults are looked for from.
    kept = weights + 2 * (weights + optimizer)
    is_here = dataset.kind == "vectors"
    if is_here:
        numbers = rows * math.prod(dataset.train.x.shape[1:])
        kept += _ORDER_BYTES * rows + _BLOCKS * memory.BYTES * min(numbers, MOST_NUMBERS)
    size = memory.gigabytes(taken + kept)
    beside = "with" if is_here else "without"
    return f"training takes about {size} of memory on this machine, {beside} the data\n"


def _print_layers(network: keras.Model) -> None:
    """Print each layer: name, kind, output shape, parameters; its inputs if not the layer above.

    Not Keras's summary, which at 80 columns cuts the names of a graph that is no chain.
    """
    print(f"{network.name}: {network.count_params():,} parameters")
    makers = {id(layer.output): layer.name for layer in network.layers}
    above: list[str] = []
    for layer in network.layers:
        kind, shape = type(layer).__name__, str(layer.output.shape[1:])
        print(f"  {layer.name:23} {kind:20} {shape:19} {layer.count_params():12,}")
        # What an operation in the graph makes (h + x) is no layer's.
        sources = [makers.get(id(t), t.name) for t in keras.tree.flatten(layer.input)]
        if sources not in (above, [layer.name]):
            print(f"    of {', '.join(sources)}")
        above = [layer.name]
    print()


def _epoch_seconds(config, dataset, vae, group):
    """Time a few steps on stand-in data, after those that are compiled: once, or once more."""
    steps = steps_of(config, dataset)
    compile_for(config, vae, steps)
    block = dataset.kind == "vectors" and replicas_of(vae) == 1
    trial = min(steps, 64 if block else 3)
    blocks = (1, trial) if block else (trial,)
    stand_in = tf.data.Dataset.from_tensor_slices(
        keras.tree.map_structure(
            lambda row: np.broadcast_to(
                keras.ops.convert_to_numpy(row), (*blocks, config.batch_size, *row.shape[1:])
            ),
            as_float(dataset.train.x[:1]),
        )
    )
    begun = []
    vae.fit(
        group.split(stand_in.repeat()), steps_per_epoch=blocks[0], epochs=3, verbose=0,
        start_prior=False, calibrate=False, callbacks=[keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: begun.append(time.perf_counter())
        )],
    )  # fmt: skip
    return (time.perf_counter() - begun[2]) / trial * steps
