"""Wraps a Flax Linen module as a `Network` (see `family.py`)."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from aasist_jax.models.network import Applied, EncoderFrames, Lengths, Outputs, RandomKeys, Spans, Waves
from aasist_jax.models.variables import ModelState, Params


@dataclass(frozen=True)
class LinenNetwork:
    """A network made of a module that is called as `module(waves, lengths, train=...)` and returns `Outputs`.

    In training the module has two random streams: `dropout`, which differs between devices, and `shared`, which does
    not. If it has the methods `encode` and `classify`, they take the arguments of `FrameNetwork` without the variables.

    Attributes:
        module: the Linen module.
        samples: length of the waveform that initialises the module.
        state: the collections that training changes, such as `batch_stats`.
    """

    module: nn.Module
    samples: int
    state: tuple[str, ...] = ()

    def init(self, rng: Array) -> tuple[Params, ModelState]:
        """Draw the variables at random; collections other than `params` and `state` are dropped."""
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
        """Run the module; see `Network`.

        Raises:
            TypeError: the module returns something else than `Outputs`.
        """
        variables = {"params": params, **model_state}
        # `Any`, because Flax cannot know what type the module returns.
        if not train:
            outputs: Any = self.module.apply(variables, waves, lengths)
            return self._checked(outputs), model_state
        rngs = None if rng is None else {"dropout": rng.own, "shared": rng.shared}
        trained: Any = self.module.apply(variables, waves, lengths, train=True, rngs=rngs, mutable=list(self.state))
        outputs, updates = trained
        return self._checked(outputs), {kind: updates[kind] for kind in self.state}

    def encode(
        self, params: Params, model_state: ModelState, pieces: Waves, valid: Spans | None = None
    ) -> EncoderFrames:
        """Run the module's method `encode`; see `FrameNetwork`."""
        frames: Any = self.module.apply({"params": params, **model_state}, pieces, valid, method="encode")
        return frames

    def classify(self, params: Params, model_state: ModelState, frames: EncoderFrames) -> Applied:
        """Run the module's method `classify`; see `FrameNetwork`."""
        outputs: Any = self.module.apply({"params": params, **model_state}, frames, method="classify")
        return self._checked(outputs), model_state

    def _checked(self, outputs: Any) -> Outputs:
        if not isinstance(outputs, Outputs):
            returned = f"{type(self.module).__name__} returned {type(outputs).__name__}"
            raise TypeError(f"{returned}; the module of a family returns Outputs(logits=..., embedding=...)")
        return outputs
