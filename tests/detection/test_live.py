"""Live detection: what is told while audio comes in."""

from collections.abc import Iterator

import numpy as np
import pytest

from aasist_jax.detection.detector import Detector
from aasist_jax.detection.live import Alarm, Ended, Event, Heard, event_dict, live_events
from aasist_jax.detection.stream import Stream
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError
from tests.made_calibration import made_calibration
from tests.made_speech import made_speech
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")

RATE = 16_000
HUMAN, FAINT = made_speech(3.0), made_speech(3.0, 2, gain=0.02)


@pytest.fixture(scope="module")
def detector(toy_family: None) -> Detector:
    """Loud speech is human, faint speech synthetic."""
    detector = Detector(toy.toy_weights())
    detector.calibration = made_calibration(detector, 40.0, -8.0)
    return detector


def events_of(stream: Stream, wave: np.ndarray, chunks: int = 20) -> list[Event]:
    return list(live_events(stream, np.array_split(wave, chunks)))


def test_what_came_before_a_fault_is_told_to_its_end(detector: Detector) -> None:
    def chunks() -> Iterator[np.ndarray]:
        yield HUMAN
        raise AudioError("the line is dead")

    events: list[Event] = []
    with pytest.raises(AudioError, match="the line is dead"):
        events.extend(live_events(detector.stream(), chunks()))
    assert events == events_of(detector.stream(), HUMAN, 1)
    assert isinstance(events[-1], Ended)
    assert events[-1].segments[-1].end == 3.0


@pytest.mark.parametrize("hop", [None, 0.1])
def test_the_end_is_what_a_file_of_the_samples_has(detector: Detector, hop: float | None) -> None:
    wave = np.concatenate([HUMAN, np.zeros(9000, np.float32), FAINT])
    ended = events_of(detector.stream(hop=hop), wave)[-1]
    timeline = detector.timeline((wave, RATE), hop=hop)
    assert isinstance(ended, Ended)
    assert (ended.result, ended.segments) == (timeline.score, timeline.segments)


def test_every_window_is_told_once_with_the_verdict_so_far(detector: Detector) -> None:
    wave = np.concatenate([HUMAN, FAINT])
    heard = [event for event in events_of(detector.stream(), wave, 50) if isinstance(event, Heard)]
    whole = detector.score((wave, RATE))
    assert tuple(event.judged.window for event in heard) == whole.windows
    for number, event in enumerate(heard, start=1):
        assert event.result.windows == whole.windows[:number]
        so_far = detector.score((wave[: round(event.result.seconds * RATE)], RATE))
        # Of what has arrived, the samples that no window has yet are not heard.
        assert (event.result.seconds, event.result.speech_seconds) == (so_far.seconds, so_far.speech_seconds)


def test_an_alarm_comes_once_each_time_the_verdict_turns_synthetic(detector: Detector) -> None:
    wave = np.concatenate([HUMAN, FAINT])
    events = events_of(detector.stream(), wave, 50)
    (alarm,) = (event for event in events if isinstance(event, Alarm))
    before = events[events.index(alarm) - 1]
    assert isinstance(before, Heard)
    assert before.result.label == "synthetic"
    assert alarm.p_synthetic == before.result.p_synthetic >= 0.9
    # Before: no verdict was synthetic. It begins where the faint part does, give or take a window.
    assert all(event.result.label != "synthetic" for event in events[: events.index(alarm) - 1])
    assert 3.0 - 0.25 <= alarm.start <= 3.0 + 0.5
    assert 3.0 < alarm.raised < 5.0
    assert [event for event in events_of(detector.stream(), HUMAN) if isinstance(event, Alarm)] == []


def test_an_alarm_of_what_is_synthetic_throughout_begins_with_the_recording() -> None:
    detector = Detector(toy.toy_weights())
    detector.calibration = made_calibration(detector, 1.0, -4.0)
    events = events_of(detector.stream(), HUMAN)
    (alarm,) = (event for event in events if isinstance(event, Alarm))
    assert alarm.start == 0.0
    assert alarm.raised < 2.0


def test_a_rule_that_is_harder_to_convince_raises_no_alarm(detector: Detector) -> None:
    wave = np.concatenate([HUMAN, FAINT[:4000]])
    counts = [
        sum(isinstance(event, Alarm) for event in events_of(detector.stream(rule=rule), wave))
        for rule in (DecisionRule(), DecisionRule(prior=1e-4, sure=0.999))
    ]
    assert counts == [1, 0]


def test_without_a_calibration_there_is_no_alarm() -> None:
    events = events_of(Detector(toy.toy_weights()).stream(), np.concatenate([HUMAN, FAINT]))
    assert not any(isinstance(event, Alarm) for event in events)
    assert isinstance(events[-1], Ended)
    assert (events[-1].result.label, events[-1].result.reasons) == ("unsure", ("uncalibrated",))


def test_nothing_heard_ends_with_nothing(detector: Detector) -> None:
    assert list(live_events(detector.stream(), [])) == []
    assert list(live_events(detector.stream(), [np.zeros(0, np.float32)])) == []


def test_events_for_programs(detector: Detector) -> None:
    wave = np.concatenate([HUMAN, FAINT])
    events = events_of(detector.stream(), wave)
    found = [event_dict(event) for event in events]
    assert {each["type"] for each in found} == {"window", "alarm", "verdict"}
    last, whole = found[-1], detector.score((wave, RATE))
    assert (last["label"], last["llr"], last["p_synthetic"]) == (whole.label, whole.llr, whole.p_synthetic)
    assert [segment["label"] for segment in last["segments"]] == [segment.label for segment in whole.segments]
