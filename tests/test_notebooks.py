"""The notebooks of examples/: their code, and (slow) that it runs."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def _code(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_are_two_which_were_executed_and_are_small():
    assert [path.stem for path in NOTEBOOKS] == ["images", "table"]
    for path in NOTEBOOKS:
        assert path.stat().st_size < 300_000
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
        assert counts == list(range(1, len(counts) + 1))
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        assert outputs
        assert not [one for one in outputs if one["output_type"] == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_names_what_is_public(path):
    import kvae

    found = 0
    for cell in _code(path):
        for node in ast.walk(ast.parse(cell)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "kvae"
            ):
                assert node.attr in kvae.__all__
                found += 1
    assert found


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, cell in enumerate(_code(path), 1):
        exec(compile(cell, f"{path.name}, cell {number}", "exec"), names)
