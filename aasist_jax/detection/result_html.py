"""A result as HTML, for notebooks: the verdict, what it rests on, and a strip of what was heard when."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from aasist_jax.detection.timeline import Segment
from aasist_jax.detection.timeline_text import clock, heard_of, sentence
from aasist_jax.runtime.colours import VERDICTS

if TYPE_CHECKING:
    from aasist_jax.detection.result import Score

WIDTH, HEIGHT = 640, 22
"""Of the strip, in pixels."""


def result_html(result: "Score", segments: Sequence[Segment] | None = None) -> str:
    """A result as a block of HTML without scripts, styles for other elements, or anything from elsewhere.

    Args:
        result: what to show.
        segments: to draw in place of those of the result, such as those of a finer timeline.
    """
    if result.verdict is None:
        score = "none" if result.score is None else f"{result.score:+.3f}"
        heard = heard_of(result.heard_seconds, result.seconds)
        return (
            f"<div>published score <b>{score}</b> (no verdict). Heard {escape(heard)}: {escape(result.status)}.</div>"
        )
    colour = VERDICTS[result.verdict.label]
    reasons = str(result.verdict).removeprefix(result.verdict.label)
    sides = "".join(f"<div>Channel {side}: {result_html(each)}</div>" for side, each in enumerate(result.channels))
    return (
        f'<div><b style="color: {colour}; font-size: 1.3em">{escape(result.verdict.label)}</b>{escape(reasons)}'
        f'<div style="margin: 0.3em 0">{escape(sentence(result))}</div>'
        f"{strip_svg(result.segments if segments is None else segments, result.seconds)}{sides}</div>"
    )


def strip_svg(segments: Sequence[Segment], seconds: float) -> str:
    """Segments as a strip in the colours of their labels, with the label of each under the pointer, as inline SVG."""
    if not segments or seconds <= 0:
        return ""
    bars = "".join(_bar(segment, WIDTH / seconds) for segment in segments)
    shown = {segment.label for segment in segments}
    legend = "".join(
        f'<tspan fill="{colour}" dx="12">&#9632;</tspan><tspan dx="4">{label}</tspan>'
        for label, colour in VERDICTS.items()
        if label in shown
    )
    text = 'font-size="12" font-family="sans-serif" fill="currentColor"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + 18}" role="img">{bars}'
        f'<text x="0" y="{HEIGHT + 14}" {text}>{clock(0.0)}</text>'
        f'<text x="{WIDTH / 2:g}" y="{HEIGHT + 14}" text-anchor="middle" {text}>{legend}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 14}" text-anchor="end" {text}>{clock(seconds)}</text></svg>'
    )


def _bar(segment: Segment, scale: float) -> str:
    """A rectangle; what was not heard is an outline, so that it differs from a label by more than its colour."""
    sure = "" if segment.p_synthetic is None else f", P(synthetic) up to {segment.p_synthetic:.3f}"
    told = f"{clock(segment.start)} to {clock(segment.end)}: {segment.label}{sure}"
    colour = VERDICTS[segment.label]
    paint = (
        f'fill="none" stroke="{colour}" stroke-dasharray="3 3"' if segment.label == "unheard" else f'fill="{colour}"'
    )
    place = f'x="{segment.start * scale:.2f}" width="{segment.seconds * scale:.2f}" y="1" height="{HEIGHT - 2}"'
    return f"<rect {place} {paint}><title>{escape(told)}</title></rect>"
