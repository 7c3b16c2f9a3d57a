"""Programs that compile in a fifth of the time, for tests of what they compute, not of how fast or to which last digit.

What compares with published values in float32, with measured tolerances, is compiled as users compile it. Programs that
take long to run are, too: a forward pass of the official models in float64 runs ten times as long when compiled so.
"""

import contextlib
import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}
"""For `jax.jit(function, compiler_options=QUICK)`."""

# XLA stops at options that it does not know, and this one was taken out after JAX 0.10.
if version("jaxlib").startswith("0.10."):
    QUICK["xla_cpu_use_fusion_emitters"] = False


def quick_flags() -> str:
    """The value of XLA_FLAGS for a child process that compiles so."""
    return " ".join(
        [os.environ.get("XLA_FLAGS", ""), *(f"--{name}={str(value).lower()}" for name, value in QUICK.items())]
    )


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Compile everything so for a while, in this process and its children; what was compiled so is then forgotten."""
    import jax
    import pytest
    from jax._src import compiler

    # XLA reads its flags once in a process, and `jax.pmap` and the package's own `jax.jit` take no options from a test.
    get_options = compiler.get_compile_options

    def quick_options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **options: Any) -> Any:
        return get_options(*args, env_options_overrides=QUICK | (env_options_overrides or {}), **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", quick_options)
        patch.setenv("XLA_FLAGS", quick_flags())
        jax.clear_caches()
        yield
        jax.clear_caches()
