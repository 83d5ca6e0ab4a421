"""How figures look, and how they are saved: SVG and PDF beside the page, the same SVG inside it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from dsmt_nnunet.files import write_bytes, write_text

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette: told apart by readers with any form of colour blindness."""
LINES = ("-", "--", "-.", ":")
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
NEGATIVE, POSITIVE, GREY = "#0072B2", "#D55E00", "#6b7280"
COLUMN_INCHES = 3.5
"""Width of one column of a journal."""

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "text.parse_math": False,  # names of groups may hold a dollar sign
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4b5563",
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.6,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "xtick.labelcolor": "#111827",
    "ytick.labelcolor": "#111827",
    "svg.fonttype": "none",
    "svg.hashsalt": "dsmt",
    "pdf.fonttype": 42,
}
_FONT_STACK = "'DejaVu Sans', Verdana, sans-serif"
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_NO_PDF_METADATA = {"CreationDate": None, "Creator": None, "Producer": None}
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_GLOBAL_STYLE = re.compile(r"\s*<defs>\s*<style type=\"text/css\">.*?</style>\s*</defs>", re.DOTALL)
_SIZE = re.compile(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"|(<svg [^>]*?)height="[^"]*" width="[^"]*"', re.DOTALL)


@dataclass(frozen=True)
class PageFigure:
    """A figure inside the page.

    Attributes:
        name: of its files, without ending.
        title: heading.
        caption: what is to be seen, in a sentence.
        svg: markup, safe to put into a page.
        is_wide: takes two columns.
    """

    name: str
    title: str
    caption: str
    svg: str
    is_wide: bool = False


class FigureFolder:
    """Saves figures as SVG and PDF, and gives the SVG for the page.

    Args:
        folder: made with the first figure.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(self, name: str, title: str, caption: str, draw: Callable[[], Figure], is_wide: bool = False) -> PageFigure:
        """Draws, saves `name.svg` and `name.pdf`, returns what the page shows."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with figure_style():
            figure = draw()
            text = svg_text(figure)
            figure.set_layout_engine(None)  # the places that were found for the SVG: finding them takes half the time
            stream = io.BytesIO()
            figure.savefig(stream, format="pdf", metadata=_NO_PDF_METADATA)
        write_bytes(self.folder / f"{name}.pdf", stream.getvalue())
        write_text(self.folder / f"{name}.svg", text)
        return PageFigure(name, title, caption, inline_svg(text, name, f"{title}. {caption}"), is_wide)


@contextmanager
def figure_style() -> Iterator[None]:
    """Settings of matplotlib inside the block."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def new_figure(width: float = COLUMN_INCHES, height: float = COLUMN_INCHES, **subplots: Any) -> tuple[Figure, Any]:
    """A figure of its own (no global state) with axes laid out without overlap; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**subplots)


def series_style(index: int) -> dict[str, Any]:
    """Colour and line of the n-th series; the line differs too, for prints in grey."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


def svg_text(figure: Figure) -> str:
    """The figure as SVG without date and author, its text kept as text."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=_NO_METADATA)
    text = _METADATA.sub("", stream.getvalue())
    return text.replace("'DejaVu Sans', sans-serif", _FONT_STACK).replace("'DejaVu Sans'", _FONT_STACK, 0)


def inline_svg(text: str, prefix: str, description: str) -> str:
    """SVG to put into a page: no prolog, no page-wide style, ids of its own, scaled to its place, described."""
    text = text[text.index("<svg") :]
    text = _SIZE.sub(lambda match: match.group(1) or match.group(2), _GLOBAL_STYLE.sub("", text), count=1)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(description, quote=True)}" ', 1)
