"""A small network that learns to name the labels of the data; its last hidden layer is features."""

import hashlib
import io
import json
import math
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kvae.data import Dataset, Split
from kvae.data.cache import default_cache_dir
from kvae.data.rows import chosen_rows, rows_at_once, slices
from kvae.errors import KvaeError, UsageError
from kvae.features import FeatureNet, extractor
from kvae.probability.streams import generator
from kvae.saying import progress, say

NUM_FEATURES = 128
MAX_CLASSES = 50
# Part of the cache's key: raise it with any change of the network or of its training.
_VERSION = 2
_MAX_TRAIN_ROWS, _MAX_VALID_ROWS = 30_000, 5_000
_BATCH, _STEPS, _MAX_EPOCHS = 128, 2000, 20
_LEARNING_RATE, _WEIGHT_DECAY = 1e-3, 1e-4
_SMALLEST, _MAX_FILTERS = 4, 128


class Head(NamedTuple):
    """A label that the network learns.

    Args:
        name: of the label.
        kind: "attribute" (one logit), "number" (one output) or "class" (a logit for each).
        scale: of a number its mean and standard deviation; of a class its values, rising.
    """

    name: str
    kind: str
    scale: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """How many outputs it has."""
        return len(self.scale) if self.kind == "class" else 1

    def targets(self, values: np.ndarray) -> np.ndarray:
        """Labels `(n,)` as float32: 0 or 1, standardised, or places in `scale` (-1: in none)."""
        values = np.asarray(values, np.float64)
        if self.kind == "number":
            values = (values - self.scale[0]) / self.scale[1]
        elif self.kind == "class":
            places = np.searchsorted(self.scale, values).clip(max=len(self.scale) - 1)
            values = np.where(np.asarray(self.scale)[places] == values, places, -1)
        return values.astype(np.float32)


class Trained(NamedTuple):
    """A trained network.

    Args:
        body: images to features.
        accuracy: share of right answers about held-out rows, mean over attributes and classes.
        baseline: the same of always giving the answer that is commonest in train.
    """

    body: Any
    accuracy: float
    baseline: float


def make(
    dataset: Dataset,
    *,
    inception_weights: str | Path | None,
    cache_dir: str | Path | None,
    seed: int,
) -> FeatureNet:
    """Train the network on the train split, or load it where the same was trained before.

    Args:
        dataset: images with labels that `heads_of` accepts.
        inception_weights: not needed.
        cache_dir: where it is kept; None for `default_cache_dir()`.
        seed: of the rows, their order and the start.

    Returns:
        128 features of images of the dataset's size.

    Raises:
        UsageError: there are no such labels.
        KvaeError: the training diverged.
    """
    del inception_weights
    heads = heads_of(dataset.train.labels, dataset.valid.labels)
    if not heads:
        raise UsageError(
            "--features attributes needs labels of the train and valid split that are not all the "
            f"same: true or false, or 2 to {MAX_CLASSES} classes; found "
            f"{', '.join(dataset.train.labels) or 'none'}"
        )
    # TensorFloat-32 rounds products of float32 to 10 bits: a GPU's features would differ.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    train = _Rows(dataset.train, heads, _MAX_TRAIN_ROWS, seed)
    valid = _Rows(dataset.valid, heads, _MAX_VALID_ROWS, seed)
    folder = Path(cache_dir).expanduser() if cache_dir is not None else default_cache_dir()
    path = folder / f"attributes-{_key(train, valid, heads, seed)}.npz"
    shape = train.x.shape[1:]
    found = _load(path, shape)
    if found is None:
        asked = sum(head.kind != "number" for head in heads)
        say(
            f"features   attributes: training a network on {len(train.rows):,} images to name "
            f"their labels ({asked}), once (kept as {path})",
            flush=True,
        )
        found = _train(train, valid, heads, seed)
        _save(path, found)
    return FeatureNet(
        "frechet_attributes",
        _describe(found, heads, train, valid),
        extractor(_forward(found.body), NUM_FEATURES, shape),
        (found.accuracy - found.baseline) / max(1e-9, 1 - found.baseline),
    )


def heads_of(train: Mapping[str, np.ndarray], valid: Mapping[str, np.ndarray]) -> list[Head]:
    """Give the labels that a network can learn: attributes, then numbers, then classes.

    Args:
        train: name -> `(rows,)`: bool attributes, integer classes (2 to 50 values) or float
            numbers; what is constant, not finite or not in valid too is left out.
        valid: likewise.

    Returns:
        None at all if there are neither attributes nor classes, which alone have an accuracy.
    """
    heads = []
    for name, values in train.items():
        values = np.asarray(values)
        if values.ndim != 1 or name not in valid or values.dtype.kind not in "biuf":
            continue
        if values.dtype.kind == "f":
            values = values.astype(np.float64)
            if np.isfinite(values).all() and np.ptp(values) > 0:
                heads.append(Head(name, "number", (float(values.mean()), float(values.std()))))
            continue
        different = np.unique(values)
        if values.dtype.kind == "b" and len(different) == 2:
            heads.append(Head(name, "attribute"))
        elif values.dtype.kind in "iu" and 2 <= len(different) <= MAX_CLASSES:
            heads.append(Head(name, "class", tuple(float(value) for value in different)))
    order = ("attribute", "number", "class")
    heads.sort(key=lambda head: order.index(head.kind))
    return heads if any(head.kind != "number" for head in heads) else []


class _Rows:
    """Random rows of a split, read when they are asked for: all may be more than memory holds."""

    def __init__(self, split: Split, heads: list[Head], limit: int, seed: int):
        self.x = split.x
        self.rows = chosen_rows(len(split.x), limit, generator(seed, "feature rows"))
        self.y = np.stack(
            [head.targets(np.asarray(split.labels[head.name])[self.rows]) for head in heads], axis=1
        )

    def images(self, places: np.ndarray | slice) -> np.ndarray:
        return np.asarray(self.x[self.rows[places]])

    def batches(self) -> Iterator[slice]:
        return slices(len(self.rows), rows_at_once(self.x))


def _key(train: _Rows, valid: _Rows, heads: list[Head], seed: int) -> str:
    """A checksum of all that the training reads."""
    digest = hashlib.sha256(json.dumps([_VERSION, seed, heads]).encode())
    for part in (train, valid):
        digest.update(json.dumps([len(part.rows), part.x.shape[1:]]).encode())
        digest.update(part.y.tobytes())
        for batch in part.batches():
            digest.update(part.images(batch).tobytes())
    return digest.hexdigest()[:16]


def _network(shape: tuple[int, ...], num_outputs: int, seed: int) -> tuple[Any, Any]:
    """The network that is trained, and the part of it that gives features.

    A first convolution of large stride, others that halve the map down to 4x4, the whole of which
    the dense layer sees: where something is matters for a face as much as that it is there.
    """
    layers = keras.layers
    seeds = iter(generator(seed, "feature start").integers(0, 2**31, 99).tolist())

    def start():
        return keras.initializers.GlorotUniform(seed=next(seeds))

    inputs = keras.Input(shape, dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1.0, dtype="float32")(inputs)
    longest = max(shape[:2])
    # Half of the time of a step would go into the first maps, which are the largest.
    kernel, stride = (4, 4) if longest >= 64 else (3, 2)
    while longest > _SMALLEST:
        longest = -(-longest // stride)
        filters = min(_MAX_FILTERS, max(16, 512 // longest))
        x = layers.Conv2D(
            filters, kernel, strides=stride, padding="same", use_bias=False, dtype="float32",
            kernel_initializer=start(), data_format="channels_last",
        )(x)  # fmt: skip
        x = layers.BatchNormalization(momentum=0.9, dtype="float32")(x)
        x = layers.Activation("relu", dtype="float32")(x)
        kernel, stride = 3, 2
    x = layers.Flatten(dtype="float32")(x)
    features = layers.Dense(
        NUM_FEATURES, activation="silu", dtype="float32", kernel_initializer=start()
    )(x)
    outputs = layers.Dense(num_outputs, dtype="float32", kernel_initializer=start())(features)
    return keras.Model(inputs, outputs), keras.Model(inputs, features)


def _loss(heads: list[Head]) -> Callable[[Any, Any], Any]:
    """Minus log likelihood of labels, mean over rows and heads; numbers have unit variance."""
    ops = keras.ops
    kinds = [head.kind for head in heads]
    first = kinds.count("attribute")
    last = first + kinds.count("number")

    def loss(y_true, y_pred):
        answer, logit = y_true[:, :first], y_pred[:, :first]
        total = ops.sum(ops.softplus(logit) - answer * logit)
        total += 0.5 * ops.sum(ops.square(y_true[:, first:last] - y_pred[:, first:last]))
        start = last
        for column, head in enumerate(heads[last:], last):
            log_prob = ops.log_softmax(y_pred[:, start : start + head.size])
            # A class that train does not have is -1, of which one_hot makes zeros: it is skipped.
            chosen = ops.one_hot(ops.cast(y_true[:, column], "int32"), head.size)
            total -= ops.sum(chosen * log_prob)
            start += head.size
        return total / (len(heads) * ops.cast(ops.shape(y_true)[0], "float32"))

    return loss


def _train(train: _Rows, valid: _Rows, heads: list[Head], seed: int) -> Trained:
    """Train, and go back to the epoch that found the held-out labels likeliest."""
    count, batch = len(train.rows), min(_BATCH, len(train.rows))
    steps = count // batch
    epochs = min(_MAX_EPOCHS, max(1, round(_STEPS / steps)))
    model, body = _network(train.x.shape[1:], sum(head.size for head in heads), seed)
    loss = _loss(heads)
    rate = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, epochs * steps, alpha=0.01)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY), loss, jit_compile=False)
    rng = generator(seed, "feature order")
    best: tuple[float, list[np.ndarray], np.ndarray] | None = None
    with progress("features", epochs * steps, "steps") as advance:
        for _ in range(epochs):
            order = rng.permutation(count)
            for start in range(0, steps * batch, batch):
                places = np.sort(order[start : start + batch])
                model.train_on_batch(train.images(places), train.y[places])
                advance(1)
            answers = [_forward(model)(valid.images(rows)) for rows in valid.batches()]
            outputs = np.concatenate(answers)
            held_out = float(loss(valid.y, outputs))
            if math.isfinite(held_out) and (best is None or held_out < best[0]):
                best = held_out, model.get_weights(), outputs
    if best is None:
        raise KvaeError(f"--features attributes: its held-out loss is {held_out}")
    model.set_weights(best[1])
    commonest = [_commonest(head, train.y[:, column]) for column, head in enumerate(heads)]
    return Trained(
        body,
        _accuracy(heads, valid.y, _answers(heads, best[2])),
        _accuracy(heads, valid.y, np.broadcast_to(commonest, valid.y.shape)),
    )


def _forward(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: keras.ops.convert_to_numpy(model(images, training=False))


def _commonest(head: Head, targets: np.ndarray) -> float:
    if head.kind == "number":
        return 0.0
    values, counts = np.unique(targets, return_counts=True)
    return float(values[counts.argmax()])


def _answers(heads: list[Head], outputs: np.ndarray) -> np.ndarray:
    """Outputs as targets: 0 or 1, the place of a class, a number as it is."""
    answers, start = [], 0
    for head in heads:
        own = outputs[:, start : start + head.size]
        if head.kind == "class":
            answers.append(own.argmax(axis=1))
        else:
            answers.append(own[:, 0] > 0 if head.kind == "attribute" else own[:, 0])
        start += head.size
    return np.stack(answers, axis=1)


def _accuracy(heads: list[Head], targets: np.ndarray, answers: np.ndarray) -> float:
    asked = [head.kind != "number" for head in heads]
    return float((targets == answers)[:, asked].mean())


def _describe(found: Trained, heads: list[Head], train: _Rows, valid: _Rows) -> str:
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in found.body.get_weights()))
    kinds = [head.kind for head in heads]
    named = {
        "true-or-false attributes": kinds.count("attribute"),
        "classes": kinds.count("class"),
        "numbers": kinds.count("number"),
    }
    height, width, channels = train.x.shape[1:]
    return (
        f"a convolutional network (weights sha256 {digest.hexdigest()[:16]}) trained on "
        f"{len(train.rows):,} train images to name their labels ("
        f"{', '.join(f'{what}: {count}' for what, count in named.items() if count)}); held-out "
        f"accuracy {found.accuracy:.1%} (plain, mean over attributes and classes, of "
        f"{len(valid.rows):,} valid images that also chose the epoch; always the commonest answer: "
        f"{found.baseline:.1%}); images as uint8 scaled to [-1, 1], {height}x{width}x{channels}, "
        f"not resized; {NUM_FEATURES} features, its last hidden layer"
    )


def _load(path: Path, shape: tuple[int, ...]) -> Trained | None:
    """The network that is kept there; None, and a note, if the file is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        body = _network(shape, 1, 0)[1]
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            report = json.loads(str(file["report"]))
            body.set_weights([file[f"weight_{i}"] for i in range(len(body.get_weights()))])
        return Trained(body, float(report["accuracy"]), float(report["baseline"]))
    except MemoryError:
        raise
    except Exception as error:  # damage of any kind: it is trained anew
        print(f"features   {path} is damaged and is made anew: {error}", file=sys.stderr)
        return None


def _save(path: Path, trained: Trained) -> None:
    """Keep a network; its file gets its name only when it is complete.

    What cannot be kept is trained again the next time: a note says so.
    """
    content = io.BytesIO()
    report = json.dumps({"accuracy": trained.accuracy, "baseline": trained.baseline})
    weights = {f"weight_{i}": weight for i, weight in enumerate(trained.body.get_weights())}
    np.savez(content, report=np.array(report), **weights)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        print(f"features   {path} cannot be kept: {error.strerror or error}", file=sys.stderr)
    finally:
        with suppress(OSError):
            partial.unlink()
