"""Implementations of the same thing take turns: results compared first, then ratios within each round.

The speed of a shared machine changes from minute to minute. Implementations that are timed one after the other meet
different minutes; those that take turns meet the same, and the ratio of two times of one round says more than either.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aasist_jax.errors import AasistError

WARM_UP, PAUSE = 2, 0.1
"""Calls before the clock starts: the first compiles, the second still finds cold caches. And the seconds between turns:
the threads of ONNX Runtime go on spinning for some 50 ms after a run, and would take cycles from whoever comes next."""


class BenchmarkError(AasistError):
    """A benchmark cannot run, or its implementations give different results."""


@dataclass(frozen=True)
class Table:
    """A table of results. ` | ` separates the `columns`; a name may be followed by a format, as in `ms:.4g`."""

    title: str
    columns: str
    rows: Sequence[Sequence[Any]]

    def records(self) -> list[dict[str, Any]]:
        """Give every row as a dictionary from the column's name to the value, for JSON."""
        names = [column.partition(":")[0] for column in self.columns.split(" | ")]
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def markdown(self) -> str:
        """Write the table as Markdown, under its title."""
        names, _, formats = zip(*(column.partition(":") for column in self.columns.split(" | ")), strict=True)
        lines = [names, ["---"] * len(names)]
        lines += [[format(value, code) for value, code in zip(row, formats, strict=True)] for row in self.rows]
        return f"{self.title}:\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


@dataclass(frozen=True)
class Implementation:
    """One way to compute something. `call` gives finished results, off from the first one's by at most `tolerance`."""

    call: Callable[[], np.ndarray]
    tolerance: float = 0.0


@dataclass(frozen=True)
class Timing:
    """Seconds of an implementation and of the first one in the same rounds; the largest difference of results."""

    name: str
    seconds: tuple[float, ...]
    baseline: tuple[float, ...]
    first_call_s: float
    difference: float

    @property
    def ms(self) -> float:
        """Median of the rounds, in milliseconds."""
        return 1e3 * statistics.median(self.seconds)

    def times_as_fast(self, as_seconds: Sequence[float]) -> tuple[float, float, float]:
        """How many times as fast as another's seconds, within a round: median, lowest, highest."""
        return spread([other / one for other, one in zip(as_seconds, self.seconds, strict=True)])


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest and highest."""
    return statistics.median(values), min(values), max(values)


def timed(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    """A call's result, and the seconds that it took."""
    began = clock()
    result = call()
    return result, clock() - began


def take_turns(
    what: str,
    implementations: Mapping[str, Implementation],
    *,
    rounds: int,
    compared: int = WARM_UP,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Timing]:
    """Warm up, compare the results of the first `compared` calls with the first implementation's, then time `rounds`.

    Raises:
        BenchmarkError: an implementation gives other results. Nothing is timed then.
    """
    names, first_call, differences, first = list(implementations), {}, {}, None
    for name, implementation in implementations.items():
        result, first_call[name] = timed(implementation.call, clock)
        found = [result, *(implementation.call() for _ in range(WARM_UP - 1))][:compared]
        first = first or found
        differences[name] = _difference(found, first)
        # So written, NaN does not pass either.
        if not differences[name] <= implementation.tolerance:
            off = f"{differences[name]:.1e}, where {implementation.tolerance:g} is allowed"
            raise BenchmarkError(f"{what}: {name} differs from {names[0]} by {off}; nothing was timed")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        # The one that begins changes, so that none always follows the same neighbour.
        for name in names[i % len(names) :] + names[: i % len(names)]:
            sleep(PAUSE)
            seconds[name].append(timed(implementations[name].call, clock)[1])
    baseline = tuple(seconds[names[0]])
    return [Timing(name, tuple(seconds[name]), baseline, first_call[name], differences[name]) for name in names]


def _difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    if any(one.shape != other.shape for one, other in zip(found, expected, strict=True)):
        return float("inf")
    # Not the built-in max, in which NaN may get lost.
    return float(np.max([np.abs(one - other).max() for one, other in zip(found, expected, strict=True)]))


def timing_table(title: str, rows: Sequence[tuple[str, int, Timing]]) -> Table:
    """Lay out timings; a row is what was computed, on how many clips, and the timing."""
    columns = " | batch | implementation | ms:.4g | speed (times the first):.2f | lowest:.2f | highest:.2f"
    cells = [
        (what, batch, one.name, one.ms, *one.times_as_fast(one.baseline), one.first_call_s, one.difference)
        for what, batch, one in rows
    ]
    return Table(title, columns + " | first call (s):.1f | off by:.0e", cells)
