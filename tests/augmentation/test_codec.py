import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
from scipy import signal

from aasist_jax.audio.ffmpeg_process import PROGRAM_VARIABLE
from aasist_jax.augmentation import apply
from aasist_jax.augmentation.codec import CODERS, RATES, VORBIS_LEVELS, Codec, CodecChange
from aasist_jax.augmentation.sound.lossy import MP3_KBPS, compression_level, encode, mp3_delay
from aasist_jax.errors import AudioError
from tests.augmentation.waves import SPEECH
from tests.conftest import EVAL_CLIPS, extra, needs_corpus

WAVE = SPEECH.astype(float)
RATE = 16_000
NARROW = {"mulaw", "alaw", "gsm"}


def needs(codec: str) -> None:
    if codec == "g722":
        extra("G722", "augmentation")


@pytest.mark.parametrize("codec", CODERS)
def test_what_comes_back_is_aligned_and_alike(codec: str) -> None:
    """At every rate; Opus at 8 kbit/s shifts the phase of what it makes up by a sample."""
    needs(codec)
    clip, alike = WAVE[: RATE + 1], []
    band = signal.butter(4, (300, 3000), "bandpass", fs=RATE, output="sos")
    before = signal.sosfiltfilt(band, clip)
    for kbps in RATES[codec]:
        heard = CODERS[codec](clip, kbps)
        assert heard.size == clip.size
        here = signal.sosfiltfilt(band, heard)
        lag = int(signal.correlate(here, before, "full", method="fft").argmax()) - (clip.size - 1)
        assert abs(lag) <= (1 if codec == "opus" else 0), (kbps, lag)
        assert np.abs(heard - clip).max() > 1e-3
        alike.append(np.corrcoef(here, before)[0, 1])
    assert min(alike) > 0.5, alike
    assert alike[-1] > 0.85, alike
    assert len(alike) == 1 or alike[0] < alike[-1], alike


@pytest.mark.parametrize("kbps", RATES["mp3"])
@pytest.mark.parametrize("samples", [1, 500, 9001])
def test_mp3_begins_and_ends_with_the_clip(kbps: float, samples: int) -> None:
    """The clip is noise to its last sample, which a delay would move out of it."""
    clip = 0.1 * signal.lfilter([1, 1], 1, np.random.default_rng(0).standard_normal(samples))
    heard = CODERS["mp3"](clip, kbps)
    assert heard.size == samples
    if samples > 1:
        for part in (slice(200), slice(-200, None)):
            assert np.corrcoef(heard[part], clip[part])[0, 1] > 0.5


def test_the_delay_of_mp3_is_that_of_its_encoder_and_decoder_where_the_file_does_not_say_it() -> None:
    delays = [
        mp3_delay(RATE, compression_level=compression_level(kbps, MP3_KBPS), bitrate_mode="CONSTANT")
        for kbps in RATES["mp3"]
    ]
    assert delays == [576 + 529] * 3 + [0] * 4


@pytest.mark.parametrize("codec", CODERS)
def test_the_band_is_that_of_the_codec(codec: str) -> None:
    needs(codec)
    noise = 0.05 * np.random.default_rng(0).standard_normal(RATE)
    heard = CODERS[codec](noise, RATES[codec][-1])
    power = np.abs(np.fft.rfft(heard)) ** 2
    share = power[4200:].sum() / power.sum()
    assert (share < 0.01) == (codec in NARROW), share


@needs_corpus
@pytest.mark.parametrize("codec", ["mp3", "vorbis"])
def test_the_bit_rates_are_those_named(codec: str) -> None:
    """By the growth of the file with real speech, which leaves its header out; that of Opus is tested in corpus."""
    clips = [soundfile.read(path)[0] for path in sorted(EVAL_CLIPS.glob("*.flac"))[:8]]
    waves = [np.concatenate(clips[:count]) for count in (2, 8)]
    for kbps in (RATES[codec][0], RATES[codec][-1]):
        if codec == "mp3":
            options: dict[str, Any] = {"codec": "mpeg_layer_iii", "file_format": "MP3", "bitrate_mode": "CONSTANT"}
            options["compression_level"] = compression_level(kbps, MP3_KBPS)
        else:
            options = {"codec": "vorbis", "compression_level": VORBIS_LEVELS[kbps]}
        short, long = (len(encode(wave, **options)) for wave in waves)
        rate = (long - short) * 8 / ((waves[1].size - waves[0].size) / RATE) / 1000
        assert rate == pytest.approx(kbps, rel=0.1), kbps


def test_every_codec_and_every_rate_is_drawn() -> None:
    step = CodecChange(codecs=("mulaw", "opus", "mp3"), kbps=(10.0, 64.0))
    assert step.rates("opus") == (12.0, 16.0, 24.0, 32.0, 64.0)
    drawn = [apply(step, SPEECH[:100], np.random.default_rng(seed)).drawn for seed in range(120)]
    assert {(each["codec"], each["kbps"]) for each in drawn} == {
        (codec, kbps) for codec in step.codecs for kbps in step.rates(codec)
    }
    assert set(get_args(Codec)) == set(RATES) == set(CODERS)


def test_a_wave_beyond_full_scale_is_not_clipped() -> None:
    loud = np.float32(30) * SPEECH
    heard = apply(CodecChange(codecs=("alaw",)), loud, np.random.default_rng(0)).wave
    assert np.corrcoef(heard, loud)[0, 1] > 0.9


def test_aac_needs_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    CodecChange(codecs=("aac",)).prepare()
    monkeypatch.setenv(PROGRAM_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(AudioError, match=f"^augmentation 'codec': AAC needs ffmpeg, and {PROGRAM_VARIABLE} is"):
        CodecChange(codecs=("aac",)).prepare()
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho '[error] Unknown encoder aac' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv(PROGRAM_VARIABLE, str(program))
    with pytest.raises(AudioError, match=r"this ffmpeg cannot encode AAC \(.*Unknown encoder aac\); install another"):
        CodecChange(codecs=("aac",)).prepare()


def test_g722_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "G722", None)
    with pytest.raises(AudioError, match=r"G\.722 needs the package G722; run .* or leave \"g722\" out"):
        CodecChange().prepare()
    CodecChange(codecs=("mulaw",)).prepare()


@pytest.mark.parametrize("settings", [{"codecs": ()}, {"kbps": (9.0, 2.0)}, {"codecs": ("gsm",), "kbps": (20.0, 30.0)}])
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(codecs|kbps): expected"):
        CodecChange(**settings)
