import json
import shutil

import pytest
from kvae_testing import few_signatures, make_vae

from kvae import publish
from kvae.errors import DataError, UsageError
from kvae.evaluation import evaluate
from kvae.publish import commands, program
from kvae.serving import versions


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with few_signatures("serving_default", "encode", "decode"):
        yield


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    save = tmp_path_factory.mktemp("saved")
    card = {"name": "drawn", "crop": "none"}
    publish.publish(
        make_vae((8, 8, 1), network="mlp"), save, "a", config={"seed": 3}, card=card, history={}
    )
    return save


@pytest.fixture
def save(repository, tmp_path):
    return shutil.copytree(repository, tmp_path / "saved")


def _run(*arguments):
    command, given = program.arguments([str(argument) for argument in arguments])
    commands.COMMANDS[command](**given)


def test_a_keras_file_of_a_version_is_published_with_its_card(save):
    _run("from-keras", save / "a" / "1" / versions.KERAS_MODEL, "--name", "b", "--save", save)
    then, now = (versions.read_metadata(versions.find_version(save / name)) for name in "ab")
    for key in ("config", "data_card", "history", "model", "signatures"):
        assert now[key] == then[key]


def test_a_keras_file_of_the_users_own_takes_the_card_that_is_named(save, tmp_path):
    make_vae((8, 8, 1), network="mlp").save(tmp_path / "my.keras")
    _run("from-keras", tmp_path / "my.keras", "--name", "b", "--save", save, "--like", save / "a")
    assert versions.read_metadata(versions.find_version(save / "b"))["data_card"]["crop"] == "none"
    make_vae((8, 8, 3), network="mlp").save(tmp_path / "my.keras")
    arguments = ("from-keras", tmp_path / "my.keras", "--name", "c", "--save", save)
    with pytest.raises(UsageError, match=r"\[8, 8, 3\]"):
        _run(*arguments, "--like", save / "a")
    _run(*arguments, "--crop", "center", "--binarize")
    assert versions.read_metadata(versions.find_version(save / "c"))["data_card"] == {
        "crop": "center",
        "binarize": True,
    }
    with pytest.raises(UsageError, match="does not say what it was trained on"):
        evaluate.prepare(str(save / "c"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["from-keras", "{save}/none.keras", "--name", "b"], "no such file"),
        (["from-keras", "{keras}", "--name", "../b"], "folder name"),
        (["from-keras", "{keras}", "--name", "b", "--crop", "round"], "--crop takes"),
        (["from-keras", "{keras}", "--name", "b", "--crop", "none"], "cannot be chosen"),
        (["from-keras", "{keras}", "--name", "b", "--binarize"], "--binarize is that of"),
        (["from-keras", "{keras}"], "--name"),
        (["list", "{save}/none"], "no such folder"),
        (["list", "{save}/a/1/variables"], "no published model"),
        (["verify", "{save}/none"], "no such folder"),
        (["prune", "{save}/a"], "--keep"),
        (["prune", "{save}/a", "--keep", "0"], "1 to"),
        (["rollback", "{save}/a", "--to", "7"], "no version 7 in .*, which has 1"),
        (["rollback", "{save}/a", "--to", "1"], "newest version of a already"),
        (["config", "{save}/none"], "no such folder"),
        (["config", "{save}", "--root", "models"], "absolute"),
        (["publish"], "choose one of from-keras, from-checkpoint, list"),
        ([], "COMMAND"),
    ],
)
def test_bad_arguments_are_one_clear_line(repository, arguments, message):
    places = {"save": repository, "keras": repository / "a" / "1" / versions.KERAS_MODEL}
    with pytest.raises(UsageError, match=message):
        _run(*(text.format(**places) for text in arguments))
    assert [version.number for version in versions.versions(repository / "a")] == [1]


def test_versions_are_listed_verified_rolled_back_and_pruned(save, capsys):
    shutil.copytree(save / "a" / "1", save / "a" / "2")
    _run("rollback", save / "a", "--to", "1")
    _run("list", save)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        "model", "version", "published", "dataset", "latents", "sampler", "MB",
    ]  # fmt: skip
    assert lines[-1].split()[:5] == ["a", "3", "(is", "1", "again)"]
    _run("verify", save / "a" / "3")
    assert "as published" in capsys.readouterr().out
    (save / "a" / "3" / versions.PROBE).unlink()
    with pytest.raises(DataError, match=r"probe\.npz is missing"):
        _run("verify", save / "a")
    _run("prune", save / "a", "--keep", "1")
    assert [version.number for version in versions.versions(save / "a")] == [3]
    _run("prune", save / "a", "--keep", "1")
    assert "nothing to remove: 1 version," in capsys.readouterr().out
    (save / "a" / "3" / versions.METADATA).write_text("{")
    _run("list", save)
    assert "damaged: " in capsys.readouterr().out
    (save / "a" / "3" / versions.METADATA).unlink()
    with pytest.raises(DataError, match=r"no whole version: .*kvae\.json is missing"):
        _run("verify", save / "a" / "3")


def test_a_model_may_be_the_folder_one_is_in_or_a_link(save, monkeypatch, capsys):
    shutil.copytree(save / "a" / "1", save / "a" / "2")
    monkeypatch.chdir(save / "a")
    _run("rollback", ".", "--to", "1")
    assert '"/models/a"' in (save / "models.config").read_text()
    (save / "models.config").write_text(
        'model_config_list { config { name: "a" base_path: "/models/a" '
        "model_version_policy { specific { versions: 1 } } } }"
    )
    _run("rollback", ".", "--to", "2")
    assert "keep to 1: name 4 there" in capsys.readouterr().err
    # As to a larger disk.
    (save / "a").rename(save.parent / "elsewhere")
    (save / "a").symlink_to(save.parent / "elsewhere")
    _run("prune", save / "a", "--keep", "1")
    assert [version.number for version in versions.versions(save / "a")] == [1, 4]
    assert "removed" in capsys.readouterr().out


def test_the_server_is_told_where_the_models_are(save, capsys):
    _run("config", save, "--root", "/srv/models")
    assert '"/srv/models/a"' in capsys.readouterr().out
    assert '"/srv/models/a"' in (save / "models.config").read_text()


def test_a_published_model_whose_models_config_is_damaged_is_there(save, capsys):
    (save / "models.config").write_text("[")
    _run("from-keras", save / "a" / "1" / versions.KERAS_MODEL, "--name", "a", "--save", save)
    captured = capsys.readouterr()
    assert "is published, but" in captured.err
    assert [version.number for version in versions.versions(save / "a")] == [1, 2]
    assert (
        json.loads((save / "a" / "2" / versions.METADATA).read_text())["format"] == publish.FORMAT
    )


def test_a_list_goes_on_past_what_is_damaged(save, capsys):
    for number in (2, 3, 4):
        shutil.copytree(save / "a" / "1", save / "a" / str(number))
    (save / "a" / "2" / versions.METADATA).write_text('{"published": ""}')
    (save / "a" / "3" / "saved_model.pb").unlink()
    (save / "b").mkdir()
    (save / "b" / "1").symlink_to(save / "a" / "4", target_is_directory=True)
    _run("list", save)
    _, first, second, third, fourth, linked = capsys.readouterr().out.splitlines()
    assert second.split(maxsplit=2)[2].startswith("damaged: it lacks ")
    assert third.split(maxsplit=2)[2] == "damaged: saved_model.pb is missing"
    assert linked.startswith(f"b      1 (link to {save / 'a' / '4'}"[:40])
    assert first.split()[2] == fourth.split()[2] != "damaged:"
