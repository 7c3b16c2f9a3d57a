"""The sizes of a Whisper encoder."""

from typing import Annotated, Any

from msgspec import Meta

from aasist_jax.models.ssl.encoders import EncoderConfig

Size = Annotated[int, Meta(ge=1, le=16_384)]

HOP = 160
"""Samples from one frame of the spectrogram to the next."""

STRIDES = (1, 2)
"""Strides of the two convolutions over time."""

SAMPLES_PER_STEP = HOP * STRIDES[0] * STRIDES[1]


class WhisperConfig(EncoderConfig, frozen=True, kw_only=True, tag="whisper"):
    """The sizes of a Whisper encoder; those of Whisper tiny by default.

    Attributes:
        num_mel_bins: mel filters of the spectrogram: 80, or 128 for large-v3.
        d_model: features of the transformer, an even number.
        layers: layers of the transformer.
        heads: attention heads.
        ffn_dim: features between the two linear maps of a layer.
        max_positions: rows of the table of positions, and so the most steps, of 20 ms each; 1500 is 30 s.
    """

    num_mel_bins: Annotated[int, Meta(ge=1, le=512)] = 80
    d_model: Annotated[int, Meta(ge=4, le=16_384)] = 384
    layers: Annotated[int, Meta(ge=1, le=100)] = 4
    heads: Size = 6
    ffn_dim: Annotated[int, Meta(ge=1, le=65_536)] = 1536
    max_positions: Size = 1500

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        if self.d_model % 2:
            raise ValueError(f"d_model: expected an even number, got {self.d_model}")
        if self.d_model % self.heads:
            raise ValueError(f"heads: expected a divisor of d_model, {self.d_model}, got {self.heads}")

    @property
    def width(self) -> int:
        """Features of every hidden state."""
        return self.d_model

    @property
    def hidden_states(self) -> int:
        """The sum with the positions, every layer, and the last layer norm."""
        return self.layers + 2

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
