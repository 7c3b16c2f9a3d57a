"""Checks every clip before a run starts, so that a bad file does not end the run hours later."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.audio.load import inspect_audio, iter_audio
from aasist_jax.data.table_words import AUDIO_SUFFIXES
from aasist_jax.data.utterances import Utterance, shown
from aasist_jax.errors import AudioError, BadClipsError, DataError
from aasist_jax.runtime.files import write_text
from aasist_jax.runtime.progress import with_progress

logger = logging.getLogger(__name__)

MIN_SECONDS = 0.1
"""Shorter clips are too short to be used."""


Kind = Literal["missing", "unreadable", "too short", "duplicate"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the clip at `position` in the list cannot be used."""

    position: int
    utterance: Utterance
    kind: Kind
    reason: str
    other_suffix: str = ""
    """The suffix of a file of the same stem that lies where the clip is missing; "" if there is none."""

    def __str__(self) -> str:
        return f"{self.utterance.origin}: {self.kind}: {self.reason}"


def check_utterances(
    utterances: Sequence[Utterance], *, workers: int | None = None, deep: bool = False
) -> list[Problem]:
    """Check the file of every clip; return at most one problem per clip, in the order of the list.

    Args:
        utterances: the clips.
        workers: number of threads (default: one per core).
        deep: decode each file completely, which also finds damage after an intact header.
    """
    first_of_id: dict[str, int] = {}
    first_of_path: dict[str, int] = {}
    folders: dict[Path, dict[str, str]] = {}
    problems = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        found = pool.map(_check_deep if deep else _check_header, utterances)
        checked = with_progress(found, description="Checking clips", total=len(utterances))
        for position, (utterance, fault) in enumerate(zip(utterances, checked, strict=True)):
            same_id = first_of_id.setdefault(utterance.utterance, position)
            same_path = first_of_path.setdefault(os.path.abspath(utterance.path), position)
            first = min(same_id, same_path)
            if fault is None and first < position:
                name = utterance.utterance if first == same_id else utterance.path
                fault = "duplicate", f"{name} stands already at {utterances[first].origin}"
            if fault is not None:
                suffix = _other_suffix(utterance.path, folders) if fault[0] == "missing" else ""
                reason = fault[1] + (f"; the same stem with {suffix} is there" if suffix else "")
                problems.append(Problem(position, utterance, fault[0], reason, suffix))
    return problems


def usable_utterances(
    utterances: Sequence[Utterance],
    *,
    on_bad: Literal["fail", "skip"] = "fail",
    report: Path | None = None,
    workers: int | None = None,
    deep: bool = False,
) -> list[Utterance]:
    """Return the clips without problems.

    Args:
        utterances: the clips.
        on_bad: "fail" raises if there is any problem; "skip" logs a warning and leaves the bad clips out.
        report: file to which all problems, if there are any, are written, one per line.
        workers: as in `check_utterances`.
        deep: as in `check_utterances`.

    Raises:
        BadClipsError: there are problems and `on_bad` is "fail".
        DataError: no clip is left.
    """
    problems = check_utterances(utterances, workers=workers, deep=deep)
    if not problems:
        return list(utterances)
    lines = [str(problem) for problem in problems]
    listed = ""
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        write_text(report, "\n".join(lines) + "\n")
        listed = f" (all listed in {report})"
    count = f"{len(problems)} of {len(utterances)} clips cannot be used{listed}"
    if len(problems) == len(utterances):
        raise DataError(f"{count}, so none is left{_renaming(problems)}:\n{shown(lines)}")
    count += _renaming(problems)
    if on_bad == "fail":
        raise BadClipsError(f"{count}; mend the data set, or choose to skip them:\n{shown(lines)}")
    bad = {problem.position for problem in problems}
    good = [utterance for position, utterance in enumerate(utterances) if position not in bad]
    logger.warning("%s and are left out; %d remain:\n%s", count, len(good), shown(lines))
    return good


def _other_suffix(path: Path, folders: dict[Path, dict[str, str]]) -> str:
    """The suffix of an audio file of the same stem in the same folder; `folders` keeps what was looked up."""
    if path.parent not in folders:
        try:
            there = sorted(path.parent.iterdir())
        except OSError:
            there = []
        folders[path.parent] = {file.stem: file.suffix for file in there if file.suffix.lower() in AUDIO_SUFFIXES}
    return folders[path.parent].get(path.stem, "")


def _renaming(problems: Sequence[Problem]) -> str:
    """How many of the clips lie there with another suffix, as a part of a message; "" if none does."""
    suffixes = Counter(problem.other_suffix for problem in problems if problem.other_suffix)
    told = [f"{count} of the same stem with {suffix}" for suffix, count in suffixes.most_common()]
    return f"; there are {' and '.join(told)}: name them so in the list" if told else ""


def _check_header(utterance: Utterance) -> tuple[Kind, str] | None:
    if not utterance.path.is_file():
        return "missing", f"no file {utterance.path}"
    try:
        return _check_length(utterance, inspect_audio(utterance.path).seconds)
    except AudioError as error:
        return "unreadable", str(error)


def _check_deep(utterance: Utterance) -> tuple[Kind, str] | None:
    if fault := _check_header(utterance):
        return fault
    try:
        return _check_length(utterance, sum(block.size for block in iter_audio(utterance.path)) / SAMPLE_RATE)
    except AudioError as error:
        return "unreadable", str(error)


def _check_length(utterance: Utterance, seconds: float) -> tuple[Kind, str] | None:
    if seconds < MIN_SECONDS:
        return "too short", f"{utterance.path} lasts {seconds:.3f} s, under {MIN_SECONDS} s"
    return None
