"""Noise and reverberation behind speech: by sounds whose values are known, and on real speech."""

from collections.abc import Callable

import numpy as np
import pytest

from aasist_jax.audio.acoustics import BAND_EDGES_HZ, LEAST_CHUNKS, AcousticsMeter
from aasist_jax.audio.facts import SignalFacts, reasons
from aasist_jax.audio.load import load_audio
from aasist_jax.audio.silero import CHUNK
from aasist_jax.corpus.degradations import noise_10db, room, telephone
from aasist_jax.detection.cutting import Cutter
from aasist_jax.models.family import Window
from tests.conftest import CORPUS, needs_corpus
from tests.made_speech import RATE, hiss

WIDE = 8000.0


def measured(wave: np.ndarray, is_speech: np.ndarray | None = None) -> AcousticsMeter:
    meter = AcousticsMeter()
    chunks = wave[: wave.size // CHUNK * CHUNK].astype(np.float32).reshape(-1, CHUNK)
    meter.push(chunks, np.ones(len(chunks), bool) if is_speech is None else is_speech)
    return meter


def bursts(fall_db_per_second: float, floor_db: float = -90.0) -> np.ndarray:
    """Noise that begins anew every half second and falls off evenly, over a floor of steady noise."""
    time = np.arange(10 * RATE) / RATE
    gain = 10 ** (-fall_db_per_second * (time % 0.5) / 20)
    return hiss(10.0, -20.0) * gain + np.roll(hiss(10.0, floor_db), 12_345)


@pytest.mark.parametrize("fall", [100.0, 200.0, 400.0])
def test_how_fast_a_sound_falls_is_told(fall: float) -> None:
    found = measured(bursts(fall)).decay_db(WIDE)
    # Noise falls evenly only on average: the fast falls, which are told, are some dB above.
    assert found is not None
    assert 0.064 * fall - 1 <= found <= 0.064 * fall + 12


def test_a_slower_fall_is_a_smaller_decay() -> None:
    found = [measured(bursts(fall)).decay_db(WIDE) for fall in (60.0, 120.0, 240.0, 480.0)]
    assert found == sorted(found, key=lambda value: value or 0)
    assert len(set(found)) == 4


@pytest.mark.parametrize("level", [-70.0, -50.0, -30.0])
def test_the_level_above_steady_noise_is_told(level: float) -> None:
    """Half of the chunks are noise at `level`, the others louder noise at -20 dB."""
    is_loud = np.arange(10 * RATE) // CHUNK % 8 < 4
    wave = np.where(is_loud, hiss(10.0, -20.0), np.roll(hiss(10.0, level), 9999))
    found = measured(wave).snr_db
    assert found == pytest.approx(-20 - level, abs=1.5)


def test_digital_silence_is_no_quiet_noise() -> None:
    wave = bursts(200.0, -40.0)
    muted = np.concatenate([wave, np.zeros(20 * RATE, np.float32)])
    is_speech = np.arange(muted.size // CHUNK) < wave.size // CHUNK
    assert measured(muted, is_speech).snr_db == pytest.approx(measured(wave).snr_db, abs=0.5)


def test_nothing_is_told_of_too_little_speech() -> None:
    wave = bursts(200.0)
    is_speech = np.zeros(wave.size // CHUNK, bool)
    is_speech[: LEAST_CHUNKS - 1] = True
    few = measured(wave, is_speech)
    assert (few.snr_db, few.decay_db(WIDE)) == (None, None)
    is_speech[LEAST_CHUNKS - 1] = True
    enough = measured(wave, is_speech)
    assert enough.snr_db is not None
    assert enough.decay_db(WIDE) is not None
    assert enough.decay_db(BAND_EDGES_HZ[1] - 1) is None  # no band has content as a whole
    assert AcousticsMeter().snr_db is None


def test_bands_without_content_are_left_out() -> None:
    """Above 4 kHz there is steady noise alone, which would make every fall seem slow."""
    spectrum = np.fft.rfft(bursts(400.0))
    spectrum[4000 * 10 :] = 0
    narrow = np.fft.irfft(spectrum) + np.roll(hiss(10.0, -80.0), 777)
    whole, part = measured(narrow).decay_db(WIDE), measured(narrow).decay_db(4000.0)
    assert whole is not None
    assert part is not None
    assert part > whole
    assert part == pytest.approx(measured(bursts(400.0)).decay_db(4000.0), abs=1)


def test_pieces_make_no_difference() -> None:
    wave, rng = bursts(150.0), np.random.default_rng(5)
    chunks = wave[: wave.size // CHUNK * CHUNK].astype(np.float32).reshape(-1, CHUNK)
    is_speech = rng.random(len(chunks)) < 0.7
    whole, pieces, at = measured(wave, is_speech), AcousticsMeter(), 0
    while at < len(chunks):
        to = at + int(rng.integers(1, 20))
        pieces.push(chunks[at:to], is_speech[at:to])
        at = to
    assert (pieces.snr_db, pieces.decay_db(WIDE)) == (whole.snr_db, whole.decay_db(WIDE))


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e30, 3e38])
def test_any_finite_samples_are_taken(value: float) -> None:
    found = measured(np.tile(np.float32([value, -value]), 20_000))
    assert found.snr_db is None or np.isfinite(found.snr_db)
    assert np.isfinite(found.decay_db(WIDE) or 0)


@needs_corpus
@pytest.mark.parametrize("step", [40, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_speech_as_it_is_with_noise_and_in_a_room(step: int) -> None:
    waves = [load_audio(file) for file in sorted(CORPUS.glob("ASVspoof2019_LA_*/flac/*.flac"))[::step]]
    shares = {}
    changes: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray] | None] = {
        "as they are": None,
        "pink noise, 10 dB": noise_10db,
        "room": room,
        "telephone": telephone,
    }
    for name, change in changes.items():
        rng = np.random.default_rng(0)
        found = [facts(wave if change is None else change(wave.astype(np.float64), rng)) for wave in waves]
        shares[name] = float(np.mean(["noisy or reverberant" in reasons(each) for each in found]))
        for fact in ("snr_db", "decay_db"):
            values = [value for each in found if (value := getattr(each, fact)) is not None]
            spread = ", ".join(f"{value:.1f}" for value in np.quantile(values, [0, 0.01, 0.5, 0.99, 1]))
            print(f"{len(waves)} clips, {name}: {fact}: least, 1 %, median, 99 %, most: {spread}")
        print(f"{name}: called noisy or reverberant: {100 * shares[name]:.1f} %")
    assert shares["as they are"] <= 0.04
    assert shares["telephone"] <= 0.05
    assert shares["pink noise, 10 dB"] >= 0.95
    assert shares["room"] >= 0.85


def facts(wave: np.ndarray) -> SignalFacts:
    cutter = Cutter(Window(samples=64_600, shortest=64_600))
    cutter.push(wave.astype(np.float32))
    return cutter.facts()
