"""A second family, as a stranger would add it: nothing of the package knows of it."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from aasist_jax.models.batch_statistics import BATCH_STATISTICS
from aasist_jax.models.family import CheckpointNames, Family, Window, register, unregister
from aasist_jax.models.layers import BatchNorm, Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs
from aasist_jax.weights.folder import Source, Weights, save_weights
from tests.models.toys.base import ToyModule

WINDOW, WIDTH = 4000, 100


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """Bands of `width` samples, their mean magnitudes judged by one layer."""

    nb_samp: int
    width: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.width <= self.nb_samp:
            raise ValueError(f"width: expected 1 to nb_samp, got {self.width}")


class Toy(ToyModule):
    @nn.compact
    def __call__(self, wave: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        gain = self.param("gain", nn.initializers.ones, (1,))
        width = self.config.width
        bands = wave[:, : wave.shape[1] // width * width].reshape(wave.shape[0], -1, width)
        x = jnp.abs(bands).mean(1) * gain.reshape(1, 1)
        x = BatchNorm(self.dtype, self.axis_name, name="norm")(x, train=train)
        return Outputs(Linear(2, self.dtype, name="judge")(x).astype(jnp.float32), x)


TOY = Family(
    name="Toy",
    config_type=ToyConfig,
    build=lambda config, **options: LinenNetwork(Toy(config, **options), config.nb_samp, state=("batch_stats",)),
    window=lambda config: Window(config.nb_samp, config.width),
    state_estimate=BATCH_STATISTICS,
    names=CheckpointNames(
        lambda path: {"norm": "front.bn", "judge": "back.linear"}.get(path, path),
        lambda name: {"gain": "Gain"}.get(name, name),
    ),
)


@contextlib.contextmanager
def registered() -> Iterator[Family]:
    """The toy among the families, for a while."""
    register(TOY)
    try:
        yield TOY
    finally:
        unregister(TOY.name)


def toy_weights(gain: float = 1.0) -> Weights:
    """A model whose bona fide logit is, but for the gain, the mean magnitude of the window's bands, weighted."""
    rng = np.random.default_rng(0)
    f32 = np.float32
    variables = {
        "params": {
            "gain": np.array([gain], f32),
            "norm": {"scale": np.ones(WIDTH, f32), "bias": np.zeros(WIDTH, f32)},
            "judge": {"kernel": rng.normal(size=(WIDTH, 2)).astype(f32), "bias": np.zeros(2, f32)},
        },
        "batch_stats": {
            "norm": {"mean": np.zeros(WIDTH, f32), "var": np.ones(WIDTH, f32), "count": np.array(3, np.int32)}
        },
    }
    return Weights(ToyConfig(WINDOW, WIDTH), variables, Source("toy.pth", "0"), "toy-0123", "0123")


def save_toy(folder: Path) -> Path:
    """Write `toy_weights` as a weights folder; the family must be registered."""
    weights = toy_weights()
    return save_weights(folder, weights.config, weights.variables, weights.source)
