"""What a result is to a notebook and to a program: text, HTML, a picture, a dictionary. All say the same."""

import dataclasses
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from aasist_jax.detection.figures import png_of
from aasist_jax.detection.files import COLUMNS, Row
from aasist_jax.detection.judging import with_channels
from aasist_jax.detection.result import Score, Timeline
from aasist_jax.detection.result_html import strip_svg
from aasist_jax.detection.timeline import Segment
from aasist_jax.detection.timeline_plot import spans_of
from aasist_jax.detection.timeline_text import as_json, sentence
from aasist_jax.errors import ConfigError
from aasist_jax.runtime.colours import VERDICTS
from tests.detection.results import made_score, made_timeline

MIXED = (4.0, 3.5, None, -6.0, 4.0)
RESULTS = {
    "human": made_score([4.0, 3.5]),
    "synthetic": made_score(MIXED),
    "unsure": made_score([0.3, None]),
    "uncalibrated": made_score([4.0, 3.5], calibrated=False),
    "doubtful": made_score([4.0], reasons=("band-limited", "damaged")),
    "no speech": made_score([None, None]),
    "published": made_score([4.0], published=True),
}


class Seen(HTMLParser):
    """The text of a page, and its tags with their attributes; tags must be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", list[tuple[str, dict[str, str | None]]](), list[str]()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_dictionary_is_the_row_of_a_file() -> None:
    for result in RESULTS.values():
        values = result.to_dict()
        assert {"file", "channel", *values, "error"} == {*COLUMNS}
        assert Row("a.wav", result, channel=1).as_dict() == {"file": "a.wav", "channel": 1, **values, "error": None}
        assert json.loads(json.dumps(values)) == values
        assert (values["label"], values["llr"], values["score"]) == (result.label, result.llr, result.score)
    assert RESULTS["doubtful"].to_dict()["reasons"] == "band-limited; damaged"


def test_the_dictionary_of_a_timeline_is_its_document() -> None:
    timeline = made_timeline(RESULTS["synthetic"])
    values = timeline.to_dict()
    assert json.loads(as_json([("a.wav", timeline)])) == {"file": "a.wav", **values}
    assert RESULTS["synthetic"].to_dict().items() <= values.items()
    for segment, known in zip(values["segments"], timeline.segments, strict=True):
        assert segment == dataclasses.asdict(known)
    assert [window["llr"] for window in values["windows"]] == [*MIXED]


def test_a_repr_is_one_short_line() -> None:
    for result in [*RESULTS.values(), made_score([4.0] * 3000)]:
        assert len(repr(result)) < 200
        assert "\n" not in repr(result)
        if result.verdict is not None:
            assert len(repr(made_timeline(result))) < 120


@pytest.mark.parametrize("name", [name for name in RESULTS if name != "published"])
def test_html_says_what_the_sentence_says_in_the_colour_of_the_verdict(name: str) -> None:
    result = RESULTS[name]
    page = Seen(result._repr_html_())
    assert page.text.startswith(str(result.verdict))
    assert sentence(result) in page.text
    (first,) = [attributes for tag, attributes in page.tags if tag == "b"]
    assert f"color: {VERDICTS[str(result.label)]}" in str(first["style"])
    assert made_timeline(result)._repr_html_() == result._repr_html_()


def test_html_shows_both_sides_of_a_call() -> None:
    sides = RESULTS["human"], RESULTS["synthetic"]
    text = Seen(with_channels(RESULTS["unsure"], sides)._repr_html_()).text
    places = [text.index(f"Channel {side}: {each.verdict}{sentence(each)}") for side, each in enumerate(sides)]
    assert text.startswith("unsure (channels differ)")
    assert places == sorted(places)


def test_html_of_a_published_score_has_no_verdict() -> None:
    text = Seen(RESULTS["published"]._repr_html_()).text
    assert "published score +8.000 (no verdict)" in text
    assert not any(label in text for label in VERDICTS)
    assert "published score none" in Seen(made_score([None], published=True)._repr_html_()).text


def test_the_strip_covers_the_recording_in_the_colours_of_its_segments() -> None:
    result = RESULTS["synthetic"]
    assert {segment.label for segment in result.segments} == {"human", "unheard", "synthetic"}
    strip = ET.fromstring(strip_svg(result.segments, result.seconds))
    bars = [element for element in strip if element.tag.endswith("rect")]
    scale = float(strip.attrib["width"]) / result.seconds
    for bar, segment in zip(bars, result.segments, strict=True):
        assert float(bar.attrib["x"]) == pytest.approx(segment.start * scale, abs=0.01)
        assert float(bar.attrib["width"]) == pytest.approx(segment.seconds * scale, abs=0.01)
        paint = bar.attrib["stroke" if segment.label == "unheard" else "fill"]
        assert paint == VERDICTS[segment.label]
        assert segment.label in str(bar[0].text)
    assert strip_svg([], 1.0) == ""


def test_html_escapes_what_it_is_given() -> None:
    hostile = "<script>alert('1')</script>"
    result = made_score([4.0], reasons=(hostile,))
    page = Seen(result._repr_html_())
    assert hostile in page.text
    assert {tag for tag, _ in page.tags} <= {"div", "b", "svg", "rect", "title", "text", "tspan"}


def test_html_of_hours_stays_small() -> None:
    """Windows merge to segments; the worst are labels that change with every window."""
    hours = made_score([4.0, None] * 1350)
    assert len(hours._repr_html_()) < 800_000
    assert len(made_score([4.0] * 2700)._repr_html_()) < 3_000


@pytest.mark.parametrize("name", [name for name in RESULTS if name != "published"])
def test_a_plot_has_the_colours_of_the_verdict(name: str) -> None:
    result = RESULTS[name]
    figure = result.plot()
    assert png_of(figure).startswith(b"\x89PNG")
    assert figure.get_suptitle() == str(result.verdict)
    spans = spans_of(result.segments, result.seconds)
    for patch, span in zip(figure.axes[0].patches, spans, strict=True):
        assert (patch.get_x(), patch.get_x() + patch.get_width()) == pytest.approx((span.start, span.end))
        colour = patch.get_edgecolor() if span.label == "unheard" else patch.get_facecolor()
        assert to_hex(colour) == VERDICTS[span.label]


def test_the_windows_of_a_plot_stand_at_their_ratios_and_at_raw_scores_without() -> None:
    def heights(result: Score | Timeline) -> list[float]:
        lines = [each for each in result.plot().axes[1].collections if isinstance(each, LineCollection)]
        return sorted(float(line[0][1]) for each in lines for line in each.get_segments())

    assert heights(RESULTS["synthetic"]) == [-6.0, 3.5, 4.0, 4.0]
    assert heights(RESULTS["uncalibrated"]) == [7.0, 8.0]
    finer = dataclasses.replace(made_timeline(RESULTS["human"]), windows=made_score([2.0, 3.0, 5.0]).windows)
    assert heights(finer) == [2.0, 3.0, 5.0]


def test_a_notebook_shows_a_plot_without_pyplot() -> None:
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(RESULTS["human"].plot())
    assert shown["image/png"].startswith(b"\x89PNG")


def test_a_published_score_has_no_plot() -> None:
    with pytest.raises(ConfigError, match="no verdict to draw"):
        RESULTS["published"].plot()


def test_a_segment_of_no_length_draws_nothing() -> None:
    assert strip_svg([Segment(0.0, 0.0, "unheard", 1, None, None)], 0.0) == ""
