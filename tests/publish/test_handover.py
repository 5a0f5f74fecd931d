import json
from unittest import mock

import numpy as np
import pytest
from kvae_testing import make_vae

from kvae import publish
from kvae.directions import Directions
from kvae.errors import DataError, UsageError
from kvae.publish import handover
from kvae.serving import versions

DIRECTIONS = Directions(("a",), np.array([[0.1, -2.5]], "float32"), np.array([0.8]), ((),), ("b",))
REST = {
    "config": {"epochs": 2}, "card": {"name": "none"}, "history": {"loss": [1.5]},
    "condition": {"names": ["c"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def vae():
    return make_vae((2,))


@pytest.fixture
def in_process(monkeypatch):
    """Do the child's work here, and what is published with."""
    given = []

    def run(folder):
        answer = handover._publish(folder)
        (folder / "answer.json").write_text(json.dumps(answer))
        return 0

    def published(vae, save, name, **rest):
        given.append((vae, save, name, rest))
        return versions.Version(save, name, 7)

    monkeypatch.setattr(handover, "_run_child", run)
    monkeypatch.setattr(publish, "publish", published)
    return given


def test_all_of_it_reaches_the_child(vae, tmp_path, in_process):
    version = handover.publish_in_child(
        vae, tmp_path, "m", directions=DIRECTIONS, train_rows=np.array([3, 1], "u8"), **REST
    )
    assert version == (tmp_path / "m" / "7", "m", 7)
    ((twin, save, name, rest),) = in_process
    assert (save, name) == (str(tmp_path), "m")
    directions = rest.pop("directions")
    assert rest.pop("train_rows").tolist() == [1, 3]
    assert rest == REST
    np.testing.assert_array_equal(directions.vectors, DIRECTIONS.vectors)
    assert directions.names == DIRECTIONS.names and directions.left_out == DIRECTIONS.left_out
    for ours, theirs in zip(vae.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (UsageError("cannot write"), UsageError, "^cannot write$"),
        (DataError("no answer"), DataError, "^no answer$"),
        (ValueError("odd"), DataError, "^ValueError: odd$"),
    ],
)
def test_an_error_of_the_child_is_that_of_the_parent(
    vae, tmp_path, in_process, monkeypatch, error, raised, text
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(publish, "publish", fail)
    with pytest.raises(raised, match=text):
        handover.publish_in_child(vae, tmp_path, "m", directions=None, **REST)


def test_a_child_that_dies_is_told(vae, tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "_run_child", lambda folder: -9)
    with pytest.raises(DataError, match="ended with status -9"):
        handover.publish_in_child(vae, tmp_path, "m", directions=None, **REST)


def test_an_interruption_ends_the_child_and_waits_for_it(tmp_path, monkeypatch):
    child = mock.Mock()
    child.wait.side_effect = [KeyboardInterrupt, 143]
    with (
        mock.patch.object(handover.subprocess, "Popen", return_value=child) as started,
        pytest.raises(KeyboardInterrupt),
    ):
        handover._run_child(tmp_path)
    assert [name for name, *_ in child.method_calls] == ["wait", "terminate", "wait"]
    assert started.call_args.kwargs["env"]["KERAS_BACKEND"] == "tensorflow"
    assert started.call_args.kwargs["env"]["CUDA_VISIBLE_DEVICES"] == "-1"
