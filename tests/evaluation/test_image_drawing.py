from types import SimpleNamespace

import numpy as np
import pytest

from kvae.data import Dataset, Split
from kvae.data.conditions import Conditioned
from kvae.evaluation import image_drawing
from kvae.evaluation.observation import Observation


@pytest.mark.parametrize(
    ("label_of", "names", "labels", "conditions"),
    [
        # Classes of one label: they are all that there is.
        ("ccc", "abc", "abc", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        # Attributes: none, then each.
        ("st", "st", ["none", "s", "t"], [[0, 0], [1, 0], [0, 1]]),
        # Both: what is usual, then one change of it at a time.
        ("scc", "sab", ["usual: b", "s", "a"], [[0, 0, 1], [1, 0, 1], [0, 1, 0]]),
    ],
)
def test_each_row_changes_one_condition(tmp_path, label_of, names, labels, conditions):
    asked, drawn = {}, {}

    def call(signature, **inputs):
        asked.update(inputs)
        return {"sample": np.zeros((len(inputs["seed"]), 4, 4, 1), np.float32)}

    condition = {"names": list(names), "label_of": list(label_of)}
    served = SimpleNamespace(
        call=call, version=SimpleNamespace(name="m", number=1), metadata={"condition": condition}
    )

    def paint(function, rows, labels, title, path):
        assert function is image_drawing.draw_conditions
        drawn.update(labels=labels, shape=rows.shape)

    # Of the classes the last is the commonest.
    test_rows = np.zeros((5, len(names)), np.float32)
    test_rows[:, -1] = 1
    x = Conditioned(np.zeros((5, 4, 4, 1), np.float32), test_rows)
    dataset = Dataset("images", Split(x), Split(x), Split(x), {})
    observation = Observation(served, dataset, seed=0)
    image_drawing._conditions(tmp_path, observation, np.random.default_rng(0), paint)
    assert drawn["labels"] == list(labels)
    latents = drawn["shape"][1]
    np.testing.assert_array_equal(asked["condition"][::latents], conditions)
    np.testing.assert_array_equal(asked["condition"], np.repeat(conditions, latents, axis=0))
    # The same latents in every row.
    seeds = asked["seed"].reshape(-1, latents)
    assert (seeds == seeds[0]).all()
