"""What the figures about a recording share: names that people gave to files, and the PNG."""

import functools
import io
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME_LETTERS = 60
DPI = 110


def new_figure(width: float, height: float) -> "Figure":
    """A figure of so many inches that a notebook shows although pyplot, which keeps every figure, has no part in it."""
    figure: Figure = _shown_figure()(figsize=(width, height), layout="constrained")
    return figure


@functools.cache
def _shown_figure() -> Any:
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        def _repr_png_(self) -> bytes:
            return png_of(self)

    return ShownFigure


def plain(name: str) -> str:
    """A file name for a figure's title: printable, of bounded length, and never taken for a formula."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    if len(printable) > NAME_LETTERS:
        printable = f"{printable[: NAME_LETTERS // 2]}…{printable[-NAME_LETTERS // 2 :]}"
    return printable.replace("$", r"\$")


def png_of(figure: "Figure") -> bytes:
    """A figure as the content of a PNG; letters that the font lacks become boxes, without a warning for each."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()
