"""The device that JAX computes on: chosen before JAX starts its devices, and checked afterwards."""

import os
import sys

from aasist_jax.errors import AasistError, ConfigError

_chosen = ""


def choose_device(name: str) -> None:
    """Choose the device that JAX computes on. Must be called before JAX looks for devices, which it does only once.

    Args:
        name: `cpu`; `gpu` for all GPUs; or the number of one GPU, from 0, among those that CUDA_VISIBLE_DEVICES makes
            visible.

    Raises:
        ConfigError: the name is none of these.
    """
    global _chosen
    if name == "cpu":
        settings = {"JAX_PLATFORMS": "cpu"}
    elif name == "gpu" or (name.isascii() and name.isdecimal()):
        # By default JAX uses GPUs if there are any. Naming the platforms would require both NVIDIA's and AMD's.
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
    """Start JAX's devices and check that the chosen one is available.

    Raises:
        AasistError: JAX finds no device, or not the one given to `choose_device`.
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
