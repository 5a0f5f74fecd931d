"""The model card of a version, as Hugging Face has them: what it is, how it is used, its limits."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kvae.config import NO_SAMPLER
from kvae.errors import one_line
from kvae.evaluation.report import basis, facts, tables
from kvae.evaluation.report.card import DATA, GROUPS, shown
from kvae.evaluation.report.values import notes, value_of
from kvae.files import command_line, replace_text
from kvae.likelihoods import LIKELIHOODS
from kvae.likelihoods import facts as facts_of_likelihood
from kvae.serving.versions import METADATA, RUN_FILE, TRAIN_ROWS, Version

#: Stands for the number of a version that has none yet.
NUMBER = "NUMBER"
_SERVER = "tensorflow/serving:2.20.0"
_LONGEST = 500  # characters of a text of somebody else's
_SPECIAL = re.compile(r"[\\`*\[\]<>|#~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# Columns and groups that are of no model, or of one kind of data.
_OF_DATA = (DATA, "floor", "x")
# What is known of the model, and of its training, in the words of a report.
_MODEL = ("Network", "Given beside x", "Densities", "Trained with", "Fingerprint")
_RUN = ("Objective", "Epochs", "Steps")
_GREY = np.full((1, 1, 1, 1), 128 / 255)  # a level that is neither 0 nor 1
_ALONE = "Value"  # the heading of a column beside which there is none
_OF_VECTORS, _OF_IMAGES = "Generated points", "Images against test images"


def model_card(
    version: Version, metadata: Mapping[str, Any], whole: Mapping[str, Any] | None = None
) -> str:
    """The text of a card; it is a README.md of the Hub.

    Args:
        version: that it is of; the number 0: it has none yet.
        metadata: of its kvae.json.
        whole: of metrics.json; None: nothing was measured.
    """
    version = version._replace(name=one_line(version.name))
    place = f"saved/{version.name}/{version.number or NUMBER}"
    # What a report says too.
    known = {fact.name: fact.text for fact in facts.summary(version, metadata, whole or {})}
    sections = [
        [f"# {_text(version.name)}", _what(metadata), _lines(known, *_MODEL)],
        ["## How to use it", *_use(version.name, place, metadata)],
        ["## Data", *_data(metadata, known)],
        ["## Training", *_training(version, metadata, known, place)],
        ["## Metrics", *(_none(version, place) if whole is None else _metrics(whole, known))],
        ["## Limits", _list(_limits(version, metadata, whole))],
    ]
    parts = [_front_matter(version, metadata, whole), *(part for one in sections for part in one)]
    return "\n\n".join(parts) + "\n"


def write(
    path: Path, version: Version, metadata: Mapping[str, Any],
    whole: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write a card, whole or as it was before. Arguments as for `model_card`.

    Raises:
        OSError: it cannot be written.
    """
    replace_text(path, model_card(version, metadata, whole))


def _is_image(metadata):
    return len(metadata["model"]["element_shape"]) == 3


def _front_matter(version, metadata, whole):
    """What the Hub reads. JSON is YAML."""
    task = "unconditional-image-generation" if _is_image(metadata) else "other"
    lines = ["---", "library_name: kvae"]
    if _is_image(metadata):
        lines.append(f"pipeline_tag: {task}")
    lines.append("tags: [variational-autoencoder, vae, keras, tensorflow, saved-model, tf-serving]")
    numbers = [] if whole is None else _numbers(whole)
    if numbers:
        config, card = metadata["config"], metadata["data_card"]
        lines += [
            "model-index:",
            f"- name: {_yaml(version.name)}",
            "  results:",
            f"  - task: {{type: {task}}}",
            f"    dataset: {{type: {_yaml(config.get('dataset', 'unknown'))}, "
            f"name: {_yaml(card.get('name', 'unknown'))}, split: test}}",
            "    metrics:",
            *(
                f"    - {{type: {_yaml(key)}, name: {_yaml(name)}, value: {json.dumps(value)}}}"
                for key, name, value in numbers
            ),
        ]
    return "\n".join([*lines, "---"])


def _numbers(whole):
    """Key, name and value of what was measured of the model itself."""
    return [
        (key, _title(metric, columns[column]), value.number)
        for _, columns, metrics in shown(whole)
        for metric in metrics
        for column, key in metric.keys.items()
        if column not in _OF_DATA and (value := value_of(whole, key)) is not None
    ]


def _title(metric, heading):
    return metric.title if heading == _ALONE else f"{metric.title}: {heading}"


def _yaml(value):
    return json.dumps(one_line(str(value), _LONGEST), ensure_ascii=False)


def _text(value):
    """A text of somebody else's, which Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\g<0>", one_line(str(value), _LONGEST))


def _span(value):
    """The same as code, in a table too."""
    text = one_line(str(value), _LONGEST).replace("|", r"\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _code(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _lines(known: Mapping[str, str], *names: str) -> str:
    return _list([f"{name}: {_text(known[name])}" for name in names if name in known])


def _what(metadata):
    shape, card = metadata["model"]["element_shape"], metadata["data_card"]
    of = f"images of {shape[0]} by {shape[1]} pixels" if _is_image(metadata) else "vectors"
    data = card.get("name") or metadata["config"].get("dataset")
    on = f", trained on {_text(data)}" if data else ""
    made_by = _text(metadata["versions"].get("kvae", ""))
    day = _text(metadata["published"].partition("T")[0])
    return (
        f"A variational autoencoder of {of}{on}. kvae {made_by}, a library for Keras 3, published "
        f"it on {day} as a TensorFlow SavedModel, which TensorFlow Serving reads as it is."
    )


def _use(name, place, metadata):
    model, signatures = f"saved/{name}", metadata["signatures"]
    asks = _request(metadata)
    served = [command_line([
        "docker", "run", "-p", "8501:8501", "-v", f"./{model}:/models/{name}",
        "-e", f"MODEL_NAME={name}", _SERVER,
    ])]  # fmt: skip
    client = ["import kvae", ""]
    client += [f"client = kvae.Client({json.dumps(model)})"]
    client += [f'# of a server: kvae.Client("http://localhost:8501", {json.dumps(name)})']
    plain = ["import tensorflow as tf", "", f"model = tf.saved_model.load({json.dumps(place)})"]
    if asks:
        body = json.dumps({"signature_name": "generate", "inputs": asks})
        address = f"localhost:8501/v1/models/{name}:predict"
        served.append(command_line(["curl", "-d", body, address]))
        given = ", ".join(f"{key}={json.dumps(value)}" for key, value in asks.items())
        client.append(f'client.call("generate", {given})["sample"]')
        tensors = ", ".join(
            f"{key}=tf.constant({json.dumps(value)}, {json.dumps(_dtype(metadata, key))})"
            for key, value in asks.items()
        )
        plain.append(f'model.signatures["generate"]({tensors})["sample"]')
    rows = [
        [_span(key), _names(one["inputs"]), _names(one["outputs"]),
         _text(one.get("help", ""))]
        for key, one in signatures.items()
    ]  # fmt: skip
    return [
        f"`saved/` is the folder that holds the model, {_span(place)} this version.",
        "TensorFlow Serving:", _code("sh", *served),
        "`kvae.Client`, of a server or of the folder itself:", _code("python", *client),
        "TensorFlow alone, without kvae:", _code("python", *plain),
        "Keras, to train on:",
        _code("python", "import kvae", "", f"vae = kvae.load_model({json.dumps(place)})"),
        *([_table(("signature", "inputs", "outputs", "answers"), rows)] if rows else []),
        f"`{METADATA.as_posix()}` says of each input and output what it means, its unit, shape and "
        "range. Seeds are int64, one a row: the same seed gives the same answer.",
    ]  # fmt: skip


def _names(tensors):
    return ", ".join(map(_span, tensors))


def _dtype(metadata, name):
    return str(metadata["signatures"]["generate"]["inputs"][name]["dtype"])


def _request(metadata):
    """What `generate` may be asked; nothing where it is not there."""
    inputs = metadata["signatures"].get("generate", {}).get("inputs", {})
    if "seed" not in inputs or inputs.keys() - {"seed", "condition"}:
        return {}
    asks: dict[str, Any] = {"seed": [1, 2, 3]}
    if "condition" in inputs:
        asks["condition"] = [[0.0] * len(metadata["condition"]["names"])] * 3
    return asks


def _data(metadata, known):
    card = metadata["data_card"]
    lines = [known["Data"]]
    lines += [f"{name.lower()}: {known[name]}" for name in ("Rows", "Black and white")
              if name in known]  # fmt: skip
    lines += [f"crop: {card['crop']}"] if card.get("crop") else []
    chosen = metadata.get("course", {}).get("best")
    return [
        _list([_text(line) for line in lines]),
        *(["The valid split chose the weights. Training saw no row of the test split."]
          if chosen else []),
    ]  # fmt: skip


def _training(version, metadata, known, place):
    again = command_line(["kvae", "train", "--config", f"{place}/{RUN_FILE.name}"])
    return [
        _lines(known, *_RUN) if metadata["config"] else "How it was trained is not recorded.",
        f"`{METADATA.as_posix()}` holds all options, and the figures of each epoch.",
        *(["The same run again:", _code("sh", again)]
          if (version.path / RUN_FILE).is_file() else []),
    ]  # fmt: skip


def _none(version, place):
    command = command_line(["kvae", "evaluate", "--model", place])
    written = f"saved/{version.name}/evaluation/{version.number or NUMBER}"
    return [
        "Nothing was measured when this version was published. This measures it on the test split "
        f"and writes this card with the numbers to {_span(written)}:",
        _code("sh", command),
    ]


def _metrics(whole, known):
    parts = [f"On {basis(whole['protocol']) or 'test rows'}."]
    for table in tables(whole):
        rows = [
            [_text(f"{row.metric.title}{f' ({row.of})' if row.of else ''}"),
             *(_cell(value) for value in row.cells.values()), row.metric.better]
            for row in table.rows
        ]  # fmt: skip
        parts.append(_table([table.title, *table.columns, ""], rows))
    parts += [_text(note) for note in notes(whole)]
    findings = [
        f"{finding['problem']} ({finding['sure']}): {finding['evidence']}"
        for finding in whole["findings"]
    ]
    if findings:
        parts += ["What looks wrong, by rules of thumb over these numbers:"]
        parts += [_list([_text(one) for one in findings])]
    else:
        parts += ["Rules of thumb over these numbers found nothing wrong; they can miss what is."]
    if "Measured with" in known:
        parts.append(f"Measured with {_text(known['Measured with'])}.")
    return [*parts, "`metrics.json` beside this card says how each number is made."]


def _cell(value):
    if value is None:
        return ""
    return _text(f"{value.text} ({value.spread})" if value.spread else value.text)


def _of(metadata):
    """What likelihoods are of, as far as that is known."""
    name = metadata["config"].get("likelihood")
    if name not in LIKELIHOODS:
        return ""
    if facts_of_likelihood(name).has_probabilities:
        return ", of probabilities"
    binary = metadata["data_card"].get("binarize")
    why = ", which of numbers that are 0 or 1 alone has no upper limit" if binary else ""
    return f", of a density in the unit of the data{why}"


def _x(metadata):
    """What x is, in a sentence, and what becomes of others."""
    binary, takes_binary = metadata["data_card"].get("binarize"), _takes_binary(metadata)
    inputs = [one["inputs"] for one in metadata["signatures"].values() if "x" in one["inputs"]]
    reach = inputs[0]["x"].get("range") if inputs else None
    if binary or takes_binary:
        x = "0 or 1"
    else:
        x = f"numbers from {reach[0]} to {reach[1]}" if reach else "numbers in the unit of the data"
    others = "Other x are answered too, and the answers mean nothing."
    if takes_binary and binary and not _is_image(metadata):
        others = "A row with other numbers answers NaN."
    elif takes_binary:
        others = (
            "Other x have the likelihood 0, minus infinity nats; all else that is answered to them "
            "means nothing."
        )
    return f"x is {_text(x)}, as in training. {others}"


def _takes_binary(metadata):
    """Whether the likelihood is one of 0 and 1 alone."""
    name = metadata["config"].get("likelihood")
    return name in LIKELIHOODS and not facts_of_likelihood(name).accepts(_GREY)


def _limits(version, metadata, whole):
    images = _is_image(metadata)
    foreign = _OF_VECTORS if images else _OF_IMAGES
    found = {table.title for table in tables(whole or {})}
    lacking = [one.title for one in GROUPS if one.title not in {foreign, *found}]
    sampler = metadata["sampler"]
    density = "the prior" if sampler == NO_SAMPLER else f"the sampler {sampler}"
    lines = [
        f"Not measured: {', '.join(lacking)}." if lacking else "",
        "Not measured, ever: other data than those above, how groups of people fare, whether "
        "samples are fit for any use.",
        f"Log-likelihoods are lower bounds in nats{_of(metadata)}: numbers of other data, splits "
        "or protocols do not compare.",
        "Errors of reconstructions (mean squared error, PSNR, SSIM) hold means between 0 and 1 "
        "against numbers that are 0 or 1: those of grey levels do not compare."
        if metadata["data_card"].get("binarize")
        else "",
        _x(metadata),
        f"`generate` draws from {_text(density)}; whether samples are like the data is what the "
        "metrics say, where there are any.",
        "At publication the SavedModel answered its own warm-up requests under TensorFlow, no "
        "more: model servers and other machines were not tried.",
        "Which licence the data and these weights have is not recorded: whoever passes them on "
        "adds `license` to the head of this card.",
    ]
    if (version.path / TRAIN_ROWS).is_file():
        lines.append(
            f"Whoever has a row can tell from `{TRAIN_ROWS.as_posix()}` whether it was trained on."
        )
    return [line for line in lines if line]
