"""--audit: nothing is published that differs from the audit."""

import json
from unittest import mock

import pytest
from kvae_testing import few_signatures, small_mixtures

import kvae
from kvae.audit import served
from kvae.errors import DataError, UsageError
from kvae.serving.versions import versions
from kvae.training.keeping import checkpoints

_QUICK = {
    "epochs": 1, "batch_size": 5000, "hidden_units": "8", "sampler": "none", "jit_compile": False,
    "prior": "standard_normal", "posterior": "diagonal", "variance": "shared", "verbose": 0,
    "name": "m", "audit": True,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with (
        few_signatures("encode", "decode"), small_mixtures(),
        mock.patch.object(served, "ask", served.answered),
    ):  # fmt: skip
        yield


def _faulty(folder, requests):
    found = served.answered(folder, requests)
    found["rows"]["decode"]["decoded"] = found["rows"]["decode"]["decoded"] * 1.01
    return found


def test_what_differs_is_not_published_and_its_weights_are_kept(tmp_path):
    training = tmp_path / "m" / "training"
    with (
        mock.patch.object(served, "ask", _faulty),
        pytest.raises(DataError, match=r"nothing was published: .*decoded.*audit\.json"),
    ):
        kvae.train("gmm", output=tmp_path, **_QUICK)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["training"]
    found = json.loads((training / "audit.json").read_text())
    assert found["verdicts"]["differs"] >= 1
    assert "test rows of gmm" in found["rows"]
    assert checkpoints.unfinished(training)

    vae = kvae.train("gmm", output=tmp_path, resume=True, **_QUICK)  # by the weights that are kept
    assert vae.trained.version.number == 1
    assert not (training / "audit.json").exists()
    found = json.loads((vae.trained.version.evaluation / "audit.json").read_text())
    assert found["version"] == "m/1"
    assert found["verdicts"]["differs"] == 0
    assert "decode/decoded" in {line["what"] for line in found["lines"]}
    assert len(versions(tmp_path / "m")) == 1


def test_there_is_nothing_to_audit_where_nothing_is_published():
    with pytest.raises(UsageError, match="audit is of what is published"):
        kvae.train("gmm", **_QUICK)
