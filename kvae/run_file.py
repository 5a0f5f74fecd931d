"""run.yaml: options of a run in a file, by the names and with the values that flags have.

The command line beats the file, the file beats the preset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from kvae import __version__, own_files
from kvae.command import program
from kvae.config import (
    MODEL_PARTS,
    OPTIONS,
    PARTS,
    PRESETS,
    Config,
    before,
    chosen_parts,
    options_of_parts,
    resolve,
)
from kvae.errors import UsageError, brief, did_you_mean, one_line
from kvae.files import command_line
from kvae.options import Option, flag, one_of
from kvae.registry import GIVEN, declared
from kvae.saying import say

FLAG = "--config"
PRESET = "preset"
#: Which release wrote a file of all options; those that came later are not in it.
WRITTEN_BY = "written-by-kvae"
#: Bytes of a file at most; a run whose options take more writes none.
MAX_BYTES = 2**14
_MOST_BRACKETS = 200  # that open: PyYAML takes minutes over thousands, one in the other
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NOTHING = ("", "~", "null")
_STRING = "tag:yaml.org,2002:str"
_WRITTEN_BY = WRITTEN_BY.replace("-", "_")
_OTHERS = ("config", "resume", "fresh", "dry_run", "import", "debug", "help")


@dataclass(frozen=True)
class RunFile:
    """What a file says.

    Args:
        name: of the file, as it was given.
        values: option -> text, texts of a list, or a switch.
        lines: option -> its line, from 1.
        preset: a key of `kvae.config.PRESETS`; None: it names none.
        written_by: the release of kvae that wrote all options of a run; "": a user wrote it.
    """

    name: str
    values: Mapping[str, Any]
    lines: Mapping[str, int]
    preset: str | None = None
    written_by: str = ""

    def told(self, name: str) -> str:
        """An option of the file, for messages."""
        return _told(self.name, self.lines[name], _key(name))


class Taken(NamedTuple):
    """What a file and a command line ask for together; arguments of `kvae.config.resolve`.

    Args:
        given: option -> value.
        preset: that one of them names, or None.
        shown: the name of an option as it was written, for messages.
        origins: option -> where its value comes from, of those of the file.
    """

    given: dict[str, Any]
    preset: str | None
    shown: Callable[[str], str] = flag
    origins: Mapping[str, str] = MappingProxyType({})

    def config(self) -> Config:
        """The options of the run.

        Raises:
            UsageError: as `kvae.config.resolve`.
        """
        return resolve(self.given, self.preset, shown=self.shown, origins=self.origins)


def taken(
    path: str | None, given: Mapping[str, Any], preset: str | None = None,
    others: Sequence[Mapping[str, Any]] = (),
) -> Taken:  # fmt: skip
    """The options of a run: default < preset < file < given.

    What the file says of a part is left out, with a note, where another part is chosen. What is
    younger than the release that wrote it is as it was before: no preset says otherwise.

    Args:
        path: of the file; None: there is none.
        given: option -> value, as `kvae.config.resolve` takes it.
        preset: as there; None: that of the file, if it names one.
        others: parts that may be chosen in place of those: option -> value.

    Raises:
        UsageError: as `kvae.config.resolve` and `read`.
    """
    if path is None:
        return Taken(dict(given), preset)
    file = read(path)

    def shown(name: str) -> str:
        return file.told(name) if name in file.lines and name not in given else flag(name)

    there = options_of_parts(chosen_parts(file.values, file.preset, shown))
    is_older = file.written_by not in ("", __version__)
    younger = before({**_base(), **there}, file.values) if is_older else {}
    own = {**younger, **file.values}
    asked = preset or file.preset
    wanted: set[str] = set()
    for parts in ({}, *others):
        wanted |= options_of_parts(chosen_parts({**own, **given, **parts}, asked, shown)).keys()
    left = [name for name in own if name in there and name not in wanted]
    for name in left:
        del own[name]
    if told := [_key(name) for name in left if name in file.values]:
        say(f"note: {', '.join(told)} of {path} left out: of parts that are not chosen")
    origins = {
        name: f"of {path}" if name in file.values else f"as before kvae had it, which wrote {path}"
        for name in own
        if name not in given
    }
    return Taken({**own, **given}, asked, shown, origins)


def read(path: str) -> RunFile:
    """Read a file.

    Scalars are texts, as those of a command line: 007 is no 7, and 1e-3 is a number.

    Raises:
        UsageError: it cannot be read, is too large or no mapping of options to values; or an option
            is unknown, stands there twice, or has a value of another kind.
    """
    nodes = _nodes(path)
    known = _known()
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, value in nodes:
        line = key.start_mark.line + 1
        name = _name(path, key, line, known)
        told = _told(path, line, _key(name))
        if name in lines:
            raise UsageError(f"{told} stands there twice, first in line {lines[name]}")
        lines[name] = line
        values[name] = _value(told, value, known.get(name, []))
    preset, written_by = values.pop(PRESET, None), values.pop(_WRITTEN_BY, "")
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"{_told(path, lines[PRESET], PRESET)}: {one_of(PRESETS, preset)}")
    return RunFile(path, values, lines, preset, written_by)


def text_of(config: Config) -> str | None:
    """The text of a file that asks for the same run.

    Args:
        config: of the run.

    Returns:
        The text; None: parts or data were given in Python, or `read` would refuse the file for its
        length, which a note says.
    """
    members = [registry[getattr(config, kind)] for kind, registry in MODEL_PARTS.items()]
    of_arrays = config.dataset == "arrays" and config.data_dir is None
    if of_arrays or any(member.help == GIVEN for member in members):
        return None
    import yaml

    values = {WRITTEN_BY: __version__} | {
        _key(name): list(value) if isinstance(value, tuple) else value
        for name, value in config.to_dict().items()
    }
    words = [*program("train"), FLAG, "FILE", *own_files.words()]
    head = (
        "# All options of a run of kvae. Typed with this file, the same run is made again:\n"
        f"#   {one_line(command_line(words))}\n"
    )
    text: str = head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10**6)
    if too_much := _too_much(text.encode()):
        say(f"note: run.yaml is left out: {too_much}")
        return None
    return text


def _too_much(content: bytes) -> str:
    """What a file has too much of to be read; "": nothing."""
    if len(content) > MAX_BYTES:
        return f"a file of options has at most {MAX_BYTES:,} bytes; received more"
    if content.count(b"[") + content.count(b"{") > _MOST_BRACKETS:
        return (
            f"values and lists of values are wanted, with at most {_MOST_BRACKETS} of [ and {{; "
            "received more"
        )
    return ""


def _key(name: str) -> str:
    return name.replace("_", "-")


def _told(path: str, line: int, key: str) -> str:
    return f"{path}, line {line}: {key}"


def _known() -> dict[str, list[Option]]:
    """Option -> its declarations, of all parts."""
    found = {name: [option] for name, option in _base().items()}
    for name, kinds in declared(PARTS).items():
        own = [option for members in kinds.values() for option in members.values()]
        found[name] = [*found.get(name, []), *own]
    return found


def _base() -> dict[str, Option]:
    """The options that are no part's own, by name."""
    return {option.name: option for group in OPTIONS.values() for option in group}


def _nodes(path: str) -> Any:
    """Pairs of a key and a value, as nodes of YAML."""
    import yaml

    content = _content(path)
    try:
        root = yaml.compose(content, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        why = one_line(str(error.problem or error.context), 200)
        raise UsageError(f"{FLAG} {path}{line}: this is no YAML: {why}") from None
    except (yaml.YAMLError, RecursionError) as error:
        why = one_line(str(error), 200)
        raise UsageError(f"{FLAG} {path}: this is no YAML: {why}") from None
    if not isinstance(root, yaml.MappingNode):
        kinds = {yaml.ScalarNode: "a text", yaml.SequenceNode: "a list"}
        raise UsageError(
            f"{FLAG} {path}: a file of lines such as 'latent-dim: 32' is wanted; received "
            f"{kinds.get(type(root), 'nothing')}"
        )
    return root.value


def _content(path: str) -> str:
    place = Path(path)
    try:
        if not place.exists():
            raise UsageError(f"{FLAG}: no such file: {path}")
        if not place.is_file():  # a pipe might never end
            raise UsageError(f"{FLAG}: no file, but a folder or a pipe: {path}")
        with place.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{FLAG}: cannot read {path}: {error.strerror}") from error
    if too_much := _too_much(content):
        raise UsageError(f"{FLAG} {path}: {too_much}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{FLAG} {path}: UTF-8 is wanted; byte {error.start} is none") from None


def _name(path: str, key: Any, line: int, known: Mapping[str, Any]) -> str:
    text = key.value if isinstance(key.value, str) else ""
    name = text.replace("-", "_")
    if key.tag == _STRING and (name in known or name in (PRESET, _WRITTEN_BY)):
        return name
    if name in _OTHERS:
        raise UsageError(f"{_told(path, line, text)} is for the command line alone")
    choices = [_key(one) for one in (*known, PRESET)]
    raise UsageError(
        f"{_told(path, line, brief(text))} is no option; those of kvae train --help are allowed, "
        f"without '--'{did_you_mean(text, choices)}"
    )


def _value(told: str, node: Any, options: list[Option]) -> Any:
    """A node as the command line has it: text, a list of texts, or a switch."""
    takes_list = any(isinstance(option.default, tuple) for option in options)
    if isinstance(node.value, list):
        texts = [one.value for one in node.value if getattr(one, "tag", "") == _STRING]
        if takes_list and len(texts) == len(node.value) and node.tag == "tag:yaml.org,2002:seq":
            return texts
        kind = "a list" if node.id == "sequence" else "a mapping"
        wanted = "a list of texts or numbers" if takes_list else "one value"
        raise UsageError(f"{told} takes {wanted}; received {kind}")
    if node.tag != _STRING:
        raise UsageError(f"{told}: a value without a tag is wanted; received {brief(node.tag)}")
    text: str = node.value
    if any(isinstance(option.default, bool) for option in options):
        if text.lower() not in _SWITCH:
            raise UsageError(f"{told} takes true or false; received {brief(text)}")
        return _SWITCH[text.lower()]
    # As the flag alone, and --no-binarize before there were several ways.
    if any(option.bare for option in options) and text.lower() in _SWITCH:
        return _SWITCH[text.lower()]
    if node.style is None and text.lower() in _NOTHING:
        if any(option.default is None for option in options):
            return None
        if options:
            raise UsageError(f"{told} takes {options[0].kind.wanted}; received nothing")
    return text
