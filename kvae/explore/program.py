"""kvae explore and its options."""

import errno
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kvae import backend, cli, own_files
from kvae.errors import KvaeError, Terminated, UsageError

_FOLDER = "kvae-explore-"  # for what the page shows and hands out
_HOST, _PORT = "127.0.0.1", 7860


def main(argv: Sequence[str], prog: str = "kvae explore") -> None:
    """Read the arguments, and serve the page until the program is interrupted."""
    given = arguments(own_files.taken(argv), prog)
    if find_spec("gradio") is None:
        raise UsageError("the page is made with Gradio: pip install gradio openTSNE")
    _check_port(given["port"])
    with tempfile.TemporaryDirectory(prefix=_FOLDER, ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # read when Gradio is imported
        page, name = prepared(
            given["model"], Path(folder), given.get("served_as"), given.get("like")
        )
        _serve(page, name, given["port"])


def _serve(page: Any, name: str, port: int) -> None:
    """Show the page until Ctrl+C or SIGTERM."""
    from kvae.explore.page import CSS, theme

    page.queue().launch(
        server_name=_HOST, server_port=port, theme=theme(), css=CSS, quiet=True, share=False,
        inbrowser=False, footer_links=[], enable_monitoring=False, prevent_thread_lock=True,
    )  # fmt: skip
    print(f"explore    {name} at http://{_HOST}:{port} (Ctrl+C ends it)", flush=True)
    try:
        while True:  # Windows interrupts no other wait
            time.sleep(1)
    except KeyboardInterrupt as error:
        if isinstance(error, Terminated):
            raise
    finally:
        page.close(verbose=False)


def arguments(argv: Sequence[str], prog: str = "kvae explore") -> dict[str, Any]:
    """Read the arguments of kvae explore.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = cli.Parser(prog=prog, description="Play with the latent space of a published model.")
    parser.add_argument(
        "--model", default="saved", metavar="DIR|URL",
        help="saved/NAME or saved/NAME/NUMBER, or a TensorFlow Serving server, "
        "http://HOST:PORT or grpc://HOST:PORT (default: saved)",
    )  # fmt: skip
    parser.add_argument("--served-as", metavar="NAME", help="name of the model on the server")
    parser.add_argument(
        "--like", metavar="DIR",
        help="of a server: saved/NAME/NUMBER, the same version, which says what columns, "
        "attributes and data it has",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=cli.whole(1, 65535), default=_PORT, metavar="N",
        help=f"of the page, on this machine alone (default: {_PORT})",
    )  # fmt: skip
    cli.add_import(parser)
    cli.add_debug(parser)
    given = cli.parsed(parser, argv)
    is_server = "://" in given["model"]
    for name in ("served_as", "like"):
        if given[name] and not is_server:
            raise UsageError(
                f"--{name.replace('_', '-')} goes with a server, --model http://HOST:PORT; "
                f"received --model {given['model']}"
            )
    if is_server and not given["served_as"]:
        raise UsageError(f"--model {given['model']} needs --served-as NAME")
    return given


def prepared(
    model: str, folder: Path, served_as: str | None = None, like: str | None = None
) -> Any:
    """The page of a model, and the model's name.

    Args:
        model: a folder or an address.
        folder: for files that the page hands out.
        served_as: name of the model there.
        like: a folder that describes it.

    Raises:
        UsageError: no such model.
        ServingError: the server does not answer.
    """
    backend.use(backend.TENSORFLOW)
    from kvae.client import Client
    from kvae.serving.versions import find_version, read_metadata

    described = model if served_as is None else like
    version = None if described is None else find_version(described)
    metadata = {} if version is None else read_metadata(version)
    target = str(version.path) if served_as is None and version is not None else model
    client = Client(target, served_as)
    if served_as is None:
        backend.quiet_import("kvae.serving.served")
    from kvae.explore.answers import Answers
    from kvae.explore.page import Page

    rows = None
    if described is not None:
        try:
            rows = _rows(described)
        except KvaeError as error:
            print(f"note: samples stand for the data, which are not at hand: {error}",
                  file=sys.stderr)  # fmt: skip
    name = served_as or f"{version.name} version {version.number}"  # type: ignore[union-attr]
    answers = Answers(client, metadata, rows)
    print("preparing  the first answers", flush=True)
    return Page(answers, name, metadata.get("data_card", {}), folder).build(), name


def _rows(model: str) -> Any:
    """Random train rows of the data that a version was trained on."""
    import numpy as np

    from kvae.evaluation.evaluate import prepare
    from kvae.explore.answers import NUM_ROWS, Rows
    from kvae.probability.streams import generator

    job = prepare(str(Path(model)), writes=False)
    train = job.dataset.train
    chosen = generator(0, "explored rows").permutation(len(train.x))[:NUM_ROWS]
    chosen.sort()
    label = train.labels[job.label][chosen] if job.label else None
    every = {name: values[chosen] for name, values in train.labels.items()}
    condition = job.conditions.of(every) if job.conditions.dim else None
    return Rows(np.asarray(train.x[chosen]), "train", condition, label, job.label)


def _check_port(port: int) -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((_HOST, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error})"
            raise UsageError(f"port {port} {why}: choose another, --port N") from None
