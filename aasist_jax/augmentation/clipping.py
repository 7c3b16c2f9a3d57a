"""Clipping, as of a microphone that is too loud, hard or soft."""

from typing import Literal

import numpy as np

from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, one, uniform
from aasist_jax.augmentation.sound import Wave

Shape = Literal["hard", "soft"]


class Clipping(Augmentation, frozen=True, kw_only=True, tag="clipping"):
    """A share of the samples, the loudest, is limited; the peak is then what it was before.

    Attributes:
        share: of the samples that exceed the limit, in percent.
        shape: `hard` cuts off at the limit, `soft` approaches it (hyperbolic tangent); one is drawn.
    """

    share: Range = (0.1, 5.0)
    shape: tuple[Shape, ...] = ("hard", "soft")

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("share", self.share, 0, 50, "percent")
        if not self.shape:
            raise ValueError("shape: expected 'hard' or 'soft' or both")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Limit."""
        share, shape = uniform(rng, self.share), one(rng, self.shape)
        magnitudes = np.abs(wave)
        limit, peak = float(np.quantile(magnitudes, 1 - share / 100)), float(magnitudes.max())
        drawn = {"share_percent": share, "shape": shape}
        if limit < 1e-9:
            return Changed(wave, drawn)
        limited = np.clip(wave, -limit, limit) if shape == "hard" else limit * np.tanh(wave / limit)
        return Changed(limited * (peak / float(np.abs(limited).max())), drawn)

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Both shapes."""
        return cls(share=(5.0, 5.0), shape=("hard",)), cls(share=(5.0, 5.0), shape=("soft",))


AUGMENTATION = Clipping
