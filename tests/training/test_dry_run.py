"""`train.py --dry-run` of every preset, of every dataset and of every network."""

import re
import runpy
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import celeba_testing
import keras
import mnist_testing
import numpy as np
import pytest
from kvae_testing import small_mixtures

from kvae.config import PRESETS
from kvae.data import TFDS
from kvae.networks import NETWORKS, conv_large
from kvae.training import dry_run, start

LAYER = re.compile(r"  (\S+) +(\w+) +(\([\d, ]+\)) +([\d,]+)")
SMALL = ["--batch-size", "2", "--no-jit-compile"]
#: Presets that differ from another in their data alone: its steps are theirs.
STEPS_OF_ANOTHER = ("arrays", "fashion-mnist", "folder", TFDS)


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(Path(__file__).parents[2] / "train.py"))["main"]


@pytest.fixture(scope="module")
def data_options(tmp_path_factory):
    """Dataset -> what the command line says of a tiny copy of it."""
    folder = tmp_path_factory.mktemp("data")
    celeba = celeba_testing.write(folder / "celeba", celeba_testing.official())
    celeba_testing.write_prepared(folder / "prepared")
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(200, 3)))
    digits = {
        name: ["--data-dir", str(folder / f"{name}.npz")] for name in ("mnist", "fashion-mnist")
    }
    for _, file in digits.values():
        mnist_testing.write_npz(file)
    size = ["--image-size", "32", "--cache-dir", str(folder)]
    return {
        "gmm": [],
        "digits": [],
        "faces": [*size, "--faces-count", "20"],
        "celeba": [*size, "--data-dir", str(celeba)],
        "folder": [*size, "--data-dir", str(celeba)],
        TFDS: [*size, "--data-dir", str(folder / "prepared"), "--dataset", "tfds:celeb_a"],
        "arrays": ["--data-dir", str(folder / "rows.npy")],
        **digits,
    }


@contextmanager
def _untimed():
    """Describe a model without making its steps, which take most of the time."""

    def seconds(config, dataset, vae, group):
        start.compile_for(config, vae, 1)
        return 1.0

    with mock.patch.object(dry_run, "_epoch_seconds", seconds):
        yield


def _check(text):
    """Hold what was printed of the layers against itself."""
    described = re.search(r"^encoder: .*?(?=^parameters: )", text, re.DOTALL | re.MULTILINE)[0]
    encoder, decoder = re.split("^decoder: ", described, flags=re.MULTILINE)
    for network in (encoder, decoder):
        total, *lines = network.removeprefix("encoder: ").strip().splitlines()
        assert max(map(len, lines)) <= 80
        sources = [line for line in lines if line.startswith("    of ")]
        layers = [LAYER.fullmatch(line).groups() for line in lines if line not in sources]
        counts = [int(count.replace(",", "")) for *_, count in layers]
        assert total == f"{sum(counts):,} parameters"
        named = re.findall(r"\w+", " ".join(line.removeprefix("    of ") for line in sources))
        assert {*named} <= {name for name, *_ in layers}
    assert re.search(r"an epoch of \d+ steps takes about", text)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_tried_dry(preset, main, data_options, tmp_path, capsys):
    options = data_options.get(PRESETS[preset]["dataset"], [])
    if PRESETS[preset].get("prior") == "flow":
        options = [*options, "--flow-layers", "2"]
    with small_mixtures(), _untimed() if preset in STEPS_OF_ANOTHER else nullcontext():
        main(["--preset", preset, *options, *SMALL, "--save", str(tmp_path), "--dry-run"])
    _check(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_can_be_tried_dry(network, main, capsys):
    # Of 26 million weights else; the steps of networks have laws of their own.
    with mock.patch.object(conv_large, "_FILTERS", (4, 8, 8, 16)), _untimed():
        main(["--dataset", "digits", "--network", network, *SMALL, "--dry-run"])
    text = capsys.readouterr().out
    _check(text)
    if network == "mlp":
        assert "\n    of posterior_mean, posterior_mean_linear\n" in text


def test_a_network_with_an_operation_can_be_shown(capsys):
    x = keras.Input((3,))
    h = keras.layers.Dense(3)(x) + x
    dry_run._print_layers(keras.Model(x, keras.layers.Dense(2)(h), name="encoder"))
    text = capsys.readouterr().out
    assert text.startswith("encoder: 20 parameters\n")
    assert f"\n    of {h.name}\n" in text
