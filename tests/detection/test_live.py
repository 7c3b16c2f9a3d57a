"""Live detection: what is told while audio comes in."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.audio.load import load_audio
from aasist_jax.detection import live
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.timeline import Rule
from aasist_jax.errors import AudioError
from tests.detection.call import write_call


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_call(tmp_path_factory.mktemp("live"))


def test_what_came_before_a_fault_is_told_to_its_end(scratch: Path) -> None:
    wave = load_audio(scratch / "call.wav")[:32_000]

    def chunks() -> Iterator[np.ndarray]:
        yield wave
        raise AudioError("the line is dead")

    detector, events = Detector.from_pretrained(scratch / "weights"), []
    with pytest.raises(AudioError, match="the line is dead"):
        events.extend(live.live_events(detector.stream(), chunks(), Rule()))
    assert events == list(live.live_events(detector.stream(), [wave], Rule()))
    assert events[-1].end == 2.0


def test_alarms_come_once_in_a_segment_and_before_it_ends(scratch: Path) -> None:
    wave = load_audio(scratch / "call.wav")
    detector = Detector.from_pretrained(scratch / "weights")
    margins = [window.margin for window in detector.timeline((wave, 16_000)).windows if window.margin is not None]
    middle = float(np.median(margins))
    rule = Rule(middle, middle, 0.5)
    events = list(live.live_events(detector.stream(), np.array_split(wave, 20), rule))
    alarms = [i for i, event in enumerate(events) if isinstance(event, live.Alarm)]
    segments = [event for event in events if not isinstance(event, live.Alarm | live.Judged)]
    assert alarms
    for i in alarms:
        following = next(e for e in events[i:] if not isinstance(e, live.Alarm | live.Judged))
        assert following.label == "spoof"
        assert following.start == events[i].start
        assert events[i].raised - events[i].start >= 0.5
    assert len(alarms) == sum(segment.label == "spoof" and segment.lasting >= 0.5 for segment in segments)
