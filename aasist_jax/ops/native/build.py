"""Compiles the C++ kernels on first use, stores them in the user's cache folder, and registers them with XLA."""

import atexit
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

from aasist_jax.runtime.private_folder import cache_folder, make_private, why_untrusted

SWITCH = "AASIST_JAX_NATIVE"
"""Environment variable; the value `0` disables the C++ kernels."""

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

# Compile for the processor of this machine; another processor gets its own library (see `_library_path`).
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-w")

logger = logging.getLogger(__name__)


@functools.cache
def native_kernels() -> bool:
    """Compile, load and register the kernels. False if JAX does not use a CPU, or, with a warning, if this fails."""
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
    """The command of the C++ compiler: the environment variable CXX, or the first compiler on the path.

    Raises:
        ValueError: CXX has an unclosed quotation mark.
    """
    if named := shlex.split(os.environ.get("CXX", "")):
        return named
    found = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    return [found] if found else None


def _build(compiler: list[str]) -> Path:
    path = _library_path(compiler)
    make_private(path.parent)
    # A library is executed: one that another user of this machine may have put there is not loaded.
    reason = why_untrusted(path if path.exists() else path.parent, cache_folder())
    if reason:
        path = _folder_of_this_process() / path.name
        logger.warning("the C++ kernels are built anew for this process: %s", reason)
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        built = Path(scratch, path.name)
        objects = [Path(scratch, source.name).with_suffix(".o") for source in SOURCES]
        compile_one = [*compiler, *FLAGS, "-I", jax.ffi.include_dir(), "-c"]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, ([*compile_one, str(s), "-o", str(o)] for s, o in zip(SOURCES, objects, strict=True))))
        _run([*compiler, "-shared", *map(str, objects), "-o", str(built)])
        # Whatever the umask: a library that others can write is not trusted at the next start.
        built.chmod(0o700)
        # Another process that compiles at the same time writes an identical file.
        built.replace(path)
    return path


@functools.cache
def _folder_of_this_process() -> Path:
    """A temporary folder that goes with this process."""
    folder = tempfile.TemporaryDirectory(prefix="aasist_jax-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _run(command: list[str]) -> str:
    result = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=300)
    return result.stdout


def _library_path(compiler: list[str]) -> Path:
    """One file per version of sources, compiler and JAX and per processor, because machines may share a home folder."""
    version = _run([*compiler, "--version"])
    sources = "".join(path.read_text() for path in (*SOURCES, *sorted(FOLDER.glob("*.h"))))
    identity = (sources, version, " ".join(FLAGS), metadata.version("jaxlib"), platform.machine(), _processor())
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    return cache_folder() / "native" / f"kernels-{digest}.so"


def _processor() -> str:
    """The processor's model and features as Linux lists them; on other systems its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
