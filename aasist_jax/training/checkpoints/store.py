"""The store of a run's checkpoints: Orbax saves in the background, and only verified steps are restored.

Orbax keeps no checksums: it restores a tensor file with a flipped bit without an error. Therefore every step gets a
manifest (`manifest.py`) after Orbax has written it, and is used only if its files agree with that manifest.

    FOLDER/30/         step 30: state, data and extras as Orbax writes them, and manifest.json
    FOLDER/rejected/   steps that are unfinished or damaged, by their number; safe to delete
    FOLDER/deleted/    steps that are being deleted
    FOLDER/.lock       held while a run is using the folder
"""

import contextlib
import fcntl
import json
import logging
import math
import operator
import os
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
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
    PreservationContext,
)

from aasist_jax.errors import TrainingError
from aasist_jax.training.checkpoints.cleanup import (
    DELETED,
    FINISHER,
    PATIENCE,
    reason_of,
    remove_leftovers,
    try_to_remove_leftovers,
    wait_for_new_threads,
)
from aasist_jax.training.checkpoints.leaves import check_fits, describe_leaves, placed_like, placeholder
from aasist_jax.training.checkpoints.manifest import read_manifest, write_manifest
from aasist_jax.training.checkpoints.verification import REJECTED, RejectedStep, verify_steps

# Orbax logs the traceback of errors that it also raises. The caller already prints these in one line.
logging.getLogger("absl").addFilter(lambda record: f"{os.sep}orbax{os.sep}" not in record.pathname)


@dataclass(frozen=True)
class Restored:
    """A verified step: its state in the structure of the template, the two JSON values, and the rejected steps."""

    step: int
    state: Any
    data: Any
    extras: Any
    rejected: tuple[RejectedStep, ...]


@dataclass(frozen=True)
class _RankedStep:
    """A step in the form that Orbax's preservation policies need."""

    step: int
    metrics: float | None
    time: datetime


class CheckpointStore:
    """The checkpoints of one run in one folder; a context manager.

    `save` returns as soon as the caller may change the state; Orbax writes in the background, and then the manifest is
    written. An older step is deleted only after the new one has its manifest: at the next `save`, `wait` or `close`.
    Opening the folder removes the incomplete files of a killed run.

    With several processes, every process must make the same calls. Only the first one writes manifests, verifies, and
    reports rejected steps.

    Args:
        folder: created if it is missing. Files that this class did not write are left alone.
        keep_latest: number of newest steps to keep, at least 1.
        keep_best: number of steps with the best metric to keep in addition; of equal ones, the later.
        best_mode: whether the best metric is the smallest ("min") or the largest ("max").

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
        self._finisher = ThreadPoolExecutor(max_workers=1, thread_name_prefix=FINISHER)
        self._saving: tuple[int, Future[None], frozenset[threading.Thread]] | None = None
        self._manager: ocp.CheckpointManager | None = None
        self._closed = False
        self._lock: int | None = None
        try:
            with self._file_errors_told():
                self.folder.mkdir(parents=True, exist_ok=True)
                self._take_lock()
                self._verify()
                self._open_manager()
        except BaseException:
            self._release_lock()
            raise
        # A program that exits without calling `close` must not lose its last save. `atexit` runs too late: by then
        # Orbax's thread pools accept no more tasks. This hook, with which `concurrent.futures` ends its own pools, runs
        # earlier. It is private, so the type stubs lack it, but no public hook runs early enough.
        close = weakref.WeakMethod(self.close)
        threading._register_atexit(lambda: (closing := close()) and closing())  # type: ignore[attr-defined]

    def save(self, step: int, state: Any, *, data: Any, extras: Any, metric: float | None = None) -> None:
        """Save a step in the background; the state may be donated or changed as soon as this returns.

        Waits for the previous save first, if that is still going on.

        Args:
            step: greater than every step saved so far.
            state: a pytree of JAX or NumPy arrays.
            data: the state of the data iterator, as JSON values; the same on every process.
            extras: further JSON values, such as the best result so far, counters and the configuration.
            metric: the metric for `keep_best`; a step whose metric is None or not finite is never the best.

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
        leaves = describe_leaves(state)
        metric = float(metric) if metric is not None and math.isfinite(metric) else None
        try:
            # Find errors here rather than in the background, and copy, because the caller may change its own.
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
        """Wait until everything saved so far is on the disk with its manifest and old steps are deleted.

        Raises:
            TrainingError: a save failed. Earlier steps are unchanged, and further steps can be saved.
        """
        if self._closed:
            raise TrainingError(f"the checkpoint store of {self.folder} is closed")
        if self._saving is None:
            # Threads of a failed save may have written files after its cleanup.
            self._try_to_remove_leftovers()
            return
        (step, saving, threads), self._saving = self._saving, None
        error = saving.exception()
        if error is not None:
            self._give_up(step, error, threads)
        with self._file_errors_told():
            self._delete_old()

    def restore(self, template: Any, *, best: bool = False) -> Restored | None:
        """Verify every step, then restore the newest good one (with `best`, the one with the best metric).

        Args:
            template: a pytree of arrays (or `jax.ShapeDtypeStruct`) with the structure, shapes, dtypes and shardings
                of the restored state.

        Returns:
            The step, or None if there is none yet. Its `rejected` lists the steps that could not be trusted.

        Raises:
            TrainingError: the template and the stored state differ, or there are steps but all are damaged.
        """
        self.wait()
        with self._file_errors_told():
            self._verify()
            manager = self._open_manager()
            manager.reload()
        if not self._metrics:
            if any(rejected.reason.startswith("damaged") for rejected in self._rejected):
                reasons = "; ".join(f"step {rejected.step} {rejected.reason}" for rejected in self._rejected)
                raise TrainingError(
                    f"no checkpoint in {self.folder} can be trusted: {reasons}. They are set aside in"
                    f" {self.folder / REJECTED}; start again to begin from scratch"
                )
            return None
        ranked = self._ranked() if best else []
        step = ranked[0] if ranked else max(self._metrics)
        check_fits(read_manifest(self.folder / str(step)).leaves, describe_leaves(template), step)
        try:
            items = manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(jax.tree.map(placeholder, template)),
                    data=ocp.args.JsonRestore(),
                    extras=ocp.args.JsonRestore(),
                ),
            )
        except Exception as error:
            raise TrainingError(f"cannot restore step {step} from {self.folder}: {reason_of(error)}") from error
        state = jax.tree.map(placed_like, template, items.state)
        return Restored(step, state, items.data, items.extras, tuple(self._rejected))

    def steps(self) -> list[int]:
        """The good steps, oldest first, without a step that is still being saved."""
        return sorted(self._metrics)

    @property
    def rejected(self) -> tuple[RejectedStep, ...]:
        """The steps found unfinished or damaged since the folder was opened."""
        return tuple(self._rejected)

    def close(self) -> None:
        """Wait for the last save, then release the folder. Further calls do nothing.

        Raises:
            TrainingError: as for `wait`.
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
    def _file_errors_told(self) -> Iterator[None]:
        """Turn an error of the file system into one line for the user."""
        try:
            yield
        except OSError as error:
            raise TrainingError(f"cannot keep checkpoints in {self.folder}: {error}") from error

    def _open_manager(self) -> ocp.CheckpointManager:
        """Return Orbax's manager; after a failed save, make a new one.

        It has no preservation policy, because it would delete an old step before the new one has its manifest.
        """
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(todelete_subdir=DELETED, save_root_metadata=False)
            self._manager = ocp.CheckpointManager(self.folder, item_names=("state", "data", "extras"), options=options)
        return self._manager

    def _close_manager(self) -> None:
        # Each thread of Orbax keeps its error, and `close` raises one of them per call before it completes.
        for _ in range(10):
            with contextlib.suppress(Exception):
                if self._manager is not None:
                    self._manager.close()
                break
        self._manager = None

    def _finish(self, manager: ocp.CheckpointManager, step: int, metric: float | None, leaves: dict[str, str]) -> None:
        """In the background, wait for Orbax on all processes, then write the manifest on the first."""
        manager.wait_until_finished()
        if jax.process_index() == 0:
            write_manifest(self.folder / str(step), step, metric, leaves)
        self._metrics[step] = metric

    def _give_up(self, step: int, error: BaseException, threads: frozenset[threading.Thread]) -> NoReturn:
        """Remove the files of a failed save and raise its reason; `threads` existed before the save."""
        self._close_manager()
        deadline = time.monotonic() + PATIENCE
        wait_for_new_threads(threads, deadline)
        while not self._try_to_remove_leftovers() and time.monotonic() < deadline:
            time.sleep(0.01)
        if jax.process_index() == 0:
            shutil.rmtree(self.folder / str(step), ignore_errors=True)
        good = f"step {max(self._metrics)} stays the newest good one" if self._metrics else "there is no earlier one"
        raise TrainingError(
            f"checkpoint of step {step} not saved: {reason_of(error)}; {good} in {self.folder}"
        ) from error

    def _delete_old(self) -> None:
        now = datetime.now(UTC)
        steps = [_RankedStep(step, self._metrics[step], now) for step in self.steps()]
        kept = self._policy.should_preserve(steps, context=PreservationContext())
        for info, keep in zip(steps, kept, strict=True):
            if not keep:
                # Orbax first moves the folder into `deleted`, so a step is never incomplete in its place.
                self._open_manager().delete(info.step)
                del self._metrics[info.step]
        if jax.process_index() == 0:
            remove_leftovers(self.folder)

    def _try_to_remove_leftovers(self) -> bool:
        return jax.process_index() != 0 or try_to_remove_leftovers(self.folder)

    def _verify(self) -> None:
        """Move every step that cannot be trusted aside, and record the good ones."""
        self._metrics, rejected = verify_steps(self.folder)
        self._rejected += rejected

    def _ranked(self) -> list[int]:
        """The steps that have a metric, best first; of equal ones, the later first."""
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
