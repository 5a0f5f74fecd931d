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
        return convert(inline.strip())
    return f'<div style="overflow-x: auto">{convert(displayed.strip(), display="block")}</div>'
