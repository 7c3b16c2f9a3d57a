"""Another speed: tempo and pitch together, as of a tape."""

import numpy as np

from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, uniform
from aasist_jax.augmentation.sound import Wave
from aasist_jax.augmentation.sound.time_scale import change_rate


class Speed(Augmentation, frozen=True, kw_only=True, tag="speed"):
    """The wave is resampled and played at 16 kHz; its length changes.

    Attributes:
        factor: above 1 is faster, higher and shorter.
    """

    factor: Range = (0.9, 1.1)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("factor", self.factor, 0.25, 4)

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Resample."""
        factor = uniform(rng, self.factor)
        return Changed(change_rate(wave, factor), {"factor": factor})

    def least_share(self) -> float:
        """That of the fastest."""
        return 1 / self.factor[1]

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Slower, and faster."""
        return cls(factor=(0.9, 0.9)), cls(factor=(1.1, 1.1))


AUGMENTATION = Speed
