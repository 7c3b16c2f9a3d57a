"""Copy synthesis: a recording is analysed and resynthesised by a vocoder.

Every function takes and returns a wave at 16 kHz, float64, of the same length.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pyworld
from jaxtyping import Complex, Float
from scipy import fft, linalg, signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.features.world import HOP_MS, pitch, world_copy

Wave = Float[np.ndarray, "samples"]
OtherWave = Float[np.ndarray, "_samples"]

_HOP = SAMPLE_RATE // 200
_LPC_ORDER = 20
_LPC_WINDOW = 400
_MEL_BANDS = 80
_MEL_FFT = 1024
_MEL_HOP = 256
_MEL_WINDOW = signal.windows.hann(_MEL_FFT, sym=False)
_ITERATIONS = 32


def world(wave: Wave, rng: np.random.Generator) -> Wave:
    """WORLD: F0, spectral envelope, aperiodicity; see `features.world`."""
    return world_copy(wave)


def world_coded(wave: Wave, rng: np.random.Generator) -> Wave:
    """WORLD with the features of a statistical system: 24 mel-cepstral coefficients, coarse aperiodicity, smooth F0."""
    f0, times = pitch(wave)
    envelope = pyworld.cheaptrick(wave, f0, times, SAMPLE_RATE)
    size = 2 * (envelope.shape[1] - 1)
    cepstrum = pyworld.code_spectral_envelope(envelope, SAMPLE_RATE, 24)
    cepstrum = np.ascontiguousarray(signal.savgol_filter(cepstrum, 5, 1, axis=0))
    bands = pyworld.code_aperiodicity(pyworld.d4c(wave, f0, times, SAMPLE_RATE), SAMPLE_RATE)
    smooth = np.where(f0 > 0, np.exp(signal.medfilt(np.log(np.maximum(f0, 1.0)), 7)), 0.0)
    return fit_length(
        pyworld.synthesize(
            smooth,
            pyworld.decode_spectral_envelope(cepstrum, SAMPLE_RATE, size),
            pyworld.decode_aperiodicity(bands, SAMPLE_RATE, size),
            SAMPLE_RATE,
            HOP_MS,
        ),
        wave.size,
    )


def griffin_lim(wave: Wave, rng: np.random.Generator) -> Wave:
    """Phase reconstruction for an 80-band mel spectrogram (Griffin and Lim, IEEE Trans. ASSP 32, 1984)."""
    mel, inverse = _mel_and_inverse()
    magnitude = np.maximum((np.abs(_stft(wave)) @ mel.T) @ inverse.T, 0.0)
    spectrum = magnitude * np.exp(2j * np.pi * rng.random(magnitude.shape))
    for _ in range(_ITERATIONS):
        again = _stft(_istft(spectrum, wave.size))
        spectrum = magnitude * again / np.maximum(np.abs(again), 1e-12)
    return _istft(spectrum, wave.size)


def lpc(wave: Wave, rng: np.random.Generator) -> Wave:
    """Linear prediction of order 20, excited by pulses in voiced and by noise in unvoiced speech.

    Atal and Hanauer, J. Acoust. Soc. Am. 50, 1971.
    """
    f0, _ = pitch(wave)
    hops = -(-wave.size // _HOP)
    f0 = np.pad(f0, (0, max(hops - f0.size, 0)))[:hops]
    source = excitation(np.repeat(f0, _HOP), rng)
    padded = np.pad(wave, (_LPC_WINDOW, _LPC_WINDOW))
    window = signal.windows.hann(_LPC_WINDOW, sym=False)
    spoken = np.zeros(hops * _HOP)
    state = np.zeros(_LPC_ORDER)
    for hop in range(hops):
        centre = _LPC_WINDOW + hop * _HOP + _HOP // 2
        coefficients, gain = _predict(window * padded[centre - _LPC_WINDOW // 2 : centre + _LPC_WINDOW // 2])
        span = slice(hop * _HOP, (hop + 1) * _HOP)
        spoken[span], state = signal.lfilter([gain], coefficients, source[span], zi=state)
    return spoken[: wave.size]


COPY_SYNTHESIS: dict[str, Callable[[Wave, np.random.Generator], Wave]] = {
    "world": world,
    "griffin": griffin_lim,
    "lpc": lpc,
    "world_coded": world_coded,
}


def mel_filters() -> Float[np.ndarray, "80 513"]:
    """Triangular filters, evenly spaced in mel (2595 log10(1 + f / 700)) from 0 to 8 kHz."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _MEL_BANDS + 2) / 2595) - 1)
    frequencies = fft.rfftfreq(_MEL_FFT, 1 / SAMPLE_RATE)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0.0).T


@cache
def _mel_and_inverse() -> tuple[Float[np.ndarray, "80 513"], Float[np.ndarray, "513 80"]]:
    mel = mel_filters()
    return mel, linalg.pinv(mel)


def _stft(wave: Wave) -> Complex[np.ndarray, "frames 513"]:
    ends = (_MEL_FFT, _MEL_FFT + -wave.size % _MEL_HOP)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, ends), _MEL_FFT)[::_MEL_HOP]
    return fft.rfft(frames * _MEL_WINDOW, axis=1)


def _istft(spectrum: Complex[np.ndarray, "frames 513"], samples: int) -> OtherWave:
    """The wave whose short-time transform is nearest to `spectrum` (least squares)."""
    hops = _MEL_FFT // _MEL_HOP
    frames = (fft.irfft(spectrum, _MEL_FFT, axis=1) * _MEL_WINDOW).reshape(-1, hops, _MEL_HOP)
    weights = (_MEL_WINDOW**2).reshape(hops, _MEL_HOP)
    total, weight = np.zeros((2, frames.shape[0] + hops - 1, _MEL_HOP))
    for hop in range(hops):
        total[hop : hop + frames.shape[0]] += frames[:, hop]
        weight[hop : hop + frames.shape[0]] += weights[hop]
    return (total / np.maximum(weight, 1e-9)).reshape(-1)[_MEL_FFT : _MEL_FFT + samples]


def excitation(f0: Float[np.ndarray, "samples"], rng: np.random.Generator) -> Wave:
    """Excitation with unit power: one pulse per period where `f0` is above zero, Gaussian noise elsewhere."""
    turns = np.floor(np.cumsum(f0 / SAMPLE_RATE))
    pulses = np.diff(turns, prepend=0.0) > 0
    voiced = np.where(pulses, np.sqrt(SAMPLE_RATE / np.maximum(f0, 1.0)), 0.0)
    return np.where(f0 > 0, voiced, rng.standard_normal(f0.size))


def _predict(frame: Float[np.ndarray, "window"]) -> tuple[Float[np.ndarray, "order_and_1"], float]:
    """Prediction-error filter, and the gain that restores the power of the frame (autocorrelation method)."""
    energy = float(frame @ frame)
    if energy < 1e-12:
        return np.eye(1, _LPC_ORDER + 1)[0], 0.0
    lags = np.correlate(frame, frame, "full")[frame.size - 1 : frame.size + _LPC_ORDER]
    lags[0] *= 1 + 1e-6
    weights = linalg.solve_toeplitz(lags[:-1], lags[1:])
    residual = max(float(lags[0] - weights @ lags[1:]), 0.0)
    # A Hann window has 3/8 of the power of a rectangular one.
    return np.concatenate([[1.0], -weights]), float(np.sqrt(residual / (0.375 * frame.size)))


def fit_length(wave: OtherWave, samples: int) -> OtherWave:
    """Cut, or pad with zeros at the end, to so many samples."""
    return np.pad(wave, (0, max(samples - wave.size, 0)))[:samples]
