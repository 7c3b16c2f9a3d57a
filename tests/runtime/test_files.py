"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
import threading
from pathlib import Path

import pytest

from aasist_jax.runtime.files import read_text, replacing, sha256_of, write_bytes, write_text


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with contextlib.suppress(KeyboardInterrupt), replacing(path) as scratch:
        scratch.write_text("half of the n")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
    write_bytes(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    write_text(path, "through")
    reader.join(10)
    assert read == ["through"]
    assert path.is_fifo()


def test_what_is_no_text_is_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "caf\udce9 ö")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "caf\\udce9 ö"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_text(tmp_path / "none" / "file", "")
    assert raised.value.filename == str(tmp_path / "none" / "file")


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    write_bytes(tmp_path / "file", content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_no_more_is_read_than_a_file_of_settings_has(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("é" * 8, encoding="utf-8")
    assert read_text(path, 16) == "é" * 8
    with path.open("wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(OSError, match=r"more than 16,777,216 bytes"):
        read_text(path)
