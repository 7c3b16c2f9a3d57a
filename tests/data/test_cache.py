"""The decoded cache: the same samples, built once, rebuilt when damaged or out of date, safe to build twice at once."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.audio.load import load_audio
from aasist_jax.data import cache as cache_module
from aasist_jax.data.cache import open_cache
from aasist_jax.data.fingerprint import fingerprint
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import DataError


def assert_holds(cache: cache_module.ClipCache, utterances: list[Utterance]) -> None:
    assert len(cache) == len(utterances)
    for position in reversed(range(len(utterances))):
        clip = cache[position]
        assert clip.dtype == np.float32
        np.testing.assert_array_equal(clip, load_audio(utterances[position].path))


def forbid_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(cache_module, "_write", build)


def test_sixteen_bit_clips_come_back_exactly_and_are_built_once(
    utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "CHUNK", 5)
    assert_holds(open_cache(tmp_path / "cache", utterances, workers=2), utterances)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    forbid_building(monkeypatch)
    cache = open_cache(tmp_path / "cache", utterances)
    assert_holds(pickle.loads(pickle.dumps(cache)), utterances)


def test_other_sources_are_rounded_and_clipped(tmp_path: Path) -> None:
    samples = np.float32([0.1, -0.3333, 1.5, -1.5, 0.99999]).repeat(400)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    (utterances,) = [[Utterance("a", tmp_path / "a.wav", "spoof", "x", "-", "list:1")]]
    clip = open_cache(tmp_path / "cache", utterances)[0]
    limited = np.clip(samples, -1, 32767 / 32768)
    np.testing.assert_allclose(clip, limited, rtol=0, atol=2**-16)
    assert (clip[800:1200] == np.float32(32767 / 32768)).all()
    assert (clip[1200:1600] == -1).all()


@pytest.mark.parametrize("damage", ["short", "long", "flipped", "gone", "index", "list"])
def test_a_damaged_cache_is_rebuilt(utterances: list[Utterance], tmp_path: Path, damage: str) -> None:
    open_cache(tmp_path, utterances)
    (data,) = tmp_path.glob("*.int16")
    (index,) = tmp_path.glob("*.json")
    content = bytearray(data.read_bytes())
    if damage == "short":
        data.write_bytes(content[:-2])
    elif damage == "long":
        data.write_bytes(content + b"\0\0")
    elif damage == "flipped":
        content[1001] ^= 1
        data.write_bytes(content)
    elif damage == "gone":
        data.unlink()
    elif damage == "index":
        index.write_text(index.read_text()[:-20])
    elif damage == "list":
        index.write_text("[]")
    assert_holds(open_cache(tmp_path, utterances), utterances)
    if damage not in ("index", "list"):  # an unreadable index names no file that could be removed
        assert len(list(tmp_path.iterdir())) == 2
    (index,) = tmp_path.glob("*.json")
    assert (tmp_path / json.loads(index.read_text())["data"]).is_file()


def test_a_changed_file_is_another_cache(utterances: list[Utterance], tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(utterances[0].path.read_bytes())
    listed = [dataclasses.replace(utterances[0], path=path), utterances[1]]
    open_cache(tmp_path / "cache", listed)
    path.write_bytes(utterances[2].path.read_bytes())
    assert_holds(open_cache(tmp_path / "cache", listed), listed)


def test_a_failed_build_leaves_nothing(utterances: list[Utterance], tmp_path: Path) -> None:
    bad = tmp_path / "bad.flac"
    bad.write_text("no audio")
    with pytest.raises(DataError, match=r"list:9: .*bad\.flac: not audio"):
        open_cache(tmp_path / "cache", [*utterances, dataclasses.replace(utterances[0], path=bad, origin="list:9")])
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="choose another folder"):
        open_cache(tmp_path / "file", utterances)


BUILD_WHEN_TOLD = """
import pickle, sys
from pathlib import Path
from aasist_jax.data.cache import open_cache

utterances = pickle.loads(Path(sys.argv[1]).read_bytes())
sys.stdin.read(1)
cache = open_cache(Path(sys.argv[2]), utterances)
print(sum(float(cache[i].sum()) for i in range(len(cache))))
"""


def test_two_processes_building_at_once(utterances: list[Utterance], tmp_path: Path) -> None:
    listed = tmp_path / "utterances.pickle"
    listed.write_bytes(pickle.dumps(utterances))
    command = [sys.executable, "-c", BUILD_WHEN_TOLD, str(listed), str(tmp_path / "cache")]
    builders = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("g")
        builder.stdin.close()
        builder.stdin = None
    outputs = [builder.communicate(timeout=60)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert_holds(open_cache(tmp_path / "cache", utterances), utterances)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.stat().st_size == 0]


def test_fingerprints(utterances: list[Utterance], tmp_path: Path) -> None:
    digest = fingerprint(utterances)
    assert len(digest) == 64
    moved = []
    for utterance in utterances:
        path = tmp_path / utterance.path.name
        path.write_bytes(utterance.path.read_bytes())
        moved.append(dataclasses.replace(utterance, path=path))
    assert fingerprint(moved) == digest
    assert fingerprint(moved, exact=True) != fingerprint(utterances, exact=True)
    assert fingerprint(utterances[1:]) != digest
    assert fingerprint(utterances[::-1]) != digest
    other_label = dataclasses.replace(utterances[0], label="spoof", attack="A01")
    assert fingerprint([other_label, *utterances[1:]]) != digest
    exact = fingerprint(moved, exact=True)
    os.utime(moved[0].path, (0, 0))
    assert (fingerprint(moved), fingerprint(moved, exact=True) == exact) == (digest, False)
    with moved[0].path.open("ab") as file:
        file.write(b"\0")
    assert fingerprint(moved) != digest
    moved[0].path.unlink()
    with pytest.raises(DataError, match=moved[0].origin):
        fingerprint(moved)
