"""Style of the figures, line styles of the arms, and reproducible output files.

Files contain no dates, use a fixed SVG salt, and ignore the user's matplotlibrc. matplotlib is imported inside
functions, so that reading a report does not load it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 200

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so output is the same on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.35",
    "axes.linewidth": 0.8,
    "text.parse_math": False,  # print $ in names literally
    "pdf.fonttype": 42,  # embed TrueType fonts, so that text can be selected
    "svg.hashsalt": "sfpo_bench",
}


@dataclass(frozen=True, slots=True)
class Look:
    """Line style and marker of an arm, which distinguish it without color."""

    color: str
    dashes: Literal["solid"] | tuple[float, tuple[float, ...]]
    marker: str


# Okabe and Ito's palette for color-blind readers, without yellow, which is invisible on white.
_LOOKS = (
    Look("#0072B2", "solid", "o"),
    Look("#D55E00", (0, (6, 2)), "s"),
    Look("#009E73", (0, (1.5, 1.5)), "^"),
    Look("#CC79A7", (0, (6, 2, 1.5, 2)), "v"),
    Look("#E69F00", (0, (3, 1.5)), "P"),
    Look("#56B4E9", (0, (8, 2, 1.5, 2, 1.5, 2)), "X"),
    Look("#000000", (0, (10, 3)), "*"),
)

TEXT_GREY = "0.25"
MEAN_LINE: dict[str, Any] = {"linewidth": 1.9, "markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.7}
TRIGGER_MARK: dict[str, Any] = {"marker": "D", "markersize": 4.2, "markerfacecolor": "white", "markeredgewidth": 1.0}


def look(order: int) -> Look:
    """Return the style of the arm at display position `order` (from 0); the eighth repeats the first."""
    return _LOOKS[order % len(_LOOKS)]


def mean_style(of: Look) -> dict[str, Any]:
    """Return the arguments of `plot` for an arm's mean line."""
    return {"color": of.color, "linestyle": of.dashes, "marker": of.marker, **MEAN_LINE}


def marks_every(points: int, order: int) -> tuple[int, int]:
    """Return `markevery` for about ten markers on a line, staggered between arms."""
    every = max(1, round(points / 10))
    return min(order * every // 4, every - 1), every


@contextmanager
def styled() -> Iterator[None]:
    """Apply this project's matplotlib style inside the context."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def empty_figure(width: float, height: float) -> Figure:
    """Return a figure of that size in inches without pyplot, so that no window system is used."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def files_of(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """Return the figure as `png` (200 dpi), `pdf` (fonts embedded) and `svg` (text as outlines), by suffix."""
    metadata = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with styled():
        figure = draw()
        return {kind: _rendered(figure, kind, extra) for kind, extra in metadata.items()}


def _rendered(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()
