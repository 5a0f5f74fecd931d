"""How well the points of each label lie apart, in latent space and in the data's own."""

import warnings

import numpy as np

from kvae.data.gmm import Mixture
from kvae.metrics import require_finite
from kvae.probability.streams import generator

NUM_NEIGHBOURS = 10
MAX_LABELS = 50
MIN_ROWS_PER_LABEL = 5
LARGEST_SHARE = 0.99
MAX_SILHOUETTE_ROWS = 2_000
MAX_NEIGHBOUR_ROWS = 10_000
MAX_FIT_ROWS = 5_000
NUM_INITS = 3
NUM_FOLDS = 5


def can_be_separated(labels: np.ndarray) -> bool:
    """Whether `separation_metrics` means anything for these labels.

    Args:
        labels: `(n,)`.

    Returns:
        True for 2 to 50 different whole numbers or truth values, five rows a label on average,
        none of them over 99% of the rows.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "biu" or not labels.size:
        return False
    counts = np.unique(labels, return_counts=True)[1]
    enough = 2 <= len(counts) <= min(MAX_LABELS, len(labels) // MIN_ROWS_PER_LABEL)
    return bool(enough and counts.max() <= LARGEST_SHARE * len(labels))


def can_be_told(labels: np.ndarray, *, seed: int) -> bool:
    """Whether `held_out_auc` means anything: labels that separate, two or more of each in a fold.

    Args:
        labels: `(n,)`.
        seed: that `held_out_auc` will be given.
    """
    if not can_be_separated(labels):
        return False
    chosen = np.asarray(labels)[_auc_rows(len(labels), seed)]
    return bool(np.unique(chosen, return_counts=True)[1].min() >= 2 * NUM_FOLDS)


def separation_metrics(points: np.ndarray, labels: np.ndarray, *, seed: int) -> dict[str, float]:
    """Compare where points lie with their labels, in three ways.

    Args:
        points: `(n, D)`.
        labels: `(n,)`, such that `can_be_separated`.
        seed: of the halves, the subsets and the fit's starts, in [0, 2^32).

    Returns:
        `knn_accuracy`: of the vote of the 10 nearest points of a random half of at most 10,000
        random points, on the other half.
        `silhouette`: Rousseeuw 1987, the mean over at most 2,000 random points, from -1 to 1.
        `ari`: the adjusted Rand index (Hubert & Arabie 1985) between the labels and the components
        of a mixture of as many Gaussians with full covariances, fitted without the labels to at
        most 5,000 random points by EM, the best of 3 starts; 1 is agreement, 0 is chance.

    Raises:
        ValueError: a point is not finite, the lengths differ, or the labels cannot be separated.
    """
    points, labels = np.asarray(points, np.float64), np.asarray(labels)
    require_finite("points", points)
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        raise ValueError(
            f"points must be (n, D), labels (n,): received {points.shape} and {labels.shape}"
        )
    if not can_be_separated(labels):
        raise ValueError(
            f"labels must be 2 to {MAX_LABELS} different whole numbers, {MIN_ROWS_PER_LABEL} rows "
            f"each on average, none over {LARGEST_SHARE:.0%} of them: received "
            f"{len(np.unique(labels))} of {labels.dtype} in {len(labels)} rows"
        )
    order = generator(seed, "separation rows").permutation(len(points))
    points, labels = points[order], labels[order]
    return {
        "knn_accuracy": _knn_accuracy(points, labels),
        "silhouette": _silhouette(points, labels),
        "ari": _ari(points, labels, seed),
    }


def held_out_auc(points: np.ndarray, labels: np.ndarray, *, seed: int) -> float:
    """Say how well a linear classifier tells labels from points that it was not fitted to.

    A logistic regression of each label against the others, on standardised points, is fitted to
    four fifths of at most 10,000 random points and asked about the other fifth, in turn, so that
    each point is asked about once. Of these answers the area under the ROC curve is taken; of more
    than two labels the mean over them.

    Args:
        points: `(n, D)`.
        labels: `(n,)`, such that `can_be_told`.
        seed: of the choice of points and of the folds, in [0, 2^32).

    Returns:
        0.5 is chance, 1 separates all.

    Raises:
        ValueError: a point is not finite, or a label has fewer points than folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    points, labels = np.asarray(points, np.float64), np.asarray(labels)
    require_finite("points", points)
    rows = _auc_rows(len(points), seed)
    points, labels = points[rows], labels[rows]
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < NUM_FOLDS or len(values) < 2:
        raise ValueError(f"{NUM_FOLDS} points or more of each of two labels are needed")
    probe = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky"))
    areas = []
    for value in values[1:] if len(values) == 2 else values:
        own = labels == value
        folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed)
        told = cross_val_predict(probe, points, own, cv=folds, method="decision_function")
        areas.append(roc_auc_score(own, told))
    return float(np.mean(areas))


def _auc_rows(count: int, seed: int) -> np.ndarray:
    return generator(seed, "auc rows").permutation(count)[:MAX_NEIGHBOUR_ROWS]


def bayes_metrics(x: np.ndarray, component: np.ndarray, mixture: Mixture) -> dict[str, float]:
    """Give what the best classifier reaches, which knows the mixture.

    Args:
        x: `(n, D)`.
        component: `(n,)`, that each row was drawn from.
        mixture: the truth.

    Returns:
        `accuracy_bayes`: the fraction of rows whose likeliest component is their own.
        `ari_bayes`: the adjusted Rand index between the likeliest components and the true ones.

    Raises:
        ValueError: the shapes do not fit.
    """
    from sklearn.metrics import adjusted_rand_score

    likeliest = mixture.responsibilities(x).argmax(1)
    return {
        "accuracy_bayes": float((likeliest == component).mean()),
        "ari_bayes": float(adjusted_rand_score(component, likeliest)),
    }


def _knn_accuracy(points, labels):
    from sklearn.neighbors import KNeighborsClassifier

    points, labels = points[:MAX_NEIGHBOUR_ROWS], labels[:MAX_NEIGHBOUR_ROWS]
    half = len(points) // 2
    vote = KNeighborsClassifier(min(NUM_NEIGHBOURS, half)).fit(points[:half], labels[:half])
    return float(vote.score(points[half:], labels[half:]))


def _silhouette(points, labels):
    from sklearn.metrics import silhouette_score

    few = slice(0, MAX_SILHOUETTE_ROWS)
    return float(silhouette_score(points[few], labels[few]))


def _ari(points, labels, seed):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_rand_score
    from sklearn.mixture import GaussianMixture

    # The fit adds 1e-6 to every variance: small only where variances are about one.
    points = points / (points.std(0).max() or 1.0)
    fit = GaussianMixture(len(np.unique(labels)), n_init=NUM_INITS, random_state=seed)
    with warnings.catch_warnings():
        # A fit that is not done after 100 steps, or finds fewer clusters, is a partition too.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(points[:MAX_FIT_ROWS])
    return float(adjusted_rand_score(labels, fit.predict(points)))
