"""A report as one HTML file that fetches nothing and runs nothing.

What label files, policies and file names contribute is text, and is escaped where it enters the
page. Should something slip through, the page's own content security policy lets no script run
and nothing leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from imagesieve_server.offline.report.section import Section

CONTENT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
_STEERING = dict.fromkeys(
    (*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)), "\ufffd"
) | dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
"""What would steer a terminal that shows the file, or turn the direction of the text around."""
_STYLE = Path(__file__).with_name("page.css")


def page(*, title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """The whole file. ``title``, ``subtitle`` and ``footer`` are plain text."""
    body = "\n".join(
        f'<section id="{one.id}"><h2>{escape(one.title)}</h2>\n{one.html()}</section>'
        for one in sections
    )
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{escape(title)}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<div class="layout">
{_contents(sections)}
<main>
<header class="top"><h1>{escape(title)}</h1><p class="soft">{escape(subtitle)}</p></header>
{body}
<footer>{escape(footer)}</footer>
</main>
</div>
</body>
</html>
"""
    return text.translate(_STEERING)


def _contents(sections: Sequence[Section]) -> str:
    items = []
    for one in sections:
        inner = "".join(
            f'<li><a href="#{escape(anchor)}">{escape(text)}</a></li>'
            for anchor, text in one.entries
        )
        nested = f"<ol>{inner}</ol>" if inner else ""
        items.append(f'<li><a href="#{one.id}">{escape(one.title)}</a>{nested}</li>')
    return f'<nav class="contents" aria-label="Contents"><ol>{"".join(items)}</ol></nav>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are HTML; one that begins with ``<td`` or ``<th`` is taken as it is."""
    names = "".join(name if name.startswith("<th") else f"<th>{name}</th>" for name in head)
    lines = "".join(
        "<tr>"
        + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{names}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def paragraph(text: str, *, style: str = "") -> str:
    """Plain text as a paragraph."""
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"
