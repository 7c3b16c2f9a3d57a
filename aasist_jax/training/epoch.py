"""Takes training steps: fetches batches ahead, runs the steps, and checks and logs their results."""

import math
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from aasist_jax.data.pipeline import TrainIterator
from aasist_jax.data.utterances import Utterance
from aasist_jax.errors import TrainingError
from aasist_jax.training.interruption import StopSignals
from aasist_jax.training.parallel import batch_to_devices, gather_hosts, on_host
from aasist_jax.training.reporting import Reporter
from aasist_jax.training.run_folder import RunFolder
from aasist_jax.training.run_log import RunLog
from aasist_jax.training.run_setup import TrainingSetup
from aasist_jax.training.state import RunState

RATE_STEPS = 20
"""Number of recent steps over which clips per second are measured."""


class Throughput:
    """Measures the speed of the last steps, and the share of the time spent waiting for data.

    Args:
        batch_size: clips per step, over all devices.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._ends: deque[tuple[float, float]] = deque(maxlen=RATE_STEPS + 1)

    def add(self, now: float, waited: float) -> None:
        """Record a step that ended at the time `now` and had waited `waited` for its data, both in seconds."""
        self._ends.append((now, waited))

    def restart(self) -> None:
        """Forget all steps, so that the time of an evaluation is not counted."""
        self._ends.clear()

    @property
    def clips_per_second(self) -> float | None:
        """Clips per second; None until two steps have ended."""
        seconds = self._seconds()
        return (len(self._ends) - 1) * self._batch_size / seconds if seconds else None

    @property
    def data_wait_share(self) -> float | None:
        """Share of the time spent waiting for data, from 0 to 1; None until two steps have ended."""
        seconds = self._seconds()
        return sum(waited for _, waited in list(self._ends)[1:]) / seconds if seconds else None

    def _seconds(self) -> float:
        return self._ends[-1][0] - self._ends[0][0] if self._ends else 0.0


@dataclass(frozen=True)
class StagedBatch:
    """A batch on its way to the devices.

    Attributes:
        arrays: the input of the step, on the devices.
        index: position of each clip of this host in the training split.
        waited: seconds spent waiting for the batch.
    """

    arrays: dict[str, Any]
    index: np.ndarray
    waited: float


@dataclass(frozen=True)
class DispatchedStep:
    """A step that has been sent to the devices and whose metrics have not been read yet."""

    number: int
    metrics: Any
    batch: StagedBatch


class StepRunner:
    """Takes one training step after another.

    While the devices compute a step, the next batch is fetched and sent to them. To settle a step is to read, check and
    log its metrics. On an accelerator that is done while the next step computes, so a loss that is not finite is found
    one step late, but always before the state is saved. On a CPU it is done before the next step is sent off: JAX
    allocates the temporaries of a step when it is sent off, often gigabytes, and those of two steps would be there at
    once.
    """

    def __init__(
        self,
        setup: TrainingSetup,
        state: RunState,
        batches: TrainIterator,
        *,
        folder: RunFolder,
        log: RunLog,
        reporter: Reporter,
        stop_signals: StopSignals,
    ) -> None:
        self._setup, self._state, self._batches = setup, state, batches
        self._folder, self._log, self._reporter, self._stop_signals = folder, log, reporter, stop_signals
        self._throughput = Throughput(setup.config.batch_size)
        self._staged: StagedBatch | None = None
        self._last: StagedBatch | None = None
        self._unsettled: DispatchedStep | None = None
        self._one_at_a_time = jax.default_backend() == "cpu"
        batches.set_state({"next_batch": state.step})
        reporter.start(state.step, setup.total_steps)

    def take_step(self) -> None:
        """Take the next step; do nothing if the stop signal has ended the data workers and there is no batch."""
        batch = self._staged or self._stage()
        if batch is None:
            return
        if self._one_at_a_time:
            self.settle()
        teacher = self._setup.teacher_function
        arrays = batch.arrays | (teacher(batch.arrays) if teacher else {})
        self._state.train, metrics = self._setup.step_function(self._state.train, arrays)
        self._state.step += 1
        self._staged = self._stage() if self._state.step < self._setup.total_steps else None
        self.settle()
        self._unsettled, self._last = DispatchedStep(self._state.step, metrics, batch), batch

    def settle(self) -> None:
        """Wait for the last step, check its metrics and log it.

        Raises:
            TrainingError: its loss or gradient is not finite.
        """
        if self._unsettled is None:
            return
        step, self._unsettled = self._unsettled, None
        loss, norm = (float(on_host(step.metrics[name])) for name in ("loss", "gradient_norm"))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._stop_on_bad_batch(step.number, f"loss {loss}, gradient norm {norm}", step.batch)
        self._throughput.add(time.monotonic(), step.batch.waited)
        self._reporter.step(step.number, self._setup.total_steps, loss, self._throughput.clips_per_second)
        if step.number % self._setup.config.train_config.log_steps == 0 or step.number == self._setup.total_steps:
            self._log_step(step, loss, norm)

    def end_epoch(self) -> None:
        """Settle the last step, and restart the measurement of the throughput."""
        self.settle()
        self._throughput.restart()

    def stop_on_bad_state(self) -> NoReturn:
        """Stop because the state after the last step cannot be saved, and name the files of its batch.

        Raises:
            TrainingError: always.
        """
        assert self._last is not None
        self._stop_on_bad_batch(self._state.step, "the state is no longer finite", self._last)

    def _stage(self) -> StagedBatch | None:
        """Get the next batch and start sending it; None if the stop signal ended workers during their start."""
        began = time.monotonic()
        try:
            batch = next(self._batches)
        except Exception:
            if self._stop_signals.requested:
                return None
            raise
        waited = time.monotonic() - began
        arrays: dict[str, Any] = {name: batch[name] for name in ("wave", "label", "length") if name in batch}
        arrays |= {name: numbers[batch["index"]] for name, numbers in self._setup.clip_numbers.items()}
        return StagedBatch(batch_to_devices(arrays), batch["index"], waited)

    def _log_step(self, step: DispatchedStep, loss: float, norm: float) -> None:
        entry: dict[str, Any] = {
            "step": step.number,
            "epoch": -(-step.number // self._setup.steps_per_epoch),
            "loss": loss,
            "learning_rate": float(self._setup.schedule(step.number - 1)),
            "gradient_norm": norm,
            "clips_per_second": self._throughput.clips_per_second,
            "data_wait_share": self._throughput.data_wait_share,
        }
        if self._setup.config.train_config.log_batches:
            entry["utterances"] = [clip.utterance for clip in self._clips_of(step.batch)]
        self._log.add(entry)

    def _stop_on_bad_batch(self, step: int, what: str, batch: StagedBatch) -> NoReturn:
        clips = [str(clip.path) for clip in self._clips_of(batch)]
        name = f"bad_batch_{step}.json"
        self._folder.write_json(name, {"step": step, "what": what, "files": clips})
        raise TrainingError(
            f"step {step}: {what}: stopped, and the state is not saved. "
            f"The batch's {len(clips)} files are listed in {self._folder.root / name}: "
            + ", ".join(Path(clip).name for clip in clips)
        )

    def _clips_of(self, batch: StagedBatch) -> list[Utterance]:
        """List the clips of the global batch, from all hosts."""
        utterances = self._setup.splits["train"].utterances
        return [utterances[i] for i in gather_hosts(batch.index)]
