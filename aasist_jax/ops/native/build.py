"""Compile the C++ kernels on first use, keep the result in the user's cache folder, make XLA know it."""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import jax
from platformdirs import user_cache_path

SWITCH = "AASIST_JAX_NATIVE"
"""Environment variable: `0` leaves the C++ kernels out."""

FOLDER = Path(__file__).parent
SOURCES = tuple(sorted(FOLDER.glob("*.cc")))
HANDLERS = (
    "AasistJaxConvolution",
    "AasistJaxKernelGradient",
    "AasistJaxOneChannelMoments",
    "AasistJaxOneChannelNormalized",
    "AasistJaxOneChannelSums",
    "AasistJaxPooledConvolution",
    "AasistJaxPooledInputGradient",
    "AasistJaxPooledShortcut",
    "AasistJaxResidualBlock",
    "AasistJaxSincMagnitude",
    "AasistJaxUnpool",
)

# The instructions of this very machine are the point: a library is never carried to another (see `_library_path`).
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-w")

logger = logging.getLogger(__name__)


@functools.cache
def native_kernels() -> bool:
    """Compile, load and register the kernels; False where JAX computes elsewhere, or, with a warning, they fail."""
    if os.environ.get(SWITCH) == "0" or jax.default_backend() != "cpu":
        return False
    try:
        compiler = find_compiler()
        if compiler is None:
            logger.warning("no C++ compiler on the path (Debian: apt install g++): a CPU is slower without one")
            return False
        path = _build(compiler)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or "").strip() or str(error)
        logger.warning("the C++ kernels could not be built (%s): a CPU is slower without them", reason.splitlines()[0])
        return False
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        logger.warning("the C++ kernels cannot be used (%s): remove this file to have them built anew", error)
        return False
    for name in HANDLERS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    return True


def find_compiler() -> list[str] | None:
    """The C++ compiler's command: the environment's CXX, or the first that is on the path.

    Raises:
        ValueError: CXX has a quotation mark that is never closed.
    """
    if named := shlex.split(os.environ.get("CXX", "")):
        return named
    found = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    return [found] if found else None


def _build(compiler: list[str]) -> Path:
    path = _library_path(compiler)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        built = Path(scratch, path.name)
        objects = [Path(scratch, source.name).with_suffix(".o") for source in SOURCES]
        compile_one = [*compiler, *FLAGS, "-I", jax.ffi.include_dir(), "-c"]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, ([*compile_one, str(s), "-o", str(o)] for s, o in zip(SOURCES, objects, strict=True))))
        _run([*compiler, "-shared", *map(str, objects), "-o", str(built)])
        # Whoever compiles at the same time puts the same file there.
        built.replace(path)
    return path


def _run(command: list[str]) -> str:
    result = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=300)
    return result.stdout


def _library_path(compiler: list[str]) -> Path:
    """One file for every source, compiler, JAX and processor: a home folder may be shared by different machines."""
    version = _run([*compiler, "--version"])
    sources = "".join(path.read_text() for path in (*SOURCES, *sorted(FOLDER.glob("*.h"))))
    identity = (sources, version, " ".join(FLAGS), metadata.version("jaxlib"), platform.machine(), _processor())
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    return user_cache_path("aasist_jax") / "native" / f"kernels-{digest}.so"


def _processor() -> str:
    """What Linux says that the processor can do; elsewhere its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
