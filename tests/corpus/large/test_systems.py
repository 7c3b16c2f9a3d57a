import pytest

from aasist_jax.corpus.large.systems import SYSTEMS, choose_systems, group_of
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.plan import SPLITS
from aasist_jax.errors import DataError


def of(split: str) -> set[str]:
    return {system.name for system in SYSTEMS if split in system.splits}


def test_there_are_twelve_families() -> None:
    assert len({system.family for system in SYSTEMS}) >= 12
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS)


def test_eval_and_dev_have_systems_of_their_own() -> None:
    assert of("dev") - of("train") == {"sinusoidal", "klatt"}
    assert of("eval") - of("train") - of("dev") == {
        *("worldmcep", "channel_vocoder", "diffusion", "festdiph_en", "hts_slt", "piper")
    }
    of_eval_alone = {system.name for system in SYSTEMS if system.splits == ("eval",) and system.group == "neural"}
    assert of_eval_alone == {"diffusion", "piper"}


def test_every_vocoder_that_is_trained_here_is_a_neural_copy() -> None:
    trained = [system for system in SYSTEMS if system.name in KINDS]
    assert {system.name for system in trained} == set(KINDS)
    assert {(system.group, system.copies) for system in trained} == {("neural", True)}
    assert len({system.family for system in trained}) == 3
    assert {split for system in trained for split in system.splits} == set(SPLITS)


def test_no_voice_is_in_two_splits() -> None:
    for system in SYSTEMS:
        voices = [voice for split in system.voices for voice, _ in system.voices[split]]
        assert len(voices) == len(set(voices))
    espeak = [
        voice for system in SYSTEMS if system.engine == "espeak" for of in system.voices.values() for voice, _ in of
    ]
    assert len(espeak) == len(set(espeak))


def test_a_system_copies_or_has_voices_in_each_split() -> None:
    for system in SYSTEMS:
        assert set(system.splits) <= set(SPLITS)
        assert system.copies == (not system.voices)


def test_systems_are_left_out_of_every_split() -> None:
    left = choose_systems({"worldmcep", "festdiph_en", "hts_slt", "piper", "hibari"})
    assert {system.name for system in SYSTEMS} - {system.name for system in left} == {
        *("worldmcep", "festdiph_en", "hts_slt", "piper", "hibari")
    }


def test_an_unknown_system_is_an_error() -> None:
    with pytest.raises(DataError, match=r"hal: no such system; there are channel_vocoder, .*worldmcep"):
        choose_systems({"hal"})


def test_a_split_without_systems_is_an_error() -> None:
    with pytest.raises(DataError, match="train: no system is left"):
        choose_systems(of("train"))


@pytest.mark.parametrize(
    ("attack", "group"),
    [("world", "copy"), ("piper", "neural"), ("hts", "speech"), ("clunits_ru", "speech"), ("A07", "other")],
)
def test_systems_of_other_corpora_have_groups(attack: str, group: str) -> None:
    assert group_of(attack) == group
