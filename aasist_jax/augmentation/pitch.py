"""Another pitch at the same tempo: a phase vocoder, then another rate."""

import numpy as np

from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, uniform
from aasist_jax.augmentation.sound import Wave
from aasist_jax.augmentation.sound.lossy import fit
from aasist_jax.augmentation.sound.time_scale import change_rate, stretch


class Pitch(Augmentation, frozen=True, kw_only=True, tag="pitch"):
    """A higher or lower voice of the same length; formants move along, as on a tape.

    Attributes:
        semitones: above 0 is higher.
    """

    semitones: Range = (-3.0, 3.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("semitones", self.semitones, -24, 24)

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Stretch in time and resample."""
        semitones = uniform(rng, self.semitones)
        factor = 2 ** (semitones / 12)
        return Changed(fit(change_rate(stretch(wave, 1 / factor), factor), wave.size), {"semitones": semitones})

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Lower, and higher."""
        return cls(semitones=(-3.0, -3.0)), cls(semitones=(3.0, 3.0))


AUGMENTATION = Pitch
