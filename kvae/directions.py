"""Directions in latent space that add an attribute to x, or take it away.

The direction of an attribute is what its presence adds to the mean latent: the difference between
the class means (White 2016, "Sampling generative networks"), of correlated attributes adjusted for
one another. That is least squares of the latents on the labels: by Frisch & Waugh (1933) only that
part of the attribute's label counts which its projection on the labels of the others leaves over.

Shen et al. 2020 ("Interpreting the latent space of GANs for semantic face editing") move along the
normal of a linear classifier instead, and project out the normals of correlated attributes. The
latents of a VAE are correlated, so that such a normal leads away from where they lie: of one model
of drawn faces and with the same change of the classifier's score, at strength 2, edits along
normals were seen in 15% of the faces and edits along the difference of means in 49%, where 13% were
seen without an edit; 80% and 79% of the other attributes stayed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kvae.data.rows import random_rows
from kvae.metrics import require_finite
from kvae.probability.streams import generator

MIN_ROWS_PER_CLASS = 20
# Attributes of a smaller phi coefficient carry too little of one another to be held.
LEAST_PHI = 0.1
# b is not held for a if fewer of the rows with a have, or lack, b: blond hair is never black.
LEAST_SHARE = 0.01
# Of the variance of a's label that must be its own, not foretold by the labels held.
LEAST_OWN_VARIANCE = 0.1


class Directions(NamedTuple):
    """Attributes and their directions, those that latents tell best first.

    Args:
        names: of the attributes.
        vectors: float32 `(attributes, latent_dim)`, in latent units. Strength 1 is the whole
            difference: where nothing is held, the mean latent of the rows without the attribute
            plus its vector is the mean latent of the rows with it. So any linear score, and the
            logit of a logistic classifier too, moves from its mean over the negatives to its mean
            over the positives. Strength -1 takes the attribute away.
        accuracy: `(attributes,)`, balanced accuracy on the valid split of a logistic regression of
            the label on the latents: 0.5 is chance however rare the attribute is.
        held: for each attribute the names of those that its vector was adjusted for.
        left_out: attributes with too few positives or negatives for a direction.
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    accuracy: np.ndarray
    held: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As kvae.json holds them."""
        return {
            "names": list(self.names),
            "accuracy": [float(value) for value in self.accuracy],
            "held": [list(names) for names in self.held],
            "left_out": list(self.left_out),
            "vectors": self.vectors.tolist(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Directions":
        """What `to_json` gave."""
        return cls(
            tuple(values["names"]),
            np.array(values["vectors"], np.float32),
            np.array(values["accuracy"]),
            tuple(tuple(names) for names in values["held"]),
            tuple(values["left_out"]),
        )


def fit_directions(
    train_latents: np.ndarray,
    train_labels: Mapping[str, np.ndarray],
    valid_latents: np.ndarray,
    valid_labels: Mapping[str, np.ndarray],
    *,
    seed: int,
    max_rows: int = 20_000,
) -> Directions:
    """Find a direction for each attribute.

    The vector of attribute a holds another attribute b if their phi coefficient is at least 0.1 in
    size and rows with a occur both with and without b (1% of them at least). An attribute that a
    excludes or implies moves along, as it does in the data; its own strength can move it back.
    The most correlated are held first, and none that would leave a's label less than a tenth of
    its variance.

    Args:
        train_latents: posterior means, `(rows, latent_dim)`.
        train_labels: name -> bool `(rows,)`; labels of another dtype are passed over.
        valid_latents: posterior means of the valid split.
        valid_labels: its labels, of the same names.
        seed: of the choice of rows.
        max_rows: of train that are used, chosen at random.

    Returns:
        `Directions`; an attribute needs 20 positives and 20 negatives among the rows used of train
        and one of each in valid.

    Raises:
        ValueError: a latent is not finite, or shapes or names do not fit.
    """
    names = [name for name, values in train_labels.items() if np.asarray(values).dtype == bool]
    train = _checked("train", train_latents, train_labels, names)
    valid = _checked("valid", valid_latents, valid_labels, names)
    if train[0].shape[1] != valid[0].shape[1]:
        raise ValueError(
            "train and valid latents must have the same latent_dim: received "
            f"{train[0].shape} and {valid[0].shape}"
        )
    rows = random_rows(len(train[0]), max_rows, generator(seed, "direction rows"))
    train = train[0][rows], train[1][rows]
    enough = (_rarer(train[1]) >= MIN_ROWS_PER_CLASS) & (_rarer(valid[1]) >= 1)
    left_out = tuple(name for name, kept in zip(names, enough, strict=True) if not kept)
    names = [name for name, kept in zip(names, enough, strict=True) if kept]
    train, valid = (train[0], train[1][:, enough]), (valid[0], valid[1][:, enough])
    accuracy = _held_out_accuracy(*train, *valid)
    vectors, held = _adjusted_differences(*train)
    order = np.argsort(-accuracy, kind="stable")
    return Directions(
        names=tuple(names[place] for place in order),
        vectors=vectors[order].astype(np.float32),
        accuracy=accuracy[order],
        held=tuple(tuple(names[other] for other in held[place]) for place in order),
        left_out=left_out,
    )


def _checked(split, latents, labels, names):
    """Latents in float64 and the labels of `names` as columns."""
    latents = np.asarray(latents, np.float64)
    if latents.ndim != 2:
        raise ValueError(f"{split} latents must be (rows, latent_dim): received {latents.shape}")
    require_finite(f"{split} latents", latents)
    columns = np.zeros((len(latents), len(names)), bool)
    for place, name in enumerate(names):
        if name not in labels:
            raise ValueError(f"{split} labels lack {name!r}: received {', '.join(labels)}")
        values = np.asarray(labels[name])
        if values.dtype != bool or values.shape != (len(latents),):
            raise ValueError(
                f"{split} label {name!r} must be bool ({len(latents)},): received {values.dtype} "
                f"{values.shape}"
            )
        columns[:, place] = values
    return latents, columns


def _rarer(labels):
    """Rows of the rarer class of each column."""
    positives = labels.sum(0)
    return np.minimum(positives, len(labels) - positives)


def _held_out_accuracy(latents, labels, valid_latents, valid_labels):
    # Not before attributes are fitted: it takes long.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    # The penalty of the weights is the same for all dimensions, so they need the same scale.
    mean, scale = latents.mean(0), latents.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    rows, valid_rows = (latents - mean) / scale, (valid_latents - mean) / scale
    accuracy = np.empty(labels.shape[1])
    # Threads would wait for each other at every small product.
    with threadpool_limits(1):
        for place, (label, truth) in enumerate(zip(labels.T, valid_labels.T, strict=True)):
            probe = LogisticRegression(class_weight="balanced", solver="newton-cholesky")
            found = probe.fit(rows, label).predict(valid_rows)
            accuracy[place] = balanced_accuracy_score(truth, found)
    return accuracy


def _adjusted_differences(latents, labels):
    """The vector of each attribute, and the places of those held for it."""
    present = labels.astype(np.float64)
    centred = present - present.mean(0)
    covariance = centred.T @ centred / len(centred)
    moved = centred.T @ (latents - latents.mean(0)) / len(centred)
    vectors = np.empty((labels.shape[1], latents.shape[1]))
    held = []
    for place in range(labels.shape[1]):
        others = _held_for(place, covariance, present[labels[:, place]].mean(0))
        # residual = label - weights @ labels held; the vector is its slope on the latents
        weights = _foretelling(place, others, covariance)
        own = covariance[place, place] - weights @ covariance[others, place]
        vectors[place] = (moved[place] - weights @ moved[others]) / own
        held.append(others)
    return vectors, held


def _held_for(place, covariance, share_with):
    """Places of the attributes that the vector of `place` is adjusted for.

    Args:
        place: of the attribute.
        covariance: of the labels.
        share_with: of the rows with the attribute, the share that has each other one.
    """
    variance = np.diagonal(covariance)
    phi = np.abs(covariance[place]) / np.sqrt(variance * variance[place])
    free = (share_with >= LEAST_SHARE) & (share_with <= 1 - LEAST_SHARE)
    others = []
    for other in np.argsort(-phi, kind="stable"):
        if other == place or phi[other] < LEAST_PHI or not free[other]:
            continue
        trial = [*others, int(other)]
        own = variance[place] - _foretelling(place, trial, covariance) @ covariance[trial, place]
        if own >= LEAST_OWN_VARIANCE * variance[place]:
            others = trial
    return others


def _foretelling(place, others, covariance):
    """Weights of the labels of `others` that foretell the label of `place` best."""
    # Labels that say the same share their weight.
    return np.linalg.lstsq(covariance[np.ix_(others, others)], covariance[others, place])[0]
