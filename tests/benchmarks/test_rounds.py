"""Implementations take turns, and are compared before anything is timed."""

import numpy as np
import pytest

from benchmarks.rounds import WARM_UP, BenchmarkError, Implementation, Table, take_turns, timing_table


class Course:
    """Implementations whose seconds are known, and a clock that they move."""

    def __init__(self) -> None:
        self.now, self.calls, self.pauses = 0.0, "", 0

    def implementation(self, name: str, seconds: list[float], result: float = 0.0) -> Implementation:
        left = iter(seconds)

        def call() -> np.ndarray:
            self.calls += name
            self.now += next(left)
            return np.array([result])

        return Implementation(call, 1e-4)

    def sleep(self, seconds: float) -> None:
        # A pause belongs to nobody's time.
        self.now += 1000
        self.pauses += 1


def test_implementations_take_turns_and_ratios_are_within_a_round() -> None:
    course = Course()
    found = {
        "A": course.implementation("A", [9, 5, 1, 4, 2]),
        "B": course.implementation("B", [7, 6, 2, 1, 2], result=5e-5),
        "C": course.implementation("C", [8, 5, 4, 4, 4]),
    }
    a, b, c = take_turns("x", found, rounds=3, clock=lambda: course.now, sleep=course.sleep)
    assert WARM_UP == 2
    assert course.calls == "AABBCC" + "ABC" + "BCA" + "CAB"
    assert course.pauses == 9
    assert (a.first_call_s, b.first_call_s, c.first_call_s) == (9, 7, 8)
    assert (b.seconds, b.baseline) == ((2, 1, 2), (1, 4, 2))
    assert (b.ms, b.difference) == (2000, 5e-5)
    # Median, lowest and highest: of 1 / 1, ...; of 1 / 2, 4 / 1, 2 / 2; of 1 / 4, 4 / 4, 2 / 4.
    speeds = [one.times_as_fast(one.baseline) for one in (a, b, c)]
    assert speeds == [(1, 1, 1), (1, 0.5, 4), (0.5, 0.25, 1)]
    # Of B against C: 4 / 2, 4 / 1, 4 / 2.
    assert b.times_as_fast(c.seconds) == (2, 2, 4)
    table = timing_table("a title", [("step", 8, b)])
    assert table.markdown().splitlines()[-1] == "| step | 8 | B | 2000 | 1.00 | 0.50 | 4.00 | 7.0 | 5e-05 |"


def test_a_table_has_its_values_as_text_and_as_they_are() -> None:
    table = Table("speed", "name | s:.2f | share:.0%", [("a", 1.234, 0.5)])
    assert table.markdown() == "speed:\n\n| name | s | share |\n| --- | --- | --- |\n| a | 1.23 | 50% |\n"
    assert table.records() == [{"name": "a", "s": 1.234, "share": 0.5}]


@pytest.mark.parametrize("result", [2e-4, np.nan, np.inf])
def test_wrong_results_are_refused_before_timing(result: float) -> None:
    course = Course()
    found = {"A": course.implementation("A", [1] * 5), "B": course.implementation("B", [1] * 5, result)}
    with pytest.raises(BenchmarkError, match=r"^inference: B differs from A by [^\n]*, where 0\.0001 is allowed") as e:
        take_turns("inference", found, rounds=3, clock=lambda: course.now, sleep=course.sleep)
    assert "\n" not in str(e.value)
    assert course.calls == "AABB"
    assert course.pauses == 0


def test_results_of_another_shape_or_of_the_second_call_are_refused() -> None:
    wrong, nothing = iter([0.0, 1.0]), iter([0.0, np.nan])
    for call in (lambda: np.zeros(2), lambda: np.array([next(wrong)]), lambda: np.array([next(nothing)])):
        with pytest.raises(BenchmarkError, match="B differs"):
            take_turns("x", {"A": Implementation(lambda: np.zeros(1)), "B": Implementation(call, 1e-4)}, rounds=0)


def test_only_as_many_calls_as_asked_for_must_agree() -> None:
    def found() -> dict[str, Implementation]:
        results = iter([0.0, 1.0])
        return {"A": Implementation(lambda: np.zeros(1)), "B": Implementation(lambda: np.array([next(results)]), 1e-4)}

    _, b = take_turns("x", found(), rounds=0, compared=1)
    assert b.difference == 0
    with pytest.raises(BenchmarkError, match="B differs from A by 1"):
        take_turns("x", found(), rounds=0, compared=2)
