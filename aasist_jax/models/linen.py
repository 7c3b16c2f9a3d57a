"""A Flax Linen module as a network of the contract."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from aasist_jax.models.family import Applied, EncoderFrames, Lengths, ModelState, Params, RandomKeys, Spans, Waves


@dataclass(frozen=True)
class LinenNetwork:
    """A module that is called as `module(waves, lengths, train=...)` and returns `Outputs`.

    In training it finds the random streams `dropout`, which differs between devices, and `shared`, which does not. Its
    methods `encode` and `classify`, where it has them, take what `FrameNetwork` says, without the variables.

    Attributes:
        module: the module.
        samples: of the waveform that the module is initialised with.
        state: the collections that training changes, such as `batch_stats`.
    """

    module: nn.Module
    samples: int
    state: tuple[str, ...] = ()

    def init(self, rng: Array) -> tuple[Params, ModelState]:
        """Draw the variables; whatever else a module tells of itself while it is initialised is left out."""
        variables: Any = self.module.init(rng, jnp.zeros((1, self.samples)))
        return variables["params"], {kind: variables[kind] for kind in self.state}

    def apply(
        self,
        params: Params,
        model_state: ModelState,
        waves: Waves,
        lengths: Lengths | None = None,
        train: bool = False,
        rng: RandomKeys | None = None,
    ) -> Applied:
        """Run the module; see `Network`."""
        variables = {"params": params, **model_state}
        # What `apply` returns is the module's own affair, of which Flax's annotation can only guess.
        if not train:
            outputs: Any = self.module.apply(variables, waves, lengths)
            return outputs, model_state
        rngs = None if rng is None else {"dropout": rng.own, "shared": rng.shared}
        trained: Any = self.module.apply(variables, waves, lengths, train=True, rngs=rngs, mutable=list(self.state))
        outputs, updates = trained
        return outputs, {kind: updates[kind] for kind in self.state}

    def encode(
        self, params: Params, model_state: ModelState, pieces: Waves, valid: Spans | None = None
    ) -> EncoderFrames:
        """Run the module's method `encode`; see `FrameNetwork`."""
        frames: Any = self.module.apply({"params": params, **model_state}, pieces, valid, method="encode")
        return frames

    def classify(self, params: Params, model_state: ModelState, frames: EncoderFrames) -> Applied:
        """Run the module's method `classify`; see `FrameNetwork`."""
        outputs: Any = self.module.apply({"params": params, **model_state}, frames, method="classify")
        return outputs, model_state
