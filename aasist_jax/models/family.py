"""The architectures by name: what a new one has to bring so that everything else serves it unchanged."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from aasist_jax.errors import ConfigError


@dataclass(frozen=True)
class FrameGeometry:
    """How the frames of an encoder lie on the samples of a recording.

    Frame k is that of the samples from k * stride. With `context` frames before and after it, and `tail` samples
    behind those, an encoder gives it as it would within the whole recording.

    Attributes:
        stride: samples from one frame to the next.
        tail: samples that the encoder takes beyond the strides of its frames; samples // stride of what else there
            is make a frame.
        context: frames on either side that a frame depends on.
    """

    stride: int
    tail: int
    context: int

    def frames(self, samples: int) -> int:
        """Count the frames of a recording of `samples`."""
        return max((samples - self.tail) // self.stride, 0)


@dataclass(frozen=True)
class Architecture:
    """One family of detectors.

    Attributes:
        name: the `architecture` key of a `model_config`.
        config_type: frozen dataclass of the other `model_config` keys. It has `nb_samp`, the samples of a window,
            and `shortest_input`, the fewest samples that the model takes.
        build: `build(config, dtype=..., axis_name=...)` gives the Flax module. The module is called as
            `module.apply(variables, wave, train=..., freq_aug=...)` with `wave` (batch, samples) and returns
            `(last_hidden, logits)`: (batch, features) and (batch, 2), index 1 bona fide. Its variables are the
            collections `params` and `batch_stats`. The batch may be symbolic (for export): `wave.shape[0]` is one then,
            `len(wave)` fails.
        torch_module: the PyTorch name of the submodule at a Flax path, such as `block1/conv1` ->
            `encoder.0.0.conv1`; '' for the top. Names of bare parameters go through `torch_parameter`.
        torch_parameter: the PyTorch name of a bare parameter (no kernel, bias or statistic), given its Flax name.
        frozen_parameter: whether the parameter at a Flax path never gets a gradient in PyTorch, so that weight
            decay and the optimizer leave it alone.
        frame_geometry: for an architecture that encodes a waveform frame by frame and judges a window by its frames
            alone: the frames, given the configuration. Its module has the methods `encode(wave, valid)`, (batch,
            samples) to (batch, f, frames, c), where `valid` (batch, 2) is the span of samples that belong to the
            recording, and `classify(frames)`, which returns what a call of the module does. Overlapping windows then
            share one pass of the encoder. None: every window is scored by itself.
        onnx_graph: `onnx_graph(config, variables)` gives the model as an `onnx.GraphProto`: `wave` (batch, nb_samp)
            to `logits` (batch, 2), in float32 and evaluation mode; None where nobody has written one.
    """

    name: str
    config_type: type
    build: Callable[..., nn.Module]
    torch_module: Callable[[str], str]
    torch_parameter: Callable[[str], str] = lambda name: name
    frozen_parameter: Callable[[str], bool] = lambda path: False
    frame_geometry: Callable[[Any], FrameGeometry] | None = None
    onnx_graph: Callable[[Any, dict[str, Any]], Any] | None = None


_BUILT_IN = {"AASIST": "aasist_jax.models.aasist"}
_registered: dict[str, Architecture] = {}


def register(entry: Architecture) -> Architecture:
    """Add an architecture; its name must be new."""
    if entry.name in _registered:
        raise ValueError(f"an architecture named {entry.name!r} is registered already")
    _registered[entry.name] = entry
    return entry


def unregister(name: str) -> None:
    """Remove an architecture that `register` added."""
    del _registered[name]


def architecture_names() -> list[str]:
    """Every name that `architecture` knows, sorted."""
    return sorted({*_BUILT_IN, *_registered})


def architecture(name: str) -> Architecture:
    """Look an architecture up by name; a built-in one is imported on first use."""
    if name not in _registered:
        if name not in _BUILT_IN:
            raise ConfigError(f"architecture: expected one of {architecture_names()}, got {name!r}")
        importlib.import_module(_BUILT_IN[name])
    return _registered[name]


def architecture_of(config: Any) -> Architecture:
    """Look up the architecture that a parsed `model_config` belongs to."""
    for name in architecture_names():
        if architecture(name).config_type is type(config):
            return architecture(name)
    raise ConfigError(f"{type(config).__name__} is the configuration of no registered architecture")


def build_model(config: Any, **options: Any) -> nn.Module:
    """Build the Flax module of a parsed `model_config`; options are `dtype` and `axis_name`."""
    return architecture_of(config).build(config, **options)


def model_logits(model: nn.Module, variables: Any, wave: Array) -> Float[Array, "batch 2"]:
    """Apply a module in evaluation mode to `wave` (batch, samples); index 1 is bona fide."""
    # What `apply` returns is the module's own affair, of which Flax's annotation can only guess.
    outputs: Any = model.apply(variables, wave)
    return outputs[1]
