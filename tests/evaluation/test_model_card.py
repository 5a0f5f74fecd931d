import re

import pytest
import yaml
from kvae_testing import metadata

from kvae.evaluation.report.card import GROUPS
from kvae.evaluation.report.model_card import model_card
from kvae.serving.versions import Version

HOSTILE = 'a"\n---\n`b` | <script> [c](d): *e*'
WHOLE = {
    "elbo_nats_prior": -5.4187, "elbo_nats_prior_stderr": 0.0071, "coverage_prior": 0.5,
    "coverage_floor": 0.99, "findings": [], "protocol": {"rows": {"test": 7}},
}  # fmt: skip


def _card(tmp_path, whole=None, name="m", **known):
    return model_card(Version(tmp_path, name, 0 if whole is None else 3), metadata(**known), whole)


def _head(text):
    start, head, _ = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head)


def test_the_head_holds_what_was_measured_of_the_model(tmp_path):
    assert "model-index" not in _head(_card(tmp_path))
    card = _card(tmp_path, WHOLE, config={"dataset": "gmm"}, data_card={"name": "drawn"})
    head = _head(card)
    assert head["pipeline_tag"] == "unconditional-image-generation"
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert result["dataset"] == {"type": "gmm", "name": "drawn", "split": "test"}
    assert result["task"]["type"] == head["pipeline_tag"]
    found = {one["type"]: one["value"] for one in result["metrics"]}
    assert found == {"elbo_nats_prior": -5.4187, "coverage_prior": 0.5}
    assert "−5.419 (95%: −5.433 to −5.405)" in card  # noqa: RUF001
    assert "On 7 test rows." in card
    assert "found nothing wrong" in card


@pytest.mark.parametrize("whole", [None, WHOLE])
def test_what_was_not_measured_is_said(tmp_path, whole):
    lines = _card(tmp_path, whole).splitlines()
    (line,) = (line for line in lines if line.startswith("- Not measured:"))
    titles = {group.title for group in GROUPS if group.title in line}
    images = {group.title for group in GROUPS} - {"Generated points"}
    measured = {"Likelihood of unseen rows", "Images against test images"}
    assert titles == images - (measured if whole else set())


@pytest.mark.parametrize(
    ("likelihood", "of"),
    [
        ("gaussian", ", of a density in the unit of the data:"),
        ("bernoulli", ", of probabilities:"),
        ("discretized-logistic", ", of probabilities:"),
        ("somebody's", ":"),
    ],
)
def test_nats_are_of_what_the_likelihood_is(tmp_path, likelihood, of):
    card = _card(tmp_path, config={"likelihood": likelihood})
    assert f"- Log-likelihoods are lower bounds in nats{of} numbers" in card


@pytest.mark.parametrize(
    ("shape", "likelihood", "how", "said", "unsaid"),
    [
        ([8, 8, 1], "bernoulli", {"binarize": True},
         ["made 0 or 1 at one half", "x is 0 or 1, as", "likelihood 0, minus", "PSNR"],
         ["of a density", "True"]),
        ([8, 8, 1], "bernoulli", {"binarize": "dynamic", "binarize_seed": 7},
         ["train rows anew each epoch, the others once, seed 7", "x is 0 or 1, as"], ["made 0"]),
        ([5], "bernoulli", {"binarize": "static"},
         ["as it is bright: once, seed 0", "row with other numbers answers NaN"], ["minus inf"]),
        ([8, 8, 1], "gaussian", {"binarize": True},
         ["has no upper limit", "x is 0 or 1, as", "the answers mean nothing"], ["NaN"]),
        ([8, 8, 1], "gaussian", {}, ["x is numbers", "the answers mean nothing"],
         ["no upper limit", "against numbers that are 0 or 1", "lack and white"]),
        ([8, 8, 1], "discretized-logistic", {}, ["x is numbers"], ["x is 0 or 1"]),
        ([5], "bernoulli", {}, ["x is 0 or 1, as", "likelihood 0"], ["NaN"]),
    ],
)  # fmt: skip
def test_what_was_made_black_and_white_is_said_as_it_is(
    tmp_path, shape, likelihood, how, said, unsaid
):
    model = {"element_shape": shape, "latent_dim": 2}
    card = _card(tmp_path, config={"likelihood": likelihood}, data_card=how, model=model)
    for words in said:
        assert words in card
    for words in unsaid:
        assert words not in card


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"objective": "iwae", "iwae_draws": 5}, "iwae, 5 draws a row, gradient plain"),
        ({"objective": "iwae", "iwae_draws": 2, "iwae_gradient": "dreg"},
         "iwae, 2 draws a row, gradient dreg"),
        ({"objective": "elbo", "beta": 4.0, "kl_warmup_epochs": 3, "kl_cycle_epochs": 0,
          "free_bits": 0.5, "tc_weight": 1.0},
         "elbo, beta 4, risen to over 3 epochs, 0.5 nats of each latent dimension free"),
        ({"objective": "elbo", "tc_weight": 6.0}, "elbo, weight 6 of the total correlation"),
    ],
)  # fmt: skip
def test_an_objective_is_told_with_all_that_changes_it(tmp_path, config, told):
    assert f"- Objective: {told}\n" in _card(tmp_path, config=config)


def test_channels_that_are_no_colours_are_counted(tmp_path):
    card = _card(tmp_path, model={"element_shape": [8, 6, 5], "latent_dim": 2})
    assert "an image of 8 by 6 pixels, of 5 channels" in card


def test_a_finding_is_never_nothing_wrong(tmp_path):
    finding = {"problem": "collapse", "sure": "certain", "evidence": "0 nats", "advice": "--beta 1"}
    card = _card(tmp_path, {**WHOLE, "findings": [finding]})
    assert "collapse (certain): 0 nats" in card
    assert "nothing wrong" not in card


def test_what_others_wrote_stays_text(tmp_path):
    tensor = {HOSTILE: {}}
    card = _card(
        tmp_path, WHOLE, name=HOSTILE, data_card={"name": HOSTILE}, config={"dataset": HOSTILE},
        versions={HOSTILE: HOSTILE}, published=HOSTILE, sampler=HOSTILE,
        signatures={HOSTILE: {"inputs": tensor, "outputs": tensor, "help": HOSTILE}},
        condition={"labels": [HOSTILE], "names": [HOSTILE], "label_of": [HOSTILE]},
    )  # fmt: skip
    (model,) = _head(card)["model-index"]
    assert model["name"].startswith('a" ---')
    assert card.count("\n---\n") == 1
    body = re.sub(r"```.*?```|``.*?``|`[^`]*`", "", card.split("\n---\n")[1], flags=re.DOTALL)
    assert body.count(r"\<script\>") > 5
    assert re.findall(r"(?<!\\)[<\[`*]", body) == []
