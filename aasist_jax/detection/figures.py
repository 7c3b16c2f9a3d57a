"""What the figures about a recording share: names that people gave to files, and the PNG."""

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME_LETTERS = 60
DPI = 110


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
