"""A family with all that a training run must save and restore, and quick to start: batch norm, dropout, two layers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from aasist_jax.models.batch_statistics import BATCH_STATISTICS
from aasist_jax.models.family import CheckpointNames, Family, Window
from aasist_jax.models.layers import BatchNorm, Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs
from tests.models.toys.base import BandsConfig, ToyModule, band_magnitudes


class TrainedConfig(BandsConfig):
    pass


class Trained(ToyModule):
    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        x = band_magnitudes(waves, self.config.width).astype(self.dtype)
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
