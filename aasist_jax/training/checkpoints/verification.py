"""Verifies the steps of a checkpoint folder; steps that fail are moved aside, never deleted."""

import re
from dataclasses import dataclass
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from aasist_jax.training.checkpoints.cleanup import remove_leftovers
from aasist_jax.training.checkpoints.manifest import find_fault, read_manifest

REJECTED = "rejected"
"""Folder within the checkpoint folder to which steps that cannot be trusted are moved."""

_STEP = re.compile(r"0|[1-9]\d*")


@dataclass(frozen=True)
class RejectedStep:
    """A step that failed verification: its number, the reason in one line, and where its folder was moved."""

    step: int
    reason: str
    kept_in: Path

    def __str__(self) -> str:
        return f"checkpoint of step {self.step} not used, {self.reason} (set aside in {self.kept_in})"


def verify_steps(folder: Path) -> tuple[dict[int, float | None], list[RejectedStep]]:
    """Verify every step of a folder and move those that cannot be trusted aside. Must not run during a save.

    All processes must call this; only the first one verifies and moves folders.

    Returns:
        The metric of each good step by its number, and the steps set aside (on processes other than the first: none).

    Raises:
        OSError: the folder cannot be read or changed.
    """
    rejected = []
    if jax.process_index() == 0:
        remove_leftovers(folder)
        for step in _steps_in(folder):
            reason = find_fault(folder / str(step), step)
            if reason is not None:
                rejected.append(RejectedStep(step, reason, _set_aside(folder, step)))
    multihost_utils.sync_global_devices("aasist_jax: checkpoints verified")
    return {step: read_manifest(folder / str(step)).metric for step in _steps_in(folder)}, rejected


def _steps_in(folder: Path) -> list[int]:
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.is_dir() and _STEP.fullmatch(entry.name))


def _set_aside(folder: Path, step: int) -> Path:
    rejected = folder / REJECTED
    rejected.mkdir(exist_ok=True)
    kept_in = rejected / str(step)
    repeat = 1
    while kept_in.exists():
        repeat += 1
        kept_in = rejected / f"{step}.{repeat}"
    return (folder / str(step)).rename(kept_in)
