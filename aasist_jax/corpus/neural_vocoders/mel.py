"""The mel spectrogram that HiFi-GAN and its kin take: 80 bands of 0 to 8 kHz, logarithms of magnitudes, 22.05 kHz."""

import numpy as np
from jaxtyping import Float, Float32
from scipy import signal

from aasist_jax.features.log_mel import mel_filters as filters_to_8_khz

RATE = 22_050
BANDS = 80
HOP = 256
FFT = 1024
_FLOOR = 1e-5


def log_mel(wave: Float[np.ndarray, " samples"]) -> Float32[np.ndarray, "frames 80"]:
    """The log-mel spectrogram of a wave at 22.05 kHz, in [-1, 1]: a frame for each whole 256 samples.

    As the authors of HiFi-GAN compute it: both ends reflected by 384 samples, periodic Hann window, magnitudes,
    Slaney's mel filters of equal area, natural logarithm with a floor of 1e-5.

    Args:
        wave: at least 385 samples.
    """
    padded = np.pad(wave, (FFT - HOP) // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][: wave.size // HOP]
    magnitude = np.sqrt(np.square(np.abs(np.fft.rfft(frames * signal.windows.hann(FFT, sym=False)))) + 1e-9)
    return np.log(np.maximum(magnitude @ mel_filters().T, _FLOOR)).astype(np.float32)


def mel_filters(rate: int = RATE) -> Float[np.ndarray, "80 513"]:
    """Triangles of equal area on Slaney's scale (Auditory Toolbox): linear below 1 kHz, logarithmic above.

    Args:
        rate: samples per second of the wave whose spectrum is filtered, at least 16,000.
    """
    return filters_to_8_khz(BANDS, FFT, rate)
