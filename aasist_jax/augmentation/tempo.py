"""Another tempo at the same pitch, by a phase vocoder."""

import numpy as np

from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, uniform
from aasist_jax.augmentation.sound import Wave
from aasist_jax.augmentation.sound.time_scale import stretch
from aasist_jax.augmentation.speed import Speed


class Tempo(Speed, frozen=True, kw_only=True, tag="tempo"):
    """Faster or slower speech; the length changes. A phase vocoder leaves traces of its own, such as smeared onsets.

    Attributes:
        factor: above 1 is faster and shorter.
    """

    factor: Range = (0.85, 1.15)

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Stretch."""
        factor = uniform(rng, self.factor)
        return Changed(stretch(wave, factor), {"factor": factor})

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Slower, and faster."""
        return cls(factor=(0.85, 0.85)), cls(factor=(1.15, 1.15))


AUGMENTATION = Tempo
