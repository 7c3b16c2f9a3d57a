"""RawBoost: noise of telephony and of its devices, made from the clip itself (Tak et al., 2022, arXiv:2111.04433).

Three kinds of noise, each after a model of its cause, and the eight ways in which the publication combines them.
"""

from typing import Annotated

import numpy as np
from jaxtyping import Float
from msgspec import Meta
from scipy import fft

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Drawn, PositiveCount, Range, check_range, uniform
from aasist_jax.augmentation.sound import OtherWave, Wave

SERIES = {1: "l", 2: "i", 3: "s", 4: "lis", 5: "li", 6: "ls", 7: "is"}
"""Of each algorithm the noises one after the other: linear and non-linear, impulsive, stationary. 8 has two at once."""

_EDGE = 1e-3  # Hz between a notch and the ends of the spectrum
_GRID = 512  # frequencies from 0 to 8 kHz at which the gain of a filter is judged
_Taps = tuple[Annotated[int, Meta(ge=3, le=1001)], Annotated[int, Meta(ge=3, le=1001)]]


class RawBoost(Augmentation, frozen=True, kw_only=True, tag="rawboost"):
    """The noises and their ranges; the defaults are those published.

    Attributes:
        algorithm: 1 linear and non-linear convolutive noise, 2 impulsive noise that depends on the signal, 3
            stationary noise that does not; in series 4 = 1+2+3, 5 = 1+2, 6 = 1+3, 7 = 2+3; 8 = 1 and 2 in parallel.
        notches: band-stop filters in a row, which make up one filter.
        centre: of a notch, in Hz.
        width: of a notch, in Hz.
        taps: of a notch's filter; an even number is raised by one.
        gain: largest gain of a filter, in dB.
        powers: of the wave, from the first, that are filtered and added up.
        attenuation: of the powers from the second on, in dB.
        impulses: samples that are changed, in percent.
        impulse_gain: largest change, as a multiple of the sample.
        snr: of the stationary noise, in dB.
    """

    algorithm: Annotated[int, Meta(ge=1, le=8)] = 5
    notches: PositiveCount = 5
    centre: Range = (20.0, 8000.0)
    width: Range = (100.0, 1000.0)
    taps: _Taps = (10, 100)
    gain: Range = (0.0, 0.0)
    powers: Annotated[int, Meta(ge=1, le=10)] = 5
    attenuation: Range = (5.0, 20.0)
    impulses: Range = (0.0, 10.0)
    impulse_gain: Annotated[float, Meta(ge=0, le=100)] = 2.0
    snr: Range = (10.0, 40.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("centre", self.centre, 0, SAMPLE_RATE / 2, "Hz")
        check_range("width", self.width, 1, SAMPLE_RATE / 2, "Hz")
        check_range("taps", self.taps, 3, 1001)
        check_range("gain", self.gain, -60, 60, "dB")
        check_range("attenuation", self.attenuation, 0, 120, "dB")
        check_range("impulses", self.impulses, 0, 100, "percent")
        check_range("snr", self.snr, -40, 120, "dB")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Apply the algorithm."""
        if self.algorithm == 8:
            first, second = convolutive(wave, self, rng), impulsive(wave, self, rng)
            return Changed(
                _within_full_scale(first.wave + second.wave), {"algorithm": 8, **first.drawn, **second.drawn}
            )
        noises = {"l": convolutive, "i": impulsive, "s": stationary}
        done: Drawn = {"algorithm": self.algorithm}
        for letter in SERIES[self.algorithm]:
            wave, drawn = noises[letter](wave, self, rng)
            done = {**done, **drawn}
        return Changed(wave, done)

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Every algorithm."""
        return tuple(cls(algorithm=number) for number in range(1, 9))


def convolutive(wave: Wave, settings: RawBoost, rng: np.random.Generator) -> Changed:
    """Linear and non-linear convolutive noise (LnL), as of loudspeakers and amplifiers: filtered powers, added up.

    Of what was drawn, the gain of every power's filter is told; the notches are too many to read.
    """
    filters, gains = [], []
    for power in range(1, settings.powers + 1):
        low, high = settings.gain
        weaker = settings.attenuation if power > 1 else (0.0, 0.0)
        # Between the two differences, as in the publication; with its settings the second is the lower one.
        between = sorted((low - weaker[0], high - weaker[1]))
        taps, gain = _notch_filter(settings, (between[0], between[1]), rng)
        filters.append(taps)
        gains.append(gain)
    powers = np.multiply.accumulate(np.broadcast_to(wave, (settings.powers, wave.size)))
    total = _filtered(powers, filters)
    heard = " ".join(f"{gain:+.0f}" for gain in gains)
    return Changed(_within_full_scale(total - total.mean()), {"power_gains_db": heard})


def impulsive(wave: Wave, settings: RawBoost, rng: np.random.Generator) -> Changed:
    """Impulsive noise that depends on the signal (ISD), as of clipping and lost samples: some samples are scaled."""
    share = uniform(rng, settings.impulses)
    count = int(wave.size * (share / 100))
    places = rng.permutation(wave.size)[:count]
    gains = (2 * rng.random(count) - 1) * (2 * rng.random(count) - 1)
    changed = wave.copy()
    changed[places] += settings.impulse_gain * wave[places] * gains
    return Changed(_within_full_scale(changed), {"impulses_percent": share})


def stationary(wave: Wave, settings: RawBoost, rng: np.random.Generator) -> Changed:
    """Stationary noise that does not depend on the signal (SSI): coloured Gaussian noise at a drawn SNR."""
    noise = rng.standard_normal(wave.size)
    noise = _filtered(noise[np.newaxis], [_notch_filter(settings, settings.gain, rng)[0]])
    snr = uniform(rng, settings.snr)
    # Without BLAS, whose threads would add up in an order of their own.
    size = np.sqrt(np.sum(noise**2))
    heard = wave + noise * (np.sqrt(np.sum(wave**2)) / size / 10 ** (0.05 * snr)) if size else wave
    return Changed(heard, {"snr_db": snr})


def band_stop(low: float, high: float, taps: int) -> Float[np.ndarray, "taps"]:
    """A linear-phase band-stop filter by the window method: Hamming's window, gain 1 at 0 Hz; odd `taps`."""
    offsets = np.arange(taps) - taps // 2
    bands = [edge * 2 / SAMPLE_RATE * np.sinc(edge * 2 / SAMPLE_RATE * offsets) for edge in (low, high)]
    filter_taps = ((offsets == 0) - bands[1] + bands[0]) * np.hamming(taps)
    return filter_taps / filter_taps.sum()


def _notch_filter(settings: RawBoost, gains: Range, rng: np.random.Generator) -> tuple[OtherWave, float]:
    """Notches in a row; of each the centre, the width and the count of taps are drawn, and at the end the gain.

    Returns:
        The taps, and the gain in dB.
    """
    whole = np.ones(1)
    for _ in range(settings.notches):
        centre, width = uniform(rng, settings.centre), uniform(rng, settings.width)
        taps = int(uniform(rng, settings.taps))
        low, high = max(centre - width / 2, _EDGE), min(centre + width / 2, SAMPLE_RATE / 2 - _EDGE)
        whole = np.convolve(band_stop(low, high, taps + 1 - taps % 2), whole)
    gain = uniform(rng, gains)
    return 10 ** (gain / 20) * whole / _largest_gain(whole), gain


def _largest_gain(taps: OtherWave) -> float:
    folded = np.pad(taps, (0, -taps.size % (2 * _GRID))).reshape(-1, 2 * _GRID).sum(axis=0)
    return float(np.abs(fft.rfft(folded)[:_GRID]).max())


def _filtered(powers: Float[np.ndarray, "powers samples"], filters: list[OtherWave]) -> Wave:
    """Filter each row by its filter and add up; one sample ahead of the filters' linear phase, as in the publication.

    By overlap-save, in blocks that fit into the processor's cache.
    """
    starts = [(taps.size + 1) // 2 for taps in filters]
    ahead = max(starts)
    width = max(ahead - start + taps.size for start, taps in zip(starts, filters, strict=True))
    bank = np.zeros((len(filters), width))
    for row, start, taps in zip(bank, starts, filters, strict=True):
        row[ahead - start : ahead - start + taps.size] = taps
    block = max(2048, 1 << (4 * width - 1).bit_length())
    hop, samples = block - width + 1, powers.shape[1]
    blocks = -(-(samples + ahead) // hop)
    padded = np.pad(powers, ((0, 0), (width - 1, blocks * hop - samples)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, block, axis=1)[:, ::hop]
    spectrum = np.einsum("pbf,pf->bf", fft.rfft(pieces), fft.rfft(bank, block))
    return fft.irfft(spectrum, block)[:, width - 1 :].ravel()[ahead : ahead + samples]


def _within_full_scale(wave: Wave) -> Wave:
    peak = float(np.abs(wave).max())
    return wave / peak if peak > 1 else wave


AUGMENTATION = RawBoost
