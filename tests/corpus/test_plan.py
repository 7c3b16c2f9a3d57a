from collections import Counter

import pytest

from aasist_jax.corpus.plan import ATTACKS, LONGEST, SHORTEST, SPLITS, Clip, ClipCounts, attacks_of, plan_corpus
from aasist_jax.corpus.sentences import SENTENCES
from aasist_jax.corpus.speech import VOICES

COUNTS = ClipCounts(60, 40, 80)
RECORDINGS = {voice: [(f"{voice.name}/{voice.language}/{n}.ogg", 1.0 + n % 7) for n in range(40)] for voice in VOICES}


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return plan_corpus(COUNTS, 3, RECORDINGS)


def test_every_split_is_full_and_balanced(clips: list[Clip]) -> None:
    for split, count in (("train", 60), ("dev", 40), ("eval", 80)):
        labels = Counter(clip.label for clip in clips if clip.split == split)
        assert labels == {"bonafide": count // 2, "spoof": count // 2}
    assert len({clip.utterance for clip in clips}) == len(clips)


def test_no_voice_is_in_two_splits(clips: list[Clip]) -> None:
    where: dict[str, set[str]] = {}
    for clip in clips:
        where.setdefault(clip.speaker, set()).add(clip.split)
    assert {speaker: splits for speaker, splits in where.items() if len(splits) > 1} == {}


def test_no_recording_and_no_sentence_is_in_two_splits(clips: list[Clip]) -> None:
    used = {split: {item for clip in clips if clip.split == split for item in clip.material} for split in SPLITS}
    for first, second in (("train", "dev"), ("train", "eval"), ("dev", "eval")):
        assert used[first] & used[second] == set()
    texts = [text for split in SPLITS for language in SENTENCES[split].values() for text in language]
    assert len(texts) == len(set(texts))


def test_eval_has_attacks_that_training_never_saw_a_neural_one_among_them(clips: list[Clip]) -> None:
    met = {split: {clip.attack for clip in clips if clip.split == split} for split in SPLITS}
    assert met["eval"] - met["train"] == {"world_coded", "hts", "piper"}
    assert met["dev"] <= met["train"]
    assert met["train"] == {"-"} | {attack.name for attack in attacks_of("train")}


def test_copies_and_matched_speech_point_to_a_human_clip_of_the_same_split(clips: list[Clip]) -> None:
    by_name = {clip.utterance: clip for clip in clips}
    kinds = {attack.name: attack.kind for attack in ATTACKS}
    for clip in clips:
        if clip.label == "spoof":
            origin = by_name[clip.origin]
            assert (origin.label, origin.split) == ("bonafide", clip.split)
            assert (clip.speaker == origin.speaker) == (kinds[clip.attack] == "copy")
            assert clip.seconds == origin.seconds


def test_lengths_and_channels_are_the_same_for_both_classes(clips: list[Clip]) -> None:
    for split in SPLITS:
        for label in ("bonafide", "spoof"):
            group = [clip for clip in clips if clip.split == split and clip.label == label]
            assert all(SHORTEST <= clip.seconds <= LONGEST for clip in group)
            share = sum(clip.channel == "clean" for clip in group) / len(group)
            assert share == pytest.approx(0.5, abs=0.1)


def test_human_clips_have_recordings_enough(clips: list[Clip]) -> None:
    lengths = {path: seconds for items in RECORDINGS.values() for path, seconds in items}
    for clip in clips:
        if clip.attack == "-":
            assert sum(lengths[path] for path in clip.material) >= 2 * clip.seconds


def test_the_order_of_names_says_nothing_of_the_class(clips: list[Clip]) -> None:
    ordered = sorted((clip for clip in clips if clip.split == "eval"), key=lambda clip: clip.utterance)
    half = [clip.label for clip in ordered[: len(ordered) // 2]]
    assert 10 <= half.count("spoof") <= 30


def test_the_seed_decides(clips: list[Clip]) -> None:
    assert plan_corpus(COUNTS, 3, RECORDINGS) == clips
    assert plan_corpus(COUNTS, 4, RECORDINGS) != clips


def test_languages_of_human_voices_are_not_shared_between_splits() -> None:
    where: dict[str, set[str]] = {}
    for voice in VOICES:
        where.setdefault(voice.language, set()).add(voice.split)
    assert all(len(splits) == 1 for splits in where.values())
