"""States to save and restore, and what tests do to the files of a step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from aasist_jax.training.checkpoints.store import CheckpointStore
from tests.training.checkpoints.child import make_extras, make_state


class Moments(NamedTuple):
    count: Any
    mean: Any


def over_devices(*axes: str) -> NamedSharding:
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec(*axes))


def rich_state(seed: int) -> dict[str, Any]:
    """Every dtype, placement and container that a training state is made of."""
    rng = np.random.default_rng(seed)
    odd = np.array([np.nan, -0.0, np.inf, 1e-45, -1e-40], np.float32)  # Bits that arithmetic would not keep.
    return {
        "float32": jnp.asarray(rng.standard_normal((5, 7)), jnp.float32),
        "odd": jnp.asarray(odd),
        "bfloat16": jnp.asarray(rng.standard_normal(9), jnp.bfloat16),
        "int32": jnp.asarray(seed, jnp.int32),
        "key": jax.random.PRNGKey(seed),
        "numpy_float64": rng.standard_normal(3),
        "replicated": jax.device_put(rng.standard_normal((3, 5)).astype(np.float32), over_devices()),
        "sharded": jax.device_put(rng.standard_normal((16, 2)).astype(np.float32), over_devices("batch")),
        "third_device": jax.device_put(np.arange(4.0, dtype=np.float32), jax.devices()[2]),
        "optimizer": (Moments(jnp.asarray(seed), {"w": jnp.zeros((2, 2))}), None, [jnp.ones((1,))], {}),
    }


def assert_identical(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert isinstance(one, jax.Array) == isinstance(other, jax.Array)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def small_state(step: int) -> dict[str, Any]:
    return jax.tree.map(jnp.asarray, make_state(step))


def save_steps(store: CheckpointStore, steps: range | list[int], metric: Callable[[int], float | None]) -> None:
    for step in steps:
        store.save(step, small_state(step), data={"position": 3 * step}, extras=make_extras(step), metric=metric(step))
    store.wait()


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path: Path, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)
