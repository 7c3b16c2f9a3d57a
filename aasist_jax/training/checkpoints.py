"""Training checkpoints: asynchronous saves with Orbax, and only verified steps are ever restored.

Orbax keeps no checksums: a flipped bit in a tensor file restores without a word. So every step gets a
manifest (`manifest.py`) once Orbax has committed it, and counts only while it agrees with that manifest.

    FOLDER/30/         step 30: state, data and extras as Orbax writes them, and manifest.json
    FOLDER/rejected/   steps found unfinished or damaged, set aside under their number; safe to delete
    FOLDER/deleted/    steps on their way out
    FOLDER/.lock       held while a run is using the folder
"""

import contextlib
import fcntl
import json
import logging
import math
import operator
import os
import re
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
    PreservationContext,
)

from aasist_jax.errors import TrainingError
from aasist_jax.training.manifest import find_fault, read_manifest, write_manifest

_TEMPORARY = re.compile(r"\d+\.orbax-checkpoint-tmp.*")
_STEP = re.compile(r"0|[1-9]\d*")
_FINISHER = "checkpoint_finisher"
_PATIENCE = 5.0  # Seconds that the remains of a failed save are given to end.
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")

# Orbax logs the trace of an error that it also raises; the caller prints it, once and in one line.
logging.getLogger("absl").addFilter(lambda record: f"{os.sep}orbax{os.sep}" not in record.pathname)


@dataclass(frozen=True)
class RejectedStep:
    """A step that was not trusted: its number, the reason in one line, and where its folder was set aside."""

    step: int
    reason: str
    kept_in: Path

    def __str__(self) -> str:
        return f"checkpoint of step {self.step} not used, {self.reason} (set aside in {self.kept_in})"


@dataclass(frozen=True)
class Restored:
    """A verified step: the state as the template has it, the two JSON values, and what was passed over."""

    step: int
    state: Any
    data: Any
    extras: Any
    rejected: tuple[RejectedStep, ...]


@dataclass(frozen=True)
class _RankedStep:
    """What Orbax's preservation policies ask of a step."""

    step: int
    metrics: float | None
    time: datetime


class CheckpointStore:
    """The checkpoints of one run in one folder; a context manager.

    `save` returns once the state is out of the caller's way; Orbax writes in the background, and the manifest
    follows. An older step is deleted only after the new one has its manifest: at the next `save`,
    `wait` or `close`. Opening the folder clears away what a killed run left half done.

    On several processes, every process makes the same calls; the first one alone writes manifests, verifies,
    and reports what it rejected.

    Args:
        folder: made if it is missing. Only what this class put there is touched.
        keep_latest: how many of the newest steps stay, at least 1.
        keep_best: how many of the steps with the best metric stay as well; of equals the later.
        best_mode: whether the best metric is the least ("min") or the greatest ("max").

    Raises:
        TrainingError: the folder cannot be used, or another run is using it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep_latest: int = 2,
        keep_best: int = 1,
        best_mode: Literal["min", "max"] = "min",
    ) -> None:
        if keep_latest < 1 or keep_best < 0 or best_mode not in ("min", "max"):
            raise TrainingError(
                f"keep_latest={keep_latest} must be at least 1, keep_best={keep_best} at least 0,"
                f" and best_mode={best_mode!r} one of 'min' and 'max'"
            )
        self.folder = Path(folder).absolute()
        self._best_mode = best_mode
        self._policy = AnyPreservationPolicy(
            [
                LatestN(n=keep_latest),
                BestN(
                    get_metric_fn=lambda metric: metric,
                    reverse=best_mode == "min",
                    n=keep_best,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._metrics: dict[int, float | None] = {}
        self._rejected: list[RejectedStep] = []
        self._finisher = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_FINISHER)
        self._saving: tuple[int, Future[None], frozenset[threading.Thread]] | None = None
        self._manager: ocp.CheckpointManager | None = None
        self._closed = False
        self._lock: int | None = None
        try:
            with self._told():
                self.folder.mkdir(parents=True, exist_ok=True)
                self._take_lock()
                self._sift()
                self._open_manager()
        except BaseException:
            self._release_lock()
            raise
        # A program that ends without `close` must not lose its last save. `atexit` comes too late: by then the
        # thread pools that Orbax writes with take no more work. This hook, by which `concurrent.futures` itself ends
        # its pools, runs before that. It is private, so the type stubs lack it; there is no public one as early.
        close = weakref.WeakMethod(self.close)
        threading._register_atexit(lambda: (closing := close()) and closing())  # type: ignore[attr-defined]

    def save(self, step: int, state: Any, *, data: Any, extras: Any, metric: float | None = None) -> None:
        """Save a step in the background; the state may be donated or changed as soon as this returns.

        Waits for the previous save first, if that is still going on.

        Args:
            step: greater than every step saved so far.
            state: a pytree of JAX or NumPy arrays.
            data: the state of the data iterator, anything JSON can hold; the same on every process.
            extras: anything JSON can hold: best so far, counters, configuration.
            metric: what `keep_best` goes by; None or a value that is not finite never counts as best.

        Raises:
            TrainingError: the previous save failed, or this one cannot be started.
        """
        self.wait()
        step = operator.index(step)
        newest = max(self._metrics, default=-1)
        if step <= newest:
            raise TrainingError(
                f"cannot save step {step}: {self.folder} already has step {newest}, and steps only go up"
            )
        leaves = _describe(state)
        metric = float(metric) if metric is not None and math.isfinite(metric) else None
        try:
            # Refused here rather than in the background; and a copy, for the caller may go on changing its own.
            data, extras = json.loads(json.dumps(data)), json.loads(json.dumps(extras))
        except (TypeError, ValueError) as error:
            raise TrainingError(f"cannot save step {step}: data and extras must fit into JSON ({error})") from error
        threads = frozenset(threading.enumerate())
        try:
            manager = self._open_manager()
            manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=ocp.args.JsonSave(data),
                    extras=ocp.args.JsonSave(extras),
                ),
                force=True,  # Otherwise Orbax may decide to skip the step.
            )
        except Exception as error:
            self._give_up(step, error, threads)
        self._saving = step, self._finisher.submit(self._finish, manager, step, metric, leaves), threads

    def wait(self) -> None:
        """Return when everything saved so far is on the disk with its manifest, and old steps are gone.

        Raises:
            TrainingError: a save failed. The steps saved before it are untouched; saving may go on.
        """
        if self._closed:
            raise TrainingError(f"the checkpoint store of {self.folder} is closed")
        if self._saving is None:
            self._try_to_clear()  # Some writes of a failed save may have ended after it was given up.
            return
        (step, saving, threads), self._saving = self._saving, None
        error = saving.exception()
        if error is not None:
            self._give_up(step, error, threads)
        with self._told():
            self._delete_old()

    def restore(self, template: Any, *, best: bool = False) -> Restored | None:
        """Verify every step, then restore the newest good one (with `best`, the one with the best metric).

        Args:
            template: a pytree of arrays (or `jax.ShapeDtypeStruct`) with the structure, shapes, dtypes and
                shardings that the restored state is to have.

        Returns:
            The step, or None where there is none yet. `rejected` tells what could not be trusted.

        Raises:
            TrainingError: template and stored state differ, or there were steps but every one is damaged.
        """
        self.wait()
        with self._told():
            self._sift()
            manager = self._open_manager()
            manager.reload()
        if not self._metrics:
            if any(rejected.reason.startswith("damaged") for rejected in self._rejected):
                reasons = "; ".join(f"step {rejected.step} {rejected.reason}" for rejected in self._rejected)
                raise TrainingError(
                    f"no checkpoint in {self.folder} can be trusted: {reasons}. They are set aside in"
                    f" {self.folder / 'rejected'}; start again to begin from scratch"
                )
            return None
        ranked = self._ranked() if best else []
        step = ranked[0] if ranked else max(self._metrics)
        _check_fits(read_manifest(self.folder / str(step)).leaves, _describe(template), step)
        try:
            items = manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(jax.tree.map(_placeholder, template)),
                    data=ocp.args.JsonRestore(),
                    extras=ocp.args.JsonRestore(),
                ),
            )
        except Exception as error:
            raise TrainingError(f"cannot restore step {step} from {self.folder}: {_cause(error)}") from error
        state = jax.tree.map(_placed_like, template, items.state)
        return Restored(step, state, items.data, items.extras, tuple(self._rejected))

    def steps(self) -> list[int]:
        """The good steps, oldest first; without one that is still being saved."""
        return sorted(self._metrics)

    @property
    def rejected(self) -> tuple[RejectedStep, ...]:
        """The steps found unfinished or damaged since the folder was opened."""
        return tuple(self._rejected)

    def close(self) -> None:
        """Wait, then let go of the folder. Further calls do nothing.

        Raises:
            TrainingError: as `wait`.
        """
        if self._closed:
            return
        try:
            self.wait()
        finally:
            self._closed = True
            self._finisher.shutdown()
            self._close_manager()
            self._release_lock()

    def __enter__(self) -> "CheckpointStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the file system refuses, as a line for the user."""
        try:
            yield
        except OSError as error:
            raise TrainingError(f"cannot keep checkpoints in {self.folder}: {error}") from error

    def _open_manager(self) -> ocp.CheckpointManager:
        """The manager, anew after a failed save. It gets no policy and deletes nothing of its own accord: it would
        before the new step has its manifest.
        """
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(todelete_subdir="deleted", save_root_metadata=False)
            self._manager = ocp.CheckpointManager(self.folder, item_names=("state", "data", "extras"), options=options)
        return self._manager

    def _close_manager(self) -> None:
        # Orbax's threads each keep their error, and `close` raises one at a time before it gets to its end.
        for _ in range(10):
            with contextlib.suppress(Exception):
                if self._manager is not None:
                    self._manager.close()
                break
        self._manager = None

    def _finish(self, manager: ocp.CheckpointManager, step: int, metric: float | None, leaves: dict[str, str]) -> None:
        """In the background: wait for Orbax on all processes, then write the manifest on the first."""
        manager.wait_until_finished()
        if jax.process_index() == 0:
            write_manifest(self.folder / str(step), step, metric, leaves)
        self._metrics[step] = metric

    def _give_up(self, step: int, error: BaseException, threads: frozenset[threading.Thread]) -> NoReturn:
        """Remove what a failed save left and say why it failed; `threads` were there before it."""
        self._close_manager()
        # Orbax raises at the first write that fails and leaves the others to threads that it forgets: files would come
        # and go while they are being removed, and after. A new thread of the caller's costs no more than the patience.
        # Threads of its libraries, and those of other processes, cannot be waited for: what they write is never
        # trusted, and cleared away by the next `save`, `wait` or `close`.
        deadline = time.monotonic() + _PATIENCE
        for thread in frozenset(threading.enumerate()) - threads - {threading.current_thread()}:
            if not thread.name.startswith(_FINISHER):
                with contextlib.suppress(Exception):  # Orbax's threads raise what they have come to.
                    thread.join(max(0.0, deadline - time.monotonic()))
        while not self._try_to_clear() and time.monotonic() < deadline:
            time.sleep(0.01)
        if jax.process_index() == 0:
            shutil.rmtree(self.folder / str(step), ignore_errors=True)
        good = f"step {max(self._metrics)} stays the newest good one" if self._metrics else "there is no earlier one"
        raise TrainingError(f"checkpoint of step {step} not saved: {_cause(error)}; {good} in {self.folder}") from error

    def _delete_old(self) -> None:
        now = datetime.now(UTC)
        steps = [_RankedStep(step, self._metrics[step], now) for step in self.steps()]
        kept = self._policy.should_preserve(steps, context=PreservationContext())
        for info, keep in zip(steps, kept, strict=True):
            if not keep:
                # Orbax renames the folder into `deleted`, so a step is never there in part.
                self._open_manager().delete(info.step)
                del self._metrics[info.step]
        self._clear_leftovers()

    def _try_to_clear(self) -> bool:
        """`_clear_leftovers`, as far as the file system lets it; whether it did."""
        try:
            self._clear_leftovers()
        except OSError:
            return False
        return True

    def _clear_leftovers(self) -> None:
        """Remove temporary folders of Orbax and steps on their way out (the first process); nothing is being saved."""
        if jax.process_index() != 0:
            return
        for entry in list(self.folder.iterdir()):
            if entry.is_dir() and (_TEMPORARY.fullmatch(entry.name) or entry.name == "deleted"):
                shutil.rmtree(entry)

    def _sift(self) -> None:
        """Set aside every step that cannot be trusted; note the good ones."""
        self._clear_leftovers()
        if jax.process_index() == 0:
            for step in self._steps_on_disk():
                reason = find_fault(self.folder / str(step), step)
                if reason is not None:
                    self._rejected.append(RejectedStep(step, reason, self._set_aside(step)))
        multihost_utils.sync_global_devices("aasist_jax: checkpoints sifted")
        self._metrics = {step: read_manifest(self.folder / str(step)).metric for step in self._steps_on_disk()}

    def _steps_on_disk(self) -> list[int]:
        return sorted(
            int(entry.name) for entry in self.folder.iterdir() if entry.is_dir() and _STEP.fullmatch(entry.name)
        )

    def _set_aside(self, step: int) -> Path:
        rejected = self.folder / "rejected"
        rejected.mkdir(exist_ok=True)
        kept_in = rejected / str(step)
        repeat = 1
        while kept_in.exists():
            repeat += 1
            kept_in = rejected / f"{step}.{repeat}"
        return (self.folder / str(step)).rename(kept_in)

    def _ranked(self) -> list[int]:
        """The steps that have a metric, best first, of equals the later."""
        sign = 1 if self._best_mode == "min" else -1
        return [
            -negative
            for _, negative in sorted(
                (sign * metric, -step) for step, metric in self._metrics.items() if metric is not None
            )
        ]

    def _take_lock(self) -> None:
        if jax.process_index() != 0:
            return
        self._lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"{self.folder} is in use by another run; wait for it or give this run a folder of its own"
            ) from error
        except OSError:
            pass  # Some network file systems have no locks.

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _describe(tree: Any) -> dict[str, str]:
    """Name, dtype and shape of every leaf, as `{"['params']['w']": "float32[3,4]"}`."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path)
        if not isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
            raise TrainingError(
                f"the state's {name} is of type {type(leaf).__name__}, not an array: wrap it in jnp.asarray,"
                " or keep it in extras"
            )
        leaves[name] = f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return leaves


def _check_fits(stored: dict[str, str], wanted: dict[str, str], step: int) -> None:
    names = [name for name in sorted(stored.keys() | wanted.keys()) if stored.get(name) != wanted.get(name)]
    if names:
        shown = [f"{name} {stored.get(name, 'missing')}, wanted {wanted.get(name, 'none')}" for name in names[:10]]
        more = [f"and {len(names) - 10} more"] if len(names) > 10 else []
        raise TrainingError(
            f"the checkpoint of step {step} does not fit this model and optimizer,"
            f" {len(names)} leaves differ: {'; '.join(shown + more)}"
        )


def _placeholder(leaf: Any) -> Any:
    """What Orbax is to restore a leaf as."""
    if isinstance(leaf, np.ndarray):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _placed_like(leaf: Any, restored: Any) -> Any:
    """The restored leaf, left free to follow other arrays' devices where the template's leaf is."""
    if isinstance(leaf, jax.Array) and not leaf.committed and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return jnp.array(np.asarray(restored))
    return restored


def _cause(error: BaseException) -> str:
    """The reason of a failed save or restore, in one line."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(text in str(link) for link in chain for text in _FULL):
        return "the disk is full (or the quota, or the limit of a file's size, is reached); free some space"
    return next(iter(str(error).splitlines()), "") or type(error).__name__
