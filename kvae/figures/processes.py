"""Figures drawn in processes of their own, while this one computes.

A process is a Python of its own, not a fork: threads of TensorFlow do not outlive one. Nor is it
`multiprocessing`'s, which begins with the user's script once more.
"""

import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from kvae import children
from kvae.data.cores import num_cores
from kvae.errors import DEBUGGING, KvaeError
from kvae.saying import progress

MAX_PROCESSES = 4
#: What draws, or has it drawn: a function of `kvae.figures` with its arguments, `path` among them.
Draw = Callable[..., Any]
#: What keeps an error of preparing a figure under the name of its file, which it is given.
Attempt = Callable[[str], AbstractContextManager[Any]]


def at_once(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Draw a figure in this process."""
    function(*args, **kwargs)


def num_processes() -> int:
    """How many processes draw: up to 4, one a core; 0: this one does.

    So it is on one core, where nothing is gained, without a Python that could be started, and
    under --debug, which is to show where an error comes from.
    """
    cores = num_cores()
    if cores == 1 or not sys.executable or getattr(sys, "frozen", False) or DEBUGGING.is_on:
        return 0
    return min(cores, MAX_PROCESSES)


class Painters:
    """Draw figures meanwhile; a context, whose end ends the processes.

    Args:
        count: of processes, which start with the first figures; 0: `finish` draws them, in this
            process.
        beside: endings that each figure is written with too, as "pdf".

    A figure that fails costs no other: `failed` has the name of its file and what it raised, after
    `finish`. Under --debug it is raised.
    """

    def __init__(self, count: int, beside: Sequence[str] = ()):
        self._beside = beside
        self._pool = ThreadPoolExecutor(count) if count else None
        self._own = threading.local()  # each thread has a process
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._figures: list[Future[dict[str, Exception]]] = []
        self._waiting: list[tuple[str, Callable[[], Any]]] = []
        self.failed: dict[str, Exception] = {}
        self._is_over = False

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have a figure drawn.

        Args:
            function: of a module of `kvae.figures`.
            *args: its arguments, which stay as they are until `finish`.
            **kwargs: likewise; `path` names the figure where its process dies.
        """
        every = [kwargs, *(_with_ending(kwargs, ending) for ending in self._beside)]
        if self._pool is None:
            for one in every:
                self._waiting.append((_name(function, one), partial(function, *args, **one)))
        else:
            self._figures.append(self._pool.submit(self._all_asked, function, args, every))

    def finish(self) -> None:
        """Wait until all figures are drawn."""
        with progress("drawing", len(self._waiting) + len(self._figures), "figures") as advance:
            while self._waiting:
                name, draw = self._waiting.pop(0)
                with self.attempt(name):
                    draw()
                advance(1)
            figures, self._figures = self._figures, []
            for figure in as_completed(figures):
                advance(1)
                for name, error in figure.result().items():
                    with self.attempt(name):
                        raise error

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Do what a figure needs; what it raises is kept under the figure's name."""
        try:
            yield
        except Exception as error:
            if DEBUGGING.is_on:
                raise
            self.failed[name] = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        with self._lock:
            self._is_over = True
            for process in self._processes:
                process.kill()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for process in self._processes:
            process.communicate()

    def _all_asked(self, function, args, every):
        """Have all files of a figure drawn, one after another; the name of each that fails."""
        failed = {}
        for kwargs in every:
            try:
                self._asked(function, args, kwargs)
            except Exception as error:
                failed[_name(function, kwargs)] = error
        return failed

    def _asked(self, function, args, kwargs):
        process = self._process()
        try:
            pickle.dump((function, args, kwargs), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            error = pickle.load(process.stdout)
        except (OSError, EOFError) as broken:
            self._own.process = None
            name = _name(function, kwargs)
            raise KvaeError(
                f"{name}: the process that drew it ended {children.how_ended(process.wait())}; the "
                "numbers are written"
            ) from broken
        if error is not None:
            raise error

    def _process(self):
        """That of this thread."""
        if getattr(self._own, "process", None) is None:
            with self._lock:
                if self._is_over:
                    raise KvaeError("no figure is drawn any more")
                self._own.process = subprocess.Popen(
                    [sys.executable, "-m", "kvae.figures.processes"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=children.environment(),
                )  # fmt: skip
                self._processes.append(self._own.process)
        return self._own.process


def _name(function: Callable[..., Any], kwargs: dict[str, Any]) -> str:
    """Of the file that a figure is written to."""
    return Path(kwargs.get("path") or function.__name__).name


def _with_ending(kwargs: dict[str, Any], ending: str) -> dict[str, Any]:
    """The same figure as another file; what moves is no figure of print."""
    other = {"path": Path(kwargs["path"]).with_suffix(f".{ending}")}
    return kwargs | other | ({"gif_path": None} if "gif_path" in kwargs else {})


def _serve() -> None:
    """Draw what standard input asks for; to each figure an answer, None or its error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent has it too, and ends this process
    answers = children.only_answers()
    while True:
        try:
            function, args, kwargs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = None
            function(*args, **kwargs)
        except Exception as error:
            answer = _sendable(error)
        try:
            pickle.dump(answer, answers)
            answers.flush()
        except BrokenPipeError:  # the parent was killed
            return


def _sendable(error: Exception) -> Exception:
    """The error with its traceback in words; one that cannot be sent as a KvaeError."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return KvaeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    _serve()
