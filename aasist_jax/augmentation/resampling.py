"""A lower sample rate on the way: down, and back to 16 kHz."""

from typing import Literal

import numpy as np
import soxr

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, one, uniform
from aasist_jax.augmentation.sound import Wave
from aasist_jax.augmentation.sound.lossy import fit

Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]


class Resampling(Augmentation, frozen=True, kw_only=True, tag="resampling"):
    """Another rate, by soxr: nothing is left above half of it, and a poor resampler leaves mirrored tones.

    Attributes:
        rate: in Hz, drawn in whole numbers.
        quality: soxr's names, of which one is drawn: from "QQ" (cubic interpolation, with mirrored tones) to "VHQ".
    """

    rate: Range = (6000.0, 16_000.0)
    quality: tuple[Quality, ...] = ("QQ", "LQ", "MQ", "HQ", "VHQ")

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("rate", self.rate, 1000, 192_000, "Hz")
        if not self.quality:
            raise ValueError("quality: expected some of QQ, LQ, MQ, HQ, VHQ")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Resample there and back."""
        rate, quality = round(uniform(rng, self.rate)), one(rng, self.quality)
        there = soxr.resample(wave, SAMPLE_RATE, rate, quality)
        back = soxr.resample(there, rate, SAMPLE_RATE, quality) if there.size else there
        return Changed(fit(back, wave.size), {"rate_hz": rate, "quality": quality})

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """A good and a poor resampler at 8 kHz."""
        return cls(rate=(8000.0, 8000.0), quality=("HQ",)), cls(rate=(8000.0, 8000.0), quality=("QQ",))


AUGMENTATION = Resampling
