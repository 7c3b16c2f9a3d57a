"""The data sets that can be read: one file a layout, found by lying in this folder.

To add a layout, add one file here that sets `LAYOUT = Layout(...)`. Nothing else has to know of it: a configuration
names it as `data_config.layout`.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError


@dataclass(frozen=True)
class Layout:
    """How one kind of data set lies on the disk, and how its lists of clips are read.

    Both functions are given `database_path`, what the configuration says of the place of the data set, and `track`, its
    challenge track (LA, PA or DF). A layout of a data set without tracks ignores the track.

    Attributes:
        name: What `data_config.layout` calls it.
        expects: What `database_path` must be, in a few words, for messages.
        read: `read(database_path, split, track)` gives the clips of a split, in an order that never changes. It raises
            DataError where there is no such split, and where its list is missing or malformed.
        splits: `splits(database_path, track)` names the splits that are there. It raises nothing: of a data set that
            cannot be read it names none, and `read` says what is wrong.
    """

    name: str
    expects: str
    read: Callable[[Path, str, str], list[Utterance]]
    splits: Callable[[Path, str], Sequence[str]]


def find_layout(name: str) -> Layout:
    """The layout of that name.

    Raises:
        DataError: there is none.
    """
    layouts = all_layouts()
    if name not in layouts:
        close = difflib.get_close_matches(name, layouts, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        known = "; ".join(f"{layout.name!r} ({layout.expects})" for layout in layouts.values())
        raise DataError(f"data_config.layout: there is no layout {name!r}{hint} There are: {known}")
    return layouts[name]


def all_layouts() -> dict[str, Layout]:
    """Every layout by its name, in the order of the names.

    Raises:
        DataError: a file of the folder sets no `LAYOUT`, or two of them have one name.
    """
    layouts: dict[str, Layout] = {}
    for module in pkgutil.iter_modules(__path__):
        layout = getattr(importlib.import_module(f"{__name__}.{module.name}"), "LAYOUT", None)
        if not isinstance(layout, Layout):
            raise DataError(f"layouts/{module.name}.py: sets no LAYOUT = Layout(...), which makes a file here a layout")
        if layout.name in layouts:
            raise DataError(f"layouts/{module.name}.py: another file has the name {layout.name!r} already")
        layouts[layout.name] = layout
    return dict(sorted(layouts.items()))
