"""The device that JAX computes on: named by the user before JAX starts, and checked once JAX has started."""

import os
import sys

from aasist_jax.errors import AasistError, ConfigError

_chosen = ""


def choose_device(name: str) -> None:
    """Have JAX compute on a device; to be called before JAX looks for devices, which it does only once.

    Args:
        name: `cpu`; `gpu` for all the GPUs that there are; or the number of a GPU, from 0, for that one alone. A number
            counts the GPUs that CUDA_VISIBLE_DEVICES leaves visible.

    Raises:
        ConfigError: the name is none of these.
    """
    global _chosen
    if name == "cpu":
        settings = {"JAX_PLATFORMS": "cpu"}
    elif name == "gpu" or (name.isascii() and name.isdecimal()):
        # JAX takes GPUs where there are any. To name their platforms would be to demand both NVIDIA's and AMD's.
        settings = {"JAX_PLATFORMS": ""}
        if name != "gpu":
            settings |= {"JAX_CUDA_VISIBLE_DEVICES": name, "JAX_ROCM_VISIBLE_DEVICES": name}
    else:
        raise ConfigError(f"--device: expected cpu, gpu or the number of a GPU, got {name!r}")
    _chosen = name
    os.environ.update(settings)
    if "jax" in sys.modules:
        # The environment was read when JAX was imported.
        import jax

        for variable, value in settings.items():
            jax.config.update(variable.lower(), value)


def check_devices() -> None:
    """Start JAX's devices, or say in one line why there are none to compute on.

    Raises:
        AasistError: JAX finds no device, or not the one that `choose_device` named.
    """
    import jax

    try:
        jax.devices()
    except RuntimeError as error:
        raise AasistError(f"JAX finds no device to compute on: {error}") from None
    if _chosen not in ("", "cpu") and jax.default_backend() != "gpu":
        wanted = "no GPU" if _chosen == "gpu" else f"no GPU with the number {_chosen}"
        raise AasistError(
            f"--device {_chosen}: JAX finds {wanted} on this machine; give --device cpu, or see that JAX is installed "
            "for the GPU (pip install 'aasist-jax[cuda]')"
        )
