"""One of two processes that save together, lose a file of the newest step, and restore the one before.

    python two_processes_child.py INDEX PORT FOLDER

Prints the step restored and the steps rejected, which the first process alone reports.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def make_state(step: int) -> dict[str, jax.Array]:
    """A replicated array, and one spread over the devices of both processes."""
    mesh = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,))
    weight = np.arange(12, dtype=np.float32) * step
    shardings = {
        "replicated": NamedSharding(mesh, PartitionSpec()),
        "sharded": NamedSharding(mesh, PartitionSpec("batch")),
    }
    return {
        name: jax.make_array_from_callback(weight.shape, sharding, lambda index: weight[index])
        for name, sharding in shardings.items()
    }


def main(index: str, port: str, folder: str) -> None:
    from aasist_jax.training.checkpoints.store import CheckpointStore

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(index))
    with CheckpointStore(folder, keep_latest=2, keep_best=1) as store:
        for step in range(1, 5):
            store.save(step, make_state(step), data={}, extras={"step": step}, metric=step)
        store.wait()
        assert store.steps() == [1, 3, 4]
    if index == "0":
        next(Path(folder, "4", "state").rglob("manifest.ocdbt")).unlink()
    multihost_utils.sync_global_devices("damaged")
    with CheckpointStore(folder) as store:
        restored = store.restore(make_state(0))
        assert restored is not None
        for name, expected in make_state(restored.step).items():
            for shard, wanted in zip(restored.state[name].addressable_shards, expected.addressable_shards, strict=True):
                np.testing.assert_array_equal(shard.data, wanted.data)
        assert restored.extras == {"step": restored.step}
        print(restored.step, [rejected.step for rejected in restored.rejected], store.steps())


if __name__ == "__main__":
    main(*sys.argv[1:])
