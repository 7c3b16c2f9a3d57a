"""A narrower band, as of a small loudspeaker, a cheap microphone or a line."""

from typing import Annotated

import numpy as np
from msgspec import Meta
from scipy import signal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation import Augmentation, Changed, Clips, Range, check_range, log_uniform
from aasist_jax.augmentation.sound import Wave

_Order = Annotated[int, Meta(ge=1, le=12)]


class BandLimit(Augmentation, frozen=True, kw_only=True, tag="band_limit"):
    """A Butterworth band-pass.

    Attributes:
        low: lower edge (3 dB), in Hz.
        high: upper edge, in Hz.
        order: least and largest order of each edge; an order falls by 6 dB an octave.
    """

    low: Range = (20.0, 400.0)
    high: Range = (2500.0, 7500.0)
    order: tuple[_Order, _Order] = (1, 8)

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("low", self.low, 1, 7800, "Hz")
        check_range("high", self.high, 2, 7900, "Hz")
        check_range("order", self.order, 1, 12)
        if self.low[1] >= self.high[0]:
            raise ValueError(f"high: expected a range above that of low, got [{self.high[0]:g}, {self.high[1]:g}]")

    def change(self, wave: Wave, rng: np.random.Generator, clips: Clips) -> Changed:
        """Filter."""
        low, high = log_uniform(rng, self.low), log_uniform(rng, self.high)
        order = int(rng.integers(self.order[0], self.order[1] + 1))
        filters = signal.butter(order, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")
        return Changed(signal.sosfilt(filters, wave), {"low_hz": low, "high_hz": high, "order": order})

    @classmethod
    def examples(cls) -> tuple[Augmentation, ...]:
        """Drawn, and the band of a telephone."""
        return cls(), cls(low=(300.0, 300.0), high=(3400.0, 3400.0), order=(4, 4))


AUGMENTATION = BandLimit
