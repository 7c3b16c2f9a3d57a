"""A channel that is not flat: a random parametric equaliser."""

from typing import Annotated

import numpy as np
from jaxtyping import Float
from msgspec import Meta
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, log_uniform, uniform
from aasist_jax.augmentation.sound import Wave

_Count = Annotated[int, Meta(ge=1, le=20)]


class Equaliser(Augmentation, frozen=True, kw_only=True, tag="equaliser"):
    """Peaks and dips in a row.

    Attributes:
        bands: fewest and most filters.
        frequency: centre of each, in Hz.
        gain: of each, in dB.
        quality: centre divided by bandwidth.
    """

    bands: tuple[_Count, _Count] = (2, 6)
    frequency: Range = (60.0, 7000.0)
    gain: Range = (-12.0, 12.0)
    quality: Range = (0.5, 3.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("bands", self.bands, 1, 20)
        check_range("frequency", self.frequency, 10, 7900, "Hz")
        check_range("gain", self.gain, -40, 40, "dB")
        check_range("quality", self.quality, 0.1, 30)

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Filter."""
        count = int(rng.integers(self.bands[0], self.bands[1] + 1))
        drawn = [(log_uniform(rng, self.frequency), uniform(rng, self.gain)) for _ in range(count)]
        filters = [peak(frequency, gain, log_uniform(rng, self.quality)) for frequency, gain in drawn]
        heard = ", ".join(f"{gain:+.0f} dB at {frequency:.0f} Hz" for frequency, gain in drawn)
        return Changed(signal.sosfilt(np.stack(filters), wave), {"bands": heard})


def peak(frequency: float, gain: float, quality: float) -> Float[np.ndarray, "6"]:
    """A second-order peaking filter as a second-order section of scipy (Bristow-Johnson's audio EQ cookbook).

    Args:
        frequency: centre, in Hz.
        gain: at the centre, in dB; far from it the gain is 0 dB.
        quality: centre divided by bandwidth.
    """
    angle, amplitude = 2 * np.pi * frequency / SAMPLE_RATE, 10 ** (gain / 40)
    width = np.sin(angle) / (2 * quality)
    up, down = width * amplitude, width / amplitude
    middle = -2 * np.cos(angle)
    section = np.array([1 + up, middle, 1 - up, 1 + down, middle, 1 - down])
    return section / section[3]


AUGMENTATION = Equaliser
