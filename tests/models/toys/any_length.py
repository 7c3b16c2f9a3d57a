"""A family that takes clips of any length, keeps a state that is no batch norm, and has one logit."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from aasist_jax.models.family import CheckpointNames, Family, Window
from aasist_jax.models.layers import Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs
from tests.models.toys.base import ToyModule


@dataclass(frozen=True)
class AnyLengthConfig:
    """Clips of up to `longest` samples, in frames of `frame` samples."""

    longest: int
    frame: int = 200


class AnyLength(ToyModule):
    """Loudness of frames relative to the loudest training batch so far, averaged over the frames that are there."""

    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        batch, size = waves.shape[0], self.config.frame
        frames = waves[:, : waves.shape[1] // size * size].reshape(batch, -1, size)
        loudest = self.variable("memory", "loudest", jnp.ones, ())
        if train:
            largest = jnp.abs(waves).max()
            if self.axis_name is not None:
                largest = jax.lax.pmax(largest, self.axis_name)
            loudest.value = jnp.maximum(loudest.value, largest)
        x = (jnp.abs(frames) / loudest.value).astype(self.dtype)
        x = jnp.stack([x.mean(2), x.max(2)], axis=2)
        over_time = Linear(1, self.dtype, name="judge")(x).astype(jnp.float32)
        there = jnp.full((batch,), frames.shape[1]) if lengths is None else jnp.maximum(lengths // size, 1)
        mask = (jnp.arange(frames.shape[1])[None] < there[:, None])[..., None]
        logit = (over_time * mask).sum(1) / there[:, None]
        return Outputs(logit, (x * mask).sum(1) / there[:, None], frames=over_time)


FAMILY = Family(
    name="ToyAnyLength",
    config_type=AnyLengthConfig,
    build=lambda config, **options: LinenNetwork(AnyLength(config, **options), config.longest, state=("memory",)),
    window=lambda config: Window(config.longest, shortest=config.frame, fixed=False),
    bonafide_index=None,
    names=CheckpointNames(parameter=lambda name: f"buffer_{name}"),
)
MODEL_CONFIG = {"architecture": "ToyAnyLength", "longest": 6000}
