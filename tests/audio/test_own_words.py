"""What files say of themselves: tags by libsndfile and by FFmpeg, bounded; Content Credentials."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.audio.content_credentials import read_credentials
from aasist_jax.audio.ffmpeg_process import find_ffmpeg
from aasist_jax.audio.own_words import TAG_LETTERS, TAGS, read_own_words
from aasist_jax.errors import AudioError
from tests.conftest import extra

WAVE = np.random.default_rng(0).normal(0, 0.1, 16_000)


def test_tags_that_libsndfile_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 16_000, 1, format="FLAC") as file:
        file.title, file.comment = "<b>call</b>", "x" * 2000
        file.write(WAVE)
    found = read_own_words(path)
    assert (found.format, found.kind) == ("FLAC, PCM_16", "FLAC")
    assert found.decoder == f"libsndfile {soundfile.__libsndfile_version__}"
    assert found.tags["title"] == "<b>call</b>"
    assert found.tags["comment"] == "x" * TAG_LETTERS


@pytest.mark.usefixtures("ffmpeg")
def test_tags_that_ffmpeg_reads(tmp_path: Path) -> None:
    path, wave = tmp_path / "a.m4a", tmp_path / "a.wav"
    soundfile.write(wave, WAVE, 16_000)
    tags = ["-metadata", "title=a=b;#\\", "-metadata", "comment=two\nlines"]
    program = find_ffmpeg("this test")
    subprocess.run([program, "-v", "error", "-i", wave, *tags, "-c:a", "aac", path], check=True, timeout=60)
    found = read_own_words(path)
    assert (found.format, found.tags["title"], found.tags["comment"]) == ("M4A", "a=b;#\\", "two\nlines")
    assert found.tags["encoder"].startswith("Lavf")
    assert found.decoder.startswith("ffmpeg version ")
    assert len(found.tags) <= TAGS


def test_what_is_no_recording_has_no_words(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    for path in (tmp_path / "a.wav", tmp_path / "none.wav"):
        with pytest.raises(AudioError):
            read_own_words(path)


def test_credentials_are_looked_for_by_the_extra(tmp_path: Path) -> None:
    extra("c2pa", "c2pa")
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE, 16_000)
    found = read_credentials(path)
    assert (found.looked_for, found.note, found.says) == (True, "None in the file.", {})
    (tmp_path / "a.xyz").write_bytes(b"no audio")
    assert read_credentials(tmp_path / "a.xyz").note.startswith("None that can be read (")
    assert read_credentials(tmp_path / "none.wav").note.startswith("None that can be read (")


def test_without_the_extra_it_is_said_that_none_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = read_credentials(tmp_path / "a.wav")
    assert not found.looked_for
    assert found.note.startswith("Not looked for: ")
