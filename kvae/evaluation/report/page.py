"""HTML from templates: one file that needs no other, all that it is told escaped."""

import base64
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from kvae.evaluation.report.captions import SHOWN

_FLAG = re.compile(r"(--[a-z][a-z0-9-]*)")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("kvae.evaluation.report"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["flags"] = _with_flags
    return environment


def _with_flags(text: str) -> Markup:
    """A sentence, escaped, whose options stand out as code."""
    parts = _FLAG.split(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def rendered(template: str, **told: Any) -> str:
    """A page.

    Args:
        template: a file in templates/.
        **told: what it names.
    """
    return _environment().get_template(template).render(**told)


def data_uri(path: Path) -> str:
    """A file that a page can show, as its own address.

    Raises:
        OSError: it cannot be read.
    """
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{SHOWN[path.suffix]};base64,{content}"
