"""What was trained on what, and what to type for it, from a version's kvae.json."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from kvae import own_files
from kvae.command import training_command
from kvae.config import NO_SAMPLER, resolve
from kvae.data import DRAWN, DYNAMIC
from kvae.errors import KvaeError, brief, one_line
from kvae.evaluation.naming import METRICS_FILE
from kvae.evaluation.report.values import written
from kvae.files import command_line, sha256_of
from kvae.objectives import IWAE_GRADIENT
from kvae.serving.versions import AUDIT, Version

_UNKNOWN = "not recorded"
_TABLE, _COLUMNS, _LONGEST = "arrays", 20, 40  # columns that are named, and letters of a name
_LARGE = 1000  # nats, of which no decimals are shown
# Options of objectives: in words, and the value that changes nothing.
_OF_OBJECTIVES = (
    ("beta", "beta {:g}", None),
    ("kl_warmup_epochs", "risen to over {} epochs", 0),
    ("kl_cycle_epochs", "risen to anew every {} epochs", 0),
    ("free_bits", "{:g} nats of each latent dimension free", 0),
    ("tc_weight", "weight {:g} of the total correlation", 1),
    ("iwae_draws", "{} draws a row", None),
    ("iwae_gradient", "gradient {}", None),
)
_DIGITS = 12  # of a commit and of a checksum, as they are shown


class Fact(NamedTuple):
    """One line of the summary.

    Args:
        name: what it is about.
        text: in words.
    """

    name: str
    text: str


def summary(version: Version, metadata: Mapping[str, Any], whole: Mapping[str, Any]) -> list[Fact]:
    """What was trained on what, and by what it was measured; lines of which nothing is known lack.

    Args:
        version: the published version.
        metadata: of kvae.json.
        whole: of metrics.json.
    """
    config = metadata["config"]
    found = [
        Fact("Model", f"{version.name}, version {version.number}"),
        Fact("Published", metadata["published"].replace("T", " ").replace("+00:00", " UTC")),
        Fact("Data", _data(metadata, whole)),
        Fact("Rows", _rows(metadata)),
        Fact("Black and white", _binarized(metadata["data_card"])),
        Fact("Given beside x", ", ".join(metadata.get("condition", {}).get("names", ()))),
        Fact("Network", _network(metadata)),
        Fact("Densities", _densities(metadata)),
        Fact("Objective", _objective(config)),
        Fact("Epochs", _epochs(metadata)),
        Fact("Steps", _steps(config)),
        Fact("Went on from", str(config.get("init_from") or "")),
        Fact("Trained with", _versions(metadata["versions"])),
        Fact("Measured with", _measured(whole.get("origin", {}))),
        Fact("Fingerprint", metadata["fingerprint"]),
    ]
    return [fact for fact in found if fact.text]


def measured(whole: Mapping[str, Any], folder: Path) -> list[Fact]:
    """What is known of an evaluation from itself alone.

    Args:
        whole: of metrics.json.
        folder: that it is in.
    """
    protocol, origin = whole["protocol"], whole.get("origin", {})
    card = protocol.get("data_card", {})
    known = [
        Fact("Evaluation", str(folder)),
        Fact("Data", str(card.get("name") or "")),
        Fact("Sampler", str(protocol.get("sampler") or "")),
        Fact("Trained with", _versions(origin.get("versions", {}).get("trained", {}))),
        Fact("Measured with", _measured(origin)),
        Fact("Command", str(origin.get("command") or "")),
        Fact("Fingerprint", str(protocol.get("fingerprint") or "")),
    ]
    return [fact for fact in known if fact.text]


def _data(metadata, whole):
    card, config = metadata["data_card"], metadata["config"]
    name = card.get("name") or config.get("dataset") or _UNKNOWN
    # Of a mixture metrics.json holds the size alone.
    mixture = whole.get("protocol", {}).get("data_card", {}).get("mixture", {})
    drawn = f", a mixture of {mixture['components']} Gaussians" if "components" in mixture else ""
    shape = metadata["model"]["element_shape"]
    if len(shape) == 1:
        file = f", {one_line(str(card['source']))}" if name == _TABLE else ""
        columns = [one_line(str(column), _LONGEST) for column in card.get("columns", ())]
        named = f": {', '.join(columns[:_COLUMNS])}" if columns else ""
        more = f" and {len(columns) - _COLUMNS:,} more" if len(columns) > _COLUMNS else ""
        return f"{name}{drawn}{file}; one x is {_count(shape[0], 'number')}{named}{more}"
    height, width, channels = shape
    colours = (
        "grey" if channels == 1 else "in colour" if channels == 3 else f"of {channels} channels"
    )
    return f"{name}; one x is an image of {height} by {width} pixels, {colours}"


def _binarized(card):
    """How levels became 0 and 1; "": they did not."""
    how, seed = card.get("binarize"), card.get("binarize_seed", 0)
    if how not in DRAWN:
        return "each level made 0 or 1 at one half" if how else ""
    train = "those of train rows anew each epoch, the others once" if how == DYNAMIC else "once"
    return f"each level drawn, 1 as often as it is bright: {train}, seed {seed}"


def _rows(metadata):
    counts = metadata["data_card"].get("counts", {})
    told = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    left = metadata.get("course", {}).get("left_out", {})
    some = ", ".join(f"{count:,} {split}" for split, count in left.items() if count)
    return told + (f"; left out, since trained on before: {some}" if some else "")


def _network(metadata):
    model = metadata["model"]
    name = metadata["config"].get("network")
    told = [f"{name} networks"] if name else []
    told.append(_count(model["latent_dim"], "latent dimension"))
    if "num_params" in model:
        sampler = metadata.get("sampler", NO_SAMPLER)
        of_it = "" if sampler == NO_SAMPLER else ", those of the sampler included"
        told.append(f"{model['num_params']:,} parameters{of_it}")
    return ", ".join(told)


def _densities(metadata):
    config = metadata["config"]
    told = []
    for kind in ("likelihood", "posterior", "prior"):
        if kind in config:
            has_variance = kind == "likelihood" and "variance" in config
            variance = f" (variance {config['variance']}" if has_variance else ""
            if variance:
                weight = config.get("edge_weight")
                variance += f", edge weight {weight:g})" if weight else ")"
            told.append(f"{kind} {config[kind]}{variance}")
    return ", ".join([*told, f"sampler {metadata['sampler']}"])


def _objective(config):
    if "objective" not in config:
        return ""
    gradient = {"iwae_gradient": IWAE_GRADIENT.before} if config["objective"] == "iwae" else {}
    own = {**gradient, **config}
    told = [
        words.format(own[name])
        for name, words, neutral in _OF_OBJECTIVES
        if name in own and own[name] != neutral
    ]
    return ", ".join([own["objective"], *told])


def _epochs(metadata):
    course, config = metadata.get("course", {}), metadata["config"]
    done = max((len(values) for values in metadata["history"].values()), default=0)
    told = [f"{done:,} of {config['epochs']:,}" if "epochs" in config else f"{done:,}"]
    best = course.get("best")
    if best:
        where = f"epoch {best['epoch']:,}" if best["epoch"] else "the start"
        told.append(
            f"the weights of {where} were kept, whose {best['figure']} of the valid split was "
            f"{written(best['value'], 3 if abs(best['value']) < _LARGE else 0)}"
        )
    if course.get("ended"):
        told.append(f"ended early: {course['ended']}")
    return "; ".join(told)


def _steps(config):
    told = []
    if "batch_size" in config:
        told.append(f"of {config['batch_size']:,} rows")
    if "learning_rate" in config:
        schedule = config.get("learning_rate_schedule", "")
        told.append(
            f"{config.get('optimizer', 'Adam')} {config['learning_rate']:g} {schedule}".rstrip()
        )
    if "seed" in config:
        told.append(f"seed {config['seed']}")
    return ", ".join(told)


def _versions(versions):
    return ", ".join(f"{name} {number}" for name, number in versions.items() if number)


def _measured(origin):
    told = [_versions(origin.get("versions", {}).get("evaluated", {}))]
    commit = origin.get("commit")
    if commit:
        dirty = ", with changes" if commit.endswith("+") else ""
        told.append(f"commit {commit[:_DIGITS]}{dirty}")
    if "seed" in origin:
        told.append(f"seed {origin['seed']}")
    return "; ".join(part for part in told if part)


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def commands(metadata: Mapping[str, Any], whole: Mapping[str, Any]) -> list[Fact]:
    """What to type to train such a model, and what was typed to measure this one.

    Args:
        metadata: of kvae.json.
        whole: of metrics.json.

    Returns:
        Of each the command; `name` says what it is, and where there is none why.
    """
    try:
        config = _resolved({name: _read(value) for name, value in metadata["config"].items()})
        train = Fact("Trains a model with the same options", training_command(config))
    except KvaeError as error:
        train = Fact(f"No command trains such a model: {error}", "")
    typed = whole.get("origin", {}).get("command")
    if typed:
        is_file = typed.startswith("evaluate.py ")
        return [train, Fact("Made this report", f"python {typed}" if is_file else typed)]
    name = whole.get("protocol", {}).get("model", "NAME/NUMBER")
    again = command_line(["python", "evaluate.py", "--model", f"saved/{name}", *own_files.words()])
    return [train, Fact("kvae.evaluate made this report in Python; on the command line", again)]


def _resolved(recorded):
    """The options of a version; those younger than it do what was done without them."""
    return resolve(resolve(recorded).younger_than(recorded) | recorded)


def _read(value):
    """A value of kvae.json as `resolve` takes it."""
    return tuple(value) if isinstance(value, list) else value


def options(metadata: Mapping[str, Any]) -> list[Fact]:
    """Every option of the run, as it was recorded."""
    return [
        Fact(f"--{name.replace('_', '-')}", _shown(value))
        for name, value in metadata["config"].items()
    ]


def _shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def audit(version: Version, folder: Path) -> str:
    """What an audit of this version said, in a sentence; "" where there was none.

    Args:
        version: that was evaluated.
        folder: of the evaluation; an audit of other numbers says so.
    """
    path = version.evaluation / AUDIT
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["version"] != f"{version.name}/{version.number}":
            return ""
        counts, wrong = found["verdicts"], [
            line["what"] for line in found["lines"] if line["verdict"] == "differs"
        ]  # fmt: skip
        numbers = ", ".join(f"{int(number)} {verdict}" for verdict, number in counts.items())
        day = datetime.fromisoformat(found["audited"]).date()
        named = f", among them {brief(wrong[0])}" if wrong else ""
        is_of_others = found.get("metrics") != sha256_of(folder / METRICS_FILE)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # none, or damaged
        return ""
    verdict = f"{len(wrong)} of its lines differ{named}" if wrong else "nothing differs"
    of = "; the numbers below are no part of it" if is_of_others else ""
    return f"kvae audit, {day}: {verdict} ({numbers}){of}."
