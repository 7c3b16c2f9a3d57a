"""What encoders that end in a transformer have in common: sizes, and what their parameters take part in. No JAX."""

import re
from typing import Annotated

from msgspec import Meta

from aasist_jax.models.ssl.encoders import EncoderConfig

Size = Annotated[int, Meta(ge=1, le=65_536)]
Layers = Annotated[int, Meta(ge=1, le=100)]


class TransformerConfig(EncoderConfig, frozen=True, kw_only=True):
    """The sizes of a transformer whose steps get a table of positions first, and a norm after the last layer.

    Attributes:
        d_model: features of the transformer, an even number.
        layers: layers of the transformer.
        heads: attention heads.
        ffn_dim: features between the two linear maps of a layer.
        max_positions: rows of the table of positions, and so the most steps.
    """

    d_model: Size
    layers: Layers
    heads: Size
    ffn_dim: Size
    max_positions: Size

    def __post_init__(self) -> None:
        """Check what the types cannot express."""
        if self.d_model % 2:
            raise ValueError(f"d_model: expected an even number, half sines and half cosines, got {self.d_model}")
        if self.d_model % self.heads:
            raise ValueError(f"heads: expected a divisor of d_model, which is {self.d_model}, got {self.heads}")

    @property
    def width(self) -> int:
        """Features of every hidden state."""
        return self.d_model

    @property
    def hidden_states(self) -> int:
        """The sum with the positions, every layer, and the norm of the last one."""
        return self.layers + 2


def block_of(path: str, *, positions: str, last_norm: str) -> int | None:
    """The first hidden state that a parameter takes part in; None for the table of positions, which is not trained.

    Args:
        path: of the parameter, such as `layers_0/linear1/kernel`.
        positions: the module that has the table of positions.
        last_norm: the module after the last layer.
    """
    first = path.partition("/")[0]
    if first == positions:
        return None
    if found := re.fullmatch(r"layers_(\d+)", first):
        return int(found[1]) + 1
    return -1 if first == last_norm else 0
