"""A picture once as SVG that follows the page's colours, once as PNG and as PDF."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_NAME_WIDTH = 26


@dataclass(frozen=True)
class Palette:
    """Colours of a picture; for SVG each stands for a variable of the page's style sheet."""

    ink: str
    muted: str
    line: str
    real: str
    methods: tuple[str, ...]


LIGHT = Palette("#1d232b", "#5c6773", "#d5dbe1", "#9aa7b4", ("#0b62b8", "#c2570c", "#157a5a"))
_MARKS = Palette("#010101", "#020202", "#030303", "#040404", ("#050505", "#060606", "#070707"))
_VARIABLES = {
    _MARKS.ink: "ink", _MARKS.muted: "muted", _MARKS.line: "line", _MARKS.real: "real",
    _MARKS.methods[0]: "m1", _MARKS.methods[1]: "m2", _MARKS.methods[2]: "m3",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        name: Stem of its PNG file.
        svg: SVG element for the page, without an XML head.
        png: The same in the light colours.
        pdf: The same for a paper, as vectors.
        alt: What it shows, in words.
        caption: How to read it.
    """

    name: str
    svg: str
    png: bytes
    pdf: bytes
    alt: str
    caption: str


def draw(name: str, paint: Callable[[Palette], Any], alt: str, caption: str) -> Picture:
    """Return a picture of a figure that `paint` makes in given colours."""
    with _style(LIGHT):
        figure = paint(LIGHT)
        png = _save(figure, "png")
        # The layout was found while drawing the first; finding it takes half of the time.
        figure.set_layout_engine("none")
        pdf = _save(figure, "pdf")
    with _style(_MARKS):
        svg = _save(paint(_MARKS), "svg").decode()
    return Picture(name, _themed(svg, name), png, pdf, alt, caption)


@contextmanager
def _style(palette: Palette) -> Iterator[None]:
    import matplotlib as mpl

    # matplotlib's own type lists every key by name.
    settings: Any = {
        # A column called "$a$" is a name, not a formula.
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "rddg",
        "pdf.fonttype": 42,
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.edgecolor": palette.line,
        "axes.titlecolor": palette.ink,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": palette.muted,
        "ytick.color": palette.muted,
        "xtick.labelcolor": palette.muted,
        "ytick.labelcolor": palette.muted,
        "legend.frameon": False,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A script that the picture's font lacks shows boxes in the PNG; the page's text is whole.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def _save(figure: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "png":
        figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    elif kind == "pdf":
        # Without a date the same run gives the same bytes.
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None})
    else:
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _themed(svg: str, name: str) -> str:
    """Return the SVG element alone, coloured by the page, with ids that are its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    own = hashlib.sha256(name.encode()).hexdigest()[:8]
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{own}-", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*pt"', "", head)
    for mark, variable in _VARIABLES.items():
        rest = rest.replace(mark, f"var(--{variable})")
    return f'{head} aria-hidden="true" focusable="false">{rest}'


def shorten(text: str, width: int = _NAME_WIDTH) -> str:
    """Return a name on one line, cut in the middle where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 9]}…{line[-8:]}"
