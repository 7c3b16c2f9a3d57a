"""The set-up that every program of this package does before it computes."""

import logging
import os
from collections.abc import Callable

from aasist_jax.runtime.devices import check_devices
from aasist_jax.runtime.memory import keep_freed_memory
from aasist_jax.runtime.private_folder import cache_folder, make_private, why_untrusted

logger = logging.getLogger(__name__)


def prepare_to_compute(*, cpu_devices: int = 0, join_hosts: Callable[[], None] | None = None) -> None:
    """Set the process up for computing: memory allocator, compilation cache, and devices.

    Args:
        cpu_devices: number of devices that a CPU is split into, unless JAX_NUM_CPU_DEVICES is set; 0 for JAX's default.
        join_hosts: called before the devices are started, because a process can only connect to other hosts then.

    Raises:
        AasistError: JAX finds no device, or not the one that was chosen.
    """
    # This comes first because it does not affect threads that JAX has already started.
    keep_freed_memory()
    import jax

    use_compilation_cache()
    if cpu_devices and "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    if join_hosts is not None:
        join_hosts()
    check_devices()


def use_compilation_cache() -> None:
    """Store compiled programs in the user's cache folder, so that later starts need not compile them again.

    They are not stored, with a warning, where another user of this machine could put programs into the folder.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = cache_folder() / "compiled"
        try:
            make_private(folder)
            reason = why_untrusted(folder, cache_folder())
        except OSError as error:
            reason = f"{folder}: {error.strerror or error}"
        if reason:
            logger.warning("programs are compiled anew at every start: %s", reason)
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX does not store programs that compile within a second, but loading one takes a tenth of that.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
