"""A training run in small, to be killed: saves a state that is a function of the step, step after step.

    python child.py FOLDER [POINT STEP]

Prints "ready", then "kept N" whenever step N is on the disk with its manifest. With POINT it kills itself there,
in step STEP: `manifest` (not yet begun), `draft` (written, not yet in place) or `deletion` (an old step half gone).
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np


def make_state(step: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(step)
    return {"weight": rng.standard_normal((64, 33)).astype(np.float32), "step": np.asarray(step, np.int32)}


def make_extras(step: int) -> dict[str, Any]:
    return {"step": step, "best": float(np.random.default_rng(step).random())}


def main(folder: str, point: str = "", deadly_step: str = "0") -> None:
    import jax.numpy as jnp

    from aasist_jax.training.checkpoints import manifest
    from aasist_jax.training.checkpoints import store as store_module

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    current = 0
    if point == "manifest":
        write = store_module.write_manifest
        store_module.write_manifest = lambda *args: write(*args) if args[1] < int(deadly_step) else die()
    if point == "draft":
        replace = os.replace

        def replace_or_die(source: Any, target: Any) -> None:
            if Path(target).name == manifest.MANIFEST and current == int(deadly_step):
                die()
            replace(source, target)

        os.replace = replace_or_die
    if point == "deletion":
        remove = shutil.rmtree

        def remove_or_die(path: Path) -> None:
            if current < int(deadly_step):
                return remove(path)
            files = [file for file in sorted(path.rglob("*")) if file.is_file()]
            for file in files[::2]:
                file.unlink()
            return die()

        shutil.rmtree = remove_or_die

    with store_module.CheckpointStore(folder) as store:
        restored = store.restore(make_state(0))
        first = restored.step + 1 if restored else 1
        print("ready", flush=True)
        for current in range(first, first + 1000):
            state = {name: jnp.asarray(value) for name, value in make_state(current).items()}
            extras = make_extras(current)
            store.save(current, state, data={"position": 3 * current}, extras=extras, metric=extras["best"])
            store.wait()
            print("kept", current, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
