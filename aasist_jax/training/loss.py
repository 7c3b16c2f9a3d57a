"""The training loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


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
