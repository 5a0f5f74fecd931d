"""train.py: its options, read off the parts that can be chosen."""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from kvae import backend, cli, own_files, run_file, workflow
from kvae.config import OPTIONS, PARTS, PRESETS, Config, default_of
from kvae.errors import IncompleteError
from kvae.options import Option, flag
from kvae.registry import declared

#: kind -> member -> its declaration of an option.
_Owners = dict[str, dict[str, Option]]


def main(argv: Sequence[str], prog: str = "train.py") -> None:
    """Read the arguments, then train (or only describe) what they ask for."""
    config, dry_only, resume = arguments(own_files.taken(argv), prog)
    if not dry_only:
        vae = workflow.run(config, resume=resume)
        if vae is not None and vae.trained.missing:
            version = vae.trained.version
            raise IncompleteError(f"{version.path} is published", vae.trained.missing, version)
        return
    backend.use(config.backend)
    from kvae.training import preflight

    found = preflight.check(config, dry_run=True)
    backend.quiet_import("kvae.training.dry_run").dry_run(config, found)


def arguments(argv: Sequence[str], prog: str = "train.py") -> tuple[Config, bool, bool | None]:
    """Read the arguments of train.py.

    Returns:
        The configuration, whether this is a dry run, and whether a run goes on: see
        `kvae.training.keeping.resume.find`.

    Raises:
        UsageError: an unknown option or a value that is not allowed.
    """
    parser = cli.Parser(
        prog=prog,
        description="Train a variational autoencoder and publish it as a SavedModel.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_epilog(),
        argument_default=argparse.SUPPRESS,
    )
    add_options(parser)
    other = parser.add_argument_group("other")
    again = other.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true",
        help="go on with the run of this --name: what an interrupted one does anyhow, with this "
        "option one that was published too, where there are more --epochs now",
    )  # fmt: skip
    again.add_argument(
        "--fresh", action="store_true", help="start anew, whatever an interrupted run left"
    )
    other.add_argument(
        "--dry-run", action="store_true",
        help="print the configuration, the model and the time of an epoch, and stop",
    )  # fmt: skip
    cli.add_import(other)
    cli.add_quiet(other)
    cli.add_debug(other)
    given = cli.parsed(parser, argv)
    dry_run, preset = given.pop("dry_run", False), given.pop("preset", None)
    resume, fresh = given.pop("resume", None), given.pop("fresh", False)
    file = given.pop("config", None)
    config = run_file.taken(file, given, preset).config()
    return config, dry_run, False if fresh else resume


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --config, --preset and all options of a run to a parser, in their groups."""
    parser.add_argument(
        run_file.FLAG, metavar="FILE",
        help="options from a YAML file, by name, such as 'latent-dim: 32': the command line beats "
        "it, it beats the preset; saved/NAME/NUMBER/run.yaml makes that run again",
    )  # fmt: skip
    parser.add_argument(
        "--preset", metavar="NAME",
        help=f"a set of values for the options below: {', '.join(PRESETS)} "
        "(default: the one with the dataset's name)",
    )  # fmt: skip
    of_parts = declared(PARTS)
    for name, options in OPTIONS.items():
        group = parser.add_argument_group(name)
        for option in options:
            _add(group, option, {})
            for own in [own for own, kinds in of_parts.items() if option.name in kinds]:
                owners = of_parts.pop(own)
                _add(group, next(iter(owners[option.name].values())), owners)


def _add(group: Any, option: Option, owners: _Owners) -> None:
    """Add an option that is no part's own, or that of its `owners`."""
    help_text = option.help
    if option.choices is not None:
        help_text += f": {', '.join(option.choices)}"
    if owners:
        help_text += f"; of {' and '.join(_named(kind, owners[kind]) for kind in owners)}"
    help_text = (help_text + _default_text(option, owners)).replace("%", "%%")
    if isinstance(option.default, bool):
        group.add_argument(flag(option.name), action=argparse.BooleanOptionalAction, help=help_text)
    else:
        without: dict[str, Any] = {"nargs": "?", "const": option.bare} if option.bare else {}
        group.add_argument(flag(option.name), metavar=option.metavar, help=help_text, **without)


def _named(kind: str, members: dict[str, Option]) -> str:
    several = "s" if len(members) > 1 else ""
    return f"the {kind}{several} {', '.join(map(repr, members))}"


def _default_text(option: Option, owners: _Owners) -> str:
    by_preset = option.name != "dataset" and any(option.name in own for own in PRESETS.values())
    defaults: dict[str, list[str]] = {}
    for members in owners.values() or ({"": option},):
        for member, own in members.items():
            defaults.setdefault(_shown(default_of(own)), []).append(member)
    several = len(defaults) > 1
    text = ", ".join(
        f"{value} ({', '.join(members)})" if several else value
        for value, members in defaults.items()
    )
    if not text:
        return " (default: the preset's)" if by_preset else ""
    return f" (default: the preset's, or {text})" if by_preset else f" (default: {text})"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _epilog() -> str:
    """The registries' own lines, and what each preset sets."""
    lines = []
    for option in (option for group in OPTIONS.values() for option in group):
        members = option.choices.items() if isinstance(option.choices, Mapping) else ()
        rows = [(name, member.help) for name, member in members]
        if rows:
            lines += [f"{flag(option.name)}:", *(f"  {name:20} {text}" for name, text in rows), ""]
    lines.append("presets (the command line beats them):")
    for name, values in PRESETS.items():
        lines.append(f"  {name:16}{_wrapped(values)}")
    return "\n".join(lines)


def _wrapped(values: dict[str, Any]) -> str:
    text = "  ".join(f"{key}={value}" for key, value in values.items())
    return ("\n" + " " * 18).join(textwrap.wrap(text, 78))
