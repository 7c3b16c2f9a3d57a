"""Edit lists of M4A files take neither memory nor time, and make no recording longer than its samples."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.audio.recordings import m4a, voice
from tests.audio.test_mp4 import with_edits
from tests.conftest import REFERENCE, REPOSITORY

CASES = REFERENCE.parent / "cases"

READ = """
import json, resource, sys, time
from aasist_jax.audio.load import load_audio
from aasist_jax.errors import AudioError
from tests.audio.mutations import peak_mib, processor_time
start = processor_time()
try:
    outcome = load_audio(sys.argv[1]).size
except AudioError as error:
    outcome = str(error)
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
print(json.dumps([outcome, processor_time() - start, max(peak_mib(), child)]))
"""

# What is played: 3 s once and the encoder's delay hidden; the same thousands of times; nothing but pauses between.
EDITS = {
    "once": [(3000, 1024)],
    "a thousand times": [(3000, 1024)] * 1000,
    "sixty thousand times": [(1, 1024)] * 30_000 + [(3000, 1024)] * 30_000,
    "with pauses of days": [(100_000_000, -1), (3000, 1024)] * 1000,
    "longer than it is": [(100_000_000, 1024)] * 1000,
}


def read(path: Path) -> int | str:
    """Decode in a process of its own: the count of samples, or the error; at most 300 MiB and a second are taken."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    outcome, seconds, mib = json.loads(done.stdout)
    print(path.name, outcome, f"{seconds:.2f} s, {mib} MiB")
    assert seconds < 1
    assert mib < 300
    return outcome


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.parametrize("name", EDITS)
def test_what_an_edit_list_repeats_is_heard_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / "call.m4a"
    path.write_bytes(with_edits(m4a(voice(3.0)), EDITS[name]))
    assert read(path) == 48_000


@pytest.mark.usefixtures("ffmpeg")
def test_a_table_of_packets_that_are_not_there_is_refused(tmp_path: Path) -> None:
    data = m4a(np.zeros(48_000))
    sizes = data.index(b"stsz") + 12
    path = tmp_path / "call.m4a"
    path.write_bytes(data[:sizes] + (1_000_000).to_bytes(4, "big") + data[sizes + 4 :])
    assert "of 1000000 packets are there" in str(read(path))


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.skipif(not CASES.is_dir(), reason=f"no reference folder at {CASES}")
def test_known_bombs() -> None:
    assert "of 1000000 packets are there" in str(read(CASES / "m4a_elst_23KB_2.2GB.m4a"))
    assert read(CASES / "m4a_elst_40KB_3s_becomes_3008s.m4a") == 48_000
