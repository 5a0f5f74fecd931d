"""Against a real `tensorflow_model_server`, where there is one.

TFSERVING_URL names the model of a running server, http://host:8501/v1/models/NAME; else the binary
is started from the PATH; else these tests are skipped.
"""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kvae_testing import make_vae, png
from serving_testing import SERVING, server_flags

from kvae import publish
from kvae.client import Client, ServingError
from kvae.publish import repository, warmup
from kvae.serving import versions

_URL, _BINARY = os.environ.get("TFSERVING_URL"), shutil.which("tensorflow_model_server")

pytestmark = pytest.mark.skipif(
    not (_URL or _BINARY), reason="no TFSERVING_URL and no tensorflow_model_server on the PATH"
)


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Folder of what the binary serves, REST and gRPC addresses."""
    if _BINARY is None:
        pytest.skip("no tensorflow_model_server on the PATH")
    save = tmp_path_factory.mktemp("saved")
    publish.publish(make_vae((8, 8, 3)), save, "m", config={}, card={}, history={})
    repository.update_models_config(save, str(save))
    rest, grpc = _free_port(), _free_port()
    # As the files of serving/ start it.
    flags = server_flags((SERVING / "docker-compose.yml").read_text())
    flags |= {"rest_api_port": rest, "port": grpc, "model_config_file": save / "models.config"}
    for flag in ("batching_parameters_file", "monitoring_config_file"):
        flags[flag] = SERVING / Path(flags[flag]).name
    process = subprocess.Popen([_BINARY, *(f"--{flag}={value}" for flag, value in flags.items())])
    targets = f"http://127.0.0.1:{rest}", f"grpc://127.0.0.1:{grpc}"
    try:
        Client(targets[0], "m").wait_until_ready(60)
        yield save, targets
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("way", [0, 1])
def test_the_server_answers_as_the_session_does(started, way):
    save, targets = started
    version = versions.find_version(save / "m")
    client, expected = Client(targets[way], "m"), warmup.replay(version.path)
    assert set(client.signatures) == set(expected)
    for signature, inputs in warmup.requests(version.path):
        found = client.call(signature, **inputs)
        for name, value in expected[signature].items():
            scale = np.maximum(1.0, np.abs(value))
            assert np.max(np.abs(found[name] - value) / scale) < 1e-5


def test_a_new_version_is_taken_over_while_it_serves(started):
    save, targets = started
    client = Client(targets[0], "m")
    before = client.call("decode", latent=np.zeros((1, 2)))["decoded"]
    vae = make_vae((8, 8, 3))
    vae.decoder.trainable_weights[-1].assign_add(np.ones(3))
    version = publish.publish(vae, save, "m", config={}, card={}, history={})
    Client(targets[0], "m", version=version.number).wait_until_ready(60)
    after = client.call("decode", latent=np.zeros((1, 2)))["decoded"]
    np.testing.assert_allclose(after, before + 1.0, rtol=1e-4, atol=1e-4)


def test_what_is_no_image_fails_its_request_alone(started):
    _, targets = started
    client = Client(targets[1], "m")
    with pytest.raises(ServingError):
        client.call("encode_bytes", image_bytes=[png(np.zeros((8, 8, 3)))[:50]])
    assert client.call("generate", seed=[1])["sample"].shape == (1, 8, 8, 3)


@pytest.mark.skipif(not _URL, reason="no TFSERVING_URL")
def test_a_running_server_has_the_signatures_and_answers():
    target, _, name = str(_URL).partition("/v1/models/")
    client = Client(target, name)
    client.wait_until_ready(60)
    assert {"encode", "decode", "generate", "serving_default"} <= set(client.signatures)
    if (
        "seed" in client.signatures["generate"].inputs
        and len(client.signatures["generate"].inputs) == 1
    ):
        first, again = (client.call("generate", seed=[1, 2, 3])["sample"] for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert np.isfinite(first).all()
