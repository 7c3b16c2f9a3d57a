"""A family without state: the mean magnitudes of bands of samples, judged by one layer. Its window is fixed."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from aasist_jax.models.family import CheckpointNames, Family, Window
from aasist_jax.models.layers import Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs
from tests.models.toys.base import BandsConfig, ToyModule, band_magnitudes


class StatelessConfig(BandsConfig):
    pass


class Stateless(ToyModule):
    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        x = band_magnitudes(waves, self.config.width).astype(self.dtype)
        return Outputs(Linear(2, self.dtype, name="judge")(10 * x).astype(jnp.float32), x)


FAMILY = Family(
    name="ToyStateless",
    config_type=StatelessConfig,
    build=lambda config, **options: LinenNetwork(Stateless(config, **options), config.samples),
    window=lambda config: Window(config.samples, shortest=config.width),
    names=CheckpointNames(),
)
MODEL_CONFIG = {"architecture": "ToyStateless", "samples": 4000}
