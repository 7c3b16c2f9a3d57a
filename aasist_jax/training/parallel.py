"""Data parallelism over devices and hosts: the state is replicated, the batch is split over all devices."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Shaped

from aasist_jax.errors import TrainingError

AXIS = "batch"


def initialize_hosts(coordinator: str = "", processes: int = 0, process_id: int = -1) -> None:
    """Connect to the other hosts of a run, given by the arguments or detected from SLURM; else run as one process.

    Must be called before anything asks JAX for its devices.

    Args:
        coordinator: HOST:PORT of process 0.
        processes: number of processes.
        process_id: index of this process, from 0.
    """
    if not coordinator and (processes or process_id >= 0):
        raise TrainingError("--processes and --process-id: go with --coordinator HOST:PORT")
    if coordinator:
        if processes < 1 or not 0 <= process_id < processes:
            raise TrainingError(
                "--coordinator: goes with --processes N and --process-id I, 0 <= I < N; "
                f"got {processes} processes and process id {process_id}"
            )
        _compile_alike()
        jax.distributed.initialize(coordinator, processes, process_id)
    elif int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        _compile_alike()
        jax.distributed.initialize()


def _compile_alike() -> None:
    # Only process 0 writes to the compilation cache. On a restart it would be minutes ahead of the hosts that compile,
    # and CPU collectives (Gloo) give up on the others after 30 seconds.
    jax.config.update("jax_enable_compilation_cache", False)


def parallel_step(step: Callable[..., Any], devices: Sequence[jax.Device] | None = None) -> Callable[..., Any]:
    """Run `step(state, batch)` on every device. The state is one replicated tree and donated; the batch is split.

    The state has no device axis, so there are no stacked copies of it. `devices` defaults to all devices.
    """
    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0, devices=devices)


def parallel_map(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run `function(variables, batch)` on every device; the outputs have a leading device axis."""
    return jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), out_axes=0)


def check_batch_size(batch_size: int, what: str, pieces: int = 1) -> None:
    """Check that a global batch can be split evenly over the devices of all hosts."""
    devices = jax.device_count()
    if batch_size % (devices * pieces):
        split = f"{devices} devices" + (f" in {pieces} pieces each" if pieces > 1 else "")
        raise TrainingError(f"{what}: {batch_size} clips cannot be shared evenly by {split}; choose a multiple")


def check_batch_is_filled(clips: int, batch_size: int, pieces: int) -> None:
    """Check that there are training clips for at least one global batch.

    Raises:
        TrainingError: there are not; the message offers the largest batch that they fill and the devices share.
    """
    if clips >= batch_size:
        return
    multiple = jax.device_count() * pieces
    fits = clips // multiple * multiple
    way_out = (
        f"--set batch_size={fits} is the largest that fits"
        if fits
        else f"and even the smallest batch here has {multiple}, one for every device and piece; add clips"
    )
    raise TrainingError(f"batch_size: {clips} training clips do not fill one batch of {batch_size}; {way_out}")


def split_over_devices(batch: Mapping[str, Shaped[np.ndarray, "batch ..."]]) -> dict[str, np.ndarray]:
    """Give arrays a leading axis of this host's devices: (batch, ...) -> (devices, batch / devices, ...)."""
    devices = jax.local_device_count()
    return {k: v.reshape(devices, -1, *v.shape[1:]) for k, v in batch.items()}


def replicate(tree: Any) -> Any:
    """Place a full copy of a tree on every device of every host, as `parallel_step` returns it."""
    return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec()))


def as_global(tree: Any) -> Any:
    """View a tree from `parallel_step` as global arrays over all hosts, the form that checkpoints need."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.host_local_array_to_global_array(tree, _mesh(), PartitionSpec())


def batch_to_devices(batch: Mapping[str, Shaped[np.ndarray, "batch ..."]]) -> dict[str, jax.Array]:
    """Start sending this host's part of a batch to its devices; returns at once."""
    sharding = NamedSharding(_mesh(), PartitionSpec(AXIS))
    by_device = split_over_devices(batch)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in by_device.items()}


def _mesh() -> Mesh:
    return Mesh(np.asarray(jax.devices()), (AXIS,))


def any_host(*flags: bool) -> list[bool]:
    """Return for each flag whether it is set on any host; all hosts must call this together."""
    if jax.process_count() == 1:
        return list(flags)
    gathered = multihost_utils.process_allgather(np.asarray(flags))
    by_host = np.asarray(gathered).reshape(-1, len(flags))
    return [bool(by_host[:, i].any()) for i in range(len(flags))]


def first_host_first(function: Callable[[], Any]) -> Any:
    """Call the same function on every host, on process 0 first, so that the others find its files on a shared disk."""
    if jax.process_index() == 0:
        result = function()
        _meet("first host")
        return result
    _meet("first host")
    return function()


def _meet(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def gather_hosts(values: Shaped[np.ndarray, "batch ..."]) -> Shaped[np.ndarray, "global ..."]:
    """Concatenate the rows of all hosts, in the order of the processes."""
    if jax.process_count() == 1:
        return values
    gathered = multihost_utils.process_allgather(values)
    return np.asarray(gathered).reshape(-1, *values.shape[1:])


def on_host(tree: Any) -> Any:
    """Copy a replicated tree to NumPy arrays."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0) if isinstance(x, jax.Array) else x), tree)
