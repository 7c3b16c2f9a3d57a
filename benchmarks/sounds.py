"""Sounds that are no speech, made by code: noise, music, the tones of telephones; and telephones. 16 kHz, float32."""

import numpy as np
import soxr

RATE = 16_000
SCALE = (-9, -7, -5, -4, -2, 0, 2, 3, 5, 7, 8, 10, 12)
KEYS = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477)]


def noise(seconds: float, decibels: float, exponent: float = 0.0) -> np.ndarray:
    """Make Gaussian noise of this level below full scale; its power falls with the frequency to this exponent."""
    rng = np.random.default_rng(0)
    white = rng.normal(size=round(RATE * seconds))
    if exponent:
        spectrum = np.fft.rfft(white)
        spectrum[1:] /= np.arange(1, spectrum.size) ** (exponent / 2)
        spectrum[0] = 0
        white = np.fft.irfft(spectrum, white.size)
        white /= white.std()
    return (white * 10 ** (decibels / 20)).astype(np.float32)


def music(seconds: float) -> list[np.ndarray]:
    """Make chords of an organ, plucked arpeggios, a melody of a flute, that melody over chords, drums."""
    rng = np.random.default_rng(0)
    roots = rng.choice(SCALE, round(4 * seconds))
    chords = notes([(root - 12, root - 8, root - 5) for root in roots], 0.5, decay=0.2, dullness=1.2)
    arpeggio = notes([(root + step,) for root in roots for step in (0, 4, 7, 12)], 0.15, decay=3.0, dullness=1.2)
    melody = notes([(root,) for root in roots], 0.4, decay=0.2, dullness=2.5)
    size = round(RATE * seconds)
    hold = melody[:size] + chords[:size] / 2
    return [wave[:size].astype(np.float32) for wave in (chords, arpeggio, melody, hold, drums(seconds))]


def notes(heights: list[tuple[int, ...]], seconds: float, decay: float, dullness: float) -> np.ndarray:
    """Play one chord after the other, in semitones from 440 Hz, with eight harmonics."""
    time = np.arange(round(RATE * seconds)) / RATE
    envelope = np.exp(-decay * time) * np.minimum(time / 0.01, 1) * np.minimum((seconds - time) / 0.02, 1)

    def note(height: int) -> np.ndarray:
        pitch = 440 * 2 ** (height / 12)
        audible = [order for order in range(1, 9) if order * pitch < RATE / 2]
        harmonics = [np.sin(2 * np.pi * order * pitch * time) / order**dullness for order in audible]
        return 0.1 * np.sum(harmonics, axis=0)

    return np.concatenate([envelope * np.sum([note(height) for height in chord], axis=0) for chord in heights])


def drums(seconds: float) -> np.ndarray:
    """Beat bass drum, hi-hat, snare drum, hi-hat, at 240 strokes a minute."""
    rng = np.random.default_rng(0)
    time = np.arange(RATE // 2) / RATE
    bass = np.sin(2 * np.pi * (50 * time + 20 * (1 - np.exp(-30 * time)))) * np.exp(-8 * time)
    hat = 0.3 * rng.normal(size=time.size) * np.exp(-60 * time)
    snare = (0.5 * rng.normal(size=time.size) + np.sin(2 * np.pi * 180 * time)) * np.exp(-15 * time)
    wave = np.zeros(round(RATE * seconds) + RATE)
    for stroke in range(round(4 * seconds)):
        start = stroke * RATE // 4
        wave[start : start + time.size] += 0.4 * (bass, hat, snare, hat)[stroke % 4]
    return wave


def tones(seconds: float) -> list[np.ndarray]:
    """Make the tones of keys, dial tone, busy tone, ringing tone, sweep, hum, clicks, bursts of noise."""
    rng = np.random.default_rng(0)
    time = np.arange(round(RATE * seconds)) / RATE

    def sines(*pitches: float) -> np.ndarray:
        return 0.2 * np.sum([np.sin(2 * np.pi * pitch * time) for pitch in pitches], axis=0)

    key = np.repeat(rng.integers(len(KEYS), size=round(5 * seconds) + 1), RATE // 5)[: time.size]
    dialled = sum(np.sin(2 * np.pi * np.array(KEYS)[key, column] * time) for column in (0, 1))
    clicks = np.zeros(time.size)
    clicks[rng.integers(time.size, size=round(3 * seconds))] = 0.8
    waves = [
        0.2 * dialled * (time % 0.2 < 0.1),
        sines(350, 440),
        sines(480, 620) * (time % 1 < 0.5),
        sines(440, 480) * (time % 6 < 2),
        0.3 * np.sin(2 * np.pi * (100 * time + 6900 / (2 * seconds) * time**2)),
        0.25 * sum(np.sin(2 * np.pi * 50 * order * time) / order for order in range(1, 20)) / 4,
        clicks,
        noise(seconds, -20) * (time % 0.5 < 0.25),
    ]
    return [wave.astype(np.float32) for wave in waves]


def telephoned(wave: np.ndarray) -> np.ndarray:
    """Send speech through G.711: 8 kHz, 8 bits on a logarithmic scale (mu = 255), and back to 16 kHz."""
    narrow = np.clip(soxr.resample(wave.astype(np.float64), RATE, RATE // 2), -1, 1)
    steps = np.round(127 * np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)) / 127
    heard = np.sign(steps) * np.expm1(np.abs(steps) * np.log(256)) / 255
    return soxr.resample(heard, RATE // 2, RATE).astype(np.float32)


def with_pink_noise(wave: np.ndarray, decibels: float) -> np.ndarray:
    """Add pink noise, this much below the whole recording's level."""
    level = 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-12)
    return wave + noise(wave.size / RATE, level - decibels, exponent=1.0)
