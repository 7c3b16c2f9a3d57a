from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasist_jax.augmentation import apply
from aasist_jax.augmentation.noise import Noise, babble
from aasist_jax.augmentation.sound.files import sound_files
from aasist_jax.augmentation.sound.levels import speech_level
from aasist_jax.errors import AudioError
from tests.augmentation.waves import OTHERS, SPEECH

RATE = 16_000


def write_sounds(folder: Path, *sizes: int) -> Path:
    for number, size in enumerate(sizes):
        path = folder / f"{number}" / "sound.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.random.default_rng(number).uniform(-0.1, 0.1, size), RATE)
    return folder


@pytest.mark.parametrize("source", ["white", "pink", "brown", "babble", "files"])
def test_the_noise_has_its_ratio_to_the_speech(source: str, tmp_path: Path) -> None:
    folder = str(write_sounds(tmp_path, 3000, 100_000)) if source == "files" else ""
    step = Noise(source=source, snr=(12.0, 12.0), folder=folder)
    for seed in range(3):
        wave, drawn = apply(step, SPEECH, np.random.default_rng(seed), OTHERS)
        noise = wave.astype(float) - SPEECH
        assert speech_level(SPEECH.astype(float)) - 10 * np.log10(np.mean(noise**2)) == pytest.approx(12.0, abs=1e-3)
        assert drawn["snr_db"] == 12.0


def test_ratios_are_drawn_from_the_whole_range() -> None:
    drawn = [apply(Noise(), SPEECH[:400], np.random.default_rng(seed)).drawn["snr_db"] for seed in range(300)]
    assert 5 <= min(drawn) < 6
    assert 29 < max(drawn) <= 30


def test_files_are_looped_from_any_start(tmp_path: Path) -> None:
    step = Noise(source="files", folder=str(write_sounds(tmp_path, 500)), snr=(0.0, 0.0))
    sound, _ = soundfile.read(tmp_path / "0" / "sound.wav")
    wave, drawn = apply(step, SPEECH[:4000], np.random.default_rng(0))
    noise = wave.astype(float) - SPEECH[:4000]
    assert drawn["file"] == "sound.wav"
    np.testing.assert_allclose(noise[:3500], noise[500:], atol=1e-6)
    start = int(np.argmax([np.corrcoef(np.roll(sound, -at), noise[:500])[0, 1] for at in range(500)]))
    assert start > 0
    assert np.corrcoef(np.roll(sound, -start), noise[:500])[0, 1] > 0.9999


def test_a_folder_is_checked_before_and_its_files_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "none"):
        with pytest.raises(AudioError, match=r"(empty|none): holds no audio files \(\.wav, .*name another folder$"):
            Noise(source="files", folder=str(folder)).prepare()
    folder = write_sounds(tmp_path / "some", 500, 700)
    assert Noise(source="files", folder=str(folder)).prepare() == ["0/sound.wav 1044", "1/sound.wav 1444"]
    assert Noise().prepare() == []
    (folder / "2.wav").write_text("no audio")
    sound_files.cache_clear()
    with pytest.raises(AudioError, match=r"2\.wav: not audio"):
        Noise(source="files", folder=str(folder)).prepare()


@pytest.mark.parametrize("settings", [{"source": "files"}, {"folder": "x"}, {"snr": (3.0, 1.0)}, {"voices": (0, 3)}])
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^(folder|snr|voices): expected"):
        Noise(**settings)


def test_babble_is_of_many_voices_at_one_level() -> None:
    loud_and_soft = [OTHERS[0], 0.001 * OTHERS[0]]
    choices = (loud_and_soft, loud_and_soft[:1], loud_and_soft[1:])
    powers = [np.mean(babble(clips, 400, 16_000, np.random.default_rng(0)) ** 2) / 400 for clips in choices]
    # Each voice has the power 1 while it speaks, and pauses.
    assert 0.5 < min(powers) < max(powers) < 1
    assert max(powers) / min(powers) < 1.2
    assert not babble([np.zeros(100, np.float32)], 3, 1000, np.random.default_rng(0)).any()
    with pytest.raises(AudioError, match="babble is made of other bona fide clips, and there are none"):
        apply(Noise(source="babble"), SPEECH, np.random.default_rng(0))


def test_silence_stays_silent() -> None:
    silent = np.zeros(4000, np.float32)
    assert np.abs(apply(Noise(), silent, np.random.default_rng(0)).wave).max() < 1e-9
