"""Files of pretrained encoders for tests: each is fetched once, by pip, into the cache of the tests."""

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

CACHE = REPOSITORY / ".pytest_cache" / "encoders"

WHEEL = "distillmos-0.9.1-py3-none-any.whl"
WHEEL_SHA256 = "f82e5326ed963ddc28a3e079ded4dbb1bd072ad54be5bdc4380290a9bce3536a"


@functools.cache
def distill_mos_wheel() -> Path:
    """The wheel that carries the published weights; 16 MB, without what it depends on."""
    return fetched(WHEEL, "distillmos==0.9.1", WHEEL_SHA256)


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
