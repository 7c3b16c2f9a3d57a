"""The choice between our C++ kernels and XLA."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from aasist_jax.ops.native.build import native_kernels

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
