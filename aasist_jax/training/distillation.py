"""Distillation: the network also learns the probabilities that a teacher gives to the same augmented windows."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aasist_jax.models.family import window_of
from aasist_jax.models.network import Loss, Outputs, build_network, class_logits, score_function
from aasist_jax.training.parallel import parallel_map, replicate
from aasist_jax.weights.folder import load_weights

TeacherFunction = Callable[[Mapping[str, Array]], dict[str, Array]]
"""From the arrays of a batch on the devices to one more, `teacher`: its logits (spoof, bona fide)."""


def make_teacher(name: str) -> tuple[TeacherFunction, str]:
    """Load a teacher, and make the function that runs it on a batch.

    A teacher whose windows have another length hears the beginning of a longer window, and a shorter one repeated.

    Args:
        name: a weights folder, or the name of published weights.

    Returns:
        The function, and the id of the weights.

    Raises:
        WeightsError: the weights cannot be read.
    """
    from aasist_jax.weights.published import find_weights

    weights = load_weights(find_weights(name))
    window, score = window_of(weights.config), score_function(weights.config, build_network(weights.config))
    variables = replicate(weights.variables)

    def logits(variables: Any, batch: Mapping[str, Array]) -> Float[Array, "batch 2"]:
        if window.fixed:
            return score(variables, of_length(batch["wave"], window.samples, batch.get("length")))
        return score(variables, batch["wave"], batch.get("length"))

    on_devices = parallel_map(logits)
    heard = ("wave", "length")
    return (
        lambda batch: {"teacher": on_devices(variables, {key: batch[key] for key in heard if key in batch})},
        weights.weights_id,
    )


def of_length(
    waves: Float[Array, "batch samples"], samples: int, lengths: Int[Array, " batch"] | None = None
) -> Float[Array, "batch length"]:
    """Waves, or as much of each as `lengths` says is valid, repeated end to end, or cut, to a number of samples."""
    ends = jnp.full(waves.shape[0], waves.shape[1]) if lengths is None else lengths
    return jnp.take_along_axis(waves, jnp.arange(samples)[None] % ends[:, None], axis=1)


def distilling(loss: Loss, bonafide_index: int | None, weight: float) -> Loss:
    """Make the loss `(1 - weight) * loss + weight * divergence` (Hinton, Vinyals and Dean, 2015, at temperature 1).

    The divergence is Kullback and Leibler's of the network's probabilities from the teacher's, with the class weights
    of the cross-entropy.

    Args:
        loss: the loss by labels.
        bonafide_index: that of the network's family.
        weight: 0 to 1.
    """

    def both(
        outputs: Outputs, record: Mapping[str, Array], class_weights: tuple[float, float]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        numerator, denominator = loss(outputs, record, class_weights)
        known = jax.nn.log_softmax(class_logits(outputs.logits, bonafide_index))
        taught = jax.nn.log_softmax(record["teacher"].astype(known.dtype))
        divergence = (jnp.exp(taught) * (taught - known)).sum(axis=1)
        weights = jnp.asarray(class_weights, known.dtype)[record["label"]]
        # What is divided by the denominator of the loss shall be the weighted mean.
        scale = denominator / weights.sum()
        return (1 - weight) * numerator + weight * scale * (weights * divergence).sum(), denominator

    return both
