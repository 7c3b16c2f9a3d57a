"""SELU, with a gradient that is computed from the output."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


@jax.custom_vjp
def selu(x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
    """SELU (Klambauer et al., 2017), whose gradient is computed from the output.

    The next layer stores the output for its own gradient anyway, so the input need not be stored. On a CPU, exp(x) - 1
    is several times faster than `expm1`, and exact enough for the values that it is added to.
    """
    negative = SELU_ALPHA * (jnp.exp(jnp.minimum(x, 0)) - 1)
    return SELU_SCALE * jnp.where(x > 0, x, negative)


def _selu_forward(x: Array) -> tuple[Array, Array]:
    y = selu(x)
    return y, y


selu.defvjp(_selu_forward, lambda y, dy: (selu_gradient(y, dy),))


def selu_gradient(y: Float[Array, "*batch c"], dy: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
    """Gradient of the input, from the output y and its gradient dy."""
    return dy * jnp.where(y > 0, jnp.asarray(SELU_SCALE, y.dtype), y + SELU_SCALE * SELU_ALPHA)
