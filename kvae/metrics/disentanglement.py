"""How far each latent dimension stands for one known factor, and each factor for one dimension.

The scores are those of Locatello et al. 2019, "Challenging common assumptions in the unsupervised
learning of disentangled representations", whose library disentanglement_lib settles what the
papers leave open. None knows of circles or of factors that hide one another: a factor that no
single dimension can hold, such as a hue, lowers them for every model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import entr

from kvae.data.rows import in_parts
from kvae.metrics import require_finite
from kvae.probability.streams import generator

# Of each factor's forest: half a processor second for ten classes, 4,000 rows and 32 codes, where
# the boosted trees of disentanglement_lib take 40. Every split sees all codes: with a few at random
# those that carry nothing would win where no other is among them. Leaves hold 1% of the rows: deep
# trees spend their importance on noise.
FOREST: dict[str, Any] = {
    "n_estimators": 10,
    "max_features": None,
    "min_samples_leaf": 0.01,
    "n_jobs": 1,
}
#: Bins of equal width that a code's mutual information is counted in.
NUM_CODE_BINS = 20
# prune_dims.threshold of disentanglement_lib's study, in the unit of the codes.
MIN_STDDEV = 0.05
BATCHES_AT_ONCE = 50


def discretised(values: np.ndarray, bins: int) -> np.ndarray:
    """Cut the range of some values into bins of equal width.

    Training and test values are to be cut together: the range is that of the values given.

    Args:
        values: `(n,)`.
        bins: how many, at least 2.

    Returns:
        `(n,)` int64 from 0 to bins - 1; all the same for values that are.

    Raises:
        ValueError: a value is not finite, the shape is not `(n,)`, or there are too few bins.
    """
    values = np.asarray(values, np.float64)
    require_finite("values", values)
    if values.ndim != 1:
        raise ValueError(f"values must be (n,): received {values.shape}")
    if bins < 2:
        raise ValueError(f"bins must be at least 2: received {bins}")
    starts = np.linspace(values.min(), values.max(), bins + 1)[:-1]
    return np.digitize(values, starts) - 1


def mutual_information(
    codes: np.ndarray, factors: np.ndarray, *, bins: int = NUM_CODE_BINS
) -> np.ndarray:
    """Give the mutual information of each code dimension with each factor, of their histograms.

    It is biased upwards, by about (bins - 1) (values - 1) / 2n nats where there is none: take
    10,000 rows.

    Args:
        codes: `(n, d)`, such as posterior means.
        factors: `(n, f)` whole numbers, see `discretised` for others.
        bins: of equal width over the range of each code dimension, at least 2.

    Returns:
        `(d, f)` nats, 0 or more.

    Raises:
        ValueError: see `mutual_information_gap`.
    """
    from sklearn.metrics import mutual_info_score

    codes, factors = _checked("codes", codes, "factors", factors)
    cut = [discretised(code, bins) for code in codes.T]
    return np.array([[mutual_info_score(factor, code) for factor in factors.T] for code in cut])


def mutual_information_gap(
    codes: np.ndarray, factors: np.ndarray, *, bins: int = NUM_CODE_BINS
) -> float:
    """Give by how much one code dimension tells more of a factor than the next best one.

    Chen et al. 2018, "Isolating sources of disentanglement in VAEs", equation 6: the mean over
    factors of the largest mutual information less the second largest, over the factor's entropy.
    If there is one dimension, the second largest is 0.

    Args:
        codes: `(n, d)`, such as posterior means.
        factors: `(n, f)` whole numbers, see `discretised` for others.
        bins: of equal width over the range of each code dimension, at least 2.

    Returns:
        MIG, from 0 to 1; 1 if each factor is known from a dimension and the others tell nothing.

    Raises:
        ValueError: a code is not finite, a factor is not of whole numbers or has one value alone,
            the shapes do not fit, or there are too few bins.
    """
    information = np.sort(mutual_information(codes, factors, bins=bins), axis=0)
    second = information[-2] if len(information) > 1 else 0.0
    entropy = np.array([_entropy(factor) for factor in np.asarray(factors).T])
    return float(((information[-1] - second) / entropy).mean())


def dci(
    train_codes: np.ndarray,
    train_factors: np.ndarray,
    test_codes: np.ndarray,
    test_factors: np.ndarray,
    *,
    seed: int,
) -> dict[str, float]:
    """Predict each factor from the codes, and see which of them the predictors used.

    Eastwood & Williams 2018, "A framework for the quantitative evaluation of disentangled
    representations", section 2. A factor is predicted by a random forest, `FOREST`. The importance
    of a code is its mean decrease of the Gini impurity, over the sum of all codes'. The scores
    depend on the kind of forest: they compare models, but not with numbers from elsewhere.

    Args:
        train_codes: `(n, d)`.
        train_factors: `(n, f)` whole numbers, see `discretised` for others.
        test_codes: `(m, d)`.
        test_factors: `(m, f)`.
        seed: of the forests, in [0, 2^32).

    Returns:
        `dci_disentanglement_posterior`: see `disentanglement`. `dci_completeness_posterior`: see
        `completeness`. `dci_informativeness_posterior`: the mean over factors of the accuracy on
        the test rows. `dci_informativeness_posterior_train`: on the training rows.
        `dci_informativeness_posterior_chance`: on the test rows, of always the commonest training
        value.

    Raises:
        ValueError: a code is not finite, a factor is not of whole numbers or has one training
            value alone, or the shapes do not fit.
    """
    from sklearn.ensemble import RandomForestClassifier

    train_codes, train_factors = _checked(
        "train_codes", train_codes, "train_factors", train_factors
    )
    test_codes, test_factors = _checked(
        "test_codes", test_codes, "test_factors", test_factors, can_be_constant=True
    )
    if train_codes.shape[1] != test_codes.shape[1]:
        raise ValueError(
            "train_codes and test_codes must have the same dimensions: "
            f"received {train_codes.shape} and {test_codes.shape}"
        )
    if train_factors.shape[1] != test_factors.shape[1]:
        raise ValueError(
            "train_factors and test_factors must be of the same factors: "
            f"received {train_factors.shape} and {test_factors.shape}"
        )
    importances, train, test, chance = [], [], [], []
    for known, hidden in zip(train_factors.T, test_factors.T, strict=True):
        forest = RandomForestClassifier(**FOREST, random_state=seed).fit(train_codes, known)
        importances.append(forest.feature_importances_)
        train.append(forest.score(train_codes, known))
        test.append(forest.score(test_codes, hidden))
        values, counts = np.unique(known, return_counts=True)
        chance.append((hidden == values[counts.argmax()]).mean())
    importance = np.stack(importances, axis=1)
    return {
        "dci_disentanglement_posterior": disentanglement(importance),
        "dci_completeness_posterior": completeness(importance),
        "dci_informativeness_posterior": float(np.mean(test)),
        "dci_informativeness_posterior_train": float(np.mean(train)),
        "dci_informativeness_posterior_chance": float(np.mean(chance)),
    }


def disentanglement(importance: np.ndarray) -> float:
    """Give how far each code serves one factor.

    Eastwood & Williams 2018, section 2: sum_i rho_i (1 - H(P_i)), where P_i is row i over its sum,
    H its entropy to the base of the number of factors (0 if there is one), and rho_i the row's sum
    over that of all. A code without importance has no weight.

    Args:
        importance: `(d, f)` of each code for each factor, 0 or more.

    Returns:
        From 0 to 1; 0 if no code has any importance.

    Raises:
        ValueError: an importance is not finite or negative, or the shape is not `(d, f)`.
    """
    importance = np.asarray(importance, np.float64)
    require_finite("importance", importance)
    if importance.ndim != 2:
        raise ValueError(f"importance must be (d, f): received {importance.shape}")
    if importance.min() < 0:
        raise ValueError(f"importance must not be negative: received {importance.min():g}")
    used = importance[importance.sum(1) > 0]
    if not len(used):
        return 0.0
    weight = used.sum(1)
    # Over a single factor the entropy is 0 to every base, but log 1 is no divisor.
    base = max(2, used.shape[1])
    entropy = entr(used / weight[:, None]).sum(1) / np.log(base)
    # An even row can have an entropy a rounding above 1.
    return max(0.0, float(weight @ (1 - entropy) / weight.sum()))


def completeness(importance: np.ndarray) -> float:
    """Give how far each factor is served by one code: `disentanglement` with their parts exchanged.

    Args:
        importance: `(d, f)` of each code for each factor, 0 or more.

    Returns:
        sum_j rho_j (1 - H(P_j)) over columns j, entropies to the base of the number of codes; from
        0 to 1.

    Raises:
        ValueError: see `disentanglement`.
    """
    return disentanglement(np.asarray(importance).T)


def factor_vae_score(
    fixed_codes: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    num_factors: int,
    variances: np.ndarray,
    *,
    num_train: int,
    num_test: int,
    seed: int,
) -> dict[str, float]:
    """Guess which factor was held fixed from the code dimension that varied least.

    Kim & Mnih 2018, "Disentangling by factorising", section 4. A vote is the dimension whose
    variance within a batch is the smallest part of its variance over all data; every dimension is
    taken to stand for the factor that it has most training votes for. Dimensions with a standard
    deviation under 0.05 over all data take no part, as in disentanglement_lib: they stay at the
    mean of the prior, and a ratio of rounding errors would vote. That suits codes of standard
    normal scale; a caller who knows better which dimensions are used gives 0 for the others.

    Args:
        fixed_codes: (factors, rng) -> `(v, batch, d)`: for each of `(v,)` indices of factors the
            codes of a batch of at least 2 (the papers: 64) in which that factor has one random
            value and the others vary at random. Called with up to 50 at once.
        num_factors: at least 2.
        variances: `(d,)`, of the codes of data in which nothing is held fixed.
        num_train: training votes, at least 1 (the papers: 800 to 10,000).
        num_test: test votes, at least 1.
        seed: of the factors chosen and of the generator given on, 0 or more.

    Returns:
        `factor_vae_posterior`: the accuracy on the test votes; 0 if no dimension takes part. Chance
        is about 1 / num_factors. `factor_vae_posterior_train`: on the training votes.
        `factor_vae_dimensions_posterior`: how many take part.

    Raises:
        ValueError: a code or variance is not finite, a variance is negative, codes do not have the
            shape promised, or a number is too small.
    """
    variances = np.asarray(variances, np.float64)
    require_finite("variances", variances)
    if variances.ndim != 1 or variances.min() < 0:
        raise ValueError(
            "variances must be (d,) and not negative: "
            f"received {variances.shape}, the least {variances.min():g}"
        )
    if num_factors < 2 or num_train < 1 or num_test < 1:
        raise ValueError(
            "at least 2 factors and 1 vote each to train and test are needed: "
            f"received {num_factors}, {num_train} and {num_test}"
        )
    takes_part = np.sqrt(variances) >= MIN_STDDEV
    if not takes_part.any():
        return {
            "factor_vae_posterior": 0.0,
            "factor_vae_posterior_train": 0.0,
            "factor_vae_dimensions_posterior": 0,
        }
    rng = generator(seed, "factor votes")

    def votes(count: int) -> tuple[np.ndarray, np.ndarray]:
        factors = rng.integers(num_factors, size=count)
        least = []
        for some in in_parts(factors, BATCHES_AT_ONCE):
            within = _variances_within(fixed_codes(some, rng), len(some), len(variances))
            least.append((within[:, takes_part] / variances[takes_part]).argmin(1))
        return factors, np.concatenate(least)

    factors, least = votes(num_train)
    table = np.zeros((num_factors, int(takes_part.sum())), np.int64)
    np.add.at(table, (factors, least), 1)
    stands_for = table.argmax(0)
    train = (stands_for[least] == factors).mean()
    factors, least = votes(num_test)
    return {
        "factor_vae_posterior": float((stands_for[least] == factors).mean()),
        "factor_vae_posterior_train": float(train),
        "factor_vae_dimensions_posterior": table.shape[1],
    }


def _variances_within(codes: np.ndarray, count: int, dimensions: int) -> np.ndarray:
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 3 or codes.shape[::2] != (count, dimensions) or codes.shape[1] < 2:
        raise ValueError(
            f"fixed_codes must give ({count}, batch, {dimensions}) with a batch of at least 2: "
            f"received {codes.shape}"
        )
    require_finite("codes", codes)
    return codes.var(axis=1)


def _entropy(factor: np.ndarray) -> float:
    counts = np.unique(factor, return_counts=True)[1]
    return float(entr(counts / len(factor)).sum())


def _checked(
    codes_name: str,
    codes: np.ndarray,
    factors_name: str,
    factors: np.ndarray,
    can_be_constant: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    require_finite(codes_name, codes)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or not factors.size:
        raise ValueError(
            f"{codes_name} must be (n, d), {factors_name} (n, f): "
            f"received {codes.shape} and {factors.shape}"
        )
    if factors.dtype.kind not in "biu":
        raise ValueError(
            f"{factors_name} must be whole numbers, see `discretised`: received {factors.dtype}"
        )
    constant = np.flatnonzero((factors == factors[0]).all(0))
    if constant.size and not can_be_constant:
        raise ValueError(
            f"every factor must have at least two values: {factors_name} has one alone in "
            f"columns {constant.tolist()}"
        )
    return codes, factors
