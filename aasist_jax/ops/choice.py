"""The choice between XLA's code for an operation and a native kernel in C++.

Native kernels are used only on CPUs, in float32 (and float64, for tests of training), and only for these operations:

- the sinc filters with max-pooling (`sinc`), where symmetry saves half of the products;
- a residual block in evaluation mode (`residual_block`): XLA writes and reads maps of 65 MB, which fit into no cache;
- convolutions of width 3 (`convolution`): Winograd's algorithm needs 15 products instead of 36, or, for a kernel with
  one row, 5 instead of 9;
- the gradient of a convolution with respect to its kernel (`convolution`), which XLA computes as a convolution with a
  kernel as long as the recording;
- a convolution with one input channel (`batch_norm`): in training it is recomputed together with the batch norm after
  it instead of being stored;
- the convolution, shortcut and pool at the end of a block in training (`residual_block`, `pooling`): XLA stores their
  sum and its gradient, two thirds of which are zero.

Each operation also has an XLA form, for other backends and for machines without a C++ compiler. Tests check that both
give the same results.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from aasist_jax.ops.native.build import native_kernels as native_kernels

__all__ = ["choose", "native_kernels", "xla_only"]

_xla_only: contextvars.ContextVar[bool] = contextvars.ContextVar("xla_only", default=False)


@contextlib.contextmanager
def xla_only() -> Iterator[None]:
    """Use no C++ kernels in programs that are traced in this context, so that they can run on other machines."""
    token = _xla_only.set(True)
    try:
        yield
    finally:
        _xla_only.reset(token)


def choose(*operands: Any, native: Callable[..., Any], xla: Callable[..., Any], suits: bool = True) -> Any:
    """Call `native` if the program is compiled for a CPU and the kernel supports `operands`, else `xla`.

    `suits` says whether the kernel supports the shapes of the operands.
    """
    types = {x.dtype for x in operands if jnp.issubdtype(x.dtype, jnp.floating)}
    takes = suits and not _xla_only.get() and types in ({jnp.dtype(jnp.float32)}, {jnp.dtype(jnp.float64)})
    if not takes or not native_kernels():
        return xla(*operands)
    return jax.lax.platform_dependent(*operands, cpu=native, default=xla)
