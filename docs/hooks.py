"""What mkdocs does to pages: formulas become MathML, which browsers show without a program."""

import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)


def on_page_markdown(markdown, page, **_):
    """Write the formulas of the page of formulas, $inline$ and $$displayed$$, as MathML."""
    if page.file.src_uri != "mathematics.md":
        return markdown
    return _FORMULA.sub(_mathml, markdown)


def _mathml(match):
    displayed, inline = match.groups()
    if inline:
        return f"<span>{convert(_spaced(inline))}</span>"  # a line may begin with one
    return (
        f'<div style="overflow: auto hidden">{convert(_spaced(displayed), display="block")}</div>'
    )


def _spaced(formula):
    return formula.strip().replace(r"\log ", r"\log\, ")
