"""Caches whose content is executed or trusted belong to this user alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aasist_jax.runtime.private_folder import make_private, why_untrusted
from tests.conftest import REPOSITORY


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


def test_kernels_and_programs_are_not_taken_from_a_folder_of_everybodys(tmp_path: Path) -> None:
    """A library that lies there is not loaded: it would run as this user."""
    program = (
        "import logging; logging.basicConfig(level='WARNING')\n"
        "from pathlib import Path\n"
        "from aasist_jax.ops.native import build\n"
        "path = build._library_path(build.find_compiler())\n"
        "path.parent.mkdir(parents=True, exist_ok=True)\n"
        "path.write_bytes(b'not a library')\n"
        "path.parent.chmod(0o777)\n"
        "path.parent.parent.chmod(0o777)\n"
        "print(build.native_kernels())\n"
        "from aasist_jax.runtime.start_up import use_compilation_cache\n"
        "import jax; before = jax.config.jax_compilation_cache_dir\n"
        "use_compilation_cache(); print(jax.config.jax_compilation_cache_dir == before)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path)}
    arguments = [sys.executable, "-c", program]
    done = subprocess.run(arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
    assert "the C++ kernels are built anew for this process" in done.stderr
    assert "programs are compiled anew at every start" in done.stderr
