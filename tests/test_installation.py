"""What the repository tells people to install."""

import configparser
import importlib.metadata
import re
from pathlib import Path

import pytest
import yaml

import kvae

ROOT = Path(__file__).parents[1]
PATTERNS = (
    "*.py", "*.cfg", "*.toml", "*.md", "docs/**/*.md", "kvae/**/*.py", "serving/*",
    "benchmarks/*.py",
)  # fmt: skip
#: An install to the end of the quoted command, or of the line; lists of arguments too.
INSTALL = re.compile(r"""(`)?[^`\n]*\bpip3?\b["',\s]+install\b((?(1)[^`]*|[^\n]*))""")
WORD = re.compile(r"""[^\s"'`(),]+""")


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_an_editable_install_is_a_path(setup):
    """Beside the clone, a folder kvae without __init__.py, Python would take that for the package.

    setuptools' finder comes behind it; a path, which has the package itself, before.
    """
    assert setup["editable_wheel"]["mode"] == "compat"


def _faults(text, setup):
    """Words of install lines that ask an index for this package, and extras that there are not."""
    ours = {"kvae", setup["metadata"]["name"]}
    found = []
    for _, rest in INSTALL.findall(text):
        for word in WORD.findall(rest):
            name = re.match(r"[\w.-]*", word)[0].lower().replace("_", "-")
            if name in ours:
                found.append(word)
    for extras in re.findall(r"""["'`\s]\.\[([\w,-]+)\]""", text):
        known = setup["options.extras_require"]
        found += [extra for extra in extras.split(",") if extra not in known]
    return found


def test_no_line_installs_a_strangers_package(setup):
    files = [path for pattern in PATTERNS for path in ROOT.glob(pattern) if path.is_file()]
    texts = {path.relative_to(ROOT): path.read_text() for path in files}
    assert {path: found for path, text in texts.items() if (found := _faults(text, setup))} == {}
    installs = [rest for text in texts.values() for _, rest in INSTALL.findall(text)]
    assert sum(".[beam]" in rest for rest in installs) >= 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('(`pip install "kvae[jax]"`) and more', ["kvae[jax]"]),
        ('a pipeline (`pip\ninstall "kvae[beam]"`, in', ["kvae[beam]"]),
        ("python3 -m pip install --upgrade numpy kvae==1.0", ["kvae==1.0"]),
        ('args: ["-m", "pip", "install", "--quiet", "Keras_VAE_kit"]', ["Keras_VAE_kit"]),
        ('    .venv/bin/pip install -e ".[jax,bean]"', ["bean"]),
        ('    .venv/bin/pip install -e .   # -e ".[tests]"', ["tests"]),
        ('`pip install -e ".[jax]"` and then kvae and `kvae[beam]`', []),
        ("pip install torch pythae==0.1.2 -e /a/folder/kvae", []),
    ],
)
def test_such_lines_are_found(setup, text, found):
    assert _faults(text, setup) == found


def test_the_version_is_that_of_the_distribution(setup):
    assert setup["metadata"]["name"] == kvae._DISTRIBUTION
    try:
        version = importlib.metadata.version(setup["metadata"]["name"])
    except importlib.metadata.PackageNotFoundError:
        version = "0.0.0"
    assert kvae.__version__ == version


def test_what_is_cited_is_this_version(setup):
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version, title = setup["metadata"]["version"], cited["title"]
    entry = (ROOT / "README.md").read_text().partition("@software{")[2].partition("```")[0]
    assert cited["version"] == version
    assert cited["license"] == setup["metadata"]["license"]
    assert [author["name"] for author in cited["authors"]] == [setup["metadata"]["author"]]
    for said in (version, title, setup["metadata"]["author"], setup["metadata"]["license"]):
        assert f"{{{said}}}" in entry
