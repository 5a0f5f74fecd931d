"""report.html: what an evaluation found, on one page that needs nothing beside itself."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kvae.evaluation.doctor import PROBLEMS
from kvae.evaluation.report import facts
from kvae.evaluation.report.captions import CURVES, MOVING, SHOWN, Caption, caption_of, order_of
from kvae.evaluation.report.card import Metric, shown
from kvae.evaluation.report.page import data_uri, rendered
from kvae.evaluation.report.values import Value, notes, value_of
from kvae.files import replace_text
from kvae.serving.versions import Version

_NO_CURVES = (
    "This version holds no figures of both splits over its epochs, so that there is no curve to "
    "draw."
)
#: Between them stands what an audit said.
_AUDIT, _AUDIT_END = "<!-- audit -->", "<!-- end of audit -->"
_STATISTICS = ("_stderr", "_interval", "_range")
# What stands elsewhere on the page.
_ELSEWHERE = {"origin", "findings", "looked_for", "protocol"}


class Row(NamedTuple):
    """A metric with its numbers.

    Args:
        metric: what it is.
        cells: heading -> value, of the columns of its table; None where there is none.
        of: what it is out of, "" for nothing.
        how: of the protocol, sentences.
    """

    metric: Metric
    cells: dict[str, Value | None]
    of: str
    how: list[str]


class Table(NamedTuple):
    """A group of metrics.

    Args:
        title: of the group.
        columns: headings.
        rows: one a metric.
    """

    title: str
    columns: list[str]
    rows: list[Row]


class Picture(NamedTuple):
    """A figure on the page.

    Args:
        name: of its file, without the ending and with it where two share that.
        words: its title, caption and alternative.
        address: the image itself.
        moves: whether it is an animation.
    """

    name: str
    words: Caption
    address: str
    moves: bool


def write(
    path: Path,
    version: Version,
    metadata: Mapping[str, Any],
    whole: Mapping[str, Any],
    figures: Sequence[str],
    failed: Mapping[str, str] | None = None,
) -> None:
    """Write the page beside the figures, whole or as it was before.

    Args:
        path: of the page, in the figures' folder.
        version: that was evaluated.
        metadata: of its kvae.json.
        whole: of metrics.json.
        figures: names of the figures' files.
        failed: names of figures that could not be drawn -> why.

    Raises:
        OSError: a figure cannot be read, or the page not be written.
    """
    replace_text(path, page(path.parent, version, metadata, whole, figures, failed))


def page(
    folder: Path,
    version: Version,
    metadata: Mapping[str, Any],
    whole: Mapping[str, Any],
    figures: Sequence[str],
    failed: Mapping[str, str] | None = None,
) -> str:
    """The page that `write` writes."""
    pictures = [
        _picture(folder / name, metadata, whole)
        for name in sorted(figures, key=order_of)
        if Path(name).suffix in SHOWN
    ]
    protocol = whole["protocol"]
    return rendered(
        "report.html",
        name=f"{version.name} version {version.number}",
        audit=_of_audit(folder, version),
        findings=whole["findings"],
        problems=PROBLEMS,
        looked_for=_not_found(whole),
        facts=facts.summary(version, metadata, whole),
        options=facts.options(metadata),
        tables=tables(whole),
        notes=notes(whole),
        basis=basis(protocol),
        others=_others(whole),
        protocol=_sentences(protocol),
        curves=[one for one in pictures if one.name == CURVES],
        no_curves=_NO_CURVES,
        pictures=[one for one in pictures if one.name != CURVES],
        failed=failed or {},
        files=sorted(name for name in figures if Path(name).suffix not in SHOWN),
        commands=facts.commands(metadata, whole),
    )


def renew_audit(path: Path, version: Version) -> None:
    """Have a page that is there say what an audit said since; all else on it stays.

    Args:
        path: of the page, beside the metrics.json that it is made of.
        version: that was audited.

    Raises:
        OSError: the page cannot be read or written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    before, start, rest = text.partition(_AUDIT)
    _, end, after = rest.partition(_AUDIT_END)
    if start and end:  # of older pages nothing is known
        replace_text(path, f"{before}{_of_audit(path.parent, version)}{after}")


def _of_audit(folder: Path, version: Version) -> str:
    """What an audit said, as HTML, between its marks."""
    said = facts.audit(version, folder)
    line = f'\n<p class="lead">{html.escape(said)}</p>' if said else ""
    return f"{_AUDIT}{line}\n{_AUDIT_END}"


def _picture(path, metadata, whole):
    words = caption_of(
        path.name, whole,
        images=len(metadata["model"]["element_shape"]) == 3, history=metadata["history"],
    )  # fmt: skip
    moves = path.suffix == MOVING
    name = f"{path.stem}-moving" if moves else path.stem
    return Picture(name, words, data_uri(path), moves)


def _not_found(whole):
    """What the doctor looked for and did not find; [] where that is not recorded."""
    found = {finding["problem"] for finding in whole["findings"]}
    return [name for name in whole.get("looked_for", ()) if name not in found]


def tables(whole: Mapping[str, Any]) -> list[Table]:
    """The groups of metrics of which there are numbers.

    Args:
        whole: of metrics.json.
    """
    protocol = whole.get("protocol", {})
    return [
        Table(
            group.title,
            list(columns.values()),
            [
                Row(
                    metric,
                    {
                        heading: value_of(whole, metric.keys.get(name, ""))
                        for name, heading in columns.items()
                    },
                    f"of {whole[metric.of]:,}" if metric.of and metric.of in whole else "",
                    [str(protocol[key]) for key in metric.protocol if key in protocol],
                )
                for metric in metrics
            ],
        )
        for group, columns, metrics in shown(whole)
    ]


def basis(protocol: Mapping[str, Any]) -> str:
    """What all numbers are of, in a sentence; "" where that is not recorded.

    Args:
        protocol: of metrics.json.
    """
    counts = protocol.get("rows", {})
    names = {
        "test": "test rows", "log_likelihood": "of them for the log-likelihood",
        "generated": "generated rows",
    }  # fmt: skip
    told = [f"{counts[key]:,} {words}" for key, words in names.items() if key in counts]
    given = protocol.get("condition")
    return f"{', '.join(told)}{f'; {given}' if given else ''}" if told or given else ""


def _others(whole):
    """The numbers that no table shows, nor stand beside one that it does."""
    in_tables = {key for _, _, rows in shown(whole) for one in rows for key in one.keys.values()}
    beside = {f"{key}{end}" for key in in_tables for end in _STATISTICS}
    return {
        key: _brief(value)
        for key, value in whole.items()
        if key not in in_tables | beside | _ELSEWHERE
    }


def _brief(value):
    if isinstance(value, list):
        return f"{len(value)} values, in metrics.json" if len(value) > 3 else str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _sentences(protocol):
    """The protocol as it was recorded: key -> words; the data card apart."""
    return {key: value for key, value in protocol.items() if isinstance(value, str)}
