"""A family with all that a training run must save and restore, and quick to start: batch norm, dropout, two layers."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from aasist_jax.models.batch_statistics import BATCH_STATISTICS
from aasist_jax.models.family import CheckpointNames, Family, Window
from aasist_jax.models.layers import BatchNorm, Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs
from tests.models.toys.base import ToyModule


@dataclass(frozen=True)
class TrainedConfig:
    """Windows of `samples`, in bands of `width` neighbouring ones."""

    samples: int
    width: int = 100


class Trained(ToyModule):
    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        bands = waves[:, : waves.shape[1] // self.config.width * self.config.width]
        x = jnp.abs(bands.reshape(waves.shape[0], -1, self.config.width)).mean(1).astype(self.dtype)
        x = BatchNorm(self.dtype, self.axis_name, name="norm")(x, train=train)
        x = jax.nn.selu(Linear(8, self.dtype, name="hidden")(x))
        x = nn.Dropout(0.3, deterministic=not train)(x)
        return Outputs(Linear(2, self.dtype, name="judge")(x).astype(jnp.float32), x)


FAMILY = Family(
    name="ToyTrained",
    config_type=TrainedConfig,
    build=lambda config, **options: LinenNetwork(Trained(config, **options), config.samples, state=("batch_stats",)),
    window=lambda config: Window(config.samples, shortest=config.width),
    state_estimate=BATCH_STATISTICS,
    names=CheckpointNames(),
)
MODEL_CONFIG = {"architecture": "ToyTrained", "samples": 6000}
