"""The contract of a family of detectors, and the registry of all families.

A family is a folder beside this file: a configuration, a network, the names of its checkpoints, and what else it is
able to do. Its package defines `FAMILY`, and that is all: training, scoring, conversion, export and evaluation read
the registry here, and know no family by name.

The variables of a network are two trees. `params` is trained. `model_state` is whatever else changes in training, such
as batch statistics: a dictionary by kind (`{"batch_stats": {...}}`) that nothing outside the family looks into, empty
for a network that has none. On disk and in checkpoints both lie side by side, `params` under its own name and the
entries of `model_state` under theirs.
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
"""The two classes, in the order of the logits everywhere outside of a network."""

Params = Any
ModelState = dict[str, Any]
Variables = dict[str, Any]
"""`{"params": params, **model_state}`."""

Waves = Float[Array, "batch samples"]
"""Waveforms at 16 kHz, full scale 1."""

Lengths = Int[Array, " batch"]
"""How many samples of each waveform are there, from the first on; the rest is filling."""

Spans = Int[Array, "batch 2"]
"""First sample, and last but one, of each waveform that are there; the rest is filling."""

EncoderFrames = Float[Array, "batch f frames c"]
"""What an encoder makes of waveforms."""


class Outputs(NamedTuple):
    """What a network says of a batch.

    Attributes:
        logits: float32 or wider, (batch, 2), or (batch, 1) whose one value is the logit of bona fide speech.
        embedding: (batch, features), what the last layer judged by.
        frames: (batch, frames, 2 or 1), logits over time; None for a network that gives none.
        others: further outputs by name, for the family's own loss.
    """

    logits: Float[Array, "batch classes"]
    embedding: Float[Array, "batch features"]
    frames: Float[Array, "batch frames classes"] | None = None
    others: Mapping[str, Array] = {}


Applied = tuple[Outputs, ModelState]
"""What a network gives: its outputs and its new state."""


class RandomKeys(NamedTuple):
    """The random numbers of one training step.

    Attributes:
        own: a key that differs for every device and for every part of an accumulated batch: dropout.
        shared: a key that is the same for the whole batch: one draw for all clips.
    """

    own: Array
    shared: Array


@runtime_checkable
class Network(Protocol):
    """A network of a family, built for one configuration, one type to compute in and one device axis."""

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
            params: the trained variables.
            model_state: the others.
            waves: 16 kHz, full scale 1. The batch may be symbolic (for export): `waves.shape[0]` is one then,
                `len(waves)` fails.
            lengths: samples of each clip that are there; the rest is zeros. None: all of them. A family of fixed
                windows is never given any.
            train: whether to run as in training, with dropout and batch statistics.
            rng: random numbers, in training.

        Returns:
            The outputs, and the new state (outside of training, the given one).
        """
        ...


@runtime_checkable
class FrameNetwork(Network, Protocol):
    """A network that encodes a recording once, and judges any window by its frames alone."""

    def encode(
        self, params: Params, model_state: ModelState, pieces: Waves, valid: Spans | None = None
    ) -> EncoderFrames:
        """Encode pieces of longer recordings, in evaluation mode.

        `valid` is the span of samples of a piece, first to last but one, that belong to the recording; the rest is
        filling. See `FrameGeometry` for how frames lie on samples.
        """
        ...

    def classify(self, params: Params, model_state: ModelState, frames: EncoderFrames) -> Applied:
        """Judge windows by their frames, in evaluation mode: what `apply` gives for the same windows."""
        ...


@dataclass(frozen=True)
class Window:
    """What a network takes at once.

    Attributes:
        samples: of a window at 16 kHz. Training crops to it, and longer recordings are cut into windows of it.
        shortest: the fewest samples that the network takes.
        fixed: whether a window must be full: a shorter clip is then repeated end to end. Otherwise it is padded with
            zeros, and the network is told its length.
    """

    samples: int
    shortest: int
    fixed: bool = True

    @property
    def fill(self) -> Literal["repeat", "zeros"]:
        """How a clip that is shorter fills the window: `repeat` or `zeros`."""
        return "repeat" if self.fixed else "zeros"


@dataclass(frozen=True)
class FrameGeometry:
    """How the frames of an encoder lie on the samples of a recording.

    Frame k begins at sample k * stride. An encoder that is given a frame's samples, `context` frames before and after
    them, and `tail` more samples computes the frame as it would within the whole recording.

    Attributes:
        stride: samples from one frame to the next.
        tail: samples that the encoder takes beyond the strides of its frames; of what else there is, every full
            stride makes a frame.
        context: frames on either side that a frame depends on.
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
        module: the PyTorch name of the submodule at a path, such as `block1/conv1` -> `encoder.0.0.conv1`.
        parameter: the PyTorch name of a variable that is no kernel, bias or batch statistic, given ours.
    """

    module: Callable[[str], str] = lambda path: path.replace("/", ".")
    parameter: Callable[[str], str] = lambda name: name


@dataclass(frozen=True)
class StateEstimate:
    """How the state that belongs to averaged parameters is estimated, from one pass over the training data.

    Attributes:
        start: the state from which every training batch is run, given any state of the network.
        finish: the estimate of one array, given the array that it replaces, the mean over batches of what a batch left
            there (float64), and the number of batches.
    """

    start: Callable[[ModelState], ModelState]
    finish: Callable[[Any, Any, int], Any]


@runtime_checkable
class Loss(Protocol):
    """A loss of a family's own."""

    def __call__(
        self, outputs: Outputs, record: Mapping[str, Array], class_weights: tuple[float, float]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Give the loss as a numerator and a denominator, which are summed over devices before they are divided.

        Args:
            outputs: of the network.
            record: int32 (batch,) each: `label` (0 spoof, 1 bona fide), `attack` (0 bona fide, from 1 on the attacks of
                the training split in the order of their names) and `speaker` (in the order of their names).
            class_weights: of spoof and bona fide, as configured.
        """
        ...


@dataclass(frozen=True)
class Family:
    """A family of detectors.

    Attributes:
        name: the `architecture` key of a `model_config`.
        config_type: frozen dataclass of the other keys of a `model_config`.
        build: makes the network: `build(config, dtype=..., axis_name=...)`. It computes in `dtype` (variables stay
            float32); batch statistics, where there are any, span the devices of `axis_name`. Families with
            `masks_filters` take `freq_aug` as well.
        window: what the network takes at once, given the configuration.
        window_fields: fields of the configuration that say how long a window is, and may differ from those of the
            weights that training starts from.
        bonafide_index: of two logits, the one of bona fide speech.
        trains: whether the parameter at a path, such as `encoder/block1/conv1/kernel`, is ever trained; weight decay
            and optimizer leave the others alone.
        loss: a loss of its own; None for the weighted cross-entropy.
        state_estimate: how its state follows averaged parameters; None: the last state is kept.
        masks_filters: whether it has the augmentation that the configuration calls `freq_aug`.
        names: of its PyTorch checkpoints; None where there is no such form.
        published: weights that their authors published.
        frame_geometry: for a family whose network is a `FrameNetwork`: its frames, given the configuration. Overlapping
            windows then share one pass of the encoder. None: every window is scored by itself.
        explainer: makes what explains a score; None where nobody has written one.
        onnx_graph: `onnx_graph(config, variables)` gives the network as an `onnx.GraphProto`: `wave` (batch, samples of
            a window) to `logits`, float32, in evaluation mode. None where nobody has written one.
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
        """What the two logits of its published form stand for."""
        return ("spoof", "bonafide") if self.bonafide_index == 1 else ("bonafide", "spoof")


_registered: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Add a family that lies outside of this package; its name must be new."""
    if family.name in _families():
        raise ValueError(f"a family named {family.name!r} is registered already")
    _registered[family.name] = family
    return family


def unregister(name: str) -> None:
    """Remove a family that `register` added."""
    del _registered[name]


def family_names() -> list[str]:
    """The names of all families, sorted."""
    return sorted(_families())


def family(name: str) -> Family:
    """Look a family up by its name.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    families = _families()
    if name not in families:
        raise ConfigError(f"architecture: {name!r} is not among them; {nearest(str(name), families)}")
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
    """What the configured network takes at once."""
    return family_of(config).window(config)


def join_variables(params: Params, model_state: ModelState) -> Variables:
    """Put parameters and state side by side, as they are stored."""
    return {"params": params, **model_state}


def split_variables(variables: Mapping[str, Any]) -> tuple[Params, ModelState]:
    """Take stored variables apart; the inverse of `join_variables`."""
    return variables["params"], {kind: tree for kind, tree in variables.items() if kind != "params"}


def class_logits(logits: Float[Array, "batch classes"], bonafide_index: int) -> Float[Array, "batch 2"]:
    """Bring a network's logits into one order, spoof before bona fide.

    One logit is that of bona fide speech against a spoof's 0, so that its softmax is the logistic function.
    """
    if logits.shape[1] == 1:
        return jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    return logits if bonafide_index == 1 else logits[:, ::-1]


def score_function(config: Any, network: Network) -> Callable[..., Float[Array, "batch 2"]]:
    """Make `score(variables, waves, lengths=None)`, which gives the logits (spoof, bona fide) in evaluation mode."""
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
    """The `FAMILY` of every folder beside this file."""
    folders = [module.name for module in pkgutil.iter_modules(models.__path__) if module.ispkg]
    families = [importlib.import_module(f"{models.__name__}.{folder}").FAMILY for folder in folders]
    return {family.name: family for family in families}
