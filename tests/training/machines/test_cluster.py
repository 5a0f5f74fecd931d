"""TF_CONFIG: what it may say; several processes train one model, and one of them may die."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kvae
from kvae.config import resolve
from kvae.errors import UsageError
from kvae.serving import versions
from kvae.training.machines import cluster
from kvae.training.preflight import check

HERE = Path(__file__).parent
TWO = ["one:2222", "two:2222"]


def _said(workers, index, kind="worker", **more):
    return {"cluster": {"worker": workers, **more}, "task": {"type": kind, "index": index}}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (_said(TWO, 1), (("one:2222", "two:2222"), 1)),
        (_said(TWO, 1, chief=["three:1"]), (("three:1", "one:2222", "two:2222"), 2)),
        (_said(TWO, 0, "chief", chief=["three:1"]), (("three:1", "one:2222", "two:2222"), 0)),
        (_said(TWO[:1], 0), None),
        (None, None),
    ],
)
def test_the_first_address_is_the_chiefs(monkeypatch, said, expected):
    monkeypatch.setenv(cluster.VARIABLE, json.dumps(said) if said else "")
    found = cluster.read()
    assert found == expected
    assert found is None or found.is_chief == (found.rank == 0)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{", "not JSON, received '{'"),
        ("[]", "no cluster"),
        ("{}", "no cluster"),
        (json.dumps({"cluster": {}}), "no cluster"),
        (json.dumps({"cluster": {"worker": "one:1"}}), "a list of addresses, received 'one:1'"),
        (json.dumps(_said(["one"], 0)), "an address is host:port, received 'one'"),
        (json.dumps(_said(["one:99999"], 0)), "an address is host:port"),
        (json.dumps(_said([1], 0)), "an address is host:port, received 1"),
        (json.dumps(_said(TWO[:1] * 2, 0)), "an address of its own"),
        (json.dumps(_said(TWO, 2)), "from 0 to 1 here, received"),
        (json.dumps(_said(TWO, -1)), "from 0 to 1 here"),
        (json.dumps(_said(TWO, "0")), "from 0 to 1 here"),
        (json.dumps(_said(TWO, True)), "from 0 to 1 here"),
        (json.dumps(_said(TWO, 0, "evaluator")), "type is worker, received"),
        (json.dumps(_said(TWO, 0, "chief")), "type is worker, received"),
        (json.dumps(_said(TWO, 0, ps=["three:1"])), "received \\['ps'\\]"),
        (json.dumps(_said(TWO, 0, chief=["a:1", "b:1"])), "one chief at most, received 2"),
        (json.dumps({"cluster": {"worker": TWO}}), "type is worker, received None"),
    ],
)
def test_a_wrong_one_is_refused_in_a_sentence(monkeypatch, tmp_path, said, words):
    monkeypatch.setenv(cluster.VARIABLE, said)
    with pytest.raises(UsageError, match=f"^TF_CONFIG: .*{words}"):
        check(resolve({"save": str(tmp_path)}))


def test_what_does_not_go_with_several_machines_is_refused(monkeypatch, tmp_path):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv(cluster.VARIABLE, json.dumps(_said([f"localhost:{port}", "two:1"], 0)))
        for given, words in (
            ({"devices": 2}, "--devices must be 1 with TF_CONFIG.*received 2"),
            ({"backend": "jax"}, "for --backend tensorflow, received jax"),
            ({"max_minutes": 3}, "--max-minutes does not go with TF_CONFIG.*received 3"),
            ({}, f"port {port} of localhost:{port} must be free"),
        ):
            with pytest.raises(UsageError, match=words):
                check(resolve({"save": str(tmp_path), **given}))
        with pytest.raises(UsageError, match=r"TF_CONFIG has 2 tasks.*such as 254 or 256"):
            check(resolve({"save": str(tmp_path), "batch_size": 255}), dry_run=True)


def _free_ports(count):
    servers = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def _run(folder, addresses, *, dying=None):
    """Start a process for each address, or one; exit statuses, and what each said."""
    children = []
    for index in range(max(1, len(addresses))):
        here = os.environ | {"PYTHONPATH": str(HERE.parents[2]), "KERAS_BACKEND": "tensorflow"}
        if addresses:
            here[cluster.VARIABLE] = json.dumps(_said(addresses, index))
        own = folder if not index else folder / f"of_{index}"  # a folder that is not shared
        children.append(subprocess.Popen(
            [sys.executable, HERE / "several_machines.py", *(["dies"] if index == dying else []),
             "--save", own, "--log-json", folder / "log.json", "--tensorboard", folder / "runs"],
            env=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ))  # fmt: skip
    told = [child.communicate(timeout=300)[0] for child in children]
    return [child.returncode for child in children], told


def test_a_machine_that_waits_ends_at_a_signal_and_goes_on_when_others_listen():
    own, other = _free_ports(2)
    waiting = (
        "import sys\n"
        "from kvae import cli\n"
        "from kvae.training.machines.waiting import wait_for\n"
        "def main(argv):\n"
        "    print('waits', flush=True)\n"
        f"    wait_for({own}, ['localhost:{other}'])\n"
        "sys.exit(cli.run(main))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=HERE.parents[2],
    ) as child:  # fmt: skip
        assert child.stdout.readline() == "waits\n"
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
    assert child.returncode == 143
    with socket.create_server(("localhost", other)):
        waited = subprocess.run([sys.executable, "-c", waiting], timeout=60, cwd=HERE.parents[2])
    assert waited.returncode == 0


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_when_one_was_killed(tmp_path):
    pytest.importorskip("tensorboard")  # what one machine looks at, no other may wait for
    one, two = tmp_path / "one", tmp_path / "two"
    (status,), told = _run(one, [])
    assert status == 0, told
    addresses = [f"localhost:{port}" for port in _free_ports(2)]
    statuses, told = _run(two, addresses, dying=1)
    assert statuses[1] == -9 and statuses[0] == 1, told
    assert f"{addresses[1]} has gone" in told[0].splitlines()[-1]
    assert [*(two / "gmm" / "training").glob("checkpoint-*.npz")]
    statuses, told = _run(two, addresses)
    assert statuses == [0, 0], told
    assert "goes on    from" in told[0] and not told[1].strip()
    assert not (two / "of_1").exists()
    events = [json.loads(line) for line in (two / "log.json").read_text().splitlines()]
    assert events[-1]["published"] and not events[-1]["error"]
    epochs = [one["epoch"] for one in events if one["event"] == "epoch"]
    assert epochs == [1, 2, 3, 4]  # of the first machine alone
    assert [*(two / "runs").glob("*/valid")] == [two / "runs" / "gmm-1" / "valid"]
    ends = [versions.find_version(folder / "gmm") for folder in (one, two)]
    histories = [versions.read_metadata(version)["history"] for version in ends]
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)
    weights = [kvae.load_model(version.path).get_weights() for version in ends]
    for here, there in zip(*weights, strict=True):
        np.testing.assert_allclose(there, here, atol=1e-5)
