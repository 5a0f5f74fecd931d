"""The page is built and its doors answer; without Gradio a sentence says how to get it."""

import gc
import socket
from importlib.util import find_spec

import numpy as np
import pytest

from kvae.errors import UsageError
from kvae.explore import program

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
        program.prepared(str(tmp_path / "none"))


@needs_gradio
@pytest.mark.filterwarnings("ignore")  # Gradio's own, and the loop that it leaves open
def test_the_page_is_built_and_shows_what_a_seed_gives(version_of_images):
    from kvae.client import Client
    from kvae.explore.answers import Answers, Rows
    from kvae.explore.page import Page
    from kvae.serving.versions import read_metadata

    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    metadata = read_metadata(version_of_images)
    answers = Answers(Client(version_of_images.path), metadata, Rows(x, "train"))
    page = Page(answers, "m version 1", {})
    config = page.build().get_config_file()
    labels = [one["props"].get("label") for one in config["components"]]
    assert "Smiling: accuracy 90%" in labels and "Nearest of 30 train rows" in labels
    picture, file, gallery = page._shown(answers.sample(0), ())
    assert picture.size == (256, 256) and len(gallery) == 4
    assert open(file, "rb").read(4) == b"\x89PNG"  # noqa: PTH123, SIM115
    gc.collect()  # the loop goes here, where its warning is Gradio's
