"""Two-dimensional convolution, with code chosen by the number of channels and the backend."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aasist_jax.ops import choice
from aasist_jax.ops.native import kernels
from aasist_jax.ops.native.kernels import Padding


def convolve(
    x: Float[Array, "batch f t c"], kernel: Float[Array, "h w c d"], padding: Padding
) -> Float[Array, "batch f2 t2 d"]:
    """Cross-correlate, channels last, stride 1, `padding` zeros on either side of (frequency, time)."""
    if x.shape[-1] == 1:
        # Too few products for a matrix multiplication. In this form XLA fuses it with the following operations.
        h, w, _, features = kernel.shape
        image = jnp.pad(x[..., 0], ((0, 0), (padding[0],) * 2, (padding[1],) * 2))
        f2, t2 = image.shape[1] - h + 1, image.shape[2] - w + 1
        terms = [
            image[:, i : i + f2, j : j + t2, None] * kernel[i, j].reshape(1, 1, 1, features)
            for i in range(h)
            for j in range(w)
        ]
        return functools.reduce(jnp.add, terms)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(padding[0],) * 2, (padding[1],) * 2],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def convolve_and_add(
    x: Float[Array, "batch f t c"], kernel: Float[Array, "h w c d"], bias: Float[Array, " d"], padding: Padding
) -> Float[Array, "batch f2 t2 d"]:
    """`convolve` and add a bias."""
    return convolve(x, kernel, padding) + bias.reshape(1, 1, 1, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def conv2d(
    x: Float[Array, "batch f t c"], kernel: Float[Array, "h w c d"], bias: Float[Array, " d"], padding: Padding
) -> Float[Array, "batch f2 t2 d"]:
    """`convolve_and_add`, with gradients chosen for the backend."""
    return convolve_and_add(x, kernel, bias, padding)


def _forward(x: Array, kernel: Array, bias: Array, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _convolve_in_training(x, kernel, bias, padding), (x, kernel)


def _convolve_in_training(x: Array, kernel: Array, bias: Array, padding: Padding) -> Array:
    out: Array = choice.choose(
        x,
        kernel,
        bias,
        native=functools.partial(kernels.convolution, pad_rows=padding[0]),
        xla=functools.partial(convolve_and_add, padding=padding),
        suits=x.shape[-1] > 1 and _suits(kernel.shape[:2], padding),
    )
    return out


def _suits(window: tuple[int, ...], padding: Padding) -> bool:
    """Whether the C++ kernels support the convolution: up to 2 rows, width 3, one time step of padding."""
    return window[0] <= 2 and window[1] == 3 and padding[1] == 1


def suits_one_channel(kernel: Float[Array, "h w 1 d"], padding: Padding) -> bool:
    """Whether the C++ kernels for one channel support it: up to 2 x 3 taps, a multiple of 8 features."""
    height, width, _, features = kernel.shape
    return padding[0] < height <= 2 and width <= 3 and features % kernels.LANES == 0


def input_gradient(
    dy: Float[Array, "batch f2 t2 d"], kernel: Float[Array, "h w c d"], padding: Padding
) -> Float[Array, "batch f t c"]:
    """Gradient of a convolution with respect to its input: a convolution with the flipped kernel."""
    height, width = kernel.shape[:2]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    no_bias = jnp.zeros(turned.shape[-1], dy.dtype)
    return _convolve_in_training(dy, turned, no_bias, (height - 1 - padding[0], width - 1 - padding[1]))


def _backward(padding: Padding, residuals: tuple[Array, Array], dy: Array) -> tuple[Array, Array, Array]:
    x, kernel = residuals
    if x.shape[-1] == 1:
        return one_channel_gradients(x, kernel, dy, padding=padding)
    return input_gradient(dy, kernel, padding), *kernel_gradient(
        x, dy, window=(kernel.shape[0], kernel.shape[1]), padding=padding
    )


conv2d.defvjp(_forward, _backward)


def one_channel_gradients(
    x: Float[Array, "batch f t 1"],
    kernel: Float[Array, "h w 1 d"],
    dy: Float[Array, "batch f2 t2 d"],
    *,
    padding: Padding,
) -> tuple[Float[Array, "batch f t 1"], Float[Array, "h w 1 d"], Float[Array, " d"]]:
    """Gradients of a convolution with one input channel with respect to its input, kernel and bias.

    The gradient of the input is computed per kernel tap, (batch, f2, t2, h * w), and summed at the input positions.
    """
    h, w, _, features = kernel.shape
    dk, db = kernel_gradient(x, dy, window=(h, w), padding=padding)
    spread = dy @ kernel.reshape(h * w, features).T
    f2, t2 = dy.shape[1:3]
    f, t = x.shape[1] + 2 * padding[0], x.shape[2] + 2 * padding[1]
    padded = [
        jnp.pad(spread[..., i * w + j], ((0, 0), (i, f - f2 - i), (j, t - t2 - j))) for i in range(h) for j in range(w)
    ]
    dx = functools.reduce(jnp.add, padded)[:, padding[0] : f - padding[0], padding[1] : t - padding[1]]
    return dx[..., None], dk, db


def kernel_gradient(
    x: Float[Array, "batch f t c"], dy: Float[Array, "batch f2 t2 d"], *, window: tuple[int, int], padding: Padding
) -> tuple[Float[Array, "h w c d"], Float[Array, " d"]]:
    """Gradients of a convolution with respect to its kernel and bias.

    On a CPU, XLA's code for the kernel gradient is several times slower than the convolution itself, because it treats
    the long time axis as a kernel. There, C++ kernels or matrix products are used; other backends use XLA's code.
    """
    by_rows = functools.partial(kernel_gradient_by_rows, window=window, padding=padding)

    def xla(x: Array, dy: Array) -> tuple[Array, Array]:
        zeros = jnp.zeros((*window, x.shape[-1], dy.shape[-1]), x.dtype)
        dk = jax.lax.platform_dependent(
            x, dy, cpu=by_rows, default=lambda x, dy: jax.vjp(lambda k: convolve(x, k, padding), zeros)[1](dy)[0]
        )
        return dk, dy.sum((0, 1, 2))

    native = functools.partial(kernels.kernel_gradient, height=window[0], pad_rows=padding[0])
    gradients: tuple[Array, Array] = choice.choose(x, dy, native=native, xla=xla, suits=_suits(window, padding))
    return gradients


def kernel_gradient_by_rows(
    x: Float[Array, "batch f t c"],
    dy: Float[Array, "batch f2 t2 d"],
    *,
    window: tuple[int, int],
    padding: Padding,
) -> Float[Array, "h w c d"]:
    """Gradient of a convolution with respect to its kernel, one kernel row at a time.

    Each kernel row is applied to patches of `w` neighbouring time steps. The patches form a matrix (batch * f2 * t2,
    w * c); its product with the gradient of the output is the gradient of the row.
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
