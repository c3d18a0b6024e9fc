"""A small HTML page of tables and figures that needs no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metabench_py.storage import write_text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #e3e3e3; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { color: #666; font-weight: 600; } img { max-width: 100%; height: auto; }
code { font-size: .85em; color: #555; }
"""


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes
    ----------
    text
        Paragraphs.
    table
        Rows of cells; the first is the head. Empty: none.
    figure
        A PNG file to put in; None: none.
    """

    title: str
    text: tuple[str, ...] = ()
    table: tuple[tuple[object, ...], ...] = ()
    figure: Path | None = None


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(line)}</p>" for line in section.text]
        if section.table:
            parts.append(_table(section.table))
        if section.figure is not None:
            parts.append(_image(section.figure))
    write_text(path, "\n".join([*parts, "</body></html>", ""]))


def _table(rows: tuple[tuple[object, ...], ...]) -> str:
    def row(cells: tuple[object, ...], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(_cell(cell))}</{tag}>" for cell in cells)

    head, *rest = rows
    body = "\n".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rest)
    return f"<table><thead><tr>{row(head, 'th')}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="" src="data:image/png;base64,{data}">'
