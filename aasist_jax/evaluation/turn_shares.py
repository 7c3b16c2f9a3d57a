"""How a timeline called what is known to be in a recording. Plain tuples in, shares out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

Call = Literal["human", "unsure", "synthetic", "unheard"]
CALLS: tuple[Call, ...] = get_args(Call)

SEGMENT_CALLS: Mapping[str, Call] = {
    **{call: call for call in CALLS},
    "bonafide": "human",
    "spoof": "synthetic",
    "unjudged": "unheard",
}
"""What the labels of segments call a stretch of time."""

Span = tuple[float, float, str]
"""Start and end in seconds, and a label."""


def turn_seconds(turn: Span, segments: Sequence[Span]) -> dict[Call, float]:
    """The seconds of a turn by what they were called; those in no segment are unheard.

    Args:
        turn: start, end, and a label, which is not looked at.
        segments: of the turn's channel, with labels of `SEGMENT_CALLS`; they do not overlap.

    Raises:
        ValueError: a turn or a segment ends before it starts; segments overlap; an unknown label.
    """
    start, end, _ = turn
    if end < start:
        raise ValueError(f"a turn from {start:g} to {end:g} s ends before it starts")
    called: dict[Call, float] = dict.fromkeys(CALLS, 0.0)
    before = float("-inf")
    for first, last, label in sorted(segments):
        if last < first:
            raise ValueError(f"a segment from {first:g} to {last:g} s ends before it starts")
        if first < before:
            raise ValueError(f"the segment from {first:g} s begins before the last ends, at {before:g} s")
        if label not in SEGMENT_CALLS:
            raise ValueError(f"label {label!r} of a segment is not one of {', '.join(SEGMENT_CALLS)}")
        called[SEGMENT_CALLS[label]] += max(0.0, min(last, end) - max(first, start))
        before = last
    called["unheard"] += max(0.0, end - start - sum(called.values()))
    return called


def turn_shares(turns: Iterable[Span], segments: Sequence[Span]) -> list[dict[Call, float]]:
    """For each turn, the share of its time by what it was called; they add up to 1, and are 0 for an empty turn.

    Raises:
        ValueError: as `turn_seconds`.
    """
    return [_shares(turn_seconds(turn, segments)) for turn in turns]


def shares_by_label(recordings: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> dict[str, dict[Call, float]]:
    """The share of all the time of the turns of a label by what it was called, over recordings or channels.

    Args:
        recordings: turns and segments of each recording, or of each channel.

    Raises:
        ValueError: as `turn_seconds`.
    """
    totals: dict[str, dict[Call, float]] = {}
    for turns, segments in recordings:
        for turn in turns:
            total = totals.setdefault(turn[2], dict.fromkeys(CALLS, 0.0))
            for call, seconds in turn_seconds(turn, segments).items():
                total[call] += seconds
    return {label: _shares(total) for label, total in sorted(totals.items())}


def _shares(seconds: Mapping[Call, float]) -> dict[Call, float]:
    whole = sum(seconds.values())
    return {call: part / whole if whole else 0.0 for call, part in seconds.items()}
