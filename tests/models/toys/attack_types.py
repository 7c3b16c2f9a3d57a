"""A family whose loss needs the attack's type, and whose bona fide logit comes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from aasist_jax.models.family import CheckpointNames, Family, Window
from aasist_jax.models.layers import Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs
from tests.models.toys.base import ToyModule


@dataclass(frozen=True)
class AttackTypesConfig:
    """Windows of `samples`, and how many attacks are told apart beside bona fide speech."""

    samples: int
    attacks: int


class AttackTypes(ToyModule):
    @nn.compact
    def __call__(self, waves: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        x = jnp.abs(waves[:, : waves.shape[1] // 50 * 50].reshape(waves.shape[0], -1, 50)).mean(1).astype(self.dtype)
        x = nn.Dropout(0.1, deterministic=not train)(x)
        logits = Linear(2, self.dtype, name="judge")(10 * x).astype(jnp.float32)
        types = Linear(1 + self.config.attacks, self.dtype, name="types")(10 * x).astype(jnp.float32)
        return Outputs(logits, x, others={"types": types})


def _loss(outputs: Outputs, record: Mapping[str, Any], class_weights: tuple[float, float]) -> tuple[Any, Any]:
    """Bona fide or not, and which attack: an attack that training did not know has no say in the latter."""
    weights = jnp.asarray(class_weights)[record["label"]]
    # Its logits have bona fide speech first.
    judged = jnp.take_along_axis(jax.nn.log_softmax(outputs.logits), 1 - record["label"][:, None], 1)[:, 0]
    attack = record["attack"]
    typed = jnp.take_along_axis(jax.nn.log_softmax(outputs.others["types"]), jnp.maximum(attack, 0)[:, None], 1)[:, 0]
    return -(weights * (judged + jnp.where(attack >= 0, typed, 0))).sum(), weights.sum()


FAMILY = Family(
    name="ToyAttackTypes",
    config_type=AttackTypesConfig,
    build=lambda config, **options: LinenNetwork(AttackTypes(config, **options), config.samples),
    window=lambda config: Window(config.samples, shortest=50),
    bonafide_index=0,
    loss=_loss,
    names=CheckpointNames(),
)
MODEL_CONFIG = {"architecture": "ToyAttackTypes", "samples": 4000, "attacks": 2}
