"""Test set-up: several CPU devices, strict rank promotion, the reference folder, the optional extras.

Shapes are checked by the `--jaxtyping-packages` of pyproject.toml.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before JAX is imported anywhere: eight virtual devices, so that every multi-device test runs on one CPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# Children of the tests, and the next run, need not compile the same programs again.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "jax")
)
# PyTorch takes its large buffers as huge pages: half of its time goes into page faults otherwise.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

REPOSITORY = Path(__file__).resolve().parent.parent
REFERENCE = Path(os.environ.get("AASIST_JAX_REFERENCE", REPOSITORY.parent / "shared" / "reference"))
# Real speech in the layout of ASVspoof 2019 LA; `.ci/run` fails where it is missing.
CORPUS = REFERENCE.parent / "corpus"
EVAL_CLIPS = CORPUS / "ASVspoof2019_LA_eval" / "flac"
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}")


Command = Callable[..., tuple[int, str, str]]
"""The fixture `command`: takes arguments, and gives the exit code, standard output and standard error."""

LONGEST = (
    "training/test_resume.py",
    "ops/test_operations.py",
    "ops/test_residual_block.py",
    "benchmarks/test_benchmarks.py",
    "test_any_family.py",
    "examples/test_notebooks.py",
    "test_accelerators.py",
    "detection/test_incremental.py",
    "commands/test_closed_pipes.py",
    "export/test_onnx_file.py",
    "models/aasist/test_live_parity.py",
    "training/test_parallel.py",
    "training/test_golden_step.py",
    "benchmarks/test_torch_aasist.py",
)
"""The files that take longest. They run first, so that no process is left with one of them at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first; skip tests marked `reference`, with the reason, without the reference folder."""
    order = {f"tests/{name}": position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.location[0], len(order)))
    if REFERENCE.is_dir():
        return
    reason = f"no reference folder at {REFERENCE}; set AASIST_JAX_REFERENCE to run this"
    for item in items:
        if item.get_closest_marker("reference"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Leave all that has been imported out of garbage collections: they take a seventh of the time of tracing."""
    gc.collect()
    gc.freeze()


def extra(module: str, name: str) -> Any:
    """Import a module of one of the package's optional extras; without the extra, skip what needs it.

    `make test` installs them all, and `.ci/run` fails where this reason is given.
    """
    return pytest.importorskip(module, reason=f"the extra `{name}` is not installed")


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of official weights, goldens and protocols."""
    return REFERENCE


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `aasist-jax ARGUMENTS` in this process; gives exit code, standard output and standard error."""
    from aasist_jax.commands.app import main

    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aasist-jax", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return int(stop.value.code or 0), output.out, output.err

    return run_command


@pytest.fixture(scope="module")
def quickly_compiled() -> Iterator[None]:
    """Programs of these tests, in this process and its children, compile without XLA's optimizer."""
    from tests.quick_compilation import quick_compilation

    with quick_compilation():
        yield


@pytest.fixture(scope="module")
def toy_family() -> Iterator[None]:
    """The family of `tests.models.toy` among the registered ones, while the tests of a module run."""
    from tests.models import toy

    with toy.registered():
        yield


@pytest.fixture
def toys() -> Iterator[None]:
    """The toy families among the registered ones, for a while."""
    from aasist_jax.models.family import register, unregister
    from tests.models.toys import any_length, attack_types, stateless

    families = [toy.FAMILY for toy in (any_length, attack_types, stateless)]
    for family in families:
        register(family)
    try:
        yield
    finally:
        for family in families:
            unregister(family.name)


@pytest.fixture(autouse=True, scope="session")
def _freed_memory_goes_back() -> Iterator[None]:
    """Commands that run in this process must not keep its freed memory: a program does one thing, the tests do all."""
    from aasist_jax.runtime import start_up

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start_up, "keep_freed_memory", lambda: False)
        yield
