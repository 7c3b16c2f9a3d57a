"""The training loss."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.family import Family
from aasist_jax.models.network import Loss, Outputs, class_logits


def loss_of(family: Family) -> Loss:
    """The training loss of a family: its own, or the weighted cross-entropy."""
    return family.loss or cross_entropy(family.bonafide_index)


def cross_entropy(bonafide_index: int | None) -> Loss:
    """Make the weighted cross-entropy for a network whose family has this `bonafide_index`."""

    def loss(
        outputs: Outputs, record: Mapping[str, Array], class_weights: tuple[float, float]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return weighted_cross_entropy(class_logits(outputs.logits, bonafide_index), record["label"], class_weights)

    return loss


def weighted_cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"], class_weights: tuple[float, ...]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Cross-entropy with class weights, as a numerator and a denominator.

    The loss of a batch is the sum of the weighted cross-entropies of its samples divided by the sum of their weights.
    Both sums are returned so that they can be summed over devices before the division: the mean of the ratios of the
    devices would differ whenever their class counts differ.
    """
    weights = jnp.asarray(class_weights, logits.dtype)[labels]
    log_probability = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).squeeze(1)
    return -(weights * log_probability).sum(), weights.sum()
