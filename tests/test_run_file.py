import pytest

import kvae
from kvae import run_file
from kvae.config import PRESETS, resolve
from kvae.errors import UsageError
from kvae.training import program


def _given(tmp_path, text, *words):
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return program.arguments(["--config", str(path), *words])[0]


@pytest.mark.parametrize(
    ("preset", "given"),
    [
        *((preset, {}) for preset in PRESETS if preset != "arrays"),
        ("arrays", {"data_dir": "007.csv", "init_from": "null", "name": "yes"}),
        ("gmm", {"hidden_units": "7,5", "learning_rate": 3e-7, "variance": 0.25}),
        ("faces", {"condition": "no,1e-3", "name": "ü #b", "save": "a\u2028b \U0001f600"}),
    ],
)
def test_a_file_of_a_run_asks_for_that_run(tmp_path, preset, given):
    config = resolve(given, preset)
    assert _given(tmp_path, run_file.text_of(config)) == config


def test_an_option_younger_than_the_file_is_as_it_was_before(tmp_path, capsys):
    text = run_file.text_of(resolve({}, "celeba"))
    assert _given(tmp_path, text.replace("edge-weight: 1.0\n", "")).edge_weight == 1.0  # a user's
    older = text.replace(f"kvae: {kvae.__version__}", "kvae: 0.0.9")
    assert _given(tmp_path, older).edge_weight == 1.0
    older = older.replace("edge-weight: 1.0\n", "")
    assert _given(tmp_path, older).edge_weight == 0.0
    assert _given(tmp_path, older, "--edge-weight", "2").edge_weight == 2.0
    capsys.readouterr()
    # Of another part it is no matter, and nobody wrote it.
    config = _given(tmp_path, older, "--likelihood", "discretized-logistic")
    assert config.get("edge_weight", None) is None
    assert "edge-weight" not in capsys.readouterr().out
    with pytest.raises(
        UsageError, match="line 1: written-by-kvae takes one value; received a list"
    ):
        _given(tmp_path, "written-by-kvae: [1]")


def test_words_of_yaml_for_yes_and_no_are_understood(tmp_path):
    for word, way in (("true", "threshold"), ("On", "threshold"), ("no", "none"), ("off", "none")):
        config = _given(tmp_path, f"dataset: digits\nbinarize: {word}\nflip: {word}")
        assert (config.binarize, config.flip) == (way, way == "threshold")
    config = _given(tmp_path, "dataset: digits\nbinarize: static\nmixed-precision: off")
    assert (config.binarize, config.mixed_precision) == ("static", "off")
    with pytest.raises(UsageError, match=r"line 2: binarize: choose one of .*; received 'maybe'"):
        _given(tmp_path, "dataset: digits\nbinarize: maybe")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"condition": ",".join(f"{n:0200}" for n in range(100))}, "at most 16,384 bytes"),
        ({"condition": ",".join(f"[{n}" for n in range(300))}, "at most 200 of"),
    ],
)
def test_what_could_not_be_read_is_not_written(capsys, given, said):
    assert run_file.text_of(resolve(given, "faces")) is None
    assert said in capsys.readouterr().out


def test_no_file_stands_for_what_was_given_in_python():
    assert run_file.text_of(resolve({"dataset": "arrays"})) is None


def test_the_command_line_beats_the_file_and_the_file_the_preset(tmp_path):
    text = "preset: report-gmm\nbatch-size: 7\nlearning_rate: 1e-2\nstandardize: yes\n"
    config = _given(tmp_path, text, "--batch-size", "9")
    assert (config.batch_size, config.learning_rate, config.standardize) == (9, 0.01, True)
    assert config.hidden_units == PRESETS["report-gmm"]["hidden_units"]
    assert _given(tmp_path, text, "--preset", "gmm").posterior == PRESETS["gmm"]["posterior"]


def test_what_the_file_says_of_parts_that_the_command_line_replaces_is_left_out(tmp_path, capsys):
    text = run_file.text_of(resolve({"prior_components": 7}))
    config = _given(tmp_path, text, "--prior", "flow", "--dataset", "digits", "--latent-dim", "4")
    assert config.get("prior_components", None) is None
    (note,) = capsys.readouterr().out.splitlines()
    assert "gmm-dim" in note
    assert "prior-components" in note
    with pytest.raises(UsageError, match=r"line 1: width applies to --network resnet alone"):
        _given(tmp_path, "width: 32", "--prior", "flow")


def test_a_refusal_of_a_whole_run_names_the_file(tmp_path):
    with pytest.raises(UsageError, match=r"taken: --prior vamp \(of .*run\.yaml\)"):
        _given(tmp_path, "prior: vamp", "--condition", "component")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nlatent-dims: 4", r"line 2: 'latent-dims' is no option.*did you mean latent-dim"),
        ("latent-dim: 4\nlatent_dim: 5", "line 2: latent-dim stands there twice, first in line 1"),
        ("latent-dim: four", "line 1: latent-dim takes a whole number .* received 'four'"),
        ("latent-dim: [4]", "latent-dim takes one value; received a list"),
        ("save: {a: b}", "save takes one value; received a mapping"),
        ("hidden-units: [[4]]", "hidden-units takes a list .*; received a list"),
        ("latent-dim:", "latent-dim takes a whole number .* received nothing"),
        ("flip: 3", "flip takes true or false; received '3'"),
        ("seed: !!int 3", "without a tag"),
        ("preset:", r"line 1: preset: choose one of gmm, [^;]*; received ''$"),
        ("preset: gm", "line 1: preset: choose one of .*; did you mean gmm"),
        ("resume: true", "resume is for the command line alone"),
        ("- seed: 3", "such as 'latent-dim: 32' is wanted; received a list"),
        ("seed", "received a text"),
        ("# nothing", "received nothing"),
        ("seed: 1\nb: c: d", "line 2: this is no YAML"),
        ("[" * 3000, r"at most 200 of \[ and {; received more"),
        ("- " * 3000, "this is no YAML"),
        ("seed: 1\n" * 3000, "at most 16,384 bytes"),
        (b"name: \xff", "UTF-8 is wanted; byte 6"),
    ],
)
def test_what_is_no_file_of_options_is_refused(tmp_path, text, said):
    with pytest.raises(UsageError, match=said) as error:
        _given(tmp_path, text)
    assert "run.yaml" in str(error.value)
    with pytest.raises(UsageError, match="no such file: "):
        program.arguments(["--config", str(tmp_path / "gone.yaml")])
    with pytest.raises(UsageError, match="--config: no file, but a folder or a pipe: "):
        program.arguments(["--config", str(tmp_path)])
    with pytest.raises(UsageError, match="--config: cannot read aaa"):
        program.arguments(["--config", "a" * 300])
