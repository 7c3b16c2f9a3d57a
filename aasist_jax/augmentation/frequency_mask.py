"""Bands of the spectrum masked in the wave itself, as SpecAugment does in a spectrogram (Park et al., 2019)."""

from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import fft

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, uniform
from aasist_jax.augmentation.sound import Wave

_Count = Annotated[int, Meta(ge=1, le=20)]
EDGE = 50.0
"""Hz over which the gain falls at each edge of a band; the ringing lasts about its inverse, 20 ms."""


class FrequencyMask(Augmentation, frozen=True, kw_only=True, tag="frequency_mask"):
    """Some bands are taken out, the same ones for the whole wave.

    Attributes:
        bands: fewest and most of them; they may overlap.
        width: of each, in Hz.
        frequency: where they lie, in Hz.
        depth: by how much they are softer, in dB.
    """

    bands: tuple[_Count, _Count] = (1, 3)
    width: Range = (100.0, 1000.0)
    frequency: Range = (0.0, 8000.0)
    depth: Range = (20.0, 80.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("bands", self.bands, 1, 20)
        check_range("width", self.width, 1, SAMPLE_RATE / 2, "Hz")
        check_range("frequency", self.frequency, 0, SAMPLE_RATE / 2, "Hz")
        check_range("depth", self.depth, 0, 200, "dB")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Mask."""
        count = int(rng.integers(self.bands[0], self.bands[1] + 1))
        # A tenth of a second of zeros, so that nothing rings from the end into the beginning.
        size = fft.next_fast_len(wave.size + SAMPLE_RATE // 10, real=True)
        frequencies = np.arange(size // 2 + 1) * (SAMPLE_RATE / size)
        decibels, heard = np.zeros(frequencies.size), []
        for _ in range(count):
            width, depth = uniform(rng, self.width), uniform(rng, self.depth)
            low = uniform(rng, (self.frequency[0], max(self.frequency[0], self.frequency[1] - width)))
            inside = np.minimum(frequencies - low, low + width - frequencies) / EDGE + 1
            decibels = np.minimum(decibels, -depth * np.clip(inside, 0, 1))
            heard.append(f"{low:.0f}-{low + width:.0f} Hz by {depth:.0f} dB")
        masked = fft.irfft(fft.rfft(wave, size) * 10 ** (decibels / 20), size)[: wave.size]
        return Changed(masked, {"bands": ", ".join(heard)})


AUGMENTATION = FrequencyMask
