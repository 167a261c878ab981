"""How figures look: colours for the colour-blind, sizes that are read at page width, light and dark pages."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib
from matplotlib import colors
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.disk import files, paths
from zoo.format.escape import one_line

# Okabe and Ito's ("Color Universal Design", 2008), but for their black and yellow, which can't be read on both papers.
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
CATEGORIES = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"  # colour maps of numbers

TITLE_WIDTH = 70  # characters
DPI = 150


@dataclass(frozen=True)
class Theme:
    """Of everything but the data."""

    paper: str
    ink: str
    faint: str  # lines of the grid


LIGHT = Theme(paper="#ffffff", ink="#1f2328", faint="#d0d7de")
DARK = Theme(paper="#0d1117", ink="#e6edf3", faint="#3d444d")


def canvas(title: str, width: float = 8, height: float = 4.5) -> tuple[Figure, Axes]:
    """A figure with one drawing area: sizes in inches, of which 8 are a page's width."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot(axisbelow=True)
    # a name may hold dollars, which are no formula
    axes.set_title(textwrap.fill(one_line(title), TITLE_WIDTH), pad=12, parse_math=False)
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """No frame but the two axes, and faint lines behind the data."""
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LIGHT.faint)


def save(folder: Path, name: str, figure: Figure) -> None:
    """Write the figure as PNG and SVG for light pages, then for dark ones."""
    write(paths.picture(folder, name, "png"), figure)
    write(paths.picture(folder, name, "svg"), figure)
    with recoloured(figure, LIGHT, DARK):
        write(paths.picture(folder, f"{name}_dark", "png"), figure)
        write(paths.picture(folder, f"{name}_dark", "svg"), figure)


def write(path: Path, figure: Figure) -> None:
    """Write the same bytes for the same figure."""
    kind = path.suffix.removeprefix(".")
    content = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "zoo", "svg.fonttype": "path"}):
        figure.savefig(content, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)
    files.write_bytes(path, content.getvalue())


@contextmanager
def recoloured(figure: Figure, before: Theme, after: Theme) -> Iterator[None]:
    """The figure in another theme: what is black or white in it, or has the colours of the theme."""
    swap = {
        **dict.fromkeys((colors.to_hex("white"), before.paper), after.paper),
        **dict.fromkeys((colors.to_hex("black"), before.ink), after.ink),
        before.faint: after.faint,
    }
    undo = [change for artist in figure.findobj() for change in recolour(artist, swap)]
    try:
        yield
    finally:
        for artist, name, value in undo:
            getattr(artist, f"set_{name}")(value)


def recolour(artist: Artist, swap: dict[str, str]) -> Iterator[tuple[Artist, str, object]]:
    """Change the colours of an artist; what they were."""
    for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
        if not (hasattr(artist, f"get_{name}") and hasattr(artist, f"set_{name}")):
            continue
        value = getattr(artist, f"get_{name}")()
        if not colors.is_color_like(value):
            continue
        found, alpha = colors.to_hex(value), colors.to_rgba(value)[3]
        if found in swap and alpha > 0:
            getattr(artist, f"set_{name}")(colors.to_rgba(swap[found], alpha))
            yield artist, name, value
