# This file is part of meas_morphology.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# This program is free software: you can redistribute it and/or modify
# it under the terms of the GNU General Public License as published by
# the Free Software Foundation, either version 3 of the License, or
# (at your option) any later version.
#
# This program is distributed in the hope that it will be useful,
# but WITHOUT ANY WARRANTY; without even the implied warranty of
# MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
# GNU General Public License for more details.
#
# You should have received a copy of the GNU General Public License
# along with this program.  If not, see <https://www.gnu.org/licenses/>.
"""Pages of text, tables and plots in one HTML file that needs no other."""

from __future__ import annotations

__all__ = ("Cell", "HtmlPage")

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

type Cell = str | int | float | None

_STYLE = """
body { font: 15px/1.5 sans-serif; color: #222; max-width: 74rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 0.6rem; }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 13px; }
th, td { padding: 0.15rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
figure { margin: 1rem 0; }
figcaption, caption { color: #555; font-size: 13px; text-align: left; }
pre { background: #f4f4f4; padding: 0.7rem; overflow-x: auto; font-size: 12px; }
"""


class HtmlPage:
    """One page, written from top to bottom.

    Parameters
    ----------
    title
        Heading of the page.

    Notes
    -----
    Pictures are part of the file, and nothing is fetched from elsewhere.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str, *, level: int = 2) -> None:
        """Add a heading; the page's own is of level 1."""
        self._parts.append(f"<h{level}>{html.escape(text)}</h{level}>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def preformatted(self, text: str) -> None:
        """Add lines that stay as they are."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Add a table.

        Parameters
        ----------
        header
            Names of the columns.
        rows
            Its rows. Floats are shown to three places; None and NaN as
            nothing.
        """
        head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = "\n".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(cell))}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        self._parts.append(f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>")

    def figure(self, figure: Any, caption: str = "") -> None:
        """Add a figure of matplotlib, as vectors."""
        import matplotlib

        buffer = io.BytesIO()
        # The same figure is the same text.
        with matplotlib.rc_context({"svg.hashsalt": "morphology"}):
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        self._picture(buffer.getvalue(), "svg+xml", caption)

    def png(self, data: bytes, caption: str = "") -> None:
        """Add a picture, the bytes of a PNG file."""
        self._picture(data, "png", caption)

    def _picture(self, data: bytes, kind: str, caption: str) -> None:
        # In an image of its own the names inside a drawing can't clash.
        source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        text = html.escape(caption)
        self._parts.append(
            f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'
        )

    def text(self) -> str:
        """Return the page."""
        head = f'<meta charset="utf-8"><title>{html.escape(self._title)}</title><style>{_STYLE}</style>'
        return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(
            [*self._parts, "</body></html>\n"]
        )

    def write(self, path: str | Path) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.text(), encoding="utf-8")


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.3f}" if math.isfinite(cell) else ""
    return str(cell)
