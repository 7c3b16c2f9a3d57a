"""Recordings to test verdicts on: conversations of two voices, and one voice for minutes. No files.

Clips are joined whole. Between them lies noise like the quiet moments of the clip before, since digital silence in its
place would tell where a clip ends; all edges are faded. All random choices are drawn from a generator.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from aasist_jax.audio.limits import SAMPLE_RATE
from aasist_jax.augmentation.sound import OtherWave
from aasist_jax.augmentation.sound.levels import fade
from aasist_jax.corpus.channel import room_tone, to_level
from aasist_jax.corpus.voices import Spoken, Voice

WINDOW = 64_600
"""Samples that the models hear at once."""

GAP = 0.2, 0.5
"""Mean and standard deviation of the seconds from the end of a turn to the next one, negative where they overlap.

Gaps and overlaps form one distribution, centred on a short gap, as Heldner and Edlund describe it in "Pauses, gaps and
overlaps in conversations", Journal of Phonetics 38 (2010). With these numbers a third of the turns begin before the
turn before has ended.
"""

LONGEST_OVERLAP, LONGEST_GAP = 1.0, 2.0
PAUSE = 0.1, 0.5
"""The range from which the pauses of one voice are drawn, in seconds."""

_MOST_CLIPS = 3  # in one turn
_JOINT = SAMPLE_RATE * 15 // 100
_EDGE = SAMPLE_RATE // 100  # what `fade` fades
_LOUDEST = 32767 / 32768

_Placed = list[tuple[int, OtherWave]]


@dataclass(frozen=True)
class Turn:
    """A stretch of one voice.

    Attributes:
        start: in seconds.
        end: in seconds.
        channel: the one that it is in, from 0.
        speaker: who speaks, several joined by "+" where an attack copies several.
        label: "bonafide" or "spoof".
        attack: "-" for bona fide.
    """

    start: float
    end: float
    channel: int
    speaker: str
    label: str
    attack: str


@dataclass(frozen=True)
class MadeRecording:
    """A recording and what is in it.

    Attributes:
        wave: (samples,), or (samples, 2) with a voice in each channel; 16 kHz, in [-1, 1).
        turns: in the order of their starts; turns of different voices may overlap.
    """

    wave: Float32[np.ndarray, "samples *channels"]
    turns: tuple[Turn, ...]


def converse(first: Voice, second: Voice, seconds: float, rng: np.random.Generator, channels: int = 1) -> MadeRecording:
    """Let two voices take turns, of one to three clips each, with gaps and overlaps between them.

    Args:
        first: begins.
        second: answers; its speakers should not be in `first`.
        seconds: the conversation ends with the turn that reaches this length, and not before each has spoken.
        rng: random numbers for clips, pauses, gaps and room tone.
        channels: 1 for the sum of both voices, 2 for a voice in each.

    Raises:
        ValueError: `channels` is neither 1 nor 2.
    """
    if channels not in (1, 2):
        raise ValueError(f"channels: expected 1 or 2, got {channels}")
    decks = _shuffled(first, rng), _shuffled(second, rng)
    placed: tuple[_Placed, _Placed] = [], []
    ends = [0, 0]
    turns: list[Turn] = []
    while max(ends) < seconds * SAMPLE_RATE or len(turns) < 2:
        who = len(turns) % 2
        gap = float(np.clip(rng.normal(*GAP), -LONGEST_OVERLAP, LONGEST_GAP))
        # A voice never overlaps itself.
        start = max(ends[1 - who] + _samples(gap), ends[who] + _samples(PAUSE[0]), 0)
        spoken = [next(decks[who]) for _ in range(int(rng.integers(1, _MOST_CLIPS + 1)))]
        pieces = _in_a_row([each.wave for each in spoken], start, _pauses(len(spoken), rng))
        placed[who].extend(pieces)
        ends[who] = _end(pieces)
        turns.append(_turn(start, ends[who], who if channels == 2 else 0, spoken))
    samples = max(ends) + _samples(PAUSE[1])
    tracks = [_laid(pieces, samples, rng) for pieces in placed]
    wave = np.stack(tracks, axis=1) if channels == 2 else tracks[0] + tracks[1]
    return MadeRecording(_without_clipping(wave), tuple(sorted(turns, key=lambda turn: (turn.start, turn.channel))))


def speak(
    voice: Voice,
    seconds: float,
    rng: np.random.Generator,
    inserted: Voice | None = None,
    inserted_seconds: float = 4.0,
) -> MadeRecording:
    """Let one voice speak, its clips over and over in shuffled order, with short pauses.

    From generators of the same state, the voice says the same with and without `inserted`.

    Args:
        voice: who speaks.
        seconds: the voice ends with the clip that reaches this length.
        rng: random numbers for the order, pauses, room tone and the place of what is inserted.
        inserted: what is put in between two clips; these clips in their order, again from the first where they are too
            short.
        inserted_seconds: length of what is put in; the recording becomes longer by this and by a pause.

    Returns:
        One turn, or three: the voice, what was inserted, the voice.
    """
    deck = _shuffled(voice, rng)
    pieces: _Placed = []
    spoken: list[Spoken] = []
    # At least two clips, so that there is a place between them.
    while len(spoken) < 2 or _end(pieces) < seconds * SAMPLE_RATE:
        spoken.append(next(deck))
        start = _end(pieces) + _samples(rng.uniform(*PAUSE)) if pieces else 0
        pieces.append((start, spoken[-1].wave))
    if inserted is None:
        turns = [_turn(0, _end(pieces), 0, spoken)]
    else:
        at = int(rng.integers(1, len(pieces)))
        piece = join_to_length([each.wave for each in inserted], _samples(inserted_seconds))
        start = pieces[at][0]
        later = start + piece.size + _samples(rng.uniform(*PAUSE))
        before = _end(pieces[:at])
        pieces = [
            *pieces[:at],
            (start, piece),
            *((begin - start + later, wave) for begin, wave in pieces[at:]),
        ]
        turns = [
            _turn(0, before, 0, spoken[:at]),
            _turn(start, start + piece.size, 0, inserted[: _clips_in(inserted, piece.size)]),
            _turn(later, _end(pieces), 0, spoken[at:]),
        ]
    return MadeRecording(_without_clipping(_laid(pieces, _end(pieces), rng)), tuple(turns))


def join_to_length(waves: Sequence[OtherWave], samples: int) -> Float[np.ndarray, "samples"]:
    """Join clips with pauses of 0.15 s, again from the first where there are too few, and cut to a length.

    The result for a length is the beginning of that for a greater one. Nothing is drawn: the room tone of the pauses
    is of a fixed seed.

    Args:
        waves: clips of one voice at 16 kHz, at least one, none empty.
        samples: length of the result.

    Raises:
        ValueError: there is no clip, or an empty one.
    """
    if not waves or not all(wave.size for wave in waves):
        raise ValueError("waves: expected at least one clip, and none empty")
    pieces: _Placed = []
    # The last clip begins after the end: what lies before is then the same whatever the length.
    while not pieces or pieces[-1][0] < samples:
        wave = to_level(waves[len(pieces) % len(waves)])
        pieces.append((_end(pieces) + _JOINT if pieces else 0, wave))
    return _laid(pieces, _end(pieces), np.random.default_rng(0))[:samples]


def join_to_windows(waves: Sequence[OtherWave], windows: int) -> Float32[np.ndarray, "samples"]:
    """Clips of one voice joined to exactly so many windows of 64,600 samples, by `join_to_length`."""
    return _without_clipping(join_to_length(waves, windows * WINDOW))


def _shuffled(voice: Voice, rng: np.random.Generator) -> Iterator[Spoken]:
    """The clips in shuffled order, again and again in another one, and none twice in succession where there are two."""
    last = None
    while True:
        order = [voice[index] for index in rng.permutation(len(voice))]
        if len(order) > 1 and order[0] is last:
            order = [*order[1:], order[0]]
        yield from order
        last = order[-1]


def _pauses(count: int, rng: np.random.Generator) -> list[int]:
    return [_samples(pause) for pause in rng.uniform(*PAUSE, count)]


def _in_a_row(waves: Sequence[OtherWave], start: int, pauses: Sequence[int]) -> _Placed:
    placed = []
    for wave, pause in zip(waves, pauses, strict=True):
        placed.append((start, wave))
        start += wave.size + pause
    return placed


def _laid(pieces: _Placed, samples: int, rng: np.random.Generator) -> Float[np.ndarray, "samples"]:
    """A track of faded clips at their places, in order and apart, with room tone in between."""
    track = np.zeros(samples)
    for start, wave in pieces:
        track[start : start + wave.size] = fade(wave)
    # While a clip fades in by `ramp`, the tone fades out by this: the powers of noises that are not correlated add up.
    ramp = fade(np.ones(2 * _EDGE))[:_EDGE]
    rise = np.sqrt(1 - ramp[::-1] ** 2)
    neighbours = [(0, pieces[0][1]), *((start + wave.size, wave) for start, wave in pieces)]
    for (begin, wave), end in zip(neighbours, [*(start for start, _ in pieces), samples], strict=True):
        if end <= begin:
            continue
        first, last = max(begin - _EDGE, 0), min(end + _EDGE, samples)
        tone = room_tone(wave, last - first, rng)
        if begin > 0:
            tone[:_EDGE] *= rise
        if end < samples:
            tone[-_EDGE:] *= rise[::-1]
        track[first:last] += tone
    return track


def _turn(start: int, end: int, channel: int, spoken: Sequence[Spoken]) -> Turn:
    sources = [each.source for each in spoken]
    speaker = "+".join(dict.fromkeys(source.speaker for source in sources))
    return Turn(start / SAMPLE_RATE, end / SAMPLE_RATE, channel, speaker, sources[0].label, sources[0].attack)


def _clips_in(voice: Voice, samples: int) -> int:
    """How many clips, from the first, `join_to_length` takes for this length."""
    ends = np.cumsum([each.wave.size + _JOINT for each in voice])
    return min(int(np.searchsorted(ends, samples)) + 1, len(voice))


def _without_clipping(wave: Float[np.ndarray, "samples *channels"]) -> Float32[np.ndarray, "samples *channels"]:
    """Scaled down where the sum of two voices would exceed full scale."""
    peak = float(np.abs(wave).max(initial=0.0))
    return (wave * min(1.0, _LOUDEST / max(peak, 1e-9))).astype(np.float32)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def _end(pieces: _Placed) -> int:
    start, wave = pieces[-1]
    return start + wave.size
