"""Two-dimensional convolution with a kernel gradient that suits the backend."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Padding = tuple[int, int]


def convolve(
    x: Float[Array, "batch f t c"], kernel: Float[Array, "h w c d"], padding: Padding
) -> Float[Array, "batch f2 t2 d"]:
    """Cross-correlate, channels last, stride 1, `padding` zeros on either side of (frequency, time)."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(padding[0],) * 2, (padding[1],) * 2],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(
    x: Float[Array, "batch f t c"], kernel: Float[Array, "h w c d"], padding: Padding
) -> Float[Array, "batch f2 t2 d"]:
    """`convolve`, whose gradient for the kernel is computed by matrix products on a CPU.

    XLA's CPU backend is several times slower at that gradient than at the convolution itself, as it treats the long
    time axis as a kernel. Other backends keep XLA's own.
    """
    return convolve(x, kernel, padding)


def _forward(x: Array, kernel: Array, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel, padding), (x, kernel)


def _backward(padding: Padding, residuals: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    _, input_vjp = jax.vjp(lambda x: convolve(x, kernel, padding), x)
    kernel_gradient = jax.lax.platform_dependent(
        x,
        dy,
        cpu=functools.partial(kernel_gradient_by_rows, window=(kernel.shape[0], kernel.shape[1]), padding=padding),
        default=lambda x, dy: jax.vjp(lambda k: convolve(x, k, padding), kernel)[1](dy)[0],
    )
    return input_vjp(dy)[0], kernel_gradient.astype(kernel.dtype)


conv2d.defvjp(_forward, _backward)


def kernel_gradient_by_rows(
    x: Float[Array, "batch f t c"],
    dy: Float[Array, "batch f2 t2 d"],
    *,
    window: tuple[int, int],
    padding: Padding,
) -> Float[Array, "h w c d"]:
    """Gradient of a convolution for its kernel, one kernel row at a time.

    A row of the kernel meets patches of `w` neighbouring time steps; laid side by side they make a matrix of
    (batch * f2 * t2, w * c), whose product with the output's gradient is the row's gradient.
    """
    height, width = window
    _, f2, t2, features = dy.shape
    x = jnp.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    outputs = dy.reshape(-1, features)
    rows = []
    for i in range(height):
        patches = jnp.concatenate([x[:, i : i + f2, j : j + t2] for j in range(width)], axis=-1)
        product = jnp.matmul(
            outputs.T, patches.reshape(len(outputs), -1), preferred_element_type=jnp.promote_types(x.dtype, jnp.float32)
        )
        rows.append(jnp.moveaxis(product.reshape(features, width, -1), 0, -1).astype(dy.dtype))
    return jnp.stack(rows)
