"""The contract of a network: what a family builds, and what the rest of the package does with it.

The variables of a network are two trees. `params` holds the trained parameters. `model_state` holds everything else
that changes in training, such as batch statistics. It is a dictionary by kind (`{"batch_stats": {...}}`), empty for a
network without state, and no code outside the family depends on its content. Files and checkpoints store both in one
tree: `params` and each entry of `model_state` under its own name.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.family import family_of
from aasist_jax.models.variables import ModelState, Params, Variables, join_variables, split_variables
from aasist_jax.ops.choice import xla_only

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
                fide; 1 and up the attacks of the training split, sorted by name; -1 an attack that is not known) and
                `speaker` (0 and up, sorted by name; -1 a speaker that is not known).
            class_weights: the configured weights of spoof and bona fide.
        """
        ...


def build_network(config: Any, *, dtype: Any = jnp.float32, axis_name: str | None = None, **options: Any) -> Any:
    """Build the network of a parsed `model_config`; a `FrameNetwork` where its family has a frame geometry."""
    return family_of(config).build(config, dtype=dtype, axis_name=axis_name, **options)


def init(rng: Array, config: Any) -> tuple[Params, ModelState]:
    """Draw the variables of a configured network from a key."""
    return build_network(config).init(rng)


def class_logits(logits: Float[Array, "batch classes"], bonafide_index: int | None) -> Float[Array, "batch 2"]:
    """Bring a network's logits into the order (spoof, bona fide).

    Without a `bonafide_index` there is a single logit, that of bona fide speech. The logit of spoof is then 0, so that
    the softmax of the two is the logistic function.

    Raises:
        ValueError: the network returns another number of logits than its family says.
    """
    expected = 1 if bonafide_index is None else 2
    if logits.ndim != 2 or logits.shape[1] != expected:
        raise ValueError(f"logits: expected shape (batch, {expected}) from this network, got {logits.shape}")
    if bonafide_index is None:
        return jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    return logits if bonafide_index == 1 else logits[:, ::-1]


def score_function(config: Any, network: Network) -> Callable[..., Float[Array, "batch 2"]]:
    """Make `score(variables, waves, lengths=None)`, which returns the logits (spoof, bona fide) in evaluation mode."""
    read = read_out_function(config, network)

    def score(variables: Variables, waves: Array, lengths: Array | None = None) -> Array:
        return read(variables, waves, lengths)[0]

    return score


def read_out_function(config: Any, network: Network) -> Callable[..., tuple[Array, Array]]:
    """Make `read(variables, waves, lengths=None)`, which returns logits and embedding in evaluation mode.

    The logits are (batch, 2), in the order (spoof, bona fide); the embedding is (batch, features).
    """
    index = family_of(config).bonafide_index

    def read(variables: Variables, waves: Array, lengths: Array | None = None) -> tuple[Array, Array]:
        outputs, _ = network.apply(*split_variables(variables), waves, lengths)
        return class_logits(outputs.logits, index), outputs.embedding

    return read


def variable_shapes(config: Any) -> dict[str, Any]:
    """Shape and type of the variables of a `model_config`, as a tree of `jax.ShapeDtypeStruct`."""
    x64 = jax.config.read("jax_enable_x64")
    try:
        hash(config)
    except TypeError:
        # A frozen dataclass may hold a list.
        return join_variables(*_initialised(config))
    # The dictionaries are new ones: what a caller does with them does not reach those that are remembered.
    return join_variables(*jax.tree.map(lambda leaf: leaf, _remembered(config, x64)))


def _initialised(config: Any) -> tuple[Params, ModelState]:
    # Shapes need no kernels, which would be built at their first use, for a quarter of a minute.
    with xla_only():
        return jax.eval_shape(build_network(config).init, jax.random.key(0))


# To trace a network takes half a second, and a conversion asks for the shapes several times.
@functools.lru_cache(maxsize=16)
def _remembered(config: Any, _x64: bool) -> tuple[Params, ModelState]:
    return _initialised(config)
