"""The only module that imports matplotlib. Figures are drawn with the library's default settings.

Matplotlib reads a file named matplotlibrc in the current folder during its import. That file may come from a stranger,
so the import runs in the folder of the library's own matplotlibrc.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from graphcnn.common.replace import atomic_write
from graphcnn.common.text import printable

DPI = 110


@contextmanager
def _in_folder_of_defaults() -> Iterator[None]:
    """Make the folder of matplotlib's own matplotlibrc the current folder while the block runs."""
    spec = importlib.util.find_spec("matplotlib")
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or []]
    previous = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        for folder in folders:
            os.chdir(folder / "mpl-data" if (folder / "mpl-data").is_dir() else folder)
        yield
    finally:
        os.fchdir(previous)
        os.close(previous)


with _in_folder_of_defaults():
    import matplotlib
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.ticker import MaxNLocator

__all__ = ["DPI", "Axes", "Figure", "MaxNLocator", "can_draw", "colormaps", "drawing", "picture", "plain", "text_width"]


class ShownFigure(Figure):
    """A figure that a notebook shows, without matplotlib's backend for notebooks."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure; matplotlib has its default settings while the block runs.

    Args:
        width: width in inches.
        height: height in inches.
    """
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg"}):
        yield ShownFigure(figsize=(width, height), dpi=DPI, layout="constrained")  # no global state of pyplot


@contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure and write it as a PNG file at the end of the block; see `drawing`."""
    with drawing(width, height) as figure:
        yield figure
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file; an error leaves the older file unchanged."""
    with warnings.catch_warnings(), atomic_write(path) as file:
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the font lacks characters of a class name
        figure.savefig(file, format="png")


def _default_font() -> FT2Font:
    return FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")


@functools.cache
def _characters() -> frozenset[int]:
    """Return the code points of the characters that the default font has."""
    return frozenset(_default_font().get_charmap())


def text_width(lines: Iterable[str], size: float) -> float:
    """Return the width in inches of the widest line in the default font; size: of the font, in points."""
    font = _default_font()
    font.set_size(size, DPI)

    def width(line: str) -> float:
        font.set_text(line)
        return font.get_width_height()[0] / 64 / DPI  # the font counts 64ths of a pixel

    return max(map(width, lines), default=0.0)


def can_draw(text: str) -> bool:
    """Return whether the default font has all characters of a text. Matplotlib draws a box for any other character."""
    return _characters().issuperset(map(ord, text))


def plain(text: str) -> str:
    """Return a name as matplotlib text: control characters and dollar signs are escaped.

    Matplotlib would render text between two dollar signs as a formula.
    """
    return printable(text).replace("$", r"\$")
