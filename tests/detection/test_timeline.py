"""Segments with hysteresis and the verdict: properties that hold for any scores."""

import csv
import dataclasses
import io
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasist_jax.detection.timeline import Rule, Segmenter, Timeline, WindowScore, segments, verdict
from aasist_jax.detection.timeline_text import COLUMNS, as_csv, as_json, clock
from aasist_jax.errors import ConfigError

WINDOW, HOP = 4.0, 0.5


def timeline_of(margins: list[float | None]) -> tuple[list[WindowScore], float]:
    """Windows of these margins every half second, and the recording's length."""
    windows = [
        WindowScore(
            HOP * i, HOP * i + WINDOW, None if m is None else (-m / 2, m / 2), "ok" if m is not None else "silent"
        )
        for i, m in enumerate(margins)
    ]
    return windows, HOP * (len(margins) - 1) + WINDOW + 0.3


margins = st.lists(st.none() | st.floats(-5, 5, allow_subnormal=False), min_size=1, max_size=60)
rules = st.builds(lambda a, b, s: Rule(min(a, b), max(a, b), s), st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 10))


@given(margins, rules)
def test_segments_cover_the_recording_without_gaps(values: list[float | None], rule: Rule) -> None:
    windows, duration = timeline_of(values)
    found = segments(windows, duration, rule)
    assert found[0].start == 0
    assert found[-1].end == duration
    for one, next in itertools.pairwise(found):
        assert one.end == next.start
        assert one.label != next.label
    assert all(segment.seconds > 0 for segment in found)
    assert sum(segment.windows for segment in found) == len(windows)


@given(margins, rules)
def test_labels_follow_the_thresholds_with_hysteresis(values: list[float | None], rule: Rule) -> None:
    windows, duration = timeline_of(values)
    found = segments(windows, duration, rule)
    labels = [segment.label for segment in found for _ in range(segment.windows)]
    spoof = False
    for window, label in zip(windows, labels, strict=True):
        if window.margin is None:
            assert label == "unjudged"
            continue
        # Outside the band the margin alone decides; inside it, what was before.
        if window.margin <= rule.enter:
            spoof = True
        elif window.margin > rule.leave:
            spoof = False
        assert label == ("spoof" if spoof else "bonafide")


@given(margins, rules)
def test_a_wider_band_never_makes_more_segments(values: list[float | None], rule: Rule) -> None:
    judged = [value for value in values if value is not None] or [0.0]
    windows, duration = timeline_of(list(judged))
    wider = Rule(rule.enter - 1, rule.leave + 1, rule.min_spoof)
    changes = len(segments(windows, duration, wider)) - len(segments(windows, duration, rule))
    # The first segment may begin as bona fide, where the narrow band has spoof throughout.
    assert changes <= 1


@given(margins, rules)
def test_statistics_are_those_of_the_windows(values: list[float | None], rule: Rule) -> None:
    windows, duration = timeline_of(values)
    rest = iter(windows)
    for segment in segments(windows, duration, rule):
        own = list(itertools.islice(rest, segment.windows))
        assert segment.lasting == own[-1].centre - own[0].centre
        scores = [w.score for w in own if w.score is not None]
        if segment.label == "unjudged":
            assert (segment.mean, segment.lowest, segment.highest) == (None, None, None)
        else:
            assert segment.mean == pytest.approx(math.fsum(scores) / len(scores), abs=1e-12)
            assert (segment.lowest, segment.highest) == (min(scores), max(scores))


@given(margins, rules)
def test_the_verdict_follows_its_rule(values: list[float | None], rule: Rule) -> None:
    windows, duration = timeline_of(values)
    found = segments(windows, duration, rule)
    said = verdict(windows, found, rule)
    judged = [window.score for window in windows if window.score is not None]
    if not judged:
        assert (said.label, said.score, said.judged_seconds) == (None, None, 0.0)
        return
    longest = max((segment.lasting for segment in found if segment.label == "spoof"), default=-1.0)
    all_spoof = {segment.label for segment in found} <= {"spoof", "unjudged"}
    assert said.label == ("spoof" if longest >= rule.min_spoof or all_spoof else "bonafide")
    assert said.score == pytest.approx(math.fsum(judged) / len(judged), abs=1e-12)
    assert said.longest_spoof == max(longest, 0.0)
    assert said.spoof_seconds <= said.judged_seconds + 1e-9 <= duration + 2e-9


@given(margins, rules)
def test_an_alarm_comes_for_every_segment_that_is_long_enough(values: list[float | None], rule: Rule) -> None:
    windows, duration = timeline_of(values)
    segmenter, alarmed = Segmenter(rule), False
    for window in windows:
        segmenter.push(window)
        alarmed |= segmenter.alarm_since is not None
    found = [segment for segment in segments(windows, duration, rule) if segment.label == "spoof"]
    assert alarmed == any(segment.lasting >= rule.min_spoof for segment in found)


def test_one_dip_within_the_band_ends_nothing() -> None:
    windows, duration = timeline_of([3.0, 3.0, -2.0, 0.5, -0.5, 0.9, -2.0, 3.0, -0.9, 3.0])
    found = segments(windows, duration, Rule(-1.0, 1.0, 2.0))
    assert [(segment.label, segment.windows) for segment in found] == [("bonafide", 2), ("spoof", 5), ("bonafide", 3)]
    # The middle between the centres of windows 1 and 2 (2.5 s and 3 s), and of windows 6 and 7.
    assert (found[1].start, found[1].end) == (2.75, 5.25)
    assert found[1].lasting == 2.0
    assert verdict(windows, found, Rule(-1.0, 1.0, 2.0)).label == "spoof"
    assert verdict(windows, found, Rule(-1.0, 1.0, 2.1)).label == "bonafide"


@pytest.mark.parametrize("at", [0, 20, 39])
def test_one_window_is_no_spoof_wherever_it_stands(at: int) -> None:
    values: list[float | None] = [3.0] * 40
    values[at] = -3.0
    windows, duration = timeline_of(values)
    found = segments(windows, duration, Rule())
    assert [segment.windows for segment in found if segment.label == "spoof"] == [1]
    assert verdict(windows, found, Rule()).label == "bonafide"


def test_a_recording_shorter_than_the_least_spoof_can_still_be_one() -> None:
    window = WindowScore(0.0, 1.0, (2.0, -2.0), "short")
    found = segments([window], 1.0, Rule())
    assert verdict([window], found, Rule(min_spoof=5.0)).label == "spoof"


@pytest.mark.parametrize(
    ("enter", "leave", "seconds"), [(1.0, -1.0, 2.0), (math.nan, 0.0, 2.0), (0.0, math.inf, 2.0), (-1.0, 1.0, -1.0)]
)
def test_a_rule_that_makes_no_sense_is_refused(enter: float, leave: float, seconds: float) -> None:
    with pytest.raises(ConfigError):
        Rule(enter, leave, seconds)


def test_json_and_csv_hold_the_timeline() -> None:
    windows, duration = timeline_of([3.0, -3.0, None, -3.0])
    rule = Rule()
    found = segments(windows, duration, rule)
    said = verdict(windows, found, rule)
    timeline = Timeline(duration, WINDOW, HOP, False, "toy", rule, tuple(windows), tuple(found), said)
    document = json.loads(as_json("a b.wav", timeline))
    assert document["verdict"] == dataclasses.asdict(said)
    assert [segment["label"] for segment in document["segments"]] == ["bonafide", "spoof", "unjudged", "spoof"]
    assert [window["score"] for window in document["windows"]] == [1.5, -1.5, None, -1.5]
    rows = list(csv.DictReader(io.StringIO(as_csv("a b.wav", timeline))))
    assert tuple(rows[0]) == COLUMNS
    for row, segment in zip(rows, document["segments"], strict=True):
        assert row == {"file": "a b.wav"} | {k: "" if v is None else str(v) for k, v in segment.items()}


def test_times_for_people() -> None:
    assert [clock(t) for t in (0.0, 59.96, 61.25, 3600.0)] == ["00:00.0", "01:00.0", "01:01.2", "1:00:00.0"]
