"""A registry that is a folder: what lies in it, in order, and one line about what does not belong there."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aasist_jax.errors import DataError
from aasist_jax.runtime.members import by_name, find_members


@dataclass(frozen=True)
class Tool:
    name: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "outer_of_tools" / "tools"
    (package / "saw").mkdir(parents=True)
    for place in (package.parent, package):
        (place / "__init__.py").touch()
    write(package / "saw" / "__init__.py", "z")
    write(package / "axe.py", "y")
    write(package / "zip.py", "x")
    yield package
    for name in [name for name in sys.modules if name.startswith("outer_of_tools")]:
        del sys.modules[name]


def write(path: Path, name: str) -> None:
    path.write_text(f"from {__name__} import Tool\nTOOL = Tool({name!r})\n")


def test_members_come_by_file_and_by_name(folder: Path) -> None:
    found = find_members("outer_of_tools.tools", "TOOL", Tool, DataError)
    files = ["tools/axe.py", "tools/saw/__init__.py", "tools/zip.py"]
    assert list(found.items()) == list(zip(files, map(Tool, "yzx"), strict=True))
    assert list(by_name(found, DataError).items()) == [(name, Tool(name)) for name in "xyz"]
    packages = find_members("outer_of_tools.tools", "TOOL", Tool, DataError, packages_only=True)
    assert packages == {"tools/saw/__init__.py": Tool("z")}


@pytest.mark.parametrize("content", ["", "TOOL = 'x'"])
def test_a_file_that_is_no_member_is_told(folder: Path, content: str) -> None:
    (folder / "new.py").write_text(content)
    with pytest.raises(DataError) as told:
        find_members("outer_of_tools.tools", "TOOL", Tool, DataError)
    assert str(told.value) == "tools/new.py: sets no TOOL = Tool(...), as everything in that folder must"
    assert find_members("outer_of_tools.tools", "TOOL", Tool, DataError, packages_only=True)


def test_a_name_that_is_taken_is_told(folder: Path) -> None:
    write(folder / "new.py", "x")
    found = find_members("outer_of_tools.tools", "TOOL", Tool, DataError)
    with pytest.raises(DataError, match=r"^tools/zip\.py: another file has the name 'x' already; choose a new name$"):
        by_name(found, DataError)
