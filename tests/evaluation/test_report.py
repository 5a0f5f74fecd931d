import json
from html.parser import HTMLParser

import numpy as np
import pytest
from kvae_testing import metadata, png

from kvae.evaluation import report
from kvae.evaluation.report.values import MINUS, notes, value_of
from kvae.files import sha256_of
from kvae.serving.versions import Version

HOSTILE = "<script>alert(1)</script>"
METRICS = {
    "elbo_nats_prior": -5.4187, "elbo_nats_prior_stderr": 0.0071,
    "log_likelihood_nats_prior": -5.31, "log_likelihood_nats_prior_stderr": 0.007,
    "log_likelihood_nats_sampler": -5.3, "num_draws": 500,
    "active_units_posterior": 3, "latent_dim": 4,
    "ssim_reconstruction": 0.9, "ssim_reconstruction_interval": [0.88, 0.93],
    "precision_prior": 0.5, "precision_prior_range": [0.4, 0.6], "coverage_floor": 0.99,
    "mutual_information_limit_nats_posterior": 9.21,
}  # fmt: skip


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data

    def all(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


def whole(findings=(), **changes):
    return {**METRICS, "findings": list(findings), "protocol": {}, **changes}


def page(tmp_path, whole, name="gmm", figures=("generation", "curves"), **known):
    for figure in figures:
        (tmp_path / f"{figure}.png").write_bytes(png(np.zeros((4, 4, 1))))
    version = Version(tmp_path, name, 1)
    files = [f"{figure}.png" for figure in figures]
    return report.page(tmp_path, version, metadata(**known), whole, files)


FINDING = {
    "problem": "posterior collapse", "sure": "certain", "evidence": "0.1 nats", "advice": "--beta 1"
}  # fmt: skip


def test_a_page_needs_nothing_beside_itself_and_can_be_heard(tmp_path):
    found = Page(page(tmp_path, whole([FINDING])))
    assert not found.all("script", "iframe", "object", "form")
    for attributes in found.all("img", "link", "a", "source"):
        address = attributes.get("src") or attributes["href"]
        assert address.startswith(("data:", "#"))
        if address.startswith("#"):
            assert address[1:] in {one.get("id") for _, one in found.tags}
    assert found.all("html") == [{"lang": "en"}]
    assert all(len(attributes["alt"]) > 20 for attributes in found.all("img"))
    assert len(found.all("img")) == 2
    assert all(attributes.get("scope") in ("col", "row") for attributes in found.all("th"))
    levels = [int(tag[1]) for tag, _ in found.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[:2] == [1, 2]
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in found.tags}
    ids = [one["id"] for _, one in found.tags if "id" in one]
    assert len(ids) == len(set(ids))


def test_a_table_is_told_by_its_file_and_columns_and_a_sampler_is_counted(tmp_path):
    card = {"name": "arrays", "source": "plants.csv", "columns": [f"c{i}" for i in range(22)]}
    model = {"element_shape": [22], "latent_dim": 2, "num_params": 1234}
    known = {"data_card": card, "model": model, "sampler": "mixture"}
    words = Page(page(tmp_path, whole(), **known)).words
    assert "arrays, plants.csv; one x is 22 numbers: c0, c1" in words
    assert "c19 and 2 more" in words
    assert "1,234 parameters, those of the sampler included" in words
    words = Page(page(tmp_path, whole(), **known | {"sampler": "none"})).words
    assert "those of the sampler" not in words


@pytest.mark.parametrize(("value", "shown"), [(15645.921, "15,646"), (-5.4182, "\u22125.418")])
def test_a_best_figure_has_the_decimals_that_say_something(value, shown, tmp_path):
    course = {"best": {"epoch": 2, "figure": "elbo", "value": value}}
    words = Page(page(tmp_path, whole(), course=course, history={"elbo": [1.0, 2.0]})).words
    assert f"of the valid split was {shown}" in " ".join(words.split())


def test_the_verdict_is_first_and_what_was_found_is_never_nothing(tmp_path):
    told = Page(page(tmp_path, whole([FINDING], looked_for=["posterior collapse", "diverged"])))
    sections = [one["id"] for one in told.all("section")]
    assert sections == ["verdict", "trained", "metrics", "curves-section", "figures", "commands"]
    assert "Nothing wrong found" not in told.words
    assert "0.1 nats" in told.words
    assert "not found: 1" in told.words
    assert "Nothing wrong found" in Page(page(tmp_path, whole())).words


def test_the_audit_of_this_version_stands_first(tmp_path):
    version = Version(tmp_path / "gmm" / "1", "gmm", 1)
    version.evaluation.mkdir(parents=True)

    def told(**changes):
        line = {"what": "decode/<decoded>", "verdict": "differs"}
        found = {"version": "gmm/1", "audited": "2026-11-29T06:00:00+00:00", "lines": [line],
                 "verdicts": {"agrees": 9, "differs": 1, "not checked": 2}, **changes}  # fmt: skip
        (version.evaluation / "audit.json").write_text(json.dumps(found))
        return Page(report.page(tmp_path, version, metadata(), whole(), [])).words

    words = told()
    said = "kvae audit, 2026-11-29: 1 of its lines differ, among them"
    assert said in words and "decode/<decoded>" in words
    assert words.index(said) < words.index("Nothing wrong found")
    assert "nothing differs (9 agrees" in told(lines=[])
    for changes in ({"version": "gmm/2"}, {"audited": "?"}, {"verdicts": []}):
        assert "kvae audit," not in told(**changes)


def test_a_page_says_what_an_audit_said_since_and_whether_of_its_numbers(tmp_path):
    version = Version(tmp_path / "gmm" / "1", "gmm", 1)
    version.evaluation.mkdir(parents=True)
    numbers, path = version.evaluation / "metrics.json", version.evaluation / "report.html"
    numbers.write_text("{}")
    report.write(path, version, metadata(), whole(), [])
    before = path.read_text()
    assert "kvae audit," not in before
    found = {"version": "gmm/1", "audited": "2026-11-29T06:00:00+00:00", "lines": [],
             "verdicts": {"agrees": 9}, "metrics": sha256_of(numbers)}  # fmt: skip
    (version.evaluation / "audit.json").write_text(json.dumps(found))
    report.renew_audit(path, version)
    told = path.read_text()
    assert Page(told).words.count("nothing differs (9 agrees).") == 1
    report.renew_audit(path, version)
    assert path.read_text() == told
    assert len(told) - len(before) < 200
    numbers.write_text("{ }")
    report.renew_audit(path, version)
    assert "(9 agrees); the numbers below are no part of it." in path.read_text()
    path.write_text("a page of before")
    report.renew_audit(path, version)
    assert path.read_text() == "a page of before"
    path.unlink()
    report.renew_audit(path, version)
    assert not path.exists()


def test_what_others_wrote_stays_text(tmp_path):
    finding = {**FINDING, "evidence": HOSTILE, "problem": HOSTILE}
    text = page(
        tmp_path,
        whole([finding], looked_for=[HOSTILE], odd=HOSTILE, origin={"command": HOSTILE},
              protocol={"model": HOSTILE, "log_likelihood": HOSTILE}),
        name=HOSTILE, config={"dataset": HOSTILE, HOSTILE: HOSTILE}, published=HOSTILE,
        data_card={"name": HOSTILE, "counts": {HOSTILE: 3}}, versions={"kvae": HOSTILE},
        condition={"labels": [HOSTILE], "names": [HOSTILE], "label_of": [HOSTILE]},
    )  # fmt: skip
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10


def test_every_number_is_on_the_page(tmp_path):
    words = Page(page(tmp_path, whole())).words
    for said in (
        f"{MINUS}5.419", f"{MINUS}5.433 to {MINUS}5.405", "3", "of 4", "0.900", "0.880 to 0.930",
        "0.40 to 0.60", "0.9900", "9.21", "mutual_information_limit",
    ):  # fmt: skip
        assert said in words


def test_what_lacks_is_left_out_and_said(tmp_path):
    bare = {"findings": [], "protocol": {}}
    words = Page(page(tmp_path, bare, figures=())).words
    assert "no curve to draw" in words
    assert "No other figure was drawn" in words
    assert "Likelihood of unseen rows" not in words


def test_the_command_that_trains_is_that_of_the_options(tmp_path):
    # A likelihood without a variance, too.
    config = {"dataset": "digits", "epochs": 7, "likelihood": "bernoulli", "binarize": "threshold"}
    words = Page(page(tmp_path, whole(), config=config)).words
    assert "--dataset digits --likelihood bernoulli --epochs 7 --binarize threshold" in words
    own = {"dataset": "digits", "prior": "theirs"}
    assert "No command trains such a model" in Page(page(tmp_path, whole(), config=own)).words


@pytest.mark.parametrize(
    ("metrics", "text", "ends"),
    [
        ({"k": -5.4187, "k_stderr": 0.01}, f"{MINUS}5.419", (-5.4383, -5.3991)),
        ({"k": 1234.5678}, "1,235", None),
        ({"k": 12, "k_range": [11, 14]}, "12", (11, 14)),
        ({"k": 0.5, "k_interval": [0.4, 0.7]}, "0.50", (0.4, 0.7)),
        ({"k": 0.0, "k_stderr": 0.0}, "0.0", (0, 0)),
        ({"k": -1e-9, "k_stderr": 0.01}, "0.000", (-0.0196, 0.0196)),
    ],
)
def test_a_number_has_the_digits_that_are_known(metrics, text, ends):
    value = value_of(metrics, "k")
    assert value.text == text
    assert (value.low, value.high) == pytest.approx(ends or (None, None), abs=1e-6)


def test_what_is_no_number_is_none():
    assert value_of({"k": True, "l": [1.0], "m": "1"}, "k") is None
    assert [value_of({"l": [1.0]}, key) for key in ("l", "m", "")] == [None] * 3


def test_a_bound_that_rests_on_one_draw_has_no_decimals_and_a_note():
    metrics = {
        "log_likelihood_nats_prior": -1234.567, "log_likelihood_nats_prior_stderr": 1.5,
        "effective_sample_draws": 64, "effective_sample_fraction_prior": 1.1 / 64,
    }  # fmt: skip
    assert value_of(metrics, "log_likelihood_nats_prior").text == f"{MINUS}1,235"
    assert "one importance draw" in notes(metrics)[0].lower()
    assert not notes({**metrics, "effective_sample_fraction_prior": 0.5})
