"""Caches whose content is executed or trusted belong to this user alone."""

import os
import stat
from pathlib import Path

import pytest

from aasist_jax.ops.native import build
from aasist_jax.runtime import start_up
from aasist_jax.runtime.private_folder import make_private, why_untrusted


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_a_new_folder_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private(tmp_path / "cache" / "native")
    finally:
        os.umask(before)
    for folder in (tmp_path / "cache", tmp_path / "cache" / "native"):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0
    assert why_untrusted(tmp_path / "cache" / "native", tmp_path / "cache") == ""


@pytest.mark.parametrize(("mode", "trusted"), [(0o755, True), (0o700, True), (0o777, False), (0o775, False)])
@pytest.mark.parametrize("loose", ["cache", "cache/native", "cache/native/library.so"])
def test_what_others_can_write_is_not_trusted(tmp_path: Path, loose: str, mode: int, trusted: bool) -> None:
    path = tmp_path / "cache" / "native" / "library.so"
    make_private(path.parent)
    path.write_bytes(b"")
    (tmp_path / loose).chmod(mode)
    reason = why_untrusted(path, tmp_path / "cache")
    assert reason == (
        ""
        if trusted
        else f"{tmp_path / loose} can be written by other users; run `chmod go-w {tmp_path / loose}` if "
        "its content is yours"
    )


def test_a_link_and_the_file_of_another_are_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert why_untrusted(tmp_path / "link", tmp_path) == f"{tmp_path / 'link'} is a link"
    owner = os.getuid() or 1000
    os.chown(tmp_path / "file", owner, -1) if os.getuid() == 0 else None
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert why_untrusted(tmp_path / "file", tmp_path) == f"{tmp_path / 'file'} belongs to another user"


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_library_in_a_folder_of_everybodys_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    """It would run as this user: the kernels are built elsewhere instead."""
    cache = tmp_path / "cache"
    planted = cache / "native" / "kernels.so"
    make_private(planted.parent)
    planted.write_bytes(b"planted")
    planted.parent.chmod(mode)
    monkeypatch.setattr(build, "cache_folder", lambda: cache)
    monkeypatch.setattr(build, "_library_path", lambda compiler: planted)
    monkeypatch.setattr(build, "SOURCES", ())
    # In place of the compiler: what follows `-o` is written.
    monkeypatch.setattr(build, "_run", lambda command: Path(command[-1]).write_bytes(b"built"))
    build._folder_of_this_process.cache_clear()
    library = build._build(["c++"])
    if mode == 0o700:
        assert library == planted
        assert not caplog.text
    else:
        assert library.read_bytes() == b"built"
        assert not library.is_relative_to(cache)
        assert f"the C++ kernels are built anew for this process: {planted.parent} can be written" in caplog.text


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_compiled_programs_of_everybodys_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    cache = tmp_path / "cache"
    make_private(cache / "compiled")
    (cache / "compiled").chmod(mode)
    monkeypatch.setattr(start_up, "cache_folder", lambda: cache)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    changed: dict[str, object] = {}
    monkeypatch.setattr("jax.config.update", changed.__setitem__)
    start_up.use_compilation_cache()
    assert ("jax_compilation_cache_dir" in changed) == (mode == 0o700)
    assert ("programs are compiled anew at every start" in caplog.text) == (mode == 0o777)


def test_a_library_is_loaded_again_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "native" / "kernels.so"
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(build, "_library_path", lambda compiler: path)
    monkeypatch.setattr(build, "SOURCES", ())
    monkeypatch.setattr(build, "_run", lambda command: Path(command[-1]).write_bytes(b"built"))
    before = os.umask(0)
    try:
        assert build._build(["c++"]) == build._build(["c++"]) == path
    finally:
        os.umask(before)
