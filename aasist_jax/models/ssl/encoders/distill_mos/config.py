"""The sizes of Distill-MOS."""

import math
from typing import Annotated, Any

from msgspec import Meta

from aasist_jax.models.ssl.encoders.transformer import Layers, TransformerConfig

Size = Annotated[int, Meta(ge=1, le=4096)]
Stride = Annotated[int, Meta(ge=1, le=8)]
Exponent = Annotated[float, Meta(gt=0, le=1)]

KERNEL = 3
"""Bins and frames of every convolution's kernel."""


class DistillMOSConfig(TransformerConfig, frozen=True, kw_only=True, tag="distill_mos"):
    """The sizes of a Distill-MOS encoder; as published by default. Those of the transformer are told by its base.

    Attributes:
        win_length: samples of a frame, an even number.
        hop_length: samples from one frame to the next.
        compression: the power to which magnitudes of the spectrum are raised; the phase is kept.
        channels: output channels of each convolution.
        frequency_strides: the stride of each convolution over frequency, which is not padded.
        time_strides: the stride of each convolution over time, which is padded by one zero on either side.
    """

    win_length: Size = 320
    hop_length: Size = 160
    compression: Exponent = 0.3
    channels: tuple[Size, ...] = (64, 64, 128, 256, 256, 256)
    frequency_strides: tuple[Stride, ...] = (1, 2, 2, 2, 2, 2)
    time_strides: tuple[Stride, ...] = (1, 1, 1, 1, 1, 2)
    d_model: Size = 200
    layers: Layers = 7
    heads: Size = 8
    ffn_dim: Size = 400
    max_positions: Size = 384

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        super().__post_init__()
        if not self.channels:
            raise ValueError("channels: expected at least one convolution, got []")
        for name in ("frequency_strides", "time_strides"):
            if len(getattr(self, name)) != len(self.channels):
                raise ValueError(f"{name}: expected {len(self.channels)}, as many as channels")
        if self.hop_length > self.win_length or (self.win_length - self.hop_length) % 2:
            raise ValueError(f"hop_length: expected win_length less an even number, got {self.hop_length}")
        if self.bins < 1:
            raise ValueError("frequency_strides: no bin of the spectrum is left after the convolutions")

    @property
    def bins(self) -> int:
        """Bins that are left of the spectrum's win_length // 2 + 1 after the convolutions."""
        bins = self.win_length // 2 + 1
        for stride in self.frequency_strides:
            bins = (bins - KERNEL) // stride + 1
        return bins

    @property
    def edge(self) -> int:
        """Samples that are mirrored at both ends, so that every hop has its frame."""
        return (self.win_length - self.hop_length) // 2

    @property
    def shortest(self) -> int:
        """The fewest samples: one frame, and as many as are mirrored."""
        return max(self.hop_length, self.edge + 1)

    @property
    def longest(self) -> int:
        """The most samples: a step for each row of the table of positions (123,039 as published)."""
        frames = self.max_positions * math.prod(self.time_strides)
        return (frames + 1) * self.hop_length - 1

    def frames(self, samples: Any) -> Any:
        """Count the frames of the spectrum."""
        return samples // self.hop_length

    def steps(self, samples: Any) -> Any:
        """Count the steps: frames divided by every stride over time, rounded up each time."""
        steps = self.frames(samples)
        for stride in self.time_strides:
            steps = (steps - 1) // stride + 1
        return steps
