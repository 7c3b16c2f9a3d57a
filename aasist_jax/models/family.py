"""The contract of a family of detectors, and the registry of all families.

A family is a package in the folder of this file. It holds a configuration, a network (see `network.py`), the parameter
names of its PyTorch checkpoints, and optional abilities such as explanation or ONNX export. The package only has to
define `FAMILY`: training, scoring, conversion, export and evaluation read the registry in this file and know no family
by name.

This file imports no JAX, so that commands which only list or fetch weights start at once. A family with published
weights keeps it so by importing its network inside the function that builds it.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aasist_jax import models
from aasist_jax.errors import ConfigError, nearest
from aasist_jax.models.published import PublishedWeights
from aasist_jax.runtime.members import find_members

if TYPE_CHECKING:
    import numpy as np

    from aasist_jax.models.explanation import Explainer
    from aasist_jax.models.network import Loss, Network
    from aasist_jax.models.variables import ModelState, Variables
else:
    # The modules of these types import JAX or NumPy.
    Explainer = Loss = ModelState = Network = Variables = Any

LABELS = ("spoof", "bonafide")
"""The two classes, in the order that the logits have everywhere outside a network."""


@dataclass(frozen=True)
class Window:
    """The input window of a network.

    Attributes:
        samples: length of a window at 16 kHz. Training crops clips to it; longer recordings are cut into such windows.
        shortest: the fewest samples that the network accepts.
        fixed: whether every window must be full, so that a shorter clip is repeated end to end. Otherwise a shorter
            clip is padded with zeros and its length is passed to the network.
    """

    samples: int
    shortest: int
    fixed: bool = True

    def first(self, wave: "np.ndarray") -> tuple["np.ndarray", int | None]:
        """Make a window from the start of a wave, float32 (samples,), and return it with its length.

        With fixed windows the length is None, and a shorter wave is repeated. Otherwise a shorter wave is padded with
        zeros, and the length is its number of samples, but at least `shortest`, which every network accepts.

        Raises:
            AudioError: `wave` is empty.
        """
        from aasist_jax.audio.windows import first_window

        window = first_window(wave, self.samples)
        if self.fixed:
            return window, None
        window[wave.size :] = 0
        return window, min(max(wave.size, self.shortest), self.samples)


@dataclass(frozen=True)
class FrameGeometry:
    """Which samples of a recording the frames of an encoder cover.

    Frame k begins at sample k * stride. To compute a frame as it is within the whole recording, the encoder needs the
    frame's own samples, `context` frames before and after it, and `tail` more samples.

    Attributes:
        stride: samples from one frame to the next.
        tail: samples that the encoder needs beyond the last frame's stride: n samples give (n - tail) // stride frames.
        context: number of frames on either side that a frame depends on.
    """

    stride: int
    tail: int
    context: int

    def frames(self, samples: int) -> int:
        """Count the frames of a recording of `samples`."""
        return max((samples - self.tail) // self.stride, 0)


@dataclass(frozen=True)
class CheckpointNames:
    """How a family's PyTorch checkpoints name its variables.

    Attributes:
        module: maps the path of a submodule to its PyTorch name, such as `block1/conv1` -> `encoder.0.0.conv1`.
        parameter: maps our name of a variable that is no kernel, bias or batch statistic to its PyTorch name.
    """

    module: Callable[[str], str] = lambda path: path.replace("/", ".")
    parameter: Callable[[str], str] = lambda name: name


@dataclass(frozen=True)
class FrozenFront:
    """The first part of a network in which nothing is trained, so that it can be computed once for each clip.

    Attributes:
        part: the part of the network, such as `encoder`; it has all variables under that name, and no others.
        compute: `compute(variables, waves, lengths, dtype)` gives the features of a batch, (batch, ...), in evaluation
            mode and from the variables of the part alone; `lengths` is None for fixed windows.
        rest: `rest(shape, dtype=..., axis_name=...)` makes the rest of the network. It takes rows in place of waves:
            (batch, numbers), the features of each clip, of `shape` (without the batch), one after the other. `lengths`
            are those of the waves. Its variables are those of the whole network without the part's.
        stored_as: the floating-point type that the features are stored in.
        mark: a text that differs wherever the configuration makes the features differ.
    """

    part: str
    compute: Callable[[Any, Any, Any, Any], Any]
    rest: Callable[..., Network]
    stored_as: str
    mark: str


@dataclass(frozen=True)
class StateEstimate:
    """How to estimate the model state for averaged parameters, in one pass over the training data.

    Attributes:
        start: takes any state of the network and returns the state that every training batch starts from.
        finish: returns the estimate of one array of the state. Its arguments are the array that is replaced, the mean
            over batches of that array after a batch (float64), and the number of batches.
    """

    start: Callable[[ModelState], ModelState]
    finish: Callable[[Any, Any, int], Any]


@dataclass(frozen=True)
class Family:
    """A family of detectors.

    Attributes:
        name: the `architecture` key of a `model_config`.
        config_type: frozen dataclass of the other keys of a `model_config`.
        build: makes the network: `build(config, dtype=..., axis_name=...)`. The network computes in `dtype` (variables
            stay float32). Batch statistics, if it has any, are computed over the devices of `axis_name`. A family with
            `masks_filters` also accepts `freq_aug`.
        window: the input window of the network, given the configuration.
        window_fields: fields of the configuration that set the length of a window. They may differ from those of the
            weights that training starts from.
        bonafide_index: index of the bona fide logit among the two; None for a network with one logit, that of bona fide
            speech.
        trains: `trains(config, path)` says whether the parameter at a path, such as `encoder/block1/conv1/kernel`, is
            ever trained. The optimizer and weight decay do not touch the others.
        encoder_config: for a family on pretrained encoders: the configuration of the encoder, whose variables are those
            under `encoder`. Training can then start from a file of the encoder alone. None: there is no such part.
        frozen_front: the first part of the configured network, if nothing of it is trained, so that its output can be
            stored and the rest trained on that; it gives None for a configuration that trains all.
        on_host: names what the configured network has Python compute on the host, such as a package; '' for nothing. No
            other program could run it, so it is not exported.
        loss: the family's own loss; None for the weighted cross-entropy.
        state_estimate: how to estimate the state for averaged parameters; None: the last state is kept.
        masks_filters: whether the network supports the augmentation that the configuration calls `freq_aug`.
        names: how its PyTorch checkpoints name the variables; None if it has no PyTorch checkpoints.
        published: the weights that the authors published.
        frame_geometry: for a family whose network is a `FrameNetwork`: its frames, given the configuration. Overlapping
            windows then share one pass of the encoder. None: every window is scored separately.
        explainer: makes the explainer of the family's scores; None if it has none.
        onnx_graph: `onnx_graph(config, variables)` returns the network in evaluation mode as an `onnx.GraphProto`, from
            `wave`, float32 (batch, samples of a window), to `logits`, float32 (batch, 2) in the order of `LABELS`. If
            the window is not fixed, a second input `length`, int32 (batch,), has the number of valid samples of each
            clip. None if the family has no ONNX form.
    """

    name: str
    config_type: type
    build: Callable[..., Network]
    window: Callable[[Any], Window]
    window_fields: tuple[str, ...] = ()
    bonafide_index: int | None = 1
    trains: Callable[[Any, str], bool] = lambda config, path: True
    encoder_config: Callable[[Any], Any] | None = None
    frozen_front: Callable[[Any], FrozenFront | None] = lambda config: None
    on_host: Callable[[Any], str] = lambda config: ""
    loss: Loss | None = None
    state_estimate: StateEstimate | None = None
    masks_filters: bool = False
    names: CheckpointNames | None = None
    published: tuple[PublishedWeights, ...] = ()
    frame_geometry: Callable[[Any], FrameGeometry] | None = None
    explainer: Callable[[Any, Variables], Explainer] | None = None
    onnx_graph: Callable[[Any, Variables], Any] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the network's logits, in their order."""
        if self.bonafide_index is None:
            return ("bonafide",)
        return LABELS if self.bonafide_index == 1 else LABELS[::-1]


_registered: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Add a family that is defined outside this package.

    Raises:
        ValueError: its name, its configuration type or the name of its published weights is already in use.
    """
    clash = _clash(family, _families())
    if clash:
        raise ValueError(f"{family.name}: {clash}")
    _registered[family.name] = family
    return family


def unregister(name: str) -> None:
    """Remove a family that `register` added."""
    del _registered[name]


def family_names() -> list[str]:
    """The names of all families, sorted.

    Raises:
        ConfigError: a folder beside this file sets no `FAMILY`, or two of them have something in common that
            distinguishes families: their name, their configuration type, or the name of published weights.
    """
    return sorted(_families())


def family(name: str) -> Family:
    """Look a family up by its name.

    Raises:
        ConfigError: there is no such family; the message names the nearest.
    """
    families = _families()
    if name not in families:
        raise ConfigError(f"architecture: there is no {name!r}; {nearest(str(name), families)}")
    return families[name]


def family_of(config: Any) -> Family:
    """Look up the family that a parsed `model_config` belongs to."""
    for candidate in _families().values():
        if candidate.config_type is type(config):
            return candidate
    raise ConfigError(f"{type(config).__name__} is the configuration of no registered architecture")


def window_of(config: Any) -> Window:
    """The input window of the configured network."""
    return family_of(config).window(config)


def _families() -> dict[str, Family]:
    return _built_in() | _registered


@functools.cache
def _built_in() -> dict[str, Family]:
    """The `FAMILY` of every package in the folder of this file."""
    families: dict[str, Family] = {}
    for file, found in find_members(models.__name__, "FAMILY", Family, ConfigError, packages_only=True).items():
        clash = _clash(found, families)
        if clash:
            raise ConfigError(f"{file}: {clash}")
        families[found.name] = found
    return families


def _clash(new: Family, families: Mapping[str, Family]) -> str:
    """What `new` has in common with a family that is there already, though it must tell them apart; '' for nothing."""
    for other in families.values():
        if new.name == other.name:
            return f"another family is called {new.name!r}; choose a new name"
        if new.config_type is other.config_type:
            return f"the family {other.name} has the same configuration type; derive one of its own"
        for name in {entry.name for entry in new.published} & {entry.name for entry in other.published}:
            return f"the family {other.name} has published weights called {name!r} too; choose a new name"
    return ""
