"""The training loss."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.family import Family, Loss, Outputs, class_logits


def loss_of(family: Family) -> Loss:
    """The loss that a family is trained with: its own, or the weighted cross-entropy."""
    return family.loss or cross_entropy(family.bonafide_index)


def cross_entropy(bonafide_index: int = 1) -> Loss:
    """Make the weighted cross-entropy of a network whose logits have bona fide speech at `bonafide_index`."""

    def loss(
        outputs: Outputs, record: Mapping[str, Array], class_weights: tuple[float, float]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return weighted_cross_entropy(class_logits(outputs.logits, bonafide_index), record["label"], class_weights)

    return loss


def weighted_cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"], class_weights: tuple[float, ...]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Cross-entropy with class weights, as a numerator and a denominator.

    The loss of a batch is the ratio: the sum of each sample's weighted cross-entropy over the sum of the weights. The
    two are kept apart because only their sums over devices may be divided: a mean of the devices' own ratios is
    another number whenever the class counts differ.
    """
    weights = jnp.asarray(class_weights, logits.dtype)[labels]
    log_probability = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).squeeze(1)
    return -(weights * log_probability).sum(), weights.sum()
