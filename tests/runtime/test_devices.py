"""The device that is named is the one that is computed on, or one line says that it is not there."""

import os
import subprocess
import sys

import pytest

from aasist_jax.errors import ConfigError
from aasist_jax.runtime.devices import choose_device
from tests.conftest import REPOSITORY

CODE = """
import sys
from aasist_jax.errors import AasistError
from aasist_jax.runtime import devices, start_up
if "imported" in sys.argv:
    import jax
devices.choose_device(sys.argv[1])
try:
    start_up.prepare_to_compute(cpu_devices=3)
except AasistError as error:
    print(error)
else:
    import jax
    print(jax.default_backend(), jax.device_count())
"""


def start(*arguments: str) -> str:
    environment = os.environ | {"JAX_PLATFORMS": "abacus", "JAX_COMPILATION_CACHE_DIR": ""}
    del environment["JAX_NUM_CPU_DEVICES"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@pytest.mark.parametrize("imported", [[], ["imported"]])
def test_the_processor_by_name(imported: list[str]) -> None:
    assert start("cpu", *imported) == "cpu 3\n"


@pytest.mark.parametrize(("name", "what"), [("gpu", "no GPU"), ("9", "no GPU with the number 9")])
def test_a_device_that_is_not_there_is_one_line(name: str, what: str) -> None:
    if name == "gpu" and os.path.exists("/dev/nvidia0"):
        pytest.skip("there is a GPU here")
    message = start(name)
    assert message.startswith(f"--device {name}: JAX finds {what} on this machine; give --device cpu")
    assert message.count("\n") == 1


@pytest.mark.parametrize("name", ["", "CPU", "tpu", "-1", "1.5", "0,1", "²"])
def test_other_names_are_refused(name: str) -> None:
    before = dict(os.environ)
    with pytest.raises(ConfigError, match="--device: expected cpu, gpu or the number of a GPU, got"):
        choose_device(name)
    assert os.environ == before
