import importlib

import pytest

from kvae.metrics import protocol


@pytest.mark.parametrize(
    ("module", "constant", "value", "key", "words"),
    [
        ("curve", "LONG_DRAWS", 777, "bound_curve_prior", "777 draws, of their own"),
        ("curve", "CURVE_DRAWS", (1, 77), "bound_curve_prior", "beside 77 draws of the same rows"),
        ("likelihood", "BUG_STDERRS", 7, "gap_nats_prior", "by over 7 of them"),
        ("likelihood", "LOW_QUANTILE", 0.07, "effective_sample_fraction_prior", "7% quantile"),
        (
            "likelihood",
            "MAX_WEIGHT_ROWS",
            77,
            "effective_sample_fraction_prior",
            "at most 77 random",
        ),
        ("separation", "MAX_NEIGHBOUR_ROWS", 77, "knn_accuracy_latent", "at most 77 random"),
        ("separation", "NUM_INITS", 7, "ari_latent", "best of 7 starts"),
        ("two_sample", "MAX_COMPARED_ROWS", 77, "sliced_wasserstein_prior", "points, at most 77"),
        ("two_sample", "NUM_COMPARED", 7, "two_sample_ratio", "of 7 generated samples"),
    ],
)
def test_the_words_follow_the_constants(module, constant, value, key, words, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(f"kvae.metrics.{module}.{constant}", value)
        changed = importlib.reload(protocol)
        keys = {key, "sliced_wasserstein_prior"}
        found = changed.descriptions(keys, known_truth=True, num_references=3)
    importlib.reload(protocol)
    assert words in found[key]
    assert "of 3 reference samples" in found["two_sample_ratio"]
