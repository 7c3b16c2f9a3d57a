import itertools

import numpy as np
import pytest
from scipy import signal

from aasist_jax.augmentation.sound.levels import active_level, fade
from aasist_jax.corpus.channel import to_level
from aasist_jax.corpus.conversations import (
    LONGEST_OVERLAP,
    PAUSE,
    WINDOW,
    Turn,
    converse,
    join_to_length,
    join_to_windows,
    speak,
)
from aasist_jax.corpus.voices import Spoken
from tests.corpus.made_voices import RATE, speech_like, voice

HUMAN, OTHER, FAKE = voice("ann"), voice("bob"), voice("tts", "world")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def in_samples(seconds: float) -> int:
    return round(seconds * RATE)


def overlaps(turns: tuple[Turn, ...]) -> list[float]:
    return [first.end - second.start for first, second in itertools.pairwise(turns)]


def test_a_voice_of_short_words_does_not_overlap_itself() -> None:
    words = tuple(Spoken(each.source, each.wave[:4000]) for each in HUMAN)
    turns = converse(words, tuple(Spoken(each.source, each.wave[:4000]) for each in OTHER), 60.0, rng()).turns
    for speaker in ("ann", "bob"):
        own = tuple(turn for turn in turns if turn.speaker == speaker)
        assert max(overlaps(own)) <= -PAUSE[0] + 1e-9


@pytest.mark.parametrize("channels", [1, 2])
def test_two_voices_take_turns_until_the_time_is_reached(channels: int) -> None:
    made = converse(HUMAN, FAKE, 60.0, rng(), channels)
    assert made.wave.dtype == np.float32
    assert made.wave.shape[1:] == ((2,) if channels == 2 else ())
    assert [(turn.speaker, turn.label, turn.attack) for turn in made.turns[:3]] == [
        ("ann", "bonafide", "-"),
        ("tts", "spoof", "world"),
        ("ann", "bonafide", "-"),
    ]
    assert {turn.channel for turn in made.turns} == set(range(channels))
    assert made.turns[-1].end >= 60.0 > made.turns[-2].end
    assert made.wave.shape[0] == in_samples(max(turn.end for turn in made.turns)) + in_samples(PAUSE[1])


def test_turns_overlap_now_and_then_and_never_with_the_same_voice() -> None:
    overlap = []
    for seed in range(5):
        turns = converse(HUMAN, OTHER, 60.0, rng(seed)).turns
        overlap += overlaps(turns)
        for speaker in ("ann", "bob"):
            own = [turn for turn in turns if turn.speaker == speaker]
            assert max(overlaps(tuple(own))) <= -PAUSE[0] + 1e-9
    assert max(overlap) <= LONGEST_OVERLAP
    assert 0.1 < np.mean(np.array(overlap) > 0) < 0.6


def test_each_channel_holds_its_voice_where_the_table_says_so_and_room_tone_elsewhere() -> None:
    made = converse(HUMAN, FAKE, 30.0, rng(), channels=2)
    for channel in (0, 1):
        spoken = np.zeros(len(made.wave), bool)
        for turn in made.turns:
            if turn.channel == channel:
                spoken[in_samples(turn.start) : in_samples(turn.end)] = True
        wave = made.wave[:, channel]
        quiet = 10 * np.log10(np.mean(wave[~spoken] ** 2))
        assert 10 * np.log10(np.mean(wave[spoken] ** 2)) > quiet + 20
        # No digital silence: a model would hear where a clip ends.
        blocks = wave[: wave.size // 160 * 160].reshape(-1, 160)
        assert np.abs(blocks).max(axis=1).min() > 1e-5


def test_one_channel_is_the_sum_of_two() -> None:
    mono, stereo = converse(HUMAN, OTHER, 20.0, rng()), converse(HUMAN, OTHER, 20.0, rng(), channels=2)
    np.testing.assert_allclose(mono.wave, stereo.wave.astype(np.float64).sum(axis=1), atol=1e-6)
    assert [(turn.start, turn.end) for turn in mono.turns] == [(turn.start, turn.end) for turn in stereo.turns]


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    first, again, other = (converse(HUMAN, OTHER, 10.0, rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.wave, again.wave)
    assert first.turns == again.turns != other.turns


def test_three_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 or 2, got 3"):
        converse(HUMAN, OTHER, 10.0, rng(), channels=3)


def test_one_voice_speaks_for_minutes_and_no_clip_follows_itself() -> None:
    clips = voice("ann", clips=3)
    made = speak(clips, 120.0, rng())
    (turn,) = made.turns
    assert (turn.start, turn.end, turn.speaker, turn.label) == (0.0, made.wave.size / RATE, "ann", "bonafide")
    assert 120.0 <= turn.end < 120.0 + max(each.wave.size for each in clips) / RATE
    heard = sorted(
        (int(start), each.source.utterance)
        for each in clips
        for start in np.nonzero(signal.correlate(made.wave, each.wave, "valid") > 0.95 * np.sum(each.wave**2))[0]
    )
    assert len(heard) > 36
    for (start, name), (later, following) in itertools.pairwise(heard):
        assert name != following
        assert in_samples(2.5) < later - start < in_samples(2.7 + PAUSE[1])
    rounds = {tuple(name for _, name in heard[first : first + 3]) for first in range(0, 36, 3)}
    assert len(rounds) > 1, "always the same order"
    assert all(len(set(names)) == 3 for names in rounds)


def test_edges_do_not_click() -> None:
    """Without the fades, clips that begin and end at half of full scale would jump there."""
    time = np.arange(3 * RATE) / RATE
    loud = tuple(Spoken(each.source, 0.5 * np.cos(2 * np.pi * 5 * time)) for each in HUMAN)
    made = speak(loud, 30.0, rng())
    assert np.abs(np.diff(made.wave)).max() < 0.02
    assert abs(made.wave[0]) < 1e-3


def test_what_is_inserted_stands_where_the_table_says_and_the_rest_is_the_same() -> None:
    plain, mixed = speak(HUMAN, 40.0, rng(1)), speak(HUMAN, 40.0, rng(1), inserted=FAKE)
    before, fake, after = mixed.turns
    assert (fake.label, fake.attack, fake.speaker) == ("spoof", "world", "tts")
    assert fake.end - fake.start == pytest.approx(4.0)
    assert before.end < fake.start
    assert fake.end < after.start
    assert PAUSE[0] <= after.start - fake.end <= PAUSE[1]
    put_in = join_to_length([each.wave for each in FAKE], 4 * RATE)
    heard = mixed.wave[in_samples(fake.start) : in_samples(fake.end)]
    np.testing.assert_allclose(heard[160:-160], put_in[160:-160], atol=1e-6)
    # The clips before and after are those of the recording without it; room tone differs.
    end = in_samples(before.end) - 160
    level = np.abs(plain.wave).max()
    assert np.abs(plain.wave[:end] - mixed.wave[:end]).max() < 0.05 * level
    rest = mixed.wave.size - in_samples(after.start)
    assert np.abs(plain.wave[-rest + 160 :] - mixed.wave[-rest + 160 :]).max() < 0.05 * level


def test_the_place_of_what_is_inserted_is_drawn() -> None:
    places = {speak(HUMAN, 20.0, rng(seed), inserted=FAKE).turns[1].start for seed in range(6)}
    assert len(places) == 6


def test_windows_of_every_duration_are_the_beginning_of_the_longest() -> None:
    waves = [each.wave for each in voice("ann", clips=2)]
    longest = join_to_windows(waves, 8)
    for windows in (1, 2, 4, 8):
        joined = join_to_windows(waves, windows)
        assert joined.shape == (windows * WINDOW,)
        assert joined.dtype == np.float32
        np.testing.assert_array_equal(joined, longest[: joined.size])
    # Also where the end falls into the edge of a clip, or into a pause.
    for samples in (waves[0].size - 50, waves[0].size + 50):
        np.testing.assert_array_equal(join_to_length(waves, samples), join_to_length(waves, WINDOW)[:samples])
    np.testing.assert_allclose(
        longest[: waves[0].size - 160], fade(to_level(waves[0])).astype(np.float32)[:-160], atol=1e-7
    )


def test_joined_clips_have_the_level_of_the_corpus_whatever_they_came_with() -> None:
    joined = join_to_length([speech_like(3, 0) * 0.1, speech_like(3, 1) * 3], 6 * RATE)
    halves = active_level(joined[: 3 * RATE]), active_level(joined[3 * RATE :])
    assert halves == pytest.approx((-26, -26), abs=0.5)


@pytest.mark.parametrize("waves", [[], [np.zeros(0)]])
def test_nothing_cannot_be_joined(waves: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="expected at least one clip, and none empty"):
        join_to_length(waves, 100)
