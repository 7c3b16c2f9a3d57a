"""What a result is to a notebook and to a program: text, HTML, a picture, a dictionary. All say the same."""

import dataclasses
import io
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from aasist_jax.detection.files import COLUMNS, Row
from aasist_jax.detection.judging import with_channels
from aasist_jax.detection.result import Score
from aasist_jax.detection.result_html import strip_svg
from aasist_jax.detection.timeline import Segment
from aasist_jax.detection.timeline_text import as_json, sentence
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
        assert [*values] == [*COLUMNS[1:-1]]
        assert Row("a.wav", result).as_dict() == {"file": "a.wav", **values, "error": None}
        assert json.loads(json.dumps(values)) == values
        assert (values["label"], values["llr"], values["score"]) == (result.label, result.llr, result.score)
    assert RESULTS["doubtful"].to_dict()["reasons"] == "band-limited; damaged"


def test_the_dictionary_of_a_timeline_is_its_document() -> None:
    timeline = made_timeline(RESULTS["synthetic"])
    values = timeline.to_dict()
    assert json.loads(as_json("a.wav", timeline)) == {"file": "a.wav", **values}
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


@pytest.mark.parametrize("name", RESULTS)
def test_a_plot_has_the_colour_of_every_segment(name: str) -> None:
    result = RESULTS[name]
    figure = result.plot()
    (axes,) = figure.axes
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    assert picture.getvalue().startswith(b"\x89PNG")
    spans = [patch for patch in axes.patches if patch.get_width() > 0]
    for span, segment in zip(spans, result.segments, strict=True):
        assert span.get_x() == pytest.approx(segment.start)
        assert span.get_width() == pytest.approx(segment.seconds)
        assert to_hex(span.get_edgecolor()) == VERDICTS[segment.label]
    if result.verdict is not None:
        assert figure.get_suptitle() == str(result.verdict)
        assert len(made_timeline(result).plot().axes[0].patches) == len(axes.patches)


def test_the_windows_of_a_plot_stand_at_their_ratios_and_raw_scores_without() -> None:
    def heights(result: Score) -> list[float]:
        (lines,) = [each for each in result.plot().axes[0].collections if hasattr(each, "get_segments")]
        return [float(line[0][1]) for line in lines.get_segments() if len(line)]

    np.testing.assert_allclose(
        [height for height in heights(RESULTS["synthetic"]) if np.isfinite(height)], [4, 3.5, -6, 4]
    )
    assert heights(RESULTS["uncalibrated"]) == [8.0, 7.0]
    assert RESULTS["uncalibrated"].plot().axes[0].get_ylabel() == "Raw score"


def test_a_segment_of_no_length_draws_nothing() -> None:
    assert strip_svg([Segment(0.0, 0.0, "unheard", 1, None, None)], 0.0) == ""
