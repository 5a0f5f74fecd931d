import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from kvae_testing import few_signatures, make_vae, make_x
from PIL import Image

import kvae
from kvae import publish
from kvae.client import Client
from kvae.errors import UsageError
from kvae.likelihoods import LEARNED_VARIANCES, LIKELIHOODS, accepts
from kvae.publish import repository
from kvae.publish.verification import verify
from kvae.publish.warmup import requests
from kvae.serving import versions

EMPTY = {"config": {"dataset": "none"}, "card": {"name": "none"}, "history": {"loss": [1.0]}}


@pytest.fixture(scope="module")
def published(small_vae, tmp_path_factory):
    save = tmp_path_factory.mktemp("saved")
    with few_signatures("encode", "generate"):
        return small_vae, save, publish.publish(small_vae, save, "m", **EMPTY)


def test_a_version_holds_what_the_contract_names(published):
    vae, save, version = published
    assert version == (save / "m" / "1", "m", 1)
    metadata = json.loads((version.path / versions.METADATA).read_text())
    assert metadata["model"] == {
        "element_shape": [2], "latent_dim": 2, "num_params": vae.count_params(),
        "shift": 0.0, "scale": 1.0,
    }  # fmt: skip
    assert metadata["config"] == EMPTY["config"]
    assert metadata["history"] == EMPTY["history"]
    assert metadata["versions"]["keras"].startswith("3.")
    encode = metadata["signatures"]["encode"]
    x = encode["inputs"]["x"]
    assert (x["dtype"], x["shape"], x["unit"]) == ("float32", ["batch", 2], "that of the data")
    assert encode["outputs"]["mean"]["meaning"] == "the mean of the posterior q(z given x)"
    assert set(encode["outputs"]) == {"mean", "variance"}
    assert metadata["signatures"]["generate"]["inputs"]["seed"]["dtype"] == "int64"
    sample = metadata["signatures"]["generate"]["outputs"]["sample"]
    assert "noise included" in sample["meaning"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": {"image_size": [32, 32]}}, r"config.image_size must be .* received \[32, 32\]"),
        ({"config": {"epochs": None}}, "config.epochs must be"),
        ({"config": {"a": object()}}, "cannot publish: kvae.json holds finite numbers"),
        ({"config": {"a": "x" * 2**26}}, "larger than"),
        ({"history": {"lr": [[1e-3]]}}, r"history.lr\[0\] must be a number"),
        ({"history": {"loss": [float("nan")]}}, "finite numbers"),
        ({"card": {"crop": "round"}}, "data_card.crop must be"),
        ({"card": {"columns": 5}}, "data_card.columns must be a list"),
        ({"condition": {"labels": [], "names": ["a"], "label_of": []}}, "as many of each"),
    ],
)
def test_what_no_reader_would_take_is_not_published(small_vae, tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        publish.publish(small_vae, tmp_path / "saved", "m", **{**EMPTY, **changes})
    assert not list(tmp_path.iterdir())


def test_the_keras_file_beside_it_is_the_same_model(published):
    vae, _, version = published
    again = kvae.load_model(version.path / versions.KERAS_MODEL)
    for ours, theirs in zip(vae.get_weights(), again.get_weights(), strict=True):
        assert (ours == theirs).all()


def test_the_model_card_is_part_of_a_version_and_its_programs_run(published, tmp_path, monkeypatch):
    _, save, version = published
    card = (version.path / versions.MODEL_CARD).read_text()
    (tmp_path / "saved").symlink_to(save)
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)\n```", card, flags=re.DOTALL)
    last = [program.replace("NUMBER", "1").splitlines() for program in programs]
    found = {}
    for *lines, end in last:
        exec("\n".join(lines), found)  # the card is ours
        found["answer"] = [*found.get("answer", []), eval(end.removeprefix("vae = "), found)]
    client, plain, vae = found["answer"]
    np.testing.assert_array_equal(client, plain)
    assert client.shape == (3, 2)
    assert vae.element_shape == (2,)
    assert versions.MODEL_CARD.name in versions.read_metadata(version)["files"]


def test_the_folder_of_a_version_can_be_read_by_a_server(published):
    _, _, version = published
    assert stat.S_IMODE(version.path.stat().st_mode) & 0o055 == 0o055 & ~_umask()
    assert not list(version.path.parent.glob(".publish-*"))


def test_a_box_that_is_larger_than_the_images_of_the_model_can_be_published(tmp_path):
    vae = make_vae((8, 8, 1), network="mlp")
    with few_signatures("encode_bytes", "reconstruct_bytes"):
        version = publish.publish(vae, tmp_path, "m", **{**EMPTY, "card": {"crop": "2,3,40,50"}})
    signatures = versions.read_metadata(version)["signatures"]
    assert {"encode_bytes", "reconstruct_bytes"} <= signatures.keys()


def test_files_are_made_black_and_white_where_those_of_training_were(tmp_path):
    vae = make_vae((8, 8, 1), network="mlp", likelihood="bernoulli")
    card = {"crop": "none", "binarize": True}
    with few_signatures("encode", "encode_bytes"):
        version = publish.publish(vae, tmp_path, "m", **{**EMPTY, "card": card})
    levels = np.arange(96, 160, dtype=np.uint8).reshape(8, 8, 1)
    client = Client(version.path)
    seen = client.call("encode_bytes", image_bytes=[Image.fromarray(levels[..., 0])])
    wanted = client.call("encode", x=(levels >= 128)[np.newaxis].astype(np.float32))
    np.testing.assert_allclose(seen["mean"], wanted["mean"], rtol=1e-5, atol=1e-6)
    other = client.call("encode", x=levels[np.newaxis])
    assert np.abs(seen["mean"] - other["mean"]).max() > 1e-3


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_table_of_0_and_1_answers_no_other_numbers(likelihood, tmp_path):
    vae = make_vae((3,), network="mlp", likelihood=likelihood)
    with few_signatures("encode"):
        version = publish.publish(vae, tmp_path, "m", **{**EMPTY, "card": {"binarize": True}})
    x = [[0, 1, 1], [0, 255, 1], [0, 0.5, 1], [1, 1, 1]]
    answers = Client(version.path).call("encode", x=np.array(x, np.float32))
    for values in answers.values():
        assert np.isnan(values).any(1).tolist() == [False, True, True, False]
    described = versions.read_metadata(version)["signatures"]["encode"]
    assert described["inputs"]["x"]["range"] == [0, 1]
    assert "NaN" in described["inputs"]["x"]["unit"]


#: Likelihood, variance of a Gaussian, shape of x, numbers in a condition.
PUBLISHED = [
    *((name, "shared", (3,), 0) for name in LIKELIHOODS if name != "discretized-logistic"),
    *((name, "shared", (4, 4, 1), 2) for name in LIKELIHOODS),
    *(("gaussian", variance, (4, 4, 1), 0) for variance in (0.1, *LEARNED_VARIANCES[1:])),
]


@pytest.mark.parametrize(("likelihood", "variance", "shape", "condition_dim"), PUBLISHED)
def test_every_likelihood_is_published(likelihood, variance, shape, condition_dim, tmp_path):
    own = {"variance": variance} if likelihood == "gaussian" else {}
    if variance == "optimal":
        own["edge_weight"] = 2.0
    vae = make_vae(shape, network="mlp", likelihood=likelihood, condition_dim=condition_dim, **own)
    with few_signatures("serving_default", "score"):
        version = publish.publish(vae, tmp_path, "m", **EMPTY)
    assert verify(version) == []
    assert all(accepts(likelihood, inputs["x"]) for _, inputs in requests(version.path))
    given = {"x": make_x(shape, likelihood, rows=3)}
    if condition_dim:
        given["condition"] = np.ones((3, condition_dim), np.float32)
    client = Client(version.path)
    for signature in ("serving_default", "score"):
        for name, values in client.call(signature, **given).items():
            assert np.isfinite(values).all(), name


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_two_publishers_never_share_a_number(tmp_path):
    """The race is in the claim, so it is run alone, hundreds of times."""
    model = tmp_path / "m"
    claimed = []

    def publisher(who):
        for turn in range(100):
            built = model / f".publish-{who}-{turn}" / "m"
            built.mkdir(parents=True)
            (built / "saved_model.pb").write_text(f"{who} {turn}")
            claimed.append((repository.claim(built, model).number, f"{who} {turn}"))

    threads = [threading.Thread(target=publisher, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number, _ in claimed) == list(range(1, 301))
    for number, content in claimed:
        assert (model / str(number) / "saved_model.pb").read_text() == content


def test_a_failure_leaves_nothing(tmp_path, small_vae, monkeypatch):
    def fail(folder):
        raise ValueError(f"in {folder.name}")

    monkeypatch.setattr(publish, "checksums", fail)
    with few_signatures("encode"), pytest.raises(ValueError, match="in m"):
        publish.publish(small_vae, tmp_path, "m", **EMPTY)
    assert list((tmp_path / "m").iterdir()) == []


def test_an_unwritable_folder_is_said(tmp_path, small_vae):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        publish.publish(small_vae, tmp_path / "file", "m", **EMPTY)


def test_what_a_killed_publisher_left_is_no_version(small_vae, tmp_path):
    built = tmp_path / "m" / ".publish-dead" / "m"
    built.mkdir(parents=True)
    (built / "saved_model.pb").write_text("half")
    assert versions.versions(tmp_path / "m") == []
    with few_signatures("encode"):
        assert publish.publish(small_vae, tmp_path, "m", **EMPTY).number == 1


@pytest.mark.slow
def test_a_killed_publisher_leaves_no_version(tmp_path):
    code = (
        "import sys; from kvae_testing import make_vae; from kvae import publish\n"
        "print('ready', flush=True)\n"
        "publish.publish(make_vae((2,)), sys.argv[1], 'm', "
        "config={}, card={}, history={})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    process.stdout.readline()
    while not list(tmp_path.glob("m/.publish-*/m")):
        assert process.poll() is None, "it finished before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert versions.versions(tmp_path / "m") == []
    assert publish.publish(make_vae((2,)), tmp_path, "m", **EMPTY).number == 1
