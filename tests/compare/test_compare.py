import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from kvae_testing import metadata

from kvae.__main__ import main
from kvae.compare import compare, tables
from kvae.errors import DataError, UsageError
from kvae.evaluation.rows import read_rows, write_rows
from kvae.serving import versions

BOUND = "log_likelihood_nats_prior"
COUNT = 50
UNKNOWN = "the rows cannot be known to be the same"
PROTOCOL = {
    "split": "test", "test_checksum": "ab", "nats": "of a density",
    "data_card": {"name": "gmm", "seed": 0, "source": "here"},
    "rows": {"test": COUNT, "log_likelihood": COUNT},
    "log_likelihood": "bound of 500 draws", "elbo_distortion_rate": "4 draws",
}  # fmt: skip


@pytest.fixture
def evaluated(tmp_path, rng):
    """Write an evaluation whose rows are given; its folder."""
    hard = rng.normal(size=COUNT)  # rows are easy or hard, whatever the model

    def write(name, shift=0.0, *, noise=0.1, has_rows=True, num_draws=500, **protocol):
        folder = tmp_path / name
        folder.mkdir()
        bound = -5 + 3 * hard + shift + noise * rng.normal(size=COUNT)
        each = {BOUND: bound, "elbo_nats_prior": bound - 1, "rows": np.arange(COUNT)}
        metrics = {
            BOUND: float(bound.mean()), f"{BOUND}_stderr": float(bound.std() / COUNT**0.5),
            "elbo_nats_prior": float(bound.mean() - 1), "num_draws": num_draws,
            "active_units_posterior": 2, "latent_dim": 3, "findings": [], "origin": {"seed": 0},
            "auc_latent": 0.9,
            "protocol": {**PROTOCOL, "model": f"{name}/1", **protocol},
        }  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(metrics))
        if has_rows:
            write_rows(folder / "rows.npz", each)
        return str(folder), bound

    return write


def _cells(found, key):
    return next(row.cells for rows in found.groups.values() for row in rows if row.key == key)


def test_differences_are_of_the_same_rows_and_sharper_than_means(evaluated):
    (a, first), (b, second) = evaluated("a"), evaluated("b", 0.2)
    found = compare([a, b])
    pair = next(pair for pair in found.pairs if pair.key == BOUND)
    assert pair.mean == pytest.approx((second - first).mean())
    assert pair.stderr == pytest.approx((second - first).std(ddof=1) / np.sqrt(COUNT))
    assert pair.verdict == "b/1 is higher"
    assert pair.rows == COUNT
    mean = _cells(found, BOUND)[0].value
    assert pair.stderr < (mean.high - mean.low) / 20
    back = compare([b, a]).pairs
    assert next(one.mean for one in back if one.key == BOUND) == pytest.approx(-pair.mean)


def test_how_latents_tell_a_label_compares_for_the_same_label_alone(evaluated):
    label = {"auc_label": "of the label Smiling"}
    same = compare([evaluated("a", **label)[0], evaluated("b", **label)[0]])
    assert [cell.value.number for cell in _cells(same, "auc_latent")] == [0.9, 0.9]
    other = evaluated("c", auc_label="of the label Male")[0]
    first, second = _cells(compare([evaluated("d", **label)[0], other]), "auc_latent")
    assert first.value is not None
    why = "auc label: of the label Male, not of the label Smiling"
    assert (second.value, second.why) == (None, why)


def test_what_chance_explains_is_no_difference(evaluated):
    found = compare([evaluated("a")[0], evaluated("b", noise=2.0)[0]])
    assert {pair.verdict for pair in found.pairs} == {"chance may explain it"}


@pytest.mark.parametrize(
    ("changes", "why", "of_all"),
    [
        ({"num_draws": 50, "log_likelihood": "bound of 50 draws"}, "draws: 50, not 500", False),
        ({"nats": "of probabilities"}, "nats: of probabilities, not of a density", False),
        ({"test_checksum": "cd"}, "test checksum: cd, not ab", True),
        ({"test_checksum": None}, f"test checksum: not recorded: {UNKNOWN}", True),
        ({"rows": {"test": 49, "log_likelihood": COUNT}}, "test rows: 49, not 50", True),
        ({"rows": {"test": COUNT, "log_likelihood": 9}}, "log-likelihood rows: 9, not 50", False),
        ({"condition": "given Smiling"}, "condition: given Smiling, not recorded there", True),
    ],
)
def test_numbers_of_another_protocol_are_not_shown(evaluated, changes, why, of_all):
    found = compare([evaluated("a")[0], evaluated("b", 0.2, **changes)[0]])
    first, second = _cells(found, BOUND)
    assert first.value is not None
    assert (second.value, second.why) == (None, why)
    assert (_cells(found, "active_units_posterior")[1].value is None) == of_all
    pair = next(pair for pair in found.pairs if pair.key == BOUND)
    assert (pair.mean, pair.why) == (None, why)
    text = tables.terminal(found)
    assert "differs (1)" in text
    assert f"(1) b/1: {why}" in text


@pytest.mark.parametrize(("own", "where"), [("ab", "there"), (None, "on either side")])
def test_rows_that_no_checksum_tells_are_not_taken_for_the_same(evaluated, own, where):
    first, _ = evaluated("a", test_checksum=None)
    found = compare([first, evaluated("b", test_checksum=own)[0]])
    why = f"test checksum: not recorded {where}: {UNKNOWN}"
    for rows in found.groups.values():
        for row in rows:
            assert row.cells[0].value is not None
            assert row.cells[1] == (None, why)
    assert {(pair.mean, pair.why) for pair in found.pairs} == {(None, why)}


def test_texts_of_others_do_nothing_to_a_terminal_and_can_be_written(evaluated, tmp_path):
    bad = "x\x1b[2J\n\u202ey\ud800"
    places = [evaluated("a")[0], evaluated("b", split=bad, model=bad, sampler=bad)[0]]
    found = compare(places)
    text = tables.terminal(found)
    assert all(line.isprintable() for line in text.split("\n"))
    assert "split: x\\x1b[2J \\u202ey\\ud800, not test" in text
    (tmp_path / "page").write_text(tables.html_text(found), encoding="utf-8")
    assert "\x1b" not in tables.csv_text(found) + tables.html_text(found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({f"{BOUND}_stderr": "x"}, f"{BOUND}_stderr must be a number"),
        ({f"{BOUND}_stderr": -1}, f"{BOUND}_stderr must be a number from 0"),
        ({"variance_ratio_draw_interval": 3}, "_interval must be two numbers"),
        ({"variance_ratio_draw_interval": [1, "x"]}, "_interval must be two numbers"),
        ({"fid_keras_inception_prior_range": [2, 1]}, "the lower first"),
        ({"latent_dim": "x"}, "latent_dim must be a whole number"),
        ({"num_modes": None}, "num_modes must be a whole number"),
        ({"mse_reconstruction": 10**400}, "mse_reconstruction must be a number"),
        ({"mse_reconstruction": 1e300}, "mse_reconstruction must be a number"),
        ({"elbo_nats_prior": "x"}, "elbo_nats_prior must be a number"),
        ({"effective_sample_draws": "x"}, "effective_sample_draws must be a number"),
        ({"origin": {"versions": 3}}, r"origin\.versions must be an object; received 3"),
        ({"origin": {"versions": {"trained": 3}}}, r"versions\.trained must be an object"),
        ({"origin": {"commit": 3}}, r"origin\.commit must be a text"),
        ({"protocol": {"rows": 3}}, "rows must be an object"),
    ],
)
def test_metrics_of_another_kind_are_refused(evaluated, changes, said):
    places = [evaluated("a")[0], evaluated("b")[0]]
    path = Path(places[1]) / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=said):
        compare(places)


def test_other_data_are_refused(evaluated):
    card = {"name": "gmm", "seed": 1, "source": "there"}
    places = [evaluated("a")[0], evaluated("b", data_card=card)[0]]
    with pytest.raises(UsageError, match=r"a/1 and b/1 .*other data.*'seed' .* is 0 and 1"):
        compare(places)
    compare([places[0], evaluated("c", data_card={**PROTOCOL["data_card"], "source": "x"})[0]])


def test_rows_that_were_drawn_once_are_the_same_whatever_training_drew(evaluated):
    cards = [
        {**PROTOCOL["data_card"], "binarize": how, "binarize_seed": seed}
        for how, seed in (("static", 0), ("dynamic", 0), ("dynamic", 1), (True, 0))
    ]
    static, dynamic, other, threshold = (
        evaluated(name, data_card=card)[0] for name, card in zip("abcd", cards, strict=True)
    )
    assert all(pair.mean is not None for pair in compare([static, dynamic]).pairs)
    with pytest.raises(UsageError, match="'binarize_seed' of the data card is 0 and 1"):
        compare([static, other])
    with pytest.raises(UsageError, match="'binarize' of the data card is 'dynamic' and True"):
        compare([dynamic, threshold])


def test_one_model_or_one_twice_is_refused(evaluated):
    place, _ = evaluated("a")
    with pytest.raises(UsageError, match="at least 2 models"):
        compare([place])
    with pytest.raises(UsageError, match="received twice"):
        compare([place, f"{place}/../a"])


def test_without_values_of_rows_the_means_are_compared_alone(evaluated):
    found = compare([evaluated("a")[0], evaluated("b", has_rows=False)[0]])
    assert all(cell.value for cell in _cells(found, BOUND))
    assert {pair.why for pair in found.pairs} == {"no rows.npz with it: measure b/1 again"}


def test_of_one_row_there_is_no_difference_with_an_error(evaluated):
    places = [evaluated("a")[0], evaluated("b", 0.2)[0]]
    for place in map(Path, places):
        metrics = json.loads((place / "metrics.json").read_text())
        each = {name: [metrics[name]] for name in (BOUND, "elbo_nats_prior")}
        write_rows(place / "rows.npz", {**each, "rows": [0]})
    pairs = compare(places).pairs
    assert {pair.why for pair in pairs} == {"one row alone, of which no error is known"}


def test_rows_of_another_evaluation_are_refused(evaluated, tmp_path):
    places = [evaluated("a")[0], evaluated("b", 0.2)[0]]
    (tmp_path / "a" / "rows.npz").rename(tmp_path / "b" / "rows.npz")
    with pytest.raises(DataError, match=r"b/rows\.npz is not of the metrics\.json beside it"):
        compare(places)
    bound = json.loads((tmp_path / "b" / "metrics.json").read_text())[BOUND]
    of_rows = "must hold in `rows` the place of each value"
    for each, said in (
        ({BOUND: np.full(4, bound)}, f"{of_rows}.*holds none"),
        ({BOUND: np.full(4, bound), "rows": np.arange(3)}, rf"{of_rows}.*holds int64 \(3,\)"),
        ({"elbo_nats_prior": np.full(4, np.nan)}, "is not of the metrics"),
    ):
        write_rows(tmp_path / "b" / "rows.npz", each)
        with pytest.raises(DataError, match=said):
            compare(places)
    (tmp_path / "b" / "rows.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"rows\.npz cannot be read"):
        compare(places)
    (tmp_path / "a" / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match=r"is no metrics\.json: it has no protocol"):
        compare(places)


def test_damage_of_the_rows_is_an_error_wherever_it_is(evaluated):
    first, second = evaluated("a")[0], evaluated("b")[0]
    path = Path(second) / "rows.npz"
    metrics = json.loads((Path(second) / "metrics.json").read_text())
    whole, content = read_rows(path, metrics), path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [content[:size] for size in range(0, len(content), 41)]
    damaged += [b"", b"PK", b"{}", np.random.default_rng(1).bytes(900)]
    for place in rng.integers(len(content), size=300):
        changed = bytearray(content)
        changed[place] ^= int(rng.integers(1, 256))
        damaged.append(bytes(changed))
    refused = 0
    for one in damaged:
        path.write_bytes(one)
        try:
            found = read_rows(path, metrics)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
        else:  # a byte that says nothing, or the name of an array
            assert all(np.array_equal(found[name], whole[name]) for name in found)
    assert refused > len(damaged) / 2
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"b/rows\.npz cannot be read"):
        compare([first, second])
    with path.open("wb") as file:
        np.savez(file, rows=np.array([object()]), allow_pickle=True)
    with pytest.raises(DataError, match=r"rows\.npz cannot be read.*allow_pickle"):
        compare([first, second])


def test_a_version_that_was_not_measured_is_told_how(evaluated, tmp_path):
    place, _ = evaluated("a")
    path = tmp_path / "saved" / "m" / "3"
    (path / versions.METADATA).parent.mkdir(parents=True)
    (path / "saved_model.pb").touch()
    (path / versions.METADATA).write_text(json.dumps(metadata(fingerprint="7")))
    with pytest.raises(UsageError, match=r"has no metrics\.json.*evaluate.* --model .*/m/3"):
        compare([place, str(path)])
    evaluation = tmp_path / "saved" / "m" / "evaluation"
    evaluation.mkdir()
    (tmp_path / "a").rename(evaluation / "3")
    with pytest.raises(DataError, match=r"of another model.*is None, that of the model 7"):
        compare([str(path), place])


def test_the_command_writes_csv_and_a_page(evaluated, tmp_path, capsys):
    places = [evaluated("a")[0], evaluated("b", 0.2, model="<script>/1")[0]]
    csv_file, page = tmp_path / "t.csv", tmp_path / "t.html"
    main(["compare", *places, "--csv", str(csv_file), "--html", str(page)])
    printed = capsys.readouterr().out
    assert "<script>/1 minus a/1: 0." in printed
    lines = list(csv.DictReader(io.StringIO(csv_file.read_text())))
    assert {line["model"] for line in lines} == {"a/1", "<script>/1"}
    pair = next(line for line in lines if line["kind"] == "difference" and line["key"] == BOUND)
    metric = [float(line["value"]) for line in lines if line["kind"] == "metric"
              and line["key"] == BOUND]  # fmt: skip
    assert float(pair["value"]) == pytest.approx(metric[1] - metric[0])
    assert float(pair["low"]) < float(pair["value"]) < float(pair["high"])
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;/1" in text
    assert "http://" not in text.replace("http-equiv", "")
    with pytest.raises(UsageError, match=r"--csv and --html are two files; received .*t\.csv"):
        main(["compare", *places, "--csv", str(csv_file), "--html", f"{tmp_path}/./t.csv"])
    assert csv_file.read_text().startswith("kind,")
    csv_file.unlink()
    for bad, said in (
        (tmp_path / "gone" / "t.html", "--html: cannot write .*no such folder"),
        (tmp_path, "--html names a file; received the folder"),
        (tmp_path / ("a" * 300), "cannot look at .*File name too long"),
        # Room for its name, none for that of the file it is written to first.
        (tmp_path / ("a" * 253), "cannot write .*t.csv, .*File name too long"),
    ):
        with pytest.raises(UsageError, match=said):
            main(["compare", *places, "--csv", str(csv_file), "--html", str(bad)])
        assert not csv_file.exists()


def test_a_name_that_is_too_long_is_an_error(evaluated, tmp_path):
    place, _ = evaluated("a")
    for name in ("a" * 300, str(tmp_path / ("b" * 300) / "1"), "x/" * 3000):
        with pytest.raises(UsageError, match=r"cannot look at .*File name too long"):
            compare([place, name])
