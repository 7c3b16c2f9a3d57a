"""What every program of this package does before it computes."""

import os
from collections.abc import Callable

from aasist_jax.runtime.devices import check_devices
from aasist_jax.runtime.memory import keep_freed_memory


def prepare_to_compute(*, cpu_devices: int = 0, join_hosts: Callable[[], None] | None = None) -> None:
    """Set the process up to compute: keep freed memory, keep compiled programs, and start the devices.

    Args:
        cpu_devices: how many devices a CPU shall count as, unless JAX_NUM_CPU_DEVICES says it; 0 for JAX's own number.
        join_hosts: called before the devices are started, which is when a process can join others.

    Raises:
        AasistError: JAX finds no device, or not the one that was asked for.
    """
    # First, since it has no hold on the threads that JAX starts before it.
    keep_freed_memory()
    import jax

    use_compilation_cache()
    if cpu_devices and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    if join_hosts is not None:
        join_hosts()
    check_devices()


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder, so that a second start need not compile again."""
    import jax
    from platformdirs import user_cache_path

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(user_cache_path("aasist_jax") / "compiled"))
    # By default a program that is compiled within a second is not worth keeping; loading one takes a tenth of that.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
