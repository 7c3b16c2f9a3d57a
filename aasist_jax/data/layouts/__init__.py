"""The layouts of data sets that can be read: every file in this folder is one.

To add a layout, add one file here that sets `LAYOUT = Layout(...)`. No other change is needed; configurations select it
by its name in `data_config.layout`.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError
from aasist_jax.runtime.members import by_name, find_members


@dataclass(frozen=True)
class Layout:
    """How one kind of data set is stored on disk, and how its lists of clips are read.

    Both functions take `database_path`, the configured path of the data set, and `track`, the challenge track (LA, PA
    or DF). A layout without tracks ignores the track.

    Attributes:
        name: the name in `data_config.layout`.
        expects: what `database_path` must be, in a few words, for messages.
        read: `read(database_path, split, track)` returns the clips of a split, always in the same order. It raises
            DataError if there is no such split, or if its list is missing or malformed.
        splits: `splits(database_path, track)` returns the names of the existing splits. It never raises: for a data set
            that cannot be read it returns none, and `read` reports the reason.
        takes_bonafide_is: whether `read` also takes `bonafide_is` by name, which says what numeric labels mean (see
            `DataConfig.bonafide_is`; None if it was not said).
    """

    name: str
    expects: str
    read: Callable[..., list[Utterance]]
    splits: Callable[[Path, str], Sequence[str]]
    takes_bonafide_is: bool = False


def find_layout(name: str) -> Layout:
    """Return the layout of that name.

    Raises:
        DataError: there is no such layout.
    """
    layouts = all_layouts()
    if name not in layouts:
        close = difflib.get_close_matches(name, layouts, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise DataError(f"data_config.layout: there is no layout {name!r}{hint} There are: {_described(layouts)}")
    return layouts[name]


def layout_of(database_path: Path) -> Layout:
    """Return the layout in which there are splits at this path.

    Raises:
        DataError: there are none in any layout, or some in several.
    """
    layouts = all_layouts()
    fitting = {name: layout for name, layout in layouts.items() if layout.splits(database_path, "LA")}
    if not fitting:
        raise DataError(f"{database_path}: holds no data set of a known layout. There are: {_described(layouts)}")
    if len(fitting) > 1:
        raise DataError(f"{database_path}: can be read in several layouts, {', '.join(fitting)}; give a CSV file")
    return next(iter(fitting.values()))


def _described(layouts: Mapping[str, Layout]) -> str:
    return "; ".join(f"{name!r} ({layout.expects})" for name, layout in layouts.items())


def all_layouts() -> dict[str, Layout]:
    """Return all layouts by name, in the order of the names.

    Raises:
        DataError: a file in the folder sets no `LAYOUT`, or two of them have the same name.
    """
    return by_name(find_members(__name__, "LAYOUT", Layout, DataError), DataError)
