"""One of two processes of two devices that take training steps together, and what a single process compares with.

    python two_processes_step.py INDEX PORT FOLDER

Writes FOLDER/INDEX.npz: after each step the loss, the gradient, the parameters and the statistics.
"""

import sys
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from aasist_jax.models.layers import BatchNorm, Conv, Linear
from aasist_jax.models.linen import LinenNetwork
from aasist_jax.models.network import Outputs
from aasist_jax.ops.pooling import max_pool_time
from aasist_jax.training.loss import cross_entropy
from aasist_jax.training.parallel import (
    AXIS,
    any_host,
    batch_to_devices,
    gather_hosts,
    initialize_hosts,
    on_host,
    parallel_step,
    replicate,
)
from aasist_jax.training.step import init_state, make_train_step

BATCH, SAMPLES, STEPS = 8, 300, 3


class Small(nn.Module):
    """The kinds of layers that AASIST is made of, quick to compile."""

    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, wave: Any, lengths: Any = None, *, train: bool = False) -> Outputs:
        x = jnp.asarray(wave, self.dtype).reshape(len(wave), 5, -1, 1)
        for i in (1, 2):
            x = Conv(4, (2, 3), (0, 1), self.dtype, name=f"conv{i}")(x)
            x = max_pool_time(nn.selu(BatchNorm(self.dtype, self.axis_name, name=f"bn{i}")(x, train=train)))
        x = x.mean((1, 2))
        logits = Linear(2, self.dtype, name="out_layer")(x)
        return Outputs(logits.astype(jnp.promote_types(self.dtype, jnp.float32)), x)


def small_network(dtype: Any = jnp.float32, axis_name: str | None = None) -> LinenNetwork:
    return LinenNetwork(Small(dtype, axis_name), SAMPLES, state=("batch_stats",))


def recording() -> optax.GradientTransformation:
    """Keep the gradient as the optimizer's state, and pass it on."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda gradient, state, params=None: (gradient, gradient)
    )


def recording_sgd() -> optax.GradientTransformation:
    """Steps in proportion to the gradient: Adam would turn its rounding noise into full steps."""
    return optax.chain(recording(), optax.sgd(0.1))


def small_variables(dtype: Any = np.float64) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    shapes = jax.eval_shape(Small().init, jax.random.key(0), jnp.zeros((1, SAMPLES)))

    def draw(leaf: Any) -> np.ndarray:
        if leaf.dtype == jnp.int32:
            return np.zeros(leaf.shape, np.int32)
        return (1 + 0.3 * rng.normal(size=leaf.shape)).astype(dtype)

    return jax.tree.map(draw, {k: shapes[k] for k in ("params", "batch_stats")})


def make_batch(samples: int = SAMPLES, seed: int = 0) -> dict[str, np.ndarray]:
    """Eight clips whose labels are sorted, so that devices differ in their class counts."""
    rng = np.random.default_rng(seed)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1], np.int32)
    return {"wave": rng.normal(size=(BATCH, samples)) * (1 + labels[:, None]), "label": labels}


def records(state: Any, metrics: Any) -> dict[str, np.ndarray]:
    """One step's results as flat NumPy arrays; `recording` comes first in the optimizer."""
    stats = state.model_state["batch_stats"]
    tree = {"metrics": metrics, "gradient": state.opt_state[0], "params": state.params, "stats": stats}
    return {path: np.asarray(value) for path, value in flatten_dict(on_host(tree), sep="/").items()}


def main(index: str, port: str, folder: str) -> None:
    initialize_hosts(f"127.0.0.1:{port}", 2, int(index))
    assert (jax.process_count(), jax.local_device_count(), jax.device_count()) == (2, 2, 4)
    with jax.enable_x64(True):
        optimizer = recording_sgd()
        step = parallel_step(
            make_train_step(small_network(jnp.float64, AXIS), optimizer, loss=cross_entropy(1), axis_name=AXIS)
        )
        state = replicate(init_state(small_variables(), optimizer))
        results = {}
        for i in range(STEPS):
            batch = make_batch(seed=i)
            mine = {k: v[4 * int(index) : 4 * int(index) + 4] for k, v in batch.items()}
            state, metrics = step(state, batch_to_devices(mine))
            results |= {f"{i}/{path}": value for path, value in records(state, metrics).items()}
        rows = gather_hosts(mine["wave"])
    np.testing.assert_array_equal(rows, batch["wave"])
    assert any_host(index == "1") == [True]
    assert any_host(False) == [False]
    np.savez(Path(folder, f"{index}.npz"), **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
