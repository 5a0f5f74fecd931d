"""One contract, three ways: every test runs over REST, over gRPC, and on the folder."""

import io
import json
import shutil
import socket
import time
from contextlib import ExitStack

import numpy as np
import pytest
from kvae_testing import make_x, png
from PIL import Image, ImageOps
from serving_testing import Session, grpc_server, rest_server

from kvae.client import Client, ServingError
from kvae.errors import DataError, UsageError

WAYS = ["folder", "rest", "grpc"]
ROWS = 5


@pytest.fixture(scope="module")
def version(version_of_images):
    return version_of_images


@pytest.fixture(scope="module")
def targets(version):
    with ExitStack() as stack:
        rest, _ = stack.enter_context(rest_server("m", version.path))
        grpc, services = stack.enter_context(grpc_server("m", version.path))
        yield {"folder": (version.path,), "rest": (rest, "m"), "grpc": (grpc, "m")}, services


@pytest.fixture(scope="module")
def in_folder(targets):
    """Loaded once: the tests that are given it change nothing of it."""
    return Client(*targets[0]["folder"], batch_size=2)


@pytest.fixture(params=WAYS)
def client(request, targets, in_folder):
    way = request.param
    return in_folder if way == "folder" else Client(*targets[0][way], batch_size=2)


@pytest.fixture(scope="module")
def session(version):
    return Session(version.path)


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(3)
    x = make_x((8, 8, 1), "discretized-logistic", rows=ROWS)
    return {
        "x": x, "start": x, "end": x[::-1].copy(),
        "fraction": rng.random(ROWS).astype("float32"),
        "seed": np.array([0, 1, -1, 2**63 - 1, -(2**63)]),
        "latent": rng.normal(size=(ROWS, 2)).astype("float32"),
        "image_bytes": np.array([png(image) for image in x], object),
        "attribute_strength": rng.normal(size=(ROWS, 2)).astype("float32"),
    }  # fmt: skip


def test_every_signature_answers_what_the_session_does(client, session, given):
    assert len(client.signatures) == 13
    for name, signature in client.signatures.items():
        inputs = {key: given[key] for key in signature.inputs}
        found, expected = client.call(name, **inputs), session(name, inputs)
        assert found.keys() == expected.keys() == signature.outputs.keys()
        for key, value in expected.items():
            assert found[key].dtype == np.float32
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5)


def test_images_of_all_kinds_are_one(client, given):
    levels = np.round(given["x"] * 255).astype("uint8")
    pictures = [Image.fromarray(image[..., 0]) for image in levels]
    found = [
        client.call("encode", x=x)["mean"]
        for x in (given["x"], levels, pictures, [p.convert("RGB") for p in pictures])
    ]
    found += [
        client.call("encode_bytes", image_bytes=content)["mean"]
        for content in (list(given["image_bytes"]), pictures)
    ]
    for mean in found[1:]:
        np.testing.assert_allclose(mean, found[0], rtol=1e-5, atol=1e-5)


def test_large_inputs_are_sent_in_batches(targets, given):
    ways, services = targets
    client = Client(*ways["grpc"], batch_size=2)
    services.requests.clear()
    client.call("encode", x=given["x"])
    assert [one["x"] for one in services.requests] == [2, 2, 1]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_photos_from_pil_are_as_upright_as_their_files(in_folder, orientation):
    client, exif = in_folder, Image.Exif()
    exif[0x0112] = orientation
    levels = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).resize((70, 90)).save(file, "JPEG", quality=95, exif=exif)
    image = Image.open(io.BytesIO(file.getvalue()))
    by_file, by_image = (
        client.call("encode_bytes", image_bytes=[one])["mean"] for one in (file.getvalue(), image)
    )
    np.testing.assert_allclose(by_file, by_image, atol=1e-2)
    small = image.resize((8, 8))  # keeps no EXIF
    small.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(small)
    one, other = (client.call("encode", x=[picture])["mean"] for picture in (small, upright))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert client.call("encode_bytes", image_bytes=[image.convert("CMYK")])["mean"].shape == (1, 2)


@pytest.mark.parametrize("server", [rest_server, grpc_server])
def test_one_call_is_answered_by_one_version(server, version, given):
    with server("m", version.path) as (address, services):
        client = Client(address, "m", batch_size=2)
        client.call("encode", x=given["x"])
        assert services.versions[-3:] == [1, 1, 1]
        client.call("encode", x=given["x"][:2])
        assert services.versions[-1] is None
        assert Client(address, "m", version=1).call("encode", x=given["x"])
        assert services.versions[-1] == 1


@pytest.mark.parametrize("server", [rest_server, grpc_server])
def test_a_version_that_goes_in_the_middle_costs_a_second_look(server, version, given):
    with (
        server("m", version.path) as (address, services),
        Client(address, "m", batch_size=2) as client,
    ):
        expected = client.call("encode", x=given["x"])["mean"]
        del services.versions[:]
        services.left_to_replace = 1
        found = client.call("encode", x=given["x"])["mean"]
        assert services.versions == [1, 2, 2, 2]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        # The version that was asked for is not another.
        with pytest.raises(ServingError, match=r"404|NOT_FOUND"):
            Client(address, "m", version=1).call("encode", x=given["x"])


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_version_with_other_inputs_is_asked_for_again(targets, way):
    client = Client(*targets[0][way])
    now = dict(client.signatures)
    del client.signatures["score"]
    assert "rate" in client.call("score", x=X)
    tensor = now["encode"].inputs["x"]
    client.signatures["encode"].inputs["x"] = tensor._replace(shape=(None, 4, 4, 1))
    assert client.call("encode", x=X)["mean"].shape == (2, 2)
    assert client.signatures == now


@pytest.mark.parametrize("way", WAYS)
def test_a_closed_client_says_so(targets, way):
    with Client(*targets[0][way]) as client:
        assert client.signatures
    with pytest.raises(UsageError, match="is closed"):
        client.call("encode", x=X)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}", "kvae.json is damaged"), ("[]", "an object"), ("{", "kvae.json is damaged")],
)
def test_a_folder_whose_description_is_damaged_is_said(version, tmp_path, content, message):
    folder = tmp_path / "m" / "1"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("")
    (folder / "assets.extra" / "kvae.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Client(folder)


def test_a_folder_whose_weights_are_cut_is_said(version, tmp_path):
    shutil.copytree(version.path, tmp_path / "m" / "1")
    for weights in tmp_path.glob("m/1/variables/variables.data-*"):
        weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot be loaded .*kvae\.publish verify"):
        Client(tmp_path / "m").call("encode", x=X)


def test_levels_that_were_computed_may_be_rounded(in_folder):
    client = in_folder
    one, more = (client.call("encode", x=np.ones((1, 8, 8, 1)) * f)["mean"] for f in (1, 1 + 1e-6))
    np.testing.assert_array_equal(one, more)


def test_bad_rows_cost_no_question(targets):
    ways, services = targets
    client = Client(*ways["grpc"])
    assert client.signatures
    services.left_to_fail = 1
    with pytest.raises(UsageError, match="not a finite"):
        client.call("encode", x=np.full((1, 8, 8, 1), np.nan))
    assert services.left_to_fail == 1
    services.left_to_fail = 0


def test_a_connection_that_breaks_off_is_tried_again(version):
    with rest_server("m", version.path) as (address, services):
        client = Client(address, "m", retries=1)
        assert client.signatures
        services.left_to_break_off = 1
        assert client.call("encode", x=X)["mean"].shape == (2, 2)
        services.left_to_break_off = 1
        with pytest.raises(ServingError, match="cannot be reached"):
            Client(address, "m", retries=0).call("encode", x=X)


def test_a_grpc_server_that_comes_late_is_found(version):
    with grpc_server("m", version.path) as (address, _):
        pass
    client = Client(address, "m", retries=0)
    for _ in range(3):
        with pytest.raises(ServingError, match="cannot be reached"):
            client.call("encode", x=X)
        time.sleep(0.5)
    with grpc_server("m", version.path, port=int(address.rpartition(":")[2])):
        client.wait_until_ready(10)
        assert client.call("encode", x=X)["mean"].shape == (2, 2)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16", "P"])
def test_transparency_and_deep_greys_are_seen_as_in_training(in_folder, mode):
    client = in_folder
    levels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
        seen = levels
    else:
        image = Image.fromarray(levels).convert(mode)
        seen = levels
        if mode.endswith("A"):
            image.putalpha(0)
            seen = np.full_like(levels, 255)
    expected = client.call("encode", x=seen[None, ..., None])["mean"]
    for found in (
        client.call("encode", x=[image])["mean"],
        client.call("encode_bytes", image_bytes=[image])["mean"],
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_version_with_other_outputs_is_said(targets, way):
    client = Client(*targets[0][way])
    described = client.signatures["score"]
    del described.outputs["rate"]
    with pytest.raises(ServingError, match="another version is served now"):
        client.call("score", x=X)
    assert "rate" in client.call("score", x=X)
    described = client.signatures["serving_default"]
    described.outputs["more"] = described.outputs["reconstruction"]
    with pytest.raises(ServingError, match="another version is served now"):
        client.call("serving_default", x=X)


X = np.zeros((2, 8, 8, 1), "float32")


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("missing", {"x": X}, "no signature 'missing': it has decode, edit, encode"),
        ("encode", {}, "encode takes x; received nothing"),
        ("encode", {"y": X}, "encode takes x; received y"),
        ("encode", {"x": X, "seed": [1, 2]}, "received seed, x"),
        ("encode", {"x": X[0]}, r"shape \(rows, 8, 8, 1\), received \(8, 8, 1\)"),
        ("encode", {"x": X[:, :4]}, r"received \(2, 4, 8, 1\)"),
        ("encode", {"x": X[:0]}, "x is empty"),
        ("encode", {"x": []}, "shape"),
        ("encode", {"x": X.astype(complex)}, "must be numbers"),
        ("encode", {"x": X.astype(str)}, "must be numbers"),
        ("encode", {"x": [[1], [1, 2]]}, "is no array"),
        ("encode", {"x": X + np.array([0, np.nan]).reshape(2, 1, 1, 1)}, "x, row 1: not a finite"),
        ("encode", {"x": X.astype(float) + 1e300}, "not a finite float32"),
        ("encode", {"x": X + 200.0}, "divide by 255"),
        ("encode", {"x": [Image.new("L", (9, 8))]}, "8x8 are wanted, received 9x8"),
        ("encode", {"x": [Image.new("F", (8, 8))]}, "mode F have no agreed range"),
        ("encode_bytes", {"image_bytes": [Image.new("F", (8, 8))]}, "mode F"),
        ("generate", {"seed": [1.5]}, "whole numbers"),
        ("generate", {"seed": [True]}, "whole numbers"),
        ("generate", {"seed": [2**63]}, "must be from"),
        ("generate", {"seed": [2**70]}, "must be from"),
        ("generate", {"seed": 3}, "shape"),
        ("generate", {"seed": []}, "empty"),
        ("sample_posterior", {"x": X, "seed": [1]}, "2 of x, 1 of seed"),
        ("encode_bytes", {"image_bytes": b"abc"}, "wrap it"),
        ("encode_bytes", {"image_bytes": [b"abc"]}, "row 0: no JPEG or PNG"),
        ("encode_bytes", {"image_bytes": ["abc"]}, "received str"),
        ("encode_bytes", {"image_bytes": 7}, "list of bytes"),
        ("encode_bytes", {"image_bytes": []}, "empty"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(targets, signature, inputs, message):
    ways, services = targets
    client = Client(*ways["grpc"])
    assert client.signatures
    services.requests.clear()
    with pytest.raises(UsageError, match=message):
        client.call(signature, **inputs)
    assert services.requests == []


def test_what_only_the_server_can_see_is_its_error(client, given):
    damaged = given["image_bytes"][0][:60]
    with pytest.raises(ServingError):
        client.call("encode_bytes", image_bytes=[damaged])


def test_a_server_that_is_not_there_is_said_soon():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    for scheme in ("http", "grpc"):
        start = time.monotonic()
        client = Client(f"{scheme}://127.0.0.1:{port}", "m", retries=1, timeout=5)
        with pytest.raises(ServingError, match="cannot be reached"):
            client.call("encode", x=X)
        assert time.monotonic() - start < 60
        with pytest.raises(ServingError, match="not ready"):
            client.wait_until_ready(0.1)
        assert not client.is_ready()


@pytest.mark.parametrize("server", [rest_server, grpc_server])
def test_an_unavailable_server_is_asked_again(server, version):
    with server("m", version.path, fail_first=2) as (address, _):
        client = Client(address, "m", retries=3)
        assert client.call("generate", seed=[1])["sample"].shape == (1, 8, 8, 1)
    # More than gRPC repeats of itself.
    with server("m", version.path) as (address, services):
        client = Client(address, "m", retries=3, batch_size=2000)
        assert client.signatures
        services.left_to_fail = 2
        x = np.zeros((2000, 8, 8, 1), np.uint8)
        assert client.call("encode", x=x)["mean"].shape == (2000, 2)
    with (
        server("m", version.path, fail_first=2) as (address, _),
        pytest.raises(ServingError, match="not yet"),
    ):
        Client(address, "m", retries=0).call("generate", seed=[1])


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_an_unknown_model_is_said(targets, way):
    address = targets[0][way][0]
    with pytest.raises(ServingError, match=r"404|NOT_FOUND"):
        Client(address, "other").call("encode", x=X)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_waiting_ends_when_the_model_is_there(targets, way):
    client = Client(*targets[0][way])
    client.wait_until_ready(5)
    assert client.is_ready()


def test_a_server_that_is_slow_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        for scheme in ("http", "grpc"):
            client = Client(f"{scheme}://127.0.0.1:{port}", "m", timeout=0.2, retries=0)
            with pytest.raises(ServingError, match=r"no answer within 0\.2"):
                client.call("encode", x=X)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("http://localhost:8501",), {}, "needs the name of a model"),
        (("ftp://localhost:8501", "m"), {}, "http://"),
        (("nowhere/m",), {}, "no such folder"),
        (("nowhere/m", "m"), {}, "belong to a server"),
        (("http://localhost:8501", "m"), {"batch_size": 0}, "batch_size"),
        (
            ("http://localhost:8501", "m"),
            {"retries": 9},
            "retries must be a whole number from 0 to 4",
        ),
        (("http://localhost:8501", "m"), {"timeout": 0}, "timeout must be a number of"),
        (("http://localhost:8501", "m"), {"timeout": float("nan")}, "timeout must be"),
        (("http://localhost:8501", "m"), {"timeout": float("inf")}, "timeout must be"),
        (("http://localhost:8501", "m"), {"timeout": True}, "timeout must be"),
        (("http://localhost:8501", "m"), {"timeout": "5"}, "timeout must be"),
        (("http://localhost:8501", "m"), {"version": -1}, "version must be"),
        (("http://localhost:8501", "m"), {"version": True}, "version must be"),
        (("http://localhost:8501", "m"), {"version": 2**63}, "version must be"),
        (("http://localhost:8501", "m"), {"batch_size": 1.5}, "batch_size must be"),
        (("http://localhost:8501", "a/../b"), {}, "a model's name"),
        (("http://localhost:8501", ".."), {}, "a model's name"),
        (("http://localhost:8501", "a\x1b[2J"), {}, r"a model's name .* received 'a\\x1b"),
        (("http://localhost:8501", "a:predict"), {}, "a model's name"),
        (("http://localhost:8501", 5), {}, "a model's name"),
        (("http://", "m"), {}, "http://HOST:PORT is wanted"),
        (("http://localhost:0", "m"), {}, "http://HOST:PORT is wanted"),
        (("http://localhost:99999", "m"), {}, "is no address"),
        (("http://[::1", "m"), {}, "is no address"),
        (("http://local host:8501", "m"), {}, "http://HOST:PORT is wanted"),
        (("http://localhost:8501?x=1", "m"), {}, "without a query"),
        (("http://localhost:8501/#", "m"), {}, "without a query"),
        (("grpc://localhost", "m"), {}, "grpc://HOST:PORT is wanted"),
        (("grpc://localhost:8500/v1", "m"), {}, "grpc://HOST:PORT is wanted"),
        ((None, "m"), {}, "target is an address or a folder"),
    ],
)
def test_arguments_that_make_no_client(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        Client(*arguments, **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["encode"]["outputs"].pop("mean"),
        lambda one: one["encode"]["inputs"]["x"].update(shape=["batch", 9, 9, 1]),
        lambda one: one["encode"]["outputs"]["mean"].update(dtype="int64"),
        lambda one: one.update(more=one["encode"]),
    ],
)
def test_a_graph_that_is_not_the_one_described_is_said(version, tmp_path, change):
    (tmp_path / "m").mkdir()
    shutil.copytree(version.path, tmp_path / "m" / "1")
    path = tmp_path / "m" / "1" / "assets.extra" / "kvae.json"
    said = json.loads(path.read_text())
    change(said["signatures"])
    path.write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"its signature \w+ is not that of kvae\.json"):
        Client(tmp_path / "m").call("decode", latent=np.zeros((1, 2)))
