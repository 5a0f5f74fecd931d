"""The page is built and its doors answer; without Gradio a sentence says how to get it."""

import gc
import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from kvae.errors import UsageError
from kvae.explore import program

ROOT = Path(__file__).parents[2]
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is an extra")


def test_without_gradio_the_command_is_said(monkeypatch):
    monkeypatch.setattr(program, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install gradio openTSNE"):
        program.main(["--model", "saved"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "http://localhost:8501"], "needs --served-as NAME"),
        (["--model", "saved/x", "--served-as", "x"], "--served-as goes with a server"),
        (["--model", "saved/x", "--like", "x"], "--like goes with a server"),
        (["--port", "0"], "from 1 to 65535"),
    ],
)
def test_what_does_not_go_together_is_refused(words, message):
    with pytest.raises(UsageError, match=message):
        program.arguments(words)


def test_a_port_that_is_taken_is_said():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            program._check_port(port)


def test_a_model_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        program.prepared(str(tmp_path / "none"), tmp_path)


@needs_gradio
@pytest.mark.filterwarnings("ignore")  # Gradio's own, and the loop that it leaves open
def test_the_page_is_built_and_its_doors_answer(version_of_images, tmp_path):
    import gradio as gr

    from kvae.client import Client
    from kvae.explore import page as page_module
    from kvae.explore.answers import Answers, Rows
    from kvae.explore.page import Page
    from kvae.serving.versions import read_metadata

    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    metadata = read_metadata(version_of_images)
    rows = Rows(x, "train", None, np.repeat([0, 7, 2], 10), "kind")
    answers = Answers(Client(version_of_images.path), metadata, rows)
    card = {"label_names": {"kind": ["owl", "dog", "cat"]}}
    page = Page(answers, "m version 1", card, tmp_path)
    blocks = page.build()
    labels = [one["props"].get("label") for one in blocks.get_config_file()["components"]]
    assert "Smiling: accuracy 90%" in labels and "Nearest of 30 train rows" in labels
    told = blocks.get_config_file()
    heard = {tuple(target) for one in told["dependencies"] for target in one["targets"]}
    sliders = [one["id"] for one in told["components"] if one["type"] == "slider"]
    assert sliders and all((one, "input") in heard for one in sliders)  # by the keyboard too
    picture, gallery = page._shown(answers.sample(0), ())
    assert picture.size == (256, 256) and len(gallery) == 4
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(photo)
    doors = {one.api_name: one.fn for one in blocks.fns.values()}
    assert (page._groups[1], page._groups[0].max()) == (["owl", "cat", "7"], 2)
    plain, placed = doors["map"](), doors["place"](str(photo))
    marked = np.argwhere((plain != placed).any(axis=-1))
    assert len(marked) and np.ptp(marked, axis=0).max() < 60  # a star, and nothing else
    latent = page._latent_of(str(photo), ())
    low, width = page._frame
    at = (page._map.place(latent) - low) / width * page_module._MAP[0] * page_module._MAP[1]
    found = marked.mean(axis=0)[::-1] * [1, -1] + [0, len(plain)]
    np.testing.assert_allclose(found, at, atol=4)
    photo.write_bytes(b"no image")
    for door in ("place", "encode"):
        with pytest.raises(gr.Error, match="The photo is not an image of a known format"):
            doors[door](str(photo))
    gc.collect()  # the loop goes here, where its warning is Gradio's


@needs_gradio
@pytest.mark.filterwarnings("ignore")
def test_a_row_is_handed_out_as_a_file_that_is_the_same_for_the_same_row(tmp_path):
    from kvae.explore.page import Page

    answers = mock.Mock(of_images=False, columns=["a", "b"], condition_of=lambda _: None)
    answers.decoded.return_value = np.array([1.5, -2], np.float32)
    answers.neighbours.return_value = np.ones((1, 2)), np.ones(1)
    page = Page(answers, "m", {}, tmp_path)
    files = {page._shown(np.zeros(2), ())[1] for _ in range(3)}
    (file,) = files
    assert Path(file).read_text() == "a,b\n1.5,-2\n"
    assert [path.name for path in tmp_path.rglob("*.csv")] == ["x.csv"]


@needs_gradio
@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is that of other systems")
@pytest.mark.parametrize(("signal_", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_nothing_is_left_when_the_page_ends(version_of_images, tmp_path, signal_, status):
    from gradio_client import Client as PageClient

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept, work = tmp_path / "tmp", tmp_path / "work"
    kept.mkdir()
    work.mkdir()
    command = [sys.executable, "-m", "kvae", "explore", "--model", str(version_of_images.path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(kept)}
    with subprocess.Popen(
        [*command, "--port", str(port)], cwd=work, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            lines = iter(process.stdout.readline, "")
            assert any(f"http://127.0.0.1:{port}" in line for line in lines)
            page = PageClient(f"http://127.0.0.1:{port}", download_files=False, verbose=False)
            page.predict(3, api_name="/draw")
            assert [path.name[:13] for path in kept.iterdir()] == ["kvae-explore-"]
            assert [*kept.glob("kvae-explore-*/**/*.png")]
            process.send_signal(signal_)
            assert process.wait(timeout=60) == status
        finally:
            process.kill()
    assert [*kept.iterdir()] == [*work.iterdir()] == []
