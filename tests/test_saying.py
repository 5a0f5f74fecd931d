import io
import os
import subprocess
import sys

import pytest

from kvae import saying
from kvae.saying import progress, quiet, say, silence


def _told(capsys, *contexts):
    with contexts[0], contexts[1]:
        say("progress")
        say("result", is_result=True)
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("outer", "inner", "told"),
    [
        (False, False, ["progress", "result"]),
        (quiet, False, ["result"]),
        (quiet, quiet, ["result"]),
        (silence, quiet, []),
        (quiet, silence, []),
    ],
)
def test_what_is_said_is_the_least_that_anyone_wants(capsys, outer, inner, told):
    assert _told(capsys, (outer or quiet)(bool(outer)), (inner or silence)(bool(inner))) == told
    say("all")
    assert capsys.readouterr().out == "all\n"


def test_a_pipe_has_one_line_of_what_took_long_and_none_of_the_rest(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(saying.time, "monotonic", lambda: now[0])
    for seconds in (1, 34):
        with progress("decoding", 20_000, "images") as advance:
            advance(19_999)
            now[0] += seconds
    assert capsys.readouterr() == ("decoding   19,999 images in 34 s\n", "")
    with quiet(), progress("decoding", 1, "images") as advance:
        now[0] += 34
    with pytest.raises(ValueError, match="broken"), progress("decoding", 1, "images"):
        now[0] += 34
        raise ValueError("broken")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "lines"), [(15.0, 0), (0.0, 3)])
def test_in_a_log_progress_is_lines_and_short_work_says_nothing(seconds, lines, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    monkeypatch.setattr(saying, "_SECONDS", seconds)
    with progress("looking", 10, "images", done=4) as advance:
        for _ in range(2):
            advance(3)
    said = log.getvalue()
    assert "\r" not in said
    assert len(said.splitlines()) >= lines
    assert bool(said) == bool(lines)
    if lines:
        assert said.splitlines()[-1].startswith("looking    100%")


def test_no_monitor_prints_between_the_lines_of_a_log(monkeypatch):
    """tqdm's own refreshes any bar that waits for several steps."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(saying, "_SECONDS", 0.0)
    with progress("looking", 1000, "images") as advance:
        for _ in range(2):
            advance(300)
            assert saying._bar.miniters <= 1


_PROGRAM = """
from kvae.saying import progress, say
with progress("decoding", 4, "images") as advance:
    for step in range(4):
        advance(1)
        if step == 1:
            say("a line")
say("the end")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_a_terminal_keeps_the_lines_and_no_bar(tmp_path):
    import pty

    own, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=other, stdout=other, stderr=other,
        env={**os.environ, "NO_COLOR": "1", "TERM": "xterm"},
    )  # fmt: skip
    os.close(other)
    shown = b""
    while True:
        try:
            part = os.read(own, 4096)
        except OSError:  # what Linux says of a terminal whose other end is closed
            break
        if not part:
            break
        shown += part
    os.close(own)
    assert process.wait() == 0
    text = shown.decode()
    assert "decoding" in text and "0/4 images" in text
    assert "\x1b[" not in text.replace("\x1b[A", "")  # no colours
    assert _left(text) == ["a line", "the end"]


def _left(text):
    """What stands on a screen at the end, line by line."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        cells = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return [line for line in lines if line]


def test_a_total_that_was_too_small_ends_no_work(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress("counting", 4, "rows") as advance:
        for _ in range(3):
            advance(2)
            saying.clear()
    assert "counting" in terminal.getvalue()


def test_a_log_that_nobody_reads_any_more_ends_no_work(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    monkeypatch.setattr(saying, "_SECONDS", 0.0)
    with progress("counting", 4, "rows") as advance:
        advance(2)
        advance(2)
