"""The C++ kernels as JAX functions, without gradients; `aasist_jax.ops.choice` says where they are used."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

Padding = tuple[int, int]
PerChannel = Float[Array, " d"]
"""One number for each channel of the output."""

LANES = 8
"""Output channels that the kernels for one input channel process at once; their number must be a multiple of it."""


def convolution(
    x: Float[Array, "batch f t c"], kernel: Float[Array, "h 3 c d"], bias: PerChannel, *, pad_rows: int
) -> Float[Array, "batch f2 t d"]:
    """A convolution with up to two kernel rows, padded by `pad_rows` rows and one time step on either side."""
    batch, f, t, _ = x.shape
    result = _like(x, batch, f + 2 * pad_rows - kernel.shape[0] + 1, t, kernel.shape[-1])
    out: Array = _call("AasistJaxConvolution", result, x, kernel, bias, pad_rows=np.int64(pad_rows))
    return out


def kernel_gradient(
    x: Float[Array, "batch f t c"],
    dy: Float[Array, "batch f2 t2 d"],
    index: UInt8[Array, "batch f2 t2 d"] | None = None,
    *,
    height: int,
    pad_rows: int,
) -> tuple[Float[Array, "{height} 3 c d"], PerChannel]:
    """Gradients of `convolution` with respect to its kernel and bias.

    With an `index`, `dy` is the gradient of the output after max-pooling over time by 3; see `unpool_time`.
    """
    features = dy.shape[-1]
    results = (_like(x, height, 3, x.shape[-1], features), _like(x, features))
    places = jnp.zeros(0, jnp.uint8) if index is None else index
    attributes = {"pad_rows": np.int64(pad_rows), "pooled": index is not None}
    return _call("AasistJaxKernelGradient", results, x, dy, places, **attributes)


def one_channel_moments(
    x: Float[Array, "batch f t 1"], kernel: Float[Array, "h w 1 d"], bias: PerChannel, *, padding: Padding
) -> tuple[PerChannel, PerChannel]:
    """Mean and sum of squared deviations per output channel of a convolution with one input channel.

    The output of the convolution is not stored.
    """
    channels = _like(x, kernel.shape[-1])
    return _call("AasistJaxOneChannelMoments", (channels, channels), x, kernel, bias, **_padding(padding))


def one_channel_gradient_sums(
    x: Float[Array, "batch f t 1"],
    kernel: Float[Array, "h w 1 d"],
    bias: PerChannel,
    g: Float[Array, "batch f2 t2 d"],
    mean: PerChannel,
    inverse: PerChannel,
    *,
    padding: Padding,
) -> tuple[PerChannel, PerChannel]:
    """sum(g) and sum(g * (y - mean) * inverse), where y is a convolution with one input channel; y is not stored."""
    channels = _like(x, kernel.shape[-1])
    operands = (x, kernel, bias, g, mean, inverse)
    return _call("AasistJaxOneChannelSums", (channels, channels), *operands, **_padding(padding))


def one_channel_normalized_gradients(
    x: Float[Array, "batch f t 1"],
    kernel: Float[Array, "h w 1 d"],
    bias: PerChannel,
    g: Float[Array, "batch f2 t2 d"],
    mean: PerChannel,
    inverse: PerChannel,
    factor: PerChannel,
    mean_g: PerChannel,
    mean_product: PerChannel,
    *,
    padding: Padding,
) -> tuple[Float[Array, "batch f t 1"], Float[Array, "h w 1 d"], PerChannel]:
    """Gradients of a convolution with one input channel with respect to its input, kernel and bias.

    The gradient of its output y is that of a batch norm: dy = factor * (g - mean_g - (y - mean) * inverse *
    mean_product). Neither y nor dy is stored.
    """
    results = (_like(x, *x.shape), _like(x, *kernel.shape), _like(x, kernel.shape[-1]))
    operands = (x, kernel, bias, g, mean, inverse, factor, mean_g, mean_product)
    return _call("AasistJaxOneChannelNormalized", results, *operands, **_padding(padding))


def pooled_convolution(
    y: Float[Array, "batch f2 t d"],
    x: Float[Array, "batch f t c"],
    kernel: Float[Array, "2 3 d e"],
    bias: Float[Array, " e"],
    shortcut: Float[Array, "taps c e"],
) -> tuple[Float[Array, "batch f t3 e"], UInt8[Array, "batch f t3 e"]]:
    """The sum of a convolution of y and a shortcut of x, max-pooled over time by 3, and the index of the largest step.

    `shortcut` has 3 taps, or none for the identity.
    """
    shape = (*x.shape[:2], x.shape[2] // 3, kernel.shape[-1])
    results = (_like(x, *shape), jax.ShapeDtypeStruct(shape, jnp.uint8))
    return _call("AasistJaxPooledConvolution", results, y, x, kernel, bias, shortcut)


def pooled_input_gradient(
    index: UInt8[Array, "batch f t3 e"],
    g: Float[Array, "batch f t3 e"],
    kernel: Float[Array, "2 3 d e"],
    y: Float[Array, "batch f+1 t d"],
) -> Float[Array, "batch f+1 t d"]:
    """Gradient of `pooled_convolution` with respect to the input of the SELU whose output is y."""
    out: Array = _call("AasistJaxPooledInputGradient", _like(y, *y.shape), index, g, kernel, y)
    return out


def pooled_shortcut_gradients(
    x: Float[Array, "batch f t 1"],
    kernel: Float[Array, "3 1 d"],
    index: UInt8[Array, "batch f t3 d"],
    g: Float[Array, "batch f t3 d"],
) -> tuple[Float[Array, "batch f t 1"], Float[Array, "3 1 d"]]:
    """Gradients of `pooled_convolution` with respect to x and the shortcut, for x with one channel."""
    return _call("AasistJaxPooledShortcut", (_like(x, *x.shape), _like(x, *kernel.shape)), x, kernel, index, g)


def unpool_time(
    index: UInt8[Array, "batch f t3 c"], g: Float[Array, "batch f t3 c"], *, steps: int
) -> Float[Array, "batch f {steps} c"]:
    """Put each value at the one of its three time steps that `index` gives, and zeros at the others."""
    batch, f, _, c = g.shape
    return _call("AasistJaxUnpool", _like(g, batch, f, steps, c), index, g)


def sinc_magnitude(
    wave: Float[Array, "batch samples"], bank: Float[Array, "#batch filters taps"]
) -> Float[Array, "batch f3 t3"]:
    """Magnitude of the output of symmetric filters with an odd number of taps, max-pooled 3 x 3."""
    samples, (filters, taps) = wave.shape[1], bank.shape[1:]
    result = _like(wave, wave.shape[0], filters // 3, (samples - taps + 1) // 3)
    out: Array = _call("AasistJaxSincMagnitude", result, wave, bank)
    return out


def residual_block(
    x: Float[Array, "batch f t c"],
    valid: Int[Array, "batch 2"],
    kernel1: Float[Array, "2 3 c d"],
    bias1: PerChannel,
    kernel2: Float[Array, "2 3 d d"],
    bias2: PerChannel,
    shortcut: Float[Array, "taps c d"],
) -> Float[Array, "batch f t3 d"]:
    """A residual block in evaluation mode with folded batch norm; `shortcut` has 3 taps, or none for the identity."""
    batch, f, t, _ = x.shape
    result = _like(x, batch, f, t // 3, kernel1.shape[-1])
    out: Array = _call(
        "AasistJaxResidualBlock", result, x, valid.astype(jnp.int32), kernel1, bias1, kernel2, bias2, shortcut
    )
    return out


def _like(x: Array, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, x.dtype)


def _padding(padding: Padding) -> dict[str, Any]:
    return {"pad_rows": np.int64(padding[0]), "pad_steps": np.int64(padding[1])}


def _call(name: str, results: Any, *operands: Array, **attributes: Any) -> Any:
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")(*operands, **attributes)
