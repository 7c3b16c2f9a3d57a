"""Damaged recordings, thousands of each format: an error or a status, in little time and memory, and never a crash."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audio.mutations import BY_FFMPEG, KINDS
from tests.audio.recordings import needs_ffmpeg
from tests.conftest import REPOSITORY

PEAK_MIB = 512


def run_mutations(kind: str, count: int, folder: Path, *options: str) -> None:
    if kind in BY_FFMPEG:
        needs_ffmpeg()
    command = [sys.executable, "-m", "tests.audio.mutations", kind, str(count), str(folder), *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=False)
    # A child that was killed leaves the file behind that killed it.
    assert done.returncode == 0, (done.returncode, list(folder.iterdir()), done.stderr[-2000:])
    result = json.loads(done.stdout)
    print(kind, *options, result)
    tally = result["tally"]
    assert result["violations"] == []
    assert sum(tally.values()) == count
    assert result["peak_mib"] < PEAK_MIB
    # Both outcomes occur: the damage is neither all harmless nor all stopped at the door.
    assert tally["refused"] > count // 10
    assert count - tally["refused"] > count // 50


@pytest.mark.parametrize("kind", KINDS)
def test_sixty_mutations(kind: str, tmp_path: Path) -> None:
    run_mutations(kind, 60, tmp_path)


@pytest.mark.parametrize("kind", ["wav"])
def test_sixty_mutations_are_scored(kind: str, tmp_path: Path) -> None:
    run_mutations(kind, 60, tmp_path, "--score")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_two_thousand_mutations(kind: str, tmp_path: Path) -> None:
    run_mutations(kind, 2_000, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_mutations_are_scored(kind: str, tmp_path: Path) -> None:
    run_mutations(kind, 200, tmp_path, "--score")
