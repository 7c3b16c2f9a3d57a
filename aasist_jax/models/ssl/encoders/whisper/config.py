"""The sizes of a Whisper encoder."""

from typing import Annotated, Any

from msgspec import Meta

from aasist_jax.models.ssl.encoders.transformer import Layers, Size, TransformerConfig

HOP = 160
"""Samples from one frame of the spectrogram to the next."""

STRIDES = (1, 2)
"""Strides of the two convolutions over time."""

SAMPLES_PER_STEP = HOP * STRIDES[0] * STRIDES[1]


class WhisperConfig(TransformerConfig, frozen=True, kw_only=True, tag="whisper"):
    """The sizes of a Whisper encoder; those of Whisper tiny by default. Those of the transformer are told by its base.

    Attributes:
        num_mel_bins: mel filters of the spectrogram: 80, or 128 for large-v3.
        max_positions: rows of the table of positions, and so the most steps, of 20 ms each; 1500 is 30 s.
    """

    num_mel_bins: Annotated[int, Meta(ge=1, le=512)] = 80
    d_model: Annotated[int, Meta(ge=4, le=65_536)] = 384
    layers: Layers = 4
    heads: Size = 6
    ffn_dim: Size = 1536
    max_positions: Size = 1500

    @property
    def shortest(self) -> int:
        """The fewest samples: half a frame of 400, which is reflected, and one more."""
        return 201

    @property
    def longest(self) -> int:
        """The most samples: a step for each row of the table of positions (480,159 as published)."""
        return self.max_positions * SAMPLES_PER_STEP + HOP - 1

    def steps(self, samples: Any) -> Any:
        """Count the steps: half of the spectrogram's frames, rounded up."""
        return (samples // HOP + 1) // 2
