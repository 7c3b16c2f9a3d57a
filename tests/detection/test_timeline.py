"""Segments of a recording: they cover it, follow the verdict, and never contradict it, whatever the scores."""

import csv
import io
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st

from aasist_jax.audio.facts import SignalFacts
from aasist_jax.calibration.evidence import window_posteriors
from aasist_jax.detection.result import Score, Timeline
from aasist_jax.detection.timeline import SEGMENT_LABELS, JudgedWindow, WindowScore, judge_windows, segments
from aasist_jax.detection.timeline_text import COLUMNS, as_csv, as_json, clock, heard_of, sentence, told_reasons
from aasist_jax.detection.verdict import WINDOWS_DISAGREE, DecisionRule, Verdict, judge
from tests.properties import holds_for

WINDOW, HOP = 4.0, 0.5


def windows_of(llrs: list[float | None]) -> tuple[list[WindowScore], float]:
    """Windows with these ratios every half second, and the recording's length."""
    windows = [
        WindowScore(
            HOP * i,
            HOP * i + WINDOW,
            None if llr is None else (-llr / 2, llr / 2),
            "ok" if llr is not None else "no speech",
            llr,
        )
        for i, llr in enumerate(llrs)
    ]
    return windows, HOP * (len(llrs) - 1) + WINDOW + 0.3


def judged_by(llrs: list[float | None], rule: DecisionRule) -> tuple[list[JudgedWindow], Verdict, float]:
    windows, seconds = windows_of(llrs)
    verdict = judge(np.array([llr for llr in llrs if llr is not None]), rule)
    return judge_windows(windows, windows, verdict), verdict, seconds


ratios = st.lists(st.none() | st.floats(-9, 9, allow_subnormal=False), min_size=1, max_size=60)
rules = st.builds(DecisionRule, st.floats(0.01, 0.99), st.floats(0.51, 0.99))


@holds_for(ratios, rules)
def test_segments_cover_the_recording_without_gaps(llrs: list[float | None], rule: DecisionRule) -> None:
    judged, _, seconds = judged_by(llrs, rule)
    found = segments(judged, seconds)
    assert (found[0].start, found[-1].end) == (0, seconds)
    for one, other in itertools.pairwise(found):
        assert one.end == other.start
        assert one.label != other.label
    assert all(segment.seconds > 0 for segment in found)
    assert {segment.label for segment in found} <= set(SEGMENT_LABELS)
    assert sum(segment.windows for segment in found) == len(llrs)


@holds_for(ratios, rules)
def test_labels_are_those_of_the_posteriors(llrs: list[float | None], rule: DecisionRule) -> None:
    judged, verdict, _ = judged_by(llrs, rule)
    heard = np.array([llr for llr in llrs if llr is not None])
    expected = iter(window_posteriors(heard, heard, rule.prior).tolist() if heard.size else ())
    for llr, each in zip(llrs, judged, strict=True):
        if llr is None:
            assert (each.label, each.p_synthetic) == ("unheard", None)
            continue
        assert each.p_synthetic == pytest.approx(next(expected), rel=1e-9, abs=1e-300)
        assert each.label == rule.label(each.p_synthetic)
    if not heard.size:
        assert verdict.reasons == ("no speech",)


@holds_for(ratios, ratios, rules)
def test_no_segment_contradicts_the_verdict(
    llrs: list[float | None], others: list[float | None], rule: DecisionRule
) -> None:
    _, verdict, _ = judged_by(llrs, rule)
    heard = windows_of(llrs)[0]
    # Its own windows, and others, as a finer hop has.
    for windows, seconds in (windows_of(llrs), windows_of(others)):
        found = segments(judge_windows(windows, heard, verdict), seconds)
        labels = {segment.label for segment in found}
        if verdict.label == "human":
            assert labels <= {"human", "unheard"}
        if "synthetic" in labels:
            assert verdict.label == "synthetic"
        for segment in found:
            assert segment.p_synthetic is None or segment.p_synthetic <= verdict.p_synthetic


@holds_for(ratios, rules)
def test_statistics_are_those_of_the_windows(llrs: list[float | None], rule: DecisionRule) -> None:
    judged, _, seconds = judged_by(llrs, rule)
    rest = iter(judged)
    for segment in segments(judged, seconds):
        own = list(itertools.islice(rest, segment.windows))
        if segment.label == "unheard":
            assert (segment.score, segment.p_synthetic) == (None, None)
            continue
        scores = [each.window.score for each in own]
        assert segment.score == pytest.approx(math.fsum(scores) / len(scores), abs=1e-12)
        assert segment.p_synthetic == max(each.p_synthetic for each in own)


def test_a_synthetic_part_is_shown_where_it_is() -> None:
    llrs: list[float | None] = [5.0] * 20 + [-9.0] * 10 + [None] * 3 + [5.0] * 20
    judged, verdict, seconds = judged_by(llrs, DecisionRule())
    assert (verdict.label, verdict.reasons) == ("synthetic", (WINDOWS_DISAGREE,))
    found = segments(judged, seconds)
    assert [(segment.label, segment.windows) for segment in found if segment.label in ("synthetic", "unheard")] == [
        *(("synthetic", 10), ("unheard", 3)),
    ]
    (part,) = (segment for segment in found if segment.label == "synthetic")
    # Half-way between the centres of windows 19 and 20 (11.5 s and 12 s), and of windows 29 and 30.
    assert (part.start, part.end) == (11.75, 16.75)
    assert part.score == -4.5


def test_without_a_number_nothing_is_sure_but_all_is_shown() -> None:
    windows, seconds = windows_of([-9.0, None, 5.0])
    verdict = judge(None, DecisionRule())
    judged = judge_windows(windows, windows, verdict)
    assert [(each.label, each.p_synthetic) for each in judged] == [
        ("unsure", None),
        ("unheard", None),
        ("unsure", None),
    ]
    assert [segment.score for segment in segments(judged, seconds)] == [-4.5, None, 2.5]


def score_of(windows: list[WindowScore], seconds: float, verdict: Verdict) -> Score:
    return Score(
        verdict=verdict,
        score=0.5,
        logits=(-0.5, 0.5),
        seconds=seconds,
        heard_seconds=4.0,
        speech_seconds=3.0,
        status="ok",
        facts=SignalFacts(seconds, 3.0, level_dbfs=-26.0, peak=0.5, clipped_share=0.0, bandwidth_hz=7000.0),
        weights_id="toy-0123",
        model_id="toy-0123+4567",
        windows=tuple(windows),
    )


def test_json_and_csv_hold_the_timeline() -> None:
    judged, verdict, seconds = judged_by([5.0, -9.0, None, -9.0], DecisionRule(0.4, 0.8))
    windows = [each.window for each in judged]
    score = score_of(windows, seconds, verdict)
    timeline = Timeline(score, WINDOW, HOP, False, tuple(windows), tuple(segments(judged, seconds)))
    document = json.loads(as_json([("a b.wav", timeline)]))
    assert {name: document[name] for name in score.to_dict()} == score.to_dict()
    assert (document["label"], document["llr"]) == (verdict.label, verdict.llr)
    assert document["rule"] == {"prior": 0.4, "sure": 0.8}
    assert [segment["label"] for segment in document["segments"]] == [each.label for each in timeline.segments]
    assert [window["score"] for window in document["windows"]] == [2.5, -4.5, None, -4.5]
    assert [window["llr"] for window in document["windows"]] == [5.0, -9.0, None, -9.0]
    rows = list(csv.DictReader(io.StringIO(as_csv([("a b.wav", timeline)]))))
    assert tuple(rows[0]) == COLUMNS
    for row, segment in zip(rows, document["segments"], strict=True):
        assert row == {"file": "a b.wav"} | {k: "" if v is None else str(v) for k, v in segment.items()}


def test_the_sentence_says_what_the_verdict_says() -> None:
    windows, seconds = windows_of([5.0, -9.0])
    verdict = judge(np.array([5.0, -9.0]), DecisionRule(0.5, 0.9))
    assert sentence(score_of(windows, seconds, verdict)) == (
        "P(synthetic) 1.000, where human needs 0.1 or less and synthetic 0.9 or more; strong support for a synthetic "
        "one (LLR -7.62, prior 0.5). Take note: windows disagree. Heard 4.0 s of 4.8 s; 3.0 s of the recording is "
        "speech."
    )
    none = judge(None, DecisionRule(), ["clipped"])
    assert sentence(score_of(windows, seconds, none)) == (
        "No probability is given: uncalibrated, clipped. Heard 4.0 s of 4.8 s; 3.0 s of the recording is speech."
    )
    unheard = replace(score_of([], seconds, judge(np.zeros(0), DecisionRule())), heard_seconds=0.0)
    assert sentence(unheard) == "Nothing of 4.8 s was heard: no speech."
    sides = tuple(score_of(windows, seconds, judge(np.array([llr]), DecisionRule())) for llr in (5.0, -5.0))
    call = replace(
        score_of(windows, seconds, replace(none, reasons=("uncalibrated", "channels differ"))), channels=sides
    )
    assert told_reasons(call) == "uncalibrated, channels differ (human and synthetic)"


def test_times_for_people() -> None:
    assert [clock(t) for t in (0.0, 59.96, 61.25, 3600.0)] == ["00:00.0", "01:00.0", "01:01.2", "1:00:00.0"]
    assert heard_of(4.0, 4.04) == "4.0 s"
    assert heard_of(12.1, 3730.0) == "12.1 s of 1:02:10.0"
    assert heard_of(3600.0, 3730.0) == "1:00:00.0 of 1:02:10.0"
