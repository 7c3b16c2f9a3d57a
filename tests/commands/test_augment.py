from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.audio.ffmpeg_process import PROGRAM_VARIABLE
from aasist_jax.augmentation import kind_names
from aasist_jax.augmentation.noise import Noise
from aasist_jax.augmentation.resampling import Resampling
from aasist_jax.data.augmented_files import name_of
from tests.augmentation.waves import OTHERS, SPEECH
from tests.conftest import Command


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip.flac", SPEECH[:16_000], 16_000)
    return tmp_path / "clip.flac"


def test_every_kind_is_a_file_and_a_row(command: Command, clip: Path, tmp_path: Path) -> None:
    code, out, err = command("augment", clip, "--output", tmp_path / "heard")
    assert (code, err) == (0, "")
    rows = dict(row.split("  ", 1) for row in out.splitlines())
    assert {Path(file).name for file in rows} == {path.name for path in (tmp_path / "heard").iterdir()}
    assert {Path(file).stem.partition("-")[0] for file in rows} == set(kind_names())
    for file in rows:
        info = soundfile.info(file)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert rows[str(tmp_path / "heard" / "codec-codecs-opus-kbps-6.wav")] == "codec: codec opus, kbps 6"
    assert rows[str(tmp_path / "heard" / "rawboost-algorithm-3.wav")].startswith("rawboost: algorithm 3, snr_db ")
    assert rows[str(tmp_path / "heard" / "noise.wav")].startswith("noise: snr_db ")


def test_kinds_are_chosen_and_another_seed_draws_anew(command: Command, clip: Path, tmp_path: Path) -> None:
    heard, drawn = [], []
    for seed in (0, 0, 1):
        options = ("--kind", "noise", "--kind", "level", "--seed", seed, "--seconds", 0.5)
        code, out, _ = command("augment", clip, "--output", tmp_path / "heard", *options)
        assert code == 0
        assert len(out.splitlines()) == 5
        drawn.append(out)
        heard.append(soundfile.read(tmp_path / "heard" / "noise.wav")[0])
    assert heard[0].size == 8000
    np.testing.assert_array_equal(heard[0], heard[1])
    assert not np.array_equal(heard[0], heard[2])
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_chain_as_a_configuration_has_it(command: Command, clip: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for number, other in enumerate(OTHERS):
        soundfile.write(others / f"{number}.wav", other, 16_000)
    chain = '[{"kind": "level", "probability": 0.5}, {"kind": "noise", "source": "babble", "probability": 0.5}]'
    options = ("--chain", chain, "--count", 12, "--speech", others)
    code, out, err = command("augment", clip, "--output", tmp_path / "heard", *options)
    assert (code, err) == (0, "")
    rows = [row.split("  ", 1)[1] for row in out.splitlines()]
    assert len(rows) == 12
    assert {"level" in row and "noise" in row for row in rows} == {True, False}
    assert "as it was" in rows


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--kind", "nois"), "there is no augmentation 'nois'; did you mean 'noise'?"),
        (("--chain", "[", "--kind", "noise"), "--chain: says which kinds there are; leave --kind out"),
        (("--chain", "["), "--chain: not valid JSON ("),
        (("--chain", '[{"kind": "noise", "snr": 1}]'), "--chain: chain[0].snr: expected a list of 2"),
    ],
)
def test_faults(command: Command, clip: Path, tmp_path: Path, options: tuple[str, ...], fault: str) -> None:
    code, out, err = command("augment", clip, "--output", tmp_path / "heard", *options)
    assert code == 1
    assert out == ""
    assert fault in err
    assert not (tmp_path / "heard").exists()


def test_what_cannot_be_applied_is_told_and_the_others_are_written(
    command: Command, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRAM_VARIABLE, "none")
    code, out, err = command("augment", clip, "--output", tmp_path / "heard", "--kind", "codec")
    assert code == 0
    assert "AAC needs ffmpeg" in err
    assert "aac" not in out
    assert len(out.splitlines()) == 9


def test_names_say_the_kind_and_what_is_not_its_default() -> None:
    assert name_of(Noise()) == "noise"
    assert name_of(Noise(source="white", snr=(5.0, 5.0))) == "noise-source-white-snr-5"
    assert name_of(Resampling(rate=(6000.0, 8000.0), quality=("HQ",))) == "resampling-rate-6000-8000-quality-HQ"
    assert name_of(Noise(source="files", folder="/some/where")) == "noise-source-files-folder-_some_where"
