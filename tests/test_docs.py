"""Every command and snippet of the README and of docs.

Quick: every command is read by the program that it names, so that an unknown command, option or
value fails; every Python block compiles, and the names of kvae in it are there. Slow: Python blocks
run, page by page, and the files of docs/users/own_parts.md train.

The rules, which are all that is left out:

- `pip`, `python3 -m venv`, `docker`, `kubectl`, `curl`, `tensorboard` and other programs of others
  are not run. Their files (`docker compose -f FILE`) are looked for.
- A block that is no command and no Python is `text`, `json` or `bibtex`.
"""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest

from kvae.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = {
    "pip", "python3", "docker", "kubectl", "curl", "tensorboard", "tensorflow_model_server",
    "KERAS_BACKEND=jax", ".",
}  # fmt: skip
LANGUAGES = {"sh", "python", "text", "json", "bibtex"}
#: What a page expects to be there: rows that its first lines stand for.
SHAPES = {"python.md": (8, 8, 1)}


def _blocks(*languages):
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if match[1] in languages:
                line = page.read_text(encoding="utf-8")[: match.start()].count("\n") + 1
                yield f"{page.relative_to(ROOT)}:{line}", match[2]


def _commands():
    for place, block in _blocks("sh"):
        for line in _whole_lines(block):
            words = shlex.split(line, comments=True)
            while words and re.match(r"(TF_CONFIG|CUDA_VISIBLE_DEVICES)=", words[0]):
                words = words[1:]
            if words:
                yield place, words


def _whole_lines(block):
    """Lines as a shell takes them: joined at a backslash, and where a quotation is open."""
    begun = ""
    for line in block.replace("\\\n", " ").splitlines():
        begun = f"{begun}\n{line}" if begun else line
        try:
            shlex.split(begun, comments=True)
        except ValueError:
            continue
        yield begun
        begun = ""
    assert not begun, f"a quotation is open: {begun}"


def _names(program):
    """A command of kvae, in whatever way it is typed, and its arguments; None: of others."""
    first, *rest = program
    first = first.removeprefix(".venv/bin/")
    if first == "kvae":
        return rest
    if first == "python":
        if rest[:1] in (["train.py"], ["evaluate.py"]):
            return [rest[0].removesuffix(".py"), *rest[1:]]
        if rest[:1] == ["-m"] and rest[1].startswith("kvae.") and rest[1] != "kvae.encode.beam":
            return [rest[1].removeprefix("kvae."), *rest[2:]]
    return None


def _read(words, tmp_path, monkeypatch):
    """Have the program read its arguments, with files that they name in place."""
    command, *rest = words
    if command == "--version":
        return
    module = importlib.import_module(COMMANDS[command][0])
    kept, skip = [], False
    for word in rest:
        if skip or word == "--import":  # what the file adds is tried by the slow test
            skip = word == "--import"
            continue
        kept.append(word)
    if "--import" in rest:
        # Of options that the file adds the test below knows.
        kept = _without_own(kept)
    if "--config" in kept:
        run_file = tmp_path / "run.yaml"
        run_file.write_text("dataset: gmm\n", encoding="utf-8")
        kept[kept.index("--config") + 1] = str(run_file)
    module.arguments(kept)


_OWN = {"laplace", "laplace-noise", "waves", "capacity", "rings", "student"}
_PARTS = {"--prior", "--likelihood", "--network", "--objective", "--dataset"}
_OWN_OPTIONS = {"--laplace-scale", "--wave-units", "--capacity"}


def _without_own(words):
    found, at = [], 0
    while at < len(words):
        of_file = words[at] in _OWN_OPTIONS
        value = words[at + 1] if at + 1 < len(words) else ""
        if of_file or (words[at] in _PARTS and value in _OWN):
            at += 2
        else:
            found.append(words[at])
            at += 1
    return found


def test_blocks_say_their_language():
    pages = [page for page in PAGES if page.name not in ("design.md", "CONTRIBUTING.md")]
    for page in pages:
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            assert match[1] in LANGUAGES, (page, match[0][:60])


def test_commands_are_those_of_the_programs(tmp_path, monkeypatch):
    count, wrong = 0, []
    for place, words in _commands():
        ours = _names(words)
        if ours is None:
            name = words[0].removeprefix(".venv/bin/")
            if name not in OTHERS | {"python"}:
                wrong.append(f"{place}: {' '.join(words)}: of no known program")
            wrong += [f"{place}: no file {file}" for file in _files(words)]
            continue
        count += 1
        try:
            _read(ours, tmp_path, monkeypatch)
        except Exception as error:
            wrong.append(f"{place}: {' '.join(words)}: {error}")
    assert not wrong, "\n".join(wrong)
    assert count > 60


def _files(words):
    named = [word for word in words if re.match(r"(serving|benchmarks|docs)/[\w./-]+$", word)]
    return [file for file in named if not (ROOT / file).exists()]


def test_a_wrong_option_is_noticed(tmp_path, monkeypatch):
    with pytest.raises(Exception, match="latent-dims"):
        _read(["train", "--dataset", "gmm", "--latent-dims", "3"], tmp_path, monkeypatch)


def test_python_compiles_and_names_what_there_is():
    import kvae

    count = 0
    for place, block in _blocks("python"):
        tree = ast.parse(block, place)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "kvae":
                module = importlib.import_module(node.module)
                for name in node.names:
                    count += 1
                    assert hasattr(module, name.name), f"{place}: {node.module}.{name.name}"
            if isinstance(node, ast.Attribute) and (path := _dotted(node)).startswith("kvae."):
                found = kvae
                for name in path.split(".")[1:]:
                    assert hasattr(found, name), f"{place}: {path}"
                    found = getattr(found, name)
                count += 1
    assert count > 40


def _dotted(node):
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_links_lead_somewhere():
    wrong = []
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path = link.partition("#")[0]
            if path and "://" not in path and not (page.parent / path).exists():
                wrong.append(f"{page.relative_to(ROOT)}: {link}")
    assert not wrong, wrong


OWN_FILES = dict(
    re.findall(
        r"^```python\n# (my_\w+\.py)\n(.*?)^```",
        (ROOT / "docs/users/own_parts.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OWN_FILES))
def test_own_parts_train(name, tmp_path):
    """Each file of the page, by its own command, with fewer epochs and rows."""
    import os
    import subprocess
    import sys

    for file, text in OWN_FILES.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    page = (ROOT / "docs/users/own_parts.md").read_text(encoding="utf-8")
    command = re.search(rf"^kvae (train --import {name} .*)$", page, re.MULTILINE)[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in (
        [*command.split(), "--epochs", "1"],
        ["evaluate", "--import", name, "--model", "saved", "--num-draws", "5"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "kvae", *words], cwd=tmp_path, env=environment,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("saved/*/evaluation/1/metrics.json"))


@pytest.mark.slow
def test_readme_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for place, block in _blocks("python") if place.startswith("README")]
    exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "saved/mine/1").is_dir()
