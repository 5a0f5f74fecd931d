"""The parts of kvae, and who imports whom: arrows point down, and there is no circle."""

import ast
from pathlib import Path

import kvae

ROOT = Path(__file__).parents[1]
KVAE = ROOT / "kvae"

#: From the ground up; a folder is one part. A part imports those of lower lines alone, at the top
#: of a file or later: parts of one line know nothing of one another.
ORDER = (
    ("errors",),
    ("options", "files", "backend", "saying", "children"),
    ("registry", "lazy", "saved_classes", "own_files"),
    ("probability",),
    ("likelihoods", "priors", "networks", "data"),
    ("inputs", "shapes", "terms"),
    ("border",),
    ("objectives", "steps"),
    ("older_files", "scores", "keras_files"),
    ("model",),
    ("samplers", "metrics"),
    ("config", "memory", "features", "figures", "directions"),
    ("serving", "command"),
    ("run_file",),
    ("build", "evaluation", "client", "encode"),
    ("callbacks", "publish", "compare", "explore"),
    ("audit",),
    ("training",),
    ("workflow",),
    ("tune",),
    ("cli",),
    ("programs",),
)
LINE = {part: line for line, parts in enumerate(ORDER) for part in parts}
MAY_IMPORT = {
    "tensorflow": {
        "backend", "networks", "probability", "data", "steps", "features", "serving", "client",
        "encode", "publish", "training", "programs",
    },
    "jax": {"steps", "training"},
    "torch": {"steps", "training"},
}  # fmt: skip
#: Modules beside `program.py` and `__main__.py` that are run and not imported.
RUN = ("train.py", "evaluate.py", "kvae/encode/beam.py")


def _parts():
    """Path -> the part that it belongs to; the package's lazy names are of none."""
    paths = [ROOT / "train.py", ROOT / "evaluate.py", *sorted(KVAE.rglob("*.py"))]
    return {path: _part(path) for path in paths if path != KVAE / "__init__.py"}


def _part(path):
    if path.name in ("program.py", "__main__.py") or str(path.relative_to(ROOT)) in RUN:
        return "programs"
    return path.relative_to(KVAE).parts[0].removesuffix(".py")


def _imports(path):
    """The modules that a file names in its imports, wherever they stand and by whatever means."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("import_module", "quiet_import", "__import__"):
                yield node.args[0].value
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if node.module == "kvae" and alias.name in kvae._HOMES:
                    name = kvae._HOMES[alias.name]
                yield name if _file(name) else node.module


def _file(name):
    place = ROOT.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


def _arrows():
    """Pairs of a path and the path, of kvae, that it imports."""
    for path in _parts():
        for name in _imports(path):
            target = _file(name) if name.split(".")[0] == "kvae" else None
            if target not in (None, KVAE / "__init__.py"):
                yield path, target


def test_every_part_has_its_line_and_every_line_a_part():
    assert set(_parts().values()) == set(LINE)


def test_arrows_between_parts_point_down():
    parts = _parts()
    up = [
        f"{path.relative_to(ROOT)} ({parts[path]}) imports {parts[target]}"
        for path, target in _arrows()
        if parts[path] != parts[target] and LINE[parts[target]] >= LINE[parts[path]]
    ]
    assert not up, "\n".join(up)


def test_nobody_imports_a_program_but_programs():
    parts = _parts()
    wrong = [path for path, target in _arrows() if parts[target] == "programs" != parts[path]]
    assert not wrong


def test_within_data_the_folders_form_no_circle():
    inside = {}
    for path, target in _arrows():
        if _part(path) == _part(target) == "data":
            own, other = (_room(one) for one in (path, target))
            # What is in the registry of data sets is imported by its name.
            if own != other and own != "__init__.py":
                inside.setdefault(own, set()).add(other)
    while inside:
        ground = {room for room in inside if not inside[room] & set(inside)}
        assert ground, f"a circle among {sorted(inside)}"
        inside = {room: others for room, others in inside.items() if room not in ground}


def _room(path):
    """A folder of data, or a file in it."""
    return path.relative_to(KVAE / "data").parts[0]


def test_backends_are_imported_where_they_may_be():
    for path, part in _parts().items():
        for name in _imports(path):
            root = name.split(".")[0]
            assert part in MAY_IMPORT.get(root, {part}), f"{path} imports {root}"


def test_the_programs_at_the_top_stay_thin():
    for name in ("train.py", "evaluate.py"):
        assert len((ROOT / name).read_text().splitlines()) < 20
