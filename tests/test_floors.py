import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KVAE = ROOT / "kvae"

# The highest floor that a module stands on; imports point down, or sideways within floors 0, 2, 3.
FLOORS = {
    "errors": 0, "options": 0, "registry": 0, "distributions": 0, "schedules": 0, "noise": 0,
    "posteriors": 0, "streams": 0, "backend": 0,
    "likelihoods": 1, "priors": 1, "networks": 1, "data": 1,
    "inputs": 2, "shapes": 2, "objectives": 2, "steps": 2, "older_files": 2,
    "model": 2, "config": 2, "samplers": 2,
    "build": 3, "export": 3, "publish": 3, "runs": 3, "served": 3, "precision": 3,
    "training": 3, "kept_weights": 3, "sampler_fitting": 3, "preflight": 3, "evaluation": 3,
    "measurements": 3,
    "image_measurements": 3, "image_illustrations": 3, "factor_measurements": 3, "metric_table": 3,
    "illustrations": 3,
    "inspection": 3, "metrics": 3, "figures": 3, "cli": 3, "doctor": 3, "callbacks": 3,
    "features": 3, "directions": 3, "signatures": 3, "image_bytes": 3, "client": 3, "encode": 3,
    "train": 4, "evaluate": 4,
}  # fmt: skip
SIBLINGS = 1
MAY_IMPORT_TENSORFLOW = {
    "data", "steps", "export", "publish", "served", "precision", "training",
    "metrics", "features", "signatures", "image_bytes", "client", "encode",
}  # fmt: skip
MAY_IMPORT = {
    "tensorflow": MAY_IMPORT_TENSORFLOW,
    "jax": {"steps", "precision"},
    "torch": {"steps", "precision"},
}
LAZY = {"__init__"}


def _modules():
    yield from ((path.stem, path) for path in (ROOT / "train.py", ROOT / "evaluate.py"))
    for path in sorted(KVAE.rglob("*.py")):
        part = path.relative_to(KVAE).parts[0].removesuffix(".py")
        if path.name == "__main__.py":
            part = "train"  # a program
        if part not in LAZY:
            yield part, path


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "kvae":
                yield from (f"kvae.{alias.name}" for alias in node.names)
            else:
                yield node.module


def _faults(part, path):
    """What a module may not import, in words."""
    for name in _imports(path):
        root, *rest = name.split(".")
        if root in MAY_IMPORT and part not in MAY_IMPORT[root]:
            yield f"{path} imports {root}"
        if root != "kvae" or not rest or rest[0] not in FLOORS:
            continue
        other = rest[0]
        if FLOORS[other] > FLOORS[part]:
            yield f"{path}: {part} imports {other}, a floor above"
        if FLOORS[part] == FLOORS[other] == SIBLINGS and other != part:
            yield f"{path}: siblings import one another"


def test_imports_point_down():
    modules = list(_modules())
    assert {part for part, _ in modules} == set(FLOORS), "each part has a floor, and is there"
    assert [fault for part, path in modules for fault in _faults(part, path)] == []


@pytest.mark.parametrize("name", ["train.py", "evaluate.py"])
def test_the_programs_stay_thin(name):
    text = (ROOT / name).read_text()
    assert len(text.splitlines()) < 80
    assert "if dataset ==" not in text
