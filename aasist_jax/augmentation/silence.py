"""Silence at the ends, trimmed or added: a data set may have more of it in one class, and a model may learn that."""

from typing import Literal

import numpy as np

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, one, uniform
from aasist_jax.augmentation.sound import Wave
from aasist_jax.augmentation.sound.levels import level_of, trim

Way = Literal["trim", "add"]


class Silence(Augmentation, frozen=True, kw_only=True, tag="silence"):
    """Trimmed to 80 ms at both ends, or added at both; the length of the wave changes.

    Attributes:
        way: one is drawn.
        seconds: of what is added at each end.
        floor: level of the Gaussian noise in what is added, below that of the speech, in dB; 200 is digital silence.
    """

    way: tuple[Way, ...] = ("trim", "add")
    seconds: Range = (0.0, 1.0)
    floor: Range = (40.0, 80.0)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("seconds", self.seconds, 0, 60, "s")
        check_range("floor", self.floor, 0, 200, "dB")
        if not self.way:
            raise ValueError("way: expected 'trim' or 'add' or both")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Trim or add."""
        way = one(rng, self.way)
        if way == "trim":
            trimmed = trim(wave)
            return Changed(trimmed, {"way": way, "seconds": (wave.size - trimmed.size) / SAMPLE_RATE})
        before, after = (round(uniform(rng, self.seconds) * SAMPLE_RATE) for _ in range(2))
        floor = uniform(rng, self.floor)
        gain = 10 ** ((level_of(wave) - floor) / 20) if floor < 200 else 0.0
        ends = gain * rng.standard_normal(before + after)
        drawn = {"way": way, "before_s": before / SAMPLE_RATE, "after_s": after / SAMPLE_RATE, "floor_db": floor}
        return Changed(np.concatenate([ends[:before], wave, ends[before:]]), drawn)

    def least_share(self) -> float:
        """Half: more silence than that is rare, and what is then too short is extended as a short clip is."""
        return 0.5 if "trim" in self.way else 1.0

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Both ways."""
        return cls(way=("trim",)), cls(way=("add",))


AUGMENTATION = Silence
