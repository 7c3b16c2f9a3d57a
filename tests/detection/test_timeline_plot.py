"""The picture of a recording over time: nothing finer than a screen, nothing synthetic lost, for seconds and hours."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from aasist_jax.audio.facts import SignalFacts
from aasist_jax.detection.figures import NAME_LETTERS, plain
from aasist_jax.detection.overview import Overview
from aasist_jax.detection.result import Score, Timeline
from aasist_jax.detection.timeline import Segment, WindowScore
from aasist_jax.detection.timeline_plot import (
    SPAN_COLUMNS,
    WINDOW_COLUMNS,
    ranges_of,
    spans_of,
    timeline_figure,
    timeline_png,
)
from aasist_jax.detection.verdict import DecisionRule, judge
from aasist_jax.runtime.colours import VERDICTS

WINDOW = 4.0


def heard(llrs: list[float | None], *, calibrated: bool = True, hop: float = WINDOW) -> Timeline:
    """A recording of windows that lie end to end, or a hop apart; None is one that was not heard."""
    windows = tuple(
        WindowScore(
            hop * i,
            hop * i + WINDOW,
            None if llr is None else (0.0, llr),
            "no speech" if llr is None else "ok",
            llr if calibrated else None,
        )
        for i, llr in enumerate(llrs)
    )
    seconds = hop * (len(llrs) - 1) + WINDOW
    known = np.array([llr for llr in llrs if llr is not None])
    verdict = judge(known if calibrated else None, DecisionRule())
    facts = SignalFacts(seconds, seconds, -20.0, 0.5, 0.0, 8000.0)
    score = Score(verdict, None, None, seconds, seconds, seconds, "ok", facts, "toy", "toy", windows)
    return Timeline(score, WINDOW, hop, True, windows, score.segments)


def overview() -> Overview:
    found = Overview()
    found.push(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32))
    return found


def pixels(timeline: Timeline) -> np.ndarray:
    return imread(io.BytesIO(timeline_png("call.wav", overview(), timeline)))[..., :3]


def share_of(picture: np.ndarray, colour: str) -> int:
    return int((np.abs(picture - to_rgb(colour)).max(axis=2) < 0.02).sum())


def test_a_synthetic_second_of_hours_keeps_its_column() -> None:
    segments = [
        Segment(0.0, 7000.0, "human", 1, 0.01, 1.0),
        Segment(7000.0, 7001.0, "synthetic", 1, 0.99, -1.0),
        Segment(7001.0, 9000.0, "human", 1, 0.01, 1.0),
        Segment(9000.0, 10_800.0, "unheard", 1, None, None),
    ]
    spans = spans_of(segments, 10_800.0)
    assert [span.label for span in spans] == ["human", "synthetic", "human", "unheard"]
    column = 10_800.0 / SPAN_COLUMNS
    assert spans[1].start <= 7000.0 < 7001.0 <= spans[1].end
    assert spans[1].end - spans[1].start == pytest.approx(column)
    assert (spans[0].start, spans[-1].end) == (0.0, 10_800.0)
    assert abs(spans[3].start - 9000.0) < column
    # However many segments there are, there are no more spans than columns.
    many = [Segment(i / 10, (i + 1) / 10, ("human", "unsure")[i % 2], 1, 0.1, 0.0) for i in range(20_000)]
    assert len(spans_of(many, 2000.0)) <= SPAN_COLUMNS


def test_ranges_hold_every_window_of_a_column() -> None:
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, 96, 1000))
    ends, values = starts + 4, rng.normal(size=1000)
    low, high = ranges_of(starts, ends, values, 100.0, columns=50)
    for column in range(50):
        inside = (starts < 2 * column + 2) & (ends > 2 * column)
        if not inside.any():
            assert np.isnan([low[column], high[column]]).all()
        else:
            assert (low[column], high[column]) == (values[inside].min(), values[inside].max())
    assert np.isnan(ranges_of(starts[:1], starts[:1] + 1, values[:1], 100.0, columns=50)[0][-1])


@pytest.mark.parametrize("windows", [3, 2700])
def test_three_colours_and_a_hatch_whatever_the_length(windows: int) -> None:
    """Twelve seconds, and three hours of which a single window is synthetic."""
    llrs: list[float | None] = [9.0] * windows
    llrs[windows // 2] = -12.0
    llrs[-(windows // 3) :] = [None] * (windows // 3)
    timeline = heard(llrs)
    assert timeline.score.label == "synthetic"
    figure = timeline_figure("call.wav", overview(), timeline)
    picture = pixels(timeline)
    for label in ("human", "synthetic"):
        assert share_of(picture, VERDICTS[label]) > 150, label
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["human", "synthetic", "not heard (no speech)"]
    assert share_of(picture, VERDICTS["unsure"]) == 0
    drawn = sum(len(axes.collections) + len(axes.patches) + len(axes.lines) for axes in figure.axes)
    assert drawn < 40
    # A window that is alone in its column has an extent, and can be seen.
    lines = [segment for each in figure.axes[-1].collections for segment in each.get_segments()]
    extents = [np.ptp(line, axis=0).max() for line in lines if len(line) and np.isfinite(line).all()]
    assert min(extents) > 0.1
    assert figure.axes[-1].get_xlabel() == ("Time, mm:ss" if windows == 3 else "Time, h:mm:ss")
    ticks = [tick.get_text() for tick in figure.axes[-1].get_xticklabels()]
    assert ticks[:2] == (["00:00", "00:02"] if windows == 3 else ["00:00", "30:00"])
    assert windows == 3 or "1:30:00" in ticks
    assert len(ticks) <= 13


@pytest.mark.parametrize(("seconds", "hop"), [(10, 0.14), (28 * 60, 0.14), (3 * 3600, 4.0)])
def test_it_is_legible_at_any_length(seconds: float, hop: float) -> None:
    """Ten seconds, 28 minutes of 12,000 windows, and three hours: few marks, and no words that meet or are cut off."""
    count = round((seconds - WINDOW) / hop) + 1
    rng = np.random.default_rng(0)
    llrs: list[float | None] = [None if 0.6 < i / count < 0.7 else float(rng.normal(6, 2)) for i in range(count)]
    llrs[count // 3] = -14.0
    figure = timeline_figure("a recording with a name of some length.wav", overview(), heard(llrs, hop=hop))
    FigureCanvasAgg(figure).draw()
    pictures, evidence = figure.axes, figure.axes[-1]
    assert sum(len(axes.collections) + len(axes.patches) + len(axes.lines) for axes in pictures) < 60
    # What is drawn of the windows: a line each while they are few, then no more than a range in each column and colour.
    marks = sum(len(each.get_segments()) for each in evidence.collections)
    assert marks <= 3 * WINDOW_COLUMNS
    assert marks >= min(count - count // 5, WINDOW_COLUMNS // 2)
    places = [text.get_window_extent() for text in evidence.get_xticklabels() if text.get_text()]
    assert 5 <= len(places) <= 12
    assert all(one.x1 + 4 < other.x0 for one, other in itertools.pairwise(places))
    whole = figure.bbox
    texts = [*figure.texts, pictures[0].title, *evidence.get_xticklabels()]
    texts += [axes.yaxis.label for axes in pictures] + [evidence.xaxis.label, *figure.legends[0].get_texts()]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1 for box in boxes)
    assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]


def test_the_title_is_the_verdict_in_words() -> None:
    figure = timeline_figure("a$b$\n.wav", overview(), heard([1.0, 2.0], calibrated=False))
    assert figure.get_suptitle() == r"a\$b\$?.wav: unsure (uncalibrated)"
    assert "No probability is given: uncalibrated." in figure.axes[0].get_title()
    assert "not calibrated" in figure.axes[-1].get_ylabel()
    calibrated = timeline_figure("a.wav", overview(), heard([1.0, 2.0]))
    assert "human" in calibrated.axes[-1].get_ylabel()
    low, high = calibrated.axes[-1].get_ylim()
    assert low < -1 < 2 < high


def test_nothing_heard_is_drawn_as_well() -> None:
    timeline = heard([None, None])
    assert str(timeline.verdict) == "unsure (no speech)"
    figure = timeline_figure("a.wav", overview(), timeline)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["not heard (no speech)"]
    picture = pixels(timeline)
    assert all(share_of(picture, VERDICTS[label]) == 0 for label in ("human", "unsure", "synthetic"))


def test_names_in_titles_are_bounded_and_letters_without_a_shape_make_no_warning() -> None:
    name = plain("語" * 300 + ".wav")
    assert len(name) == NAME_LETTERS + 1
    assert timeline_png(name, overview(), heard([1.0])).startswith(b"\x89PNG")
