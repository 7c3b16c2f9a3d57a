"""Further copy synthesis, of the kinds that came before neural networks: PSOLA, sinusoids, the channel vocoder.

Every function takes and returns a wave at 16 kHz, float64, of the same length.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.vocoders import OtherWave, Wave, excitation, fit_length
from aasist_jax.features.world import pitch

_PERIOD_UNVOICED = SAMPLE_RATE // 100
_SHORTEST_PERIOD, _LONGEST_PERIOD = SAMPLE_RATE // 500, SAMPLE_RATE // 60
_HOP = SAMPLE_RATE // 100
_FFT = 1024
_WINDOW = signal.windows.hann(400, sym=False)
_PEAKS = 60
_BANDS = 24


def psola(wave: Wave, rng: np.random.Generator) -> Wave:
    """Pitch-synchronous overlap-add (Moulines and Charpentier, Speech Communication 9, 1990).

    The pitch is raised or lowered by 3 to 15 %; duration and formants stay.
    """
    f0, times = pitch(wave)
    factor = float(np.exp(rng.choice([-1.0, 1.0]) * rng.uniform(0.03, 0.14)))
    samples = np.arange(wave.size) / SAMPLE_RATE
    contour = np.interp(samples, times, f0) * (np.interp(samples, times, (f0 > 0) * 1.0) > 0.99)
    marks = _marks(wave, contour)
    new = np.zeros(wave.size + 2 * _LONGEST_PERIOD)
    padded = np.pad(wave, _LONGEST_PERIOD)
    position = float(marks[0])
    while position < wave.size:
        near = int(np.argmin(np.abs(marks - position)))
        mark = int(marks[near])
        period = _period(contour[mark])
        grain = padded[mark + _LONGEST_PERIOD - period : mark + _LONGEST_PERIOD + period]
        start = round(position) + _LONGEST_PERIOD - period
        new[start : start + 2 * period] += grain * signal.windows.hann(2 * period, sym=False)
        position += period / factor if contour[mark] > 0 else period
    # More grains in a second make it louder.
    return new[_LONGEST_PERIOD : _LONGEST_PERIOD + wave.size] / np.where(contour > 0, np.sqrt(factor), 1.0)


def sinusoidal(wave: Wave, rng: np.random.Generator) -> Wave:
    """Peaks of the short-time spectrum, each continued as a sinusoid; the measured phases are left aside.

    After McAulay and Quatieri, IEEE Trans. ASSP 34, 1986; frames are added with overlap instead of interpolated.
    """
    frames = -(-wave.size // _HOP) + 1
    half = _WINDOW.size // 2
    padded = np.pad(wave, (half, half + frames * _HOP))
    new = np.zeros(frames * _HOP + 2 * _HOP)
    fade = signal.windows.hann(2 * _HOP, sym=False)
    time = (np.arange(2 * _HOP) - _HOP) / SAMPLE_RATE
    old_peaks, old_phases = np.zeros(0), np.zeros(0)
    for frame in range(frames):
        piece = padded[frame * _HOP : frame * _HOP + _WINDOW.size] * _WINDOW
        peaks, amplitudes = _spectral_peaks(np.abs(np.fft.rfft(piece, _FFT)) * 2 / _WINDOW.sum())
        phases = rng.uniform(0, 2 * np.pi, peaks.size)
        if old_peaks.size and peaks.size:
            nearest = np.argmin(np.abs(peaks[:, None] - old_peaks[None]), axis=1)
            goes_on = np.abs(peaks - old_peaks[nearest]) < 40.0
            advanced = old_phases[nearest] + np.pi * (peaks + old_peaks[nearest]) * _HOP / SAMPLE_RATE
            phases = np.where(goes_on, advanced, phases)
        if peaks.size:
            waves = np.cos(2 * np.pi * peaks[:, None] * time[None] + phases[:, None])
            new[frame * _HOP : frame * _HOP + 2 * _HOP] += fade * (amplitudes @ waves)
        old_peaks, old_phases = peaks, phases
    return new[_HOP : _HOP + wave.size]


def channel_vocoder(wave: Wave, rng: np.random.Generator) -> Wave:
    """Envelopes of 24 bands, given to pulses where speech is voiced and to noise elsewhere (Dudley, JASA 11, 1939)."""
    f0, _ = pitch(wave)
    source = excitation(fit_length(np.repeat(f0, SAMPLE_RATE // 200), wave.size), rng)
    smooth = signal.butter(2, 50, fs=SAMPLE_RATE, output="sos")
    edges = _band_edges()
    new = np.zeros(wave.size)
    for low, high in pairwise(edges):
        band = signal.butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")
        wanted = np.maximum(signal.sosfiltfilt(smooth, np.square(signal.sosfiltfilt(band, wave))), 0.0)
        carrier = signal.sosfiltfilt(band, source)
        there = np.maximum(signal.sosfiltfilt(smooth, np.square(carrier)), 1e-6)
        new += carrier * np.sqrt(wanted / there)
    return new


def _period(f0: float) -> int:
    """The samples of a period; 10 ms where it is unvoiced."""
    if f0 <= 0:
        return _PERIOD_UNVOICED
    return int(np.clip(round(SAMPLE_RATE / f0), _SHORTEST_PERIOD, _LONGEST_PERIOD))


def _marks(wave: Wave, contour: Float[np.ndarray, "samples"]) -> np.ndarray:
    """Where the periods are: the largest sample about one period after the last mark."""
    marks = [0]
    while marks[-1] < wave.size - 1:
        step = _period(contour[marks[-1]])
        expected = marks[-1] + step
        if expected >= wave.size:
            break
        if contour[marks[-1]] > 0:
            reach = max(step // 5, 1)
            around = wave[expected - reach : expected + reach]
            expected += int(np.argmax(around)) - reach if around.size else 0
        marks.append(max(expected, marks[-1] + 1))
    return np.array(marks)


def _spectral_peaks(
    magnitude: Float[np.ndarray, "bins"],
) -> tuple[Float[np.ndarray, "peaks"], Float[np.ndarray, "peaks"]]:
    """The frequencies in Hz and amplitudes of the largest peaks, placed between bins by a parabola in dB."""
    inner = magnitude[1:-1]
    (at,) = np.nonzero((inner > magnitude[:-2]) & (inner >= magnitude[2:]) & (inner > 1e-7))
    at = at[np.argsort(inner[at])[::-1][:_PEAKS]] + 1
    left, middle, right = (np.log(magnitude[at + shift] + 1e-12) for shift in (-1, 0, 1))
    shift = 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)
    return (at + np.clip(shift, -0.5, 0.5)) * SAMPLE_RATE / _FFT, magnitude[at]


def _band_edges() -> OtherWave:
    """Edges of bands that are equally wide in mel, 80 to 7600 Hz."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (80.0, 7600.0))
    return 700 * (10 ** (np.linspace(low, high, _BANDS + 1) / 2595) - 1)
