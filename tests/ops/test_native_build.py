"""The library of C++ kernels: built once for a machine, and done without where it cannot be built."""

import logging
from pathlib import Path
from typing import Any

import jax
import pytest

from aasist_jax.ops.native import build
from tests.ops.comparison import native


def without_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return build.native_kernels.__wrapped__


def test_the_switch_leaves_the_kernels_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load = without_cache(monkeypatch, tmp_path)
    monkeypatch.setenv(build.SWITCH, "0")
    assert not load()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compiler", ["/nowhere/c++", "false", "c++ '", ""])
def test_without_a_working_compiler_one_line_says_so(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load = without_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("CXX", compiler)
    if not compiler:
        monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert not load()
    (record,) = caplog.records
    assert "slower" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_compiler_may_come_with_options_and_complain_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load = without_cache(monkeypatch, tmp_path)
    for complaint, shown in ((r"\351chec", "\ufffdchec"), (r"\n", "exit status 3")):
        monkeypatch.setenv("CXX", f"sh -c \"printf '{complaint}' >&2; exit 3\"")
        with caplog.at_level(logging.WARNING):
            assert not load()
        assert shown in caplog.records[-1].getMessage()


@native
def test_a_damaged_library_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load = without_cache(monkeypatch, tmp_path)
    compiler = build.find_compiler()
    assert compiler is not None
    library = build._library_path(compiler)
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert not load()
    assert str(library) in caplog.text
    assert "remove this file" in caplog.text


@native
def test_a_library_is_built_once_for_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load = without_cache(monkeypatch, tmp_path)
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda *args, **options: None)
    # It is only built, which takes less time so; two sources are linked into a library as all are.
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O0"))
    monkeypatch.setattr(build, "SOURCES", tuple(build.FOLDER / f"{name}.cc" for name in ("convolution", "unpool")))
    monkeypatch.setattr(build, "HANDLERS", ("AasistJaxConvolution", "AasistJaxUnpool"))
    assert load()
    (built,) = (path for path in tmp_path.rglob("*") if path.is_file())
    before = built.stat().st_mtime_ns
    assert load()
    assert built.stat().st_mtime_ns == before
    # Another processor, another library: one built for more instructions than there are would crash.
    monkeypatch.setattr(build, "_processor", lambda: "another")
    assert build._library_path(["c++"]) != built
