"""Features on disk: found again, also after a kill at any moment and after damage."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.data.feature_file import Computed, stored_features
from aasist_jax.errors import DataError

NAMES = [f"clip{i}" for i in range(10)]


class Computer:
    """Gives features that are the clip's number, three clips at a time, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, positions: list[int]) -> Iterator[Computed]:
        for start in range(0, len(positions), 3):
            batch = np.array(positions[start : start + 3])
            self.asked += batch.tolist()
            yield np.broadcast_to(batch[:, None, None], (len(batch), 2, 4)).astype(np.float32), batch + 100


def ask(folder: Path, names: list[str] = NAMES) -> list[int]:
    """Ask for features, check them all, and give what was computed for that."""
    computer = Computer()
    stored = stored_features(folder, "key", "float16", names, computer)
    assert stored.shape == (2, 4)
    assert stored.rows.dtype == np.float16
    for i, name in enumerate(names):
        expected = NAMES.index(name) if name in NAMES else i
        np.testing.assert_array_equal(stored.rows[stored.positions[i]], expected)
        assert stored.lengths[i] == expected + 100
    return computer.asked


def test_each_is_computed_once(tmp_path: Path) -> None:
    assert ask(tmp_path) == list(range(10))
    assert ask(tmp_path) == []
    assert ask(tmp_path, NAMES[::-1]) == []


def test_clips_of_one_content_are_computed_once(tmp_path: Path) -> None:
    names = ["same", "same", "other"]
    computer = Computer()
    stored = stored_features(tmp_path, "key", "float32", names, computer)
    assert sorted(computer.asked) == [1, 2]
    assert stored.positions.tolist() == [0, 0, 1]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_what_a_killed_process_listed_is_kept(tmp_path: Path, cut: int) -> None:
    ask(tmp_path)
    index = tmp_path / "key.index"
    lines = index.read_bytes()
    index.write_bytes(lines[:-cut])
    complete = lines[:-cut].count(b"\n") - 1
    assert ask(tmp_path) == list(range(complete, 10))
    assert ask(tmp_path) == []


def test_a_damaged_row_is_computed_again(tmp_path: Path) -> None:
    ask(tmp_path)
    rows = bytearray((tmp_path / "key.rows").read_bytes())
    rows[4 * 16 + 5] ^= 1
    (tmp_path / "key.rows").write_bytes(rows)
    assert ask(tmp_path) == [4]
    assert ask(tmp_path) == []
    (tmp_path / "key.rows").write_bytes(rows[: 7 * 16])
    assert ask(tmp_path) == [4, 7, 8, 9]


def test_a_value_beyond_the_type_is_told(tmp_path: Path) -> None:
    def compute(positions: list[int]) -> Iterator[Computed]:
        yield np.full((1, 2), 1e6, np.float32), np.array([1])

    with pytest.raises(DataError, match="features of clip loud: not finite as float16"):
        stored_features(tmp_path, "key", "float16", ["loud"], compute)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: no features can be stored \(.*\); choose another folder"):
        stored_features(tmp_path / "file", "key", "float16", NAMES, Computer())


CHILD = """
import sys
import numpy as np
from pathlib import Path
from aasist_jax.data.feature_file import stored_features
def compute(positions):
    for i in positions:
        print(i, flush=True)
        yield np.full((1, 2, 4), i, np.float32), np.array([i + 100])
stored_features(Path(sys.argv[1]), "key", "float16", [f"clip{i}" for i in range(10)], compute)
"""


def test_killed(tmp_path: Path) -> None:
    """A child that computes clip by clip is killed; all before the one under way are there."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line == "6\n":
                child.send_signal(signal.SIGKILL)
                break
    asked = ask(tmp_path)
    assert asked[-1] == 9
    assert asked[0] >= 6
    assert asked == list(range(asked[0], 10))
