"""Another level, and maybe the other sign."""

import numpy as np

from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, Share, check_range, uniform
from aasist_jax.augmentation.sound import Wave


class Level(Augmentation, frozen=True, kw_only=True, tag="level"):
    """A gain; where the peak would exceed full scale, it is less.

    Attributes:
        gain: in dB.
        inverted: how often the sign is changed as well, as by a microphone that is connected the other way round.
    """

    gain: Range = (-20.0, 10.0)
    inverted: Share = 0.0

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("gain", self.gain, -120, 120, "dB")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Scale."""
        gain, sign = uniform(rng, self.gain), -1 if rng.random() < self.inverted else 1
        return Changed(wave * (sign * 10 ** (gain / 20)), {"gain_db": gain, "sign": sign})

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """A low level."""
        return (cls(gain=(-20.0, -20.0)),)


AUGMENTATION = Level
