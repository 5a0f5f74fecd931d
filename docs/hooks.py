"""What mkdocs does to pages.

Formulas become MathML, which browsers show without a program. Names of one word stay in one line.
The table of contents leaves out the commands that sections were made with.
"""

import re

from latex2mathml.converter import convert

_LONGEST_NAME = 30  # letters: a narrow phone shows as many
_NAME = re.compile(rf"<code>(?=[^<\s]{{1,{_LONGEST_NAME}}}</code>)")
_MADE_WITH = re.compile(r" \(.*\bpython .*\)$")
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)


def on_page_markdown(markdown, page, **_):
    """Write the formulas of the page of formulas, $inline$ and $$displayed$$, as MathML."""
    if page.file.src_uri != "mathematics.md":
        return markdown
    return _FORMULA.sub(_mathml, markdown)


def on_page_content(html, page, **_):
    """Mark code that is one name, and shorten the table of contents."""
    _shorten(page.toc)
    return _NAME.sub('<code class="name">', html)


def _shorten(entries):
    for entry in entries:
        entry.title = _MADE_WITH.sub("", entry.title)
        _shorten(entry.children)


def _mathml(match):
    displayed, inline = match.groups()
    if inline:
        return f"<span>{convert(_spaced(inline))}</span>"  # a line may begin with one
    return f'<div class="formula">{convert(_spaced(displayed), display="block")}</div>'


def _spaced(formula):
    return formula.strip().replace(r"\log ", r"\log\, ")
