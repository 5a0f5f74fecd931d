"""Wrong and extreme values of every dataset and preset: refused by name before TensorFlow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from celeba_testing import official, write
from kvae_testing import metadata
from mnist_testing import write_idx
from PIL import Image

import kvae
from kvae.config import MODEL_PARTS, OPTIONS, PARTS, PRESETS, resolve
from kvae.data import DATASETS, key_of
from kvae.encode import encode as kvae_encode
from kvae.errors import UsageError
from kvae.options import MAX_COUNT, MAX_SEED, NAME, NAMES, flag, one_of
from kvae.registry import declared
from kvae.serving import versions

ROOT = Path(__file__).parents[2]
CHILD = """
import contextlib, io, json, sys
from importlib.util import spec_from_loader
from kvae import cli
from kvae.__main__ import main

class Barred:
    "What is refused later than it should be ends in an error whose status is 1."

    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras", "jax", "torch"):
            return spec_from_loader(name, self)

    def create_module(self, spec):
        raise RuntimeError(f"{spec.name} was imported")

    exec_module = create_module

sys.meta_path.insert(0, Barred())
for argv in json.load(sys.stdin):
    sys.argv, text = ["kvae", *argv], io.StringIO()
    with contextlib.redirect_stderr(text), contextlib.redirect_stdout(io.StringIO()):
        status = cli.run(main)
    print(json.dumps([status, text.getvalue()]), flush=True)
"""
#: What a preset is run on, of the paths that the fixture makes.
DATA = {
    "celeba": ["--data-dir", "{celeba}"], "folder": ["--data-dir", "{images}"],
    "arrays": ["--data-dir", "{table}"],
    "mnist": ["--data-dir", "{mnist}", "--likelihood", "gaussian"],
    "fashion-mnist": ["--data-dir", "{mnist}", "--likelihood", "gaussian"],
}  # fmt: skip
#: Refused whatever the dataset: option, value, and what the message says beside both.
ALWAYS = [
    ("--variance", "1e38", "from 1e-15 to 1e+15"),
    ("--variance", "sharde", "did you mean shared?"),
    ("--learning-rate", "1e30", "from 1e-12 to 10"),
    ("--epochs", "1000000000000", f"at most {MAX_COUNT}"),
    ("--epochs", "2000000000", "steps are counted up to"),
    ("--latent-dim", "1000000000", ""),
    ("--seed", str(MAX_SEED + 1), f"to {MAX_SEED}"),
    ("--beta", "1e39", "at least 0"),
]
#: Arguments of a dry run -> words of its error.
OWN = [
    ("--variance 1e39", "--variance"),
    ("--variance 1e-46", "--variance"),
    ("--variance=nan", "--variance"),
    ("--beta 1e-300", "--beta"),
    ("--beta=-1", "--beta"),
    ("--epochs=-1", "--epochs"),
    ("--epochs 1e3", "--epochs"),
    ("--epochs 0x10", "--epochs"),
    ("--epochs ٣", "--epochs"),
    ("--epochs 1_000", "--epochs"),
    ("--batch-size 0", "--batch-size"),
    ("--batch-size 9223372036854775808", "--batch-size"),
    ("--hidden-units 1000000000", "--hidden-units"),
    ("--hidden-units 1000000,1000000", "--hidden-units GB this&process"),
    ("--hidden-units " + ",".join(["64"] * 10_000), "--hidden-units 100&of&them"),
    ("--objective iwae --iwae-draws 1000000000", "--iwae-draws"),
    ("--objective iwae --iwae-draws 1000000 --batch-size 50000", "--iwae-draws GB"),
    ("--prior-components 1000000", "--prior-components 50000"),
    ("--prior mixture --posterior diagonal --latent-dim 1000000", "--latent-dim GB"),
    ("--prior flow --posterior diagonal --latent-dim 1000000", "--latent-dim GB"),
    ("--latent-dim 65", "--posterior --latent-dim preset&gmm"),
    ("--gmm-dim 33", "--gmm-dim"),
    ("--gmm-components 1000000000", "--gmm-components"),
    ("--gmm-separation 1e300", "--gmm-separation"),
    ("--gmm-warp 5.1", "--gmm-warp"),
    ("--gmm-seed -1", "--gmm-seed"),
    ("--gmm-weights step", "--gmm-weights did&you&mean&steep?"),
    ("--kl-cycle-epochs 1 --batch-size 50000", "--kl-cycle-epochs --batch-size"),
    ("--kl-cycle-epochs 100000000", "--kl-cycle-epochs steps"),
    ("--kl-warmup-epochs 2147483647", "--kl-warmup-epochs steps"),
    ("--ema-momentum 0.99999999", "--ema-momentum"),
    ("--free-bits 1", "--free-bits --posterior&full preset&gmm --prior&mixture the&default"),
    ("--tc-weight 1e30", "--tc-weight"),
    ("--likelihood bernoulli", "--standardize preset&gmm --no-standardize"),
    ("--flip", "--flip"),
    ("--name a\x1b[2J", r"--name a\x1b[2J"),
    ("--name a\u202eb", r"--name a\u202eb"),
    ("--save a\x1b[2J", r"--save a\x1b[2J"),
    ("--name " + "x" * 256, "--name 255&bytes"),
    ("--condition a\x7f", r"--condition a\x7f"),
    ("--condition componnt", "--condition did&you&mean&component?"),
    ("--network MLP", "--network did&you&mean&mlp?"),
    ("--prior mixtur", "--prior did&you&mean&mixture?"),
    ("--laten-dim 3", "--laten-dim did&you&mean&--latent-dim?"),
    ("--preset celba", "--preset did&you&mean&celeba?"),
    ("--dataset diigts", "--dataset did&you&mean&digits?"),
    ("--dataset faces --faces-count 1000000000", "--faces-count"),
    ("--dataset faces --image-size 1000000000", "--image-size"),
    ("--dataset faces --image-size 16", "32"),
    ("--dataset digits --network resnet --width 1000000000", "--width"),
    ("--dataset digits --network resnet --width 4096 --depth 100", "--width GB"),
    ("--dataset digits --likelihood discretized-logistic --logistic-components 51",
     "--logistic-components"),
    ("--dataset folder --data-dir {images} --crop centr", "--crop did&you&mean&center?"),
    ("--dataset folder --data-dir {images} --max-unreadable 1.5", "--max-unreadable"),
    ("--dataset folder --data-dir {images} --channels 2", "--channels"),
    ("--dataset folder --data-dir {images} --split-seed 1e9", "--split-seed"),
    ("--dataset celeba --data-dir {celeba} --condition Smilin", "did&you&mean&Smiling?"),
    ("--dataset arrays --data-dir {table} --latent-dim 0x3", "--latent-dim"),
    ("--dataset mnist", "--data-dir train-images-idx3-ubyte mnist.npz Kaggle"),
    ("--dataset fashion-mnist --data-dir {mnist}/nope", "--data-dir nope"),
    ("--dataset mnits --data-dir {mnist}", "--dataset did&you&mean&mnist?"),
    ("--dataset tfds:cifar10 --image-size 7", "--image-size"),
    ("--init-from {images}/nope", "--init-from nope"),
    ("--init-from {table}", "--init-from .keras .weights.h5 t.csv"),
    (
        "--gmm-dim 32 --latent-dim 65 --variance full",
        "--posterior full: 65 --posterior diagonal",
    ),
    ("--import {images}/nope.py", "--import nope.py"),
]  # fmt: skip
#: Of the other programs.
OTHERS = [
    ("evaluate --model {saved}/gm", "gm did&you&mean&gmm?"),
    ("evaluate --model {saved}/gmm --num-draws 0", "--num-draws 1000000"),
    ("evaluate --model {saved}/gmm --num-samples 1e9", "--num-samples"),
    ("evaluate --model {saved}/gmm --seed 4294967296", "--seed"),
    ("evaluate --model {saved}/gmm --features incepton", "--features did&you&mean&inception?"),
    ("evaluate --model {saved}/gmm --inception-weights {images}/nope", "--inception-weights"),
    ("evaluate --model {saved}/gmm --color-by componet", "--color-by did&you&mean&component?"),
    ("evaluate --model {saved}/gmm --color-by a\x9b", r"--color-by a\x9b"),
    ("evaluate --model {saved}/gmm --color-by=", "--color-by"),
    ("evaluate --model {saved}/gmm --labels-file {images}/nope", "--labels-file"),
    ("evaluate --modle {saved}/gmm", "--modle did&you&mean&--model?"),
    ("encode --input x --output y --batch-size 0", "--batch-size"),
    ("encode --input x --output y --signature scor", "--signature did&you&mean&score?"),
    ("encode --inptu x --output y", "--input"),
    ("data --data-dir {images} --image-size 1000000000", "--image-size"),
    ("data --data-dir {images} --channels 2", "--channels"),
    ("data --data-dir {images} --crop centr", "--crop did&you&mean&center?"),
    ("data --data-dir {images} --dataset foldr", "--dataset did&you&mean&folder?"),
    ("data --data-dir {images} --split-seed=-1", "--split-seed"),
    ("data --data-dir {images}/nope", "--data-dir nope"),
    ("data --data-dir {mnist} --dataset mnist --crop none", "--crop"),
    ("trian", "did&you&mean&train?"),
]


def _dry_runs():
    for preset in PRESETS:
        dataset = PRESETS[preset]["dataset"]
        data = DATA.get(dataset, [])
        chosen = ["--preset", preset]
        if dataset == "tfds:NAME":
            chosen += ["--dataset", "tfds:cifar10"]
        for option, value, words in ALWAYS:
            if value == "1000000000" and dataset == "tfds:NAME":
                continue  # which looks at the data, and reads those with TensorFlow
            if "counted" in words and dataset not in ("gmm", "faces"):
                continue  # of one step
            given = [*chosen, *data, option, value]
            yield ["train", "--dry-run", *given], [option, words]
    for line, words in OWN:
        yield ["train", "--dry-run", *line.split(" ")], words.replace("&", "\0").split()
    for line, words in OTHERS:
        yield line.split(" "), words.replace("&", "\0").split()


ROWS = [(argv, [word.replace("\0", " ") for word in words if word]) for argv, words in _dry_runs()]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Exit status and message of each row, of one child; and where it ran."""
    folder = tmp_path_factory.mktemp("refusals")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 256, (16, 16, 3)).astype("uint8")
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    np.savetxt(folder / "t.csv", rng.normal(size=(200, 3)), delimiter=",")
    version = folder / "saved" / "gmm" / "1"
    (version / versions.METADATA).parent.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    found = metadata(config={"dataset": "gmm"}, model={"element_shape": [3], "latent_dim": 2})
    (version / versions.METADATA).write_text(json.dumps(found))
    paths = {
        "images": folder / "images", "table": folder / "t.csv", "saved": folder / "saved",
        "celeba": write(folder / "celeba", official()), "mnist": write_idx(folder / "mnist"),
    }  # fmt: skip
    rows = []
    for argv, _ in ROWS:
        filled = argv
        for name, path in paths.items():
            filled = [word.replace(f"{{{name}}}", str(path)) for word in filled]
        rows.append(filled)
    (folder / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(rows), capture_output=True, text=True,
        cwd=folder / "work", check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return answers, folder


@pytest.mark.parametrize("number", range(len(ROWS)), ids=lambda n: " ".join(ROWS[n][0])[:70])
def test_what_is_wrong_is_refused_by_name_before_a_backend_is_imported(number, told):
    status, text = told[0][number]
    assert status == 2, text
    *notes, text = text.splitlines()
    assert all("mnist: these are not the official images" in note for note in notes)
    assert text.startswith("error: ")
    assert text.isprintable() and len(text) < 1000
    for word in ROWS[number][1]:
        assert word in text


def test_nothing_is_written_by_what_is_refused(told):
    _, folder = told
    assert not [*(folder / "work").rglob("*")]


def test_every_dataset_and_preset_is_among_the_rows():
    dry = [argv for argv, _ in ROWS if argv[0] == "train"]
    assert len(dry) >= 60
    named = {word for argv in dry for word in argv}
    assert {*PRESETS} <= named
    assert {PRESETS[name]["dataset"] for name in PRESETS} == {key_of(name) for name in DATASETS}


WRONG = ("nan", "inf", "-1", "1e300", "", "abc", "٣", "1_0", " ", "9" * 5000)


def _is_numeric(option):
    for value in ("1", "8", "0.5"):
        try:
            found = option.kind.read(value)
        except (ValueError, TypeError):
            continue
        return isinstance(found, int | float | tuple) and found != ("1",)
    return False


def _numeric():
    """Every option that takes numbers: its declaration, and a choice that has it."""
    for option in (option for group in OPTIONS.values() for option in group):
        if _is_numeric(option):
            yield option, {}
    for kinds in declared(PARTS).values():
        (kind, members), *_ = kinds.items()
        (member, option), *_ = members.items()
        if _is_numeric(option):
            yield option, {kind: member}


NUMERIC = [*_numeric()]


def test_options_of_every_kind_are_among_those_that_are_tried():
    names = {option.name for option, _ in NUMERIC}
    assert {"epochs", "variance", "hidden_units", "gmm_warp", "image_size", "seed"} <= names


@pytest.mark.parametrize(("option", "chosen"), NUMERIC, ids=lambda each: getattr(each, "name", ""))
def test_no_numeric_option_takes_what_is_no_number_of_its_range(option, chosen):
    values = [*WRONG, float("nan"), float("inf"), -1, 1e300, True, b"1", np.True_, {}, 2**80]
    for value in values if option.default is None else [*values, None]:
        with pytest.raises(UsageError) as error:
            resolve({**chosen, option.name: value})
        assert str(error.value).startswith(f"{flag(option.name)} takes "), value
        assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("option", "chosen"),
    [(option, chosen) for option, chosen in NUMERIC if {*chosen} & {*MODEL_PARTS}],
    ids=lambda each: getattr(each, "name", ""),
)
def test_python_refuses_the_same_values(option, chosen):
    shape = (8, 8, 1) if chosen.get("network", "mlp") != "mlp" else (3,)
    for value in (*WRONG, float("nan"), float("inf"), -1, 1e300, True, b"1", [], 2**80):
        with pytest.raises(UsageError, match=f"^{option.model_name} takes "):
            kvae.build_vae(shape, **chosen, **{option.model_name: value})


@pytest.mark.parametrize("value", [-1, 2.5, "x", True, 2**40])
@pytest.mark.parametrize("name", ["latent_dim", "condition_dim"])
def test_python_refuses_dimensions_that_are_none(name, value):
    with pytest.raises(UsageError, match=f"^{name} takes a whole number"):
        kvae.build_vae((3,), **{name: value})


@pytest.mark.parametrize("name", ["a\x00", "\x7f", "a\x85b", "\u202e", "\u200b", "\udce9", " a\n"])
def test_names_are_printable(name):
    for kind, given in ((NAME, name), (NAMES, (name + "x",)), (NAMES, f"b,x{name}x")):
        with pytest.raises(ValueError):
            kind.read(given)


def test_bulk_work_from_python_takes_no_batch_of_no_rows():
    for value in (0, -1, 2.5, "x", 10**9):
        with pytest.raises(UsageError, match=r"^batch_size takes a whole number"):
            kvae_encode("saved", "in", "out.parquet", batch_size=value)


def test_a_choice_from_python_is_suggested_as_well():
    with pytest.raises(UsageError, match=r"unknown prior 'mixtur': .*; did you mean mixture\?"):
        kvae.build_vae((3,), prior="mixtur")
    with pytest.raises(UsageError, match=r"unknown dataset 'digit': .*; did you mean digits\?"):
        kvae.data.load("digit")
    with pytest.raises(UsageError, match=r"unknown posterior \['full'\]"):
        kvae.build_vae((3,), posterior=["full"])
    assert one_of(["a", "b"], "zebra") == "choose one of a, b; received 'zebra'"
