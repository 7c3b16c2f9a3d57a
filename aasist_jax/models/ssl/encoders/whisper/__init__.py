"""The encoder of Whisper (Radford et al., 2022, arXiv:2212.04356), a speech recogniser."""

from typing import Any

from aasist_jax.models.ssl.encoders import EncoderKind
from aasist_jax.models.ssl.encoders.whisper.config import WhisperConfig
from aasist_jax.models.ssl.encoders.whisper.names import NAMES, block_of


def _build(config: WhisperConfig, *, dtype: Any = None, axis_name: str | None = None) -> Any:
    import jax.numpy as jnp

    from aasist_jax.models.ssl.encoders.whisper.network import WhisperEncoder

    # Nothing is computed over a batch, so the axis of the devices does not matter.
    return WhisperEncoder(config, jnp.float32 if dtype is None else dtype)


KIND = EncoderKind(WhisperConfig, _build, NAMES, block_of, any_length=True)
