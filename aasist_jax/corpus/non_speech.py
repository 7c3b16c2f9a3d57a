"""Sound without speech, of which a verdict should say neither human nor synthetic.

Each gives so many samples at 16 kHz (0.1 s at least), float64 in [-1, 1], at the level of the clips of a corpus; what
is random is drawn from the generator.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave
from aasist_jax.augmentation.sound.noises import coloured_noise
from aasist_jax.corpus.channel import pink_noise, to_level
from aasist_jax.corpus.degradations import telephone

Generated = Callable[[int, np.random.Generator], OtherWave]

DTMF_LOW, DTMF_HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
"""Frequencies of ITU-T Q.23 in Hz: a key is one of each."""

CALL_PROGRESS = {"dial": (350, 440, 1, 1), "busy": (480, 620, 0.5, 1), "ringing": (440, 480, 2, 6)}
"""Tones of North America (ITU-T E.180, supplement 2): two frequencies in Hz, seconds on, seconds of a period."""

_PROGRESSION = ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12))  # I V vi IV, in semitones above the key
_MAJOR = (0, 2, 4, 5, 7, 9, 11, 12)
_PARTIALS = 6
_KEY_ON = SAMPLE_RATE // 10  # of DTMF, and as long a pause


def music(samples: int, rng: np.random.Generator) -> OtherWave:
    """Chords (I V vi IV in a drawn key and tempo), a drawn melody in that scale, and kick, snare and hi-hat."""
    beat = round(SAMPLE_RATE * 60 / rng.uniform(80, 140))
    return to_level(_chords_and_melody(samples, beat, rng) + _drums(samples, beat, rng))


def hold_music(samples: int, rng: np.random.Generator) -> OtherWave:
    """Chords and melody without drums, slower, through the band and the mu-law of `telephone`."""
    beat = round(SAMPLE_RATE * 60 / rng.uniform(60, 90))
    return to_level(telephone(to_level(_chords_and_melody(samples, beat, rng)), rng))


def dtmf(samples: int, rng: np.random.Generator) -> OtherWave:
    """Drawn keys of a telephone (ITU-T Q.23), each 0.1 s with a pause of 0.1 s."""
    wave = np.zeros(samples)
    time = np.arange(_KEY_ON) / SAMPLE_RATE
    for start in range(0, samples, 2 * _KEY_ON):
        low, high = rng.choice(DTMF_LOW), rng.choice(DTMF_HIGH)
        key = np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)
        wave[start : start + _KEY_ON] = key[: samples - start]
    return to_level(wave)


def tone(samples: int, rng: np.random.Generator) -> OtherWave:
    """One sine of a frequency drawn from 200 to 3000 Hz."""
    return to_level(np.sin(2 * np.pi * rng.uniform(200, 3000) * np.arange(samples) / SAMPLE_RATE))


def call_progress(samples: int, rng: np.random.Generator) -> OtherWave:
    """A dial, busy or ringing tone, drawn."""
    low, high, on, period = CALL_PROGRESS[str(rng.choice(list(CALL_PROGRESS)))]
    time = np.arange(samples) / SAMPLE_RATE
    tones = np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)
    return to_level(tones * (time % period < on))


def sweep(samples: int, rng: np.random.Generator) -> OtherWave:
    """One sine that rises evenly from 100 to 7000 Hz, from a drawn phase."""
    time, seconds = np.arange(samples) / SAMPLE_RATE, samples / SAMPLE_RATE
    return to_level(np.sin(rng.uniform(0, 2 * np.pi) + 2 * np.pi * (100 + 6900 / 2 * time / seconds) * time))


def hum(samples: int, rng: np.random.Generator) -> OtherWave:
    """Hum of the mains, 50 Hz or 60 Hz, drawn, with 18 overtones that fall as 1/n."""
    phase = 2 * np.pi * rng.choice((50, 60)) * np.arange(samples) / SAMPLE_RATE
    return to_level(np.sum([np.sin(order * phase) / order for order in range(1, 20)], axis=0))


def clicks(samples: int, rng: np.random.Generator) -> OtherWave:
    """Clicks of one sample, three a second on average, at drawn moments."""
    wave = np.zeros(samples)
    wave[rng.integers(samples, size=1 + 3 * samples // SAMPLE_RATE)] = 1.0
    return to_level(wave)


def bursts(samples: int, rng: np.random.Generator) -> OtherWave:
    """White noise, a quarter of a second on and a quarter off."""
    return to_level(coloured_noise(samples, rng, 0.0) * (np.arange(samples) % (SAMPLE_RATE // 2) < SAMPLE_RATE // 4))


def noise(samples: int, rng: np.random.Generator) -> OtherWave:
    """Pink noise, 60-7000 Hz."""
    return to_level(pink_noise(samples, rng))


def noise_at(samples: int, rng: np.random.Generator, level: float, slope: float = 0.0) -> OtherWave:
    """Noise without band limits, white or coloured as by `coloured_noise`; `level` is its RMS in dB of full scale."""
    wave = coloured_noise(samples, rng, slope)
    return wave * 10 ** (level / 20) / wave.std()


def silence(samples: int, rng: np.random.Generator) -> OtherWave:
    """Digital silence: zeros."""
    return np.zeros(samples)


NON_SPEECH: Mapping[str, Generated] = {
    "music": music,
    "hold-music": hold_music,
    "dtmf": dtmf,
    "tone": tone,
    "call-progress": call_progress,
    "sweep": sweep,
    "hum": hum,
    "clicks": clicks,
    "bursts": bursts,
    "noise": noise,
    "silence": silence,
}
"""All of them, by name."""


def _chords_and_melody(samples: int, beat: int, rng: np.random.Generator) -> OtherWave:
    wave = np.zeros(samples)
    key = 48 + int(rng.integers(12))  # MIDI note numbers; 48 is the C below middle C
    for bar, start in enumerate(range(0, samples, 4 * beat)):
        for step in _PROGRESSION[bar % len(_PROGRESSION)]:
            _add(wave, start, 0.3 * _note(key + step, 4 * beat))
    start = 0
    while start < samples:
        length = beat * int(rng.integers(1, 3))
        _add(wave, start, 0.5 * _note(key + 24 + int(rng.choice(_MAJOR)), length))
        start += length
    return wave


def _drums(samples: int, beat: int, rng: np.random.Generator) -> OtherWave:
    """Kick on 1 and 3 (a falling sine), snare on 2 and 4 and hi-hat on eighths (bursts of noise)."""
    wave = np.zeros(samples)
    time = np.arange(beat // 2) / SAMPLE_RATE
    kick = np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-30 * time)))) * np.exp(-12 * time)
    high_pass = signal.butter(2, 5000, "highpass", fs=SAMPLE_RATE, output="sos")
    for number, start in enumerate(range(0, samples, beat // 2)):
        burst = rng.standard_normal(time.size)
        _add(wave, start, 0.1 * signal.sosfilt(high_pass, burst) * np.exp(-60 * time))
        if number % 4 == 0:
            _add(wave, start, kick)
        elif number % 4 == 2:
            _add(wave, start, 0.25 * burst * np.exp(-25 * time))
    return wave


def _note(midi: int, samples: int) -> OtherWave:
    """A plucked note: harmonics of falling strength that decay, faster the higher they are."""
    time = np.arange(samples) / SAMPLE_RATE
    frequency = 440 * 2 ** ((midi - 69) / 12)
    heard = [number for number in range(1, _PARTIALS + 1) if number * frequency < SAMPLE_RATE / 2]
    partials = [np.sin(2 * np.pi * n * frequency * time) * np.exp(-1.5 * n * time) / n for n in heard]
    return np.minimum(1, time / 0.01) * np.minimum(1, time[::-1] / 0.01) * np.sum(partials, axis=0)


def _add(wave: OtherWave, start: int, sound: OtherWave) -> None:
    part = wave[start : start + sound.size]
    part += sound[: part.size]
