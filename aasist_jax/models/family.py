"""The contract of a family of detectors, and the registry of all families.

A family is a package in the folder of this file. It holds a configuration, a network, the parameter names of its
PyTorch checkpoints, and optional abilities such as explanation or ONNX export. The package only has to define `FAMILY`:
training, scoring, conversion, export and evaluation read the registry in this file and know no family by name.

The variables of a network are two trees. `params` holds the trained parameters. `model_state` holds everything else
that changes in training, such as batch statistics. It is a dictionary by kind (`{"batch_stats": {...}}`), empty for a
network without state, and no code outside the family depends on its content. Files and checkpoints store both in one
tree: `params` and each entry of `model_state` under its own name.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax import models
from aasist_jax.errors import ConfigError, nearest
from aasist_jax.models.explanation import Explainer
from aasist_jax.models.published import PublishedWeights

LABELS = ("spoof", "bonafide")
"""The two classes, in the order that the logits have everywhere outside a network."""

Params = Any
ModelState = dict[str, Any]
Variables = dict[str, Any]
"""`{"params": params, **model_state}`."""

Waves = Float[Array, "batch samples"]
"""Waveforms at 16 kHz, full scale 1."""

Lengths = Int[Array, " batch"]
"""Number of valid samples at the start of each waveform; the rest is padding."""

Spans = Int[Array, "batch 2"]
"""Valid samples of each waveform as (start, end), end exclusive; the rest is padding."""

EncoderFrames = Float[Array, "batch f frames c"]
"""The encoder's output: frames over time."""


class Outputs(NamedTuple):
    """The outputs of a network for a batch.

    Attributes:
        logits: float32 or wider, (batch, 2), or (batch, 1) whose one value is the logit of bona fide speech.
        embedding: (batch, features), the input of the last layer.
        frames: (batch, frames, 2 or 1), logits over time; None for a network that has none.
        others: further outputs by name, for the family's own loss.
    """

    logits: Float[Array, "batch classes"]
    embedding: Float[Array, "batch features"]
    frames: Float[Array, "batch frames classes"] | None = None
    others: Mapping[str, Array] = {}


Applied = tuple[Outputs, ModelState]
"""The result of `apply`: the outputs and the new model state."""


class RandomKeys(NamedTuple):
    """The random keys of one training step.

    Attributes:
        own: a key that differs between devices and between the parts of an accumulated batch; used for dropout.
        shared: a key that is the same for the whole batch; used for draws that apply to all clips.
    """

    own: Array
    shared: Array


@runtime_checkable
class Network(Protocol):
    """A network of a family, built for one configuration, one compute dtype and one device axis."""

    def init(self, rng: Array) -> tuple[Params, ModelState]:
        """Draw the variables at random from a key."""
        ...

    def apply(
        self,
        params: Params,
        model_state: ModelState,
        waves: Waves,
        lengths: Lengths | None = None,
        train: bool = False,
        rng: RandomKeys | None = None,
    ) -> Applied:
        """Run the network.

        Args:
            params: the trained parameters.
            model_state: the other variables.
            waves: 16 kHz, full scale 1. The batch size may be symbolic (for export): use `waves.shape[0]`, because
                `len(waves)` fails then.
            lengths: number of valid samples of each clip; the rest is zeros. None: every sample is valid. A family
                with fixed windows always gets None.
            train: whether to run in training mode, with dropout and batch statistics.
            rng: random keys, in training mode.

        Returns:
            The outputs and the new state (in evaluation mode, the state that was given).
        """
        ...


@runtime_checkable
class FrameNetwork(Network, Protocol):
    """A network that can encode a recording once and then classify any window from its frames."""

    def encode(
        self, params: Params, model_state: ModelState, pieces: Waves, valid: Spans | None = None
    ) -> EncoderFrames:
        """Encode pieces of longer recordings, in evaluation mode.

        `valid` gives the samples of each piece that belong to the recording, as (start, end), end exclusive; the rest
        is padding. `FrameGeometry` says which samples a frame covers.
        """
        ...

    def classify(self, params: Params, model_state: ModelState, frames: EncoderFrames) -> Applied:
        """Classify windows from their frames, in evaluation mode; equals `apply` on the same windows."""
        ...


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

    @property
    def fill(self) -> Literal["repeat", "zeros"]:
        """How a shorter clip is extended to a window: `repeat` or `zeros`."""
        return "repeat" if self.fixed else "zeros"


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
class StateEstimate:
    """How to estimate the model state for averaged parameters, in one pass over the training data.

    Attributes:
        start: takes any state of the network and returns the state that every training batch starts from.
        finish: returns the estimate of one array of the state. Its arguments are the array that is replaced, the mean
            over batches of that array after a batch (float64), and the number of batches.
    """

    start: Callable[[ModelState], ModelState]
    finish: Callable[[Any, Any, int], Any]


@runtime_checkable
class Loss(Protocol):
    """The loss of a family that is not trained with the weighted cross-entropy."""

    def __call__(
        self, outputs: Outputs, record: Mapping[str, Array], class_weights: tuple[float, float]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return the loss as a numerator and a denominator. Both are summed over devices before the division.

        Args:
            outputs: the outputs of the network.
            record: what is known of the clips, int32 (batch,) each: `label` (0 spoof, 1 bona fide), `attack` (0 bona
                fide; 1 and up the attacks of the training split, sorted by name) and `speaker` (sorted by name).
            class_weights: the configured weights of spoof and bona fide.
        """
        ...


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
        bonafide_index: index of the bona fide logit among the two.
        trains: whether the parameter at a path, such as `encoder/block1/conv1/kernel`, is ever trained. The optimizer
            and weight decay do not touch the others.
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
    bonafide_index: int = 1
    trains: Callable[[str], bool] = lambda path: True
    loss: Loss | None = None
    state_estimate: StateEstimate | None = None
    masks_filters: bool = False
    names: CheckpointNames | None = None
    published: tuple[PublishedWeights, ...] = ()
    frame_geometry: Callable[[Any], FrameGeometry] | None = None
    explainer: Callable[[Any, Variables], Explainer] | None = None
    onnx_graph: Callable[[Any, Variables], Any] | None = None

    @property
    def labels(self) -> tuple[str, str]:
        """The classes of the two logits, in the order of the published checkpoints."""
        return ("spoof", "bonafide") if self.bonafide_index == 1 else ("bonafide", "spoof")


_registered: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Add a family that is defined outside this package; its name must be new."""
    if family.name in _families():
        raise ValueError(f"a family named {family.name!r} is registered already")
    _registered[family.name] = family
    return family


def unregister(name: str) -> None:
    """Remove a family that `register` added."""
    del _registered[name]


def family_names() -> list[str]:
    """The names of all families, sorted.

    Raises:
        ConfigError: a folder beside this file sets no `FAMILY`, or two of them have the same name.
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


def build_network(config: Any, *, dtype: Any = jnp.float32, axis_name: str | None = None, **options: Any) -> Any:
    """Build the network of a parsed `model_config`; a `FrameNetwork` where its family has a frame geometry."""
    return family_of(config).build(config, dtype=dtype, axis_name=axis_name, **options)


def init(rng: Array, config: Any) -> tuple[Params, ModelState]:
    """Draw the variables of a configured network from a key."""
    return build_network(config).init(rng)


def window_of(config: Any) -> Window:
    """The input window of the configured network."""
    return family_of(config).window(config)


def join_variables(params: Params, model_state: ModelState) -> Variables:
    """Join parameters and state into one tree, as they are stored."""
    return {"params": params, **model_state}


def split_variables(variables: Mapping[str, Any]) -> tuple[Params, ModelState]:
    """Split stored variables into parameters and state; the inverse of `join_variables`."""
    return variables["params"], {kind: tree for kind, tree in variables.items() if kind != "params"}


def class_logits(logits: Float[Array, "batch classes"], bonafide_index: int) -> Float[Array, "batch 2"]:
    """Bring a network's logits into the order (spoof, bona fide).

    A single logit is taken as that of bona fide speech, with 0 as the logit of spoof, so that the softmax of the two is
    the logistic function.

    Raises:
        ValueError: the network returns neither one logit nor two.
    """
    if logits.ndim != 2 or logits.shape[1] not in (1, 2):
        raise ValueError(f"logits: expected shape (batch, 2) or (batch, 1) from a network, got {logits.shape}")
    if logits.shape[1] == 1:
        return jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    return logits if bonafide_index == 1 else logits[:, ::-1]


def score_function(config: Any, network: Network) -> Callable[..., Float[Array, "batch 2"]]:
    """Make `score(variables, waves, lengths=None)`, which returns the logits (spoof, bona fide) in evaluation mode."""
    index = family_of(config).bonafide_index

    def score(variables: Variables, waves: Array, lengths: Array | None = None) -> Array:
        outputs, _ = network.apply(*split_variables(variables), waves, lengths)
        return class_logits(outputs.logits, index)

    return score


def variable_shapes(config: Any) -> dict[str, Any]:
    """Shape and type of the variables of a `model_config`, as a tree of `jax.ShapeDtypeStruct`."""
    network = build_network(config)
    return join_variables(*jax.eval_shape(network.init, jax.random.key(0)))


def _families() -> dict[str, Family]:
    return _built_in() | _registered


@functools.cache
def _built_in() -> dict[str, Family]:
    """The `FAMILY` of every package in the folder of this file."""
    families: dict[str, Family] = {}
    for folder in (module.name for module in pkgutil.iter_modules(models.__path__) if module.ispkg):
        found = getattr(importlib.import_module(f"{models.__name__}.{folder}"), "FAMILY", None)
        if not isinstance(found, Family):
            raise ConfigError(f"models/{folder}/__init__.py: sets no FAMILY = Family(...), as every folder there does")
        if found.name in families:
            raise ConfigError(
                f"models/{folder}/__init__.py: another family is called {found.name!r}; choose a new name"
            )
        families[found.name] = found
    return families
