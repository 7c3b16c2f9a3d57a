"""The choice between XLA's code for an operation and a native kernel in C++.

XLA's code is used everywhere but in these operations, on a CPU, in float32 or, for tests of the training, float64:

- the sinc filters with the pool behind them (`sinc`), where half of the products can be saved;
- a residual block in evaluation mode (`residual_block`): XLA writes and reads maps of 65 MB, which fit in no cache;
- convolutions of width three (`convolution`): Winograd's filtering needs 15 products for 36, or, where a kernel has one
  row, 5 for 9;
- a convolution's gradient for its kernel (`convolution`), which XLA computes as a convolution whose kernel is a whole
  recording;
- a convolution of one channel (`batch_norm`), which in training is computed again with the batch norm behind it rather
  than stored;
- the convolution, shortcut and pool that end a block in training (`residual_block`, `pooling`): XLA stores their sum
  and its gradient, which is zero in two places of three.

Each has an equivalent in XLA, for other backends and for machines without a C++ compiler. Tests hold the two to the
same results.
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
    """Leave the C++ kernels out of what is traced meanwhile: of programs that are to run elsewhere."""
    token = _xla_only.set(True)
    try:
        yield
    finally:
        _xla_only.reset(token)


def choose(*operands: Any, native: Callable[..., Any], xla: Callable[..., Any], suits: bool = True) -> Any:
    """Call `native` where the program is compiled for a CPU and the kernels can take `operands`, else `xla`.

    `suits` tells whether the shapes are such as the kernel is made for.
    """
    types = {x.dtype for x in operands if jnp.issubdtype(x.dtype, jnp.floating)}
    takes = suits and not _xla_only.get() and types in ({jnp.dtype(jnp.float32)}, {jnp.dtype(jnp.float64)})
    if not takes or not native_kernels():
        return xla(*operands)
    return jax.lax.platform_dependent(*operands, cpu=native, default=xla)
