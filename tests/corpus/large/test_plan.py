import dataclasses
from collections import Counter

import pytest

from aasist_jax.corpus.large.plan import LONGEST, LargeClip, LargeCounts, SplitCounts, plan_large, share_out
from aasist_jax.corpus.large.speakers import SPEAKERS, Recording
from aasist_jax.corpus.large.systems import SYSTEMS, choose_systems
from aasist_jax.corpus.plan import SPLITS

COUNTS = LargeCounts(SplitCounts(150, 270), SplitCounts(40, 56), SplitCounts(60, 132))
RECORDINGS = {
    speaker: tuple(
        Recording(f"{speaker.name}/{speaker.language}/{n}.ogg", 1.0 + n % 7, "wide" if n % 3 else "8k")
        for n in range(60)
    )
    for speaker in SPEAKERS
}
LANGUAGES = {language for system in SYSTEMS for of in system.voices.values() for _, language in of}
TEXTS = {
    split: {language: tuple(f"{split} {language} {n}" for n in range(50)) for language in LANGUAGES} for split in SPLITS
}


@pytest.fixture(scope="module")
def clips() -> list[LargeClip]:
    groups = plan_large(COUNTS, 3, RECORDINGS, SYSTEMS, TEXTS)
    assert all(clip.origin == group.human.utterance for group in groups for clip in group.made)
    return [clip for group in groups for clip in (group.human, *group.made)]


def test_every_split_is_as_large_as_said(clips: list[LargeClip]) -> None:
    for split in SPLITS:
        labels = Counter(clip.label for clip in clips if clip.split == split)
        assert (labels["bonafide"], labels["spoof"]) == getattr(COUNTS, split)
    assert len({clip.utterance for clip in clips}) == len(clips)


def test_the_whole_corpus_is_as_large_as_it_should_be() -> None:
    whole = LargeCounts()
    assert sum(sum(getattr(whole, split)) for split in SPLITS) >= 12_000
    of_eval = [system for system in SYSTEMS if "eval" in system.splits]
    assert whole.eval.spoofed // len(of_eval) >= 60
    neural = sum(system.group == "neural" for system in of_eval)
    assert whole.eval.spoofed // len(of_eval) * neural >= 300
    alone = sum(system.group == "neural" and system.splits == ("eval",) for system in of_eval)
    assert whole.eval.spoofed // len(of_eval) * alone >= 200


def test_systems_of_a_split_have_equally_many_clips(clips: list[LargeClip]) -> None:
    for split in SPLITS:
        counts = Counter(clip.attack for clip in clips if clip.split == split and clip.attack != "-")
        assert set(counts) == {system.name for system in SYSTEMS if split in system.splits}
        assert max(counts.values()) - min(counts.values()) <= 1


def test_no_speaker_voice_recording_or_text_is_in_two_splits(clips: list[LargeClip]) -> None:
    for of in (lambda clip: {clip.speaker}, lambda clip: set(clip.material)):
        used = {split: set().union(*(of(clip) for clip in clips if clip.split == split)) for split in SPLITS}
        assert used["train"] & used["dev"] == used["train"] & used["eval"] == used["dev"] & used["eval"] == set()


def test_no_recording_is_in_two_clips(clips: list[LargeClip]) -> None:
    used = Counter(path for clip in clips if clip.attack == "-" for path in clip.material)
    assert set(used.values()) == {1}


def test_recordings_of_several_people_are_not_joined(clips: list[LargeClip]) -> None:
    several = {speaker.name for speaker in SPEAKERS if speaker.several}
    assert several == {"sky", "queen_scenes"}
    assert {len(clip.material) for clip in clips if clip.attack == "-" and clip.speaker in several} == {1}
    assert max(len(clip.material) for clip in clips if clip.attack == "-") > 1


def test_a_clip_is_of_one_medium_and_what_is_made_of_it_too(clips: list[LargeClip]) -> None:
    media = {recording.path: recording.medium for items in RECORDINGS.values() for recording in items}
    by_name = {clip.utterance: clip for clip in clips}
    for clip in clips:
        if clip.attack == "-":
            assert {media[path] for path in clip.material} == {clip.medium}
            assert clip.seconds <= LONGEST
        else:
            origin = by_name[clip.origin]
            assert (origin.split, origin.label) == (clip.split, "bonafide")
            assert (origin.medium, origin.seconds) == (clip.medium, clip.seconds)
    assert {clip.medium for clip in clips} == {"wide", "8k"}


def test_channels_are_the_same_for_both_classes(clips: list[LargeClip]) -> None:
    for label in ("bonafide", "spoof"):
        channels = Counter(clip.channel for clip in clips if clip.label == label)
        assert channels["clean"] / sum(channels.values()) == pytest.approx(0.5, abs=0.05)
        assert len(channels) == 4


def test_there_are_fewer_clips_if_the_recordings_do_not_suffice() -> None:
    few = {speaker: items[:4] for speaker, items in RECORDINGS.items()}
    groups = plan_large(LargeCounts(), 0, few, SYSTEMS, TEXTS)
    human = [group.human for group in groups if group.human.split == "eval"]
    assert 0 < len(human) < LargeCounts().eval.human
    assert sum(len(group.made) for group in groups if group.human.split == "eval") == LargeCounts().eval.spoofed


def test_the_seed_decides_and_systems_can_be_left_out(clips: list[LargeClip]) -> None:
    again = plan_large(COUNTS, 3, RECORDINGS, SYSTEMS, TEXTS)
    assert [clip for group in again for clip in (group.human, *group.made)] == clips
    assert plan_large(COUNTS, 4, RECORDINGS, SYSTEMS, TEXTS) != again
    less = plan_large(COUNTS, 3, RECORDINGS, choose_systems({"piper", "hibari"}), TEXTS)
    assert {clip.attack for group in less for clip in group.made} & {"piper", "hibari"} == set()
    assert [group.human.material for group in less] == [group.human.material for group in again]


def test_the_order_of_languages_decides_nothing(clips: list[LargeClip]) -> None:
    turned = {split: dict(reversed(of.items())) for split, of in TEXTS.items()}
    again = plan_large(COUNTS, 3, RECORDINGS, SYSTEMS, turned)
    assert [clip for group in again for clip in (group.human, *group.made)] == clips


def test_names_do_not_tell_the_class(clips: list[LargeClip]) -> None:
    ordered = sorted((clip for clip in clips if clip.split == "eval"), key=lambda clip: clip.utterance)
    half = [clip.label for clip in ordered[: len(ordered) // 2]]
    assert half.count("spoof") / len(half) == pytest.approx(132 / 192, abs=0.12)


@pytest.mark.parametrize(
    ("count", "most", "shares"),
    [
        (9, {"a": 5, "b": 5, "c": 5}, [3, 3, 3]),
        (9, {"a": 1, "b": 50, "c": 50}, [1, 4, 4]),
        (10, {"a": 2, "b": 3, "c": 4}, [2, 3, 4]),
        (2, {"a": 5, "b": 5, "c": 5}, [1, 1, 0]),
        (0, {"a": 5}, [0]),
    ],
)
def test_things_are_shared_out_equally(count: int, most: dict[str, int], shares: list[int]) -> None:
    assert list(share_out(count, most).values()) == shares


def test_scaled_counts() -> None:
    assert LargeCounts().scaled(0.01).train == SplitCounts(36, 56)
    assert dataclasses.astuple(LargeCounts().scaled(1e-6)) == ((1, 1), (1, 1), (1, 1))
