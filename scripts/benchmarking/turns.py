"""Let contenders take turns: results compared first, warm-up apart, ratios within a round."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from aasist_jax.errors import AasistError
from scripts.benchmarking.tables import make_table

WARM_UP = 2
"""Calls before the clock: the first compiles, the second still finds cold caches."""

PAUSE = 0.1
"""Seconds between turns. The threads of ONNX Runtime go on spinning for some 50 ms after a run, those of OpenMP for
some 10 ms, and would steal cycles from whoever comes next. To forbid it would slow them in their own turn."""


class BenchmarkError(AasistError):
    """What was to be measured cannot be compared, or cannot run."""


@dataclass(frozen=True)
class Contender:
    """A way to do the work.

    Attributes:
        call: does it once and gives the results, finished and in the host's memory.
        tolerance: how far its results may be from the baseline's.
    """

    call: Callable[[], np.ndarray]
    tolerance: float


@dataclass(frozen=True)
class Turns:
    """How a contender fared.

    Attributes:
        contender: its name.
        first_call_s: of the first call, which compiles, or loads what an earlier run compiled.
        difference: the largest of its results from the baseline's.
        tolerance: what was allowed.
        seconds: of every turn.
        baseline: the baseline's seconds in the same rounds.
        speed: the baseline's over its own, round by round.
    """

    contender: str
    first_call_s: float
    difference: float
    tolerance: float
    seconds: tuple[float, ...]
    baseline: tuple[float, ...]
    speed: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.seconds)

    def figures(self) -> dict[str, Any]:
        """All of it for JSON, with the medians and the spread that the tables show."""
        return asdict(self) | {
            "median_s": self.median,
            "speed_median": statistics.median(self.speed),
            "speed_lowest": min(self.speed),
            "speed_highest": max(self.speed),
        }


def take_turns(
    what: str,
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    compared: int = WARM_UP,
    pause: float = PAUSE,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Turns]:
    """Warm up, compare with the first contender, then time turn by turn.

    The results of the first `compared` calls must be alike. Turns, so that a slow minute of the machine falls on all
    alike, and ratios within a round, so that it cancels out.

    Raises:
        BenchmarkError: a contender gives other results. Nothing is timed then.
    """
    names = list(contenders)
    first: dict[str, float] = {}
    results: dict[str, list[np.ndarray]] = {}
    for name, contender in contenders.items():
        began = clock()
        found = [contender.call()]
        first[name] = clock() - began
        results[name] = found + [contender.call() for _ in range(WARM_UP - 1)]
    differences = {name: _difference(results[name][:compared], results[names[0]][:compared]) for name in names}
    for name, difference in differences.items():
        # NaN must not pass either.
        if not difference <= contenders[name].tolerance:
            raise BenchmarkError(
                f"{what}: {name} differs from {names[0]} by {difference:.1e}, where {contenders[name].tolerance:g} is "
                "allowed; nothing was timed"
            )
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        # Whoever begins changes, so that nobody always follows the same neighbour.
        for name in names[i % len(names) :] + names[: i % len(names)]:
            sleep(pause)
            began = clock()
            contenders[name].call()
            seconds[name].append(clock() - began)
    return [
        Turns(
            name,
            first[name],
            differences[name],
            contenders[name].tolerance,
            tuple(seconds[name]),
            tuple(seconds[names[0]]),
            tuple(base / own for base, own in zip(seconds[names[0]], seconds[name], strict=True)),
        )
        for name in names
    ]


def _difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    if any(one.shape != other.shape for one, other in zip(found, expected, strict=True)):
        return float("inf")
    # Not the built-in max, in which NaN may get lost.
    return float(np.max([np.abs(one - other).max() for one, other in zip(found, expected, strict=True)]))


def times_as_fast(ours: Turns, other: Turns) -> tuple[float, float, float]:
    """How many times as fast as `other` ours is, within a round: median, lowest, highest.

    They must have taken turns with each other.
    """
    ratios = [theirs / own for theirs, own in zip(other.seconds, ours.seconds, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def turns_table(
    title: str, rows: Sequence[tuple[str, int, Turns]], per_second: str = "clips/s", baseline: str | None = None
) -> Table:
    """Lay out medians and ratios; a row is what was done, on how many clips, and the turns.

    `baseline` is what the ratios are said to be to; by default the first row's contender.
    """
    baseline = baseline or rows[0][2].contender
    columns = (
        "",
        "batch",
        "contender",
        "ms",
        "lowest",
        "highest",
        per_second,
        "speed",
        "lowest",
        "highest",
    )
    cells = []
    for what, size, turns in rows:
        milliseconds = (1e3 * x for x in (turns.median, min(turns.seconds), max(turns.seconds)))
        ratios = (statistics.median(turns.speed), min(turns.speed), max(turns.speed))
        cells.append(
            (
                what,
                str(size),
                turns.contender,
                *(f"{x:.4g}" for x in milliseconds),
                f"{size / turns.median:.4g}",
                *(f"{x:.2f}" for x in ratios),
                f"{turns.first_call_s:.1f}",
                f"{turns.difference:.0e}",
            )
        )
    title += f"; speed: times {baseline}, within a round"
    return make_table(title, (*columns, "first call (s)", "off by"), cells, texts=3)
