from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasist_jax.augmentation.sound.levels import speech_level
from aasist_jax.corpus.conversations import MadeRecording, converse
from aasist_jax.corpus.degradations import DEGRADATIONS
from aasist_jax.corpus.drawn_recordings import KINDS, Request, degrade, draw_recordings
from aasist_jax.corpus.voices import human_voices, list_sources
from aasist_jax.errors import DataError
from tests.conftest import CORPUS, needs_corpus
from tests.corpus.made_voices import voice


def drawn(**wishes: Any) -> dict[str, MadeRecording]:
    return dict(draw_recordings(CORPUS, "eval", Request(**({"seconds": 12.0} | wishes))))


@needs_corpus
def test_each_kind_holds_whom_it_says() -> None:
    made = drawn(count=16)
    assert list(made)[:5] == [f"{number + 1:04d}-{KINDS[number % 4]}" for number in range(5)]
    humans = human_voices(list_sources(CORPUS, "eval"))
    first_is_synthetic = set()
    for name, recording in made.items():
        kind = name.partition("-")[2]
        labels = {turn.label for turn in recording.turns}
        human = {turn.speaker for turn in recording.turns if turn.label == "bonafide"}
        synthetic = {turn.speaker for turn in recording.turns if turn.label == "spoof"}
        assert len({turn.attack for turn in recording.turns} - {"-"}) == len(labels - {"bonafide"})
        assert labels == ({"bonafide"} if kind in ("human-human", "one-voice") else {"bonafide", "spoof"})
        assert len(human) == (2 if kind == "human-human" else 1)
        assert human <= set(humans)
        assert recording.turns[-1].end >= 12.0
        assert recording.wave.ndim == 1
        if kind == "human-synthetic":
            assert not any(speaker in said.split("+") for speaker in human for said in synthetic)
            first_is_synthetic.add(recording.turns[0].label == "spoof")
        if kind == "inserted":
            assert recording.turns[1].end - recording.turns[1].start == pytest.approx(4.0)
    assert first_is_synthetic == {True, False}


@needs_corpus
def test_a_recording_depends_on_its_seed_and_number_alone() -> None:
    few, many, other = drawn(count=1), drawn(count=2), drawn(count=1, seed=1)
    (name,) = few
    np.testing.assert_array_equal(few[name].wave, many[name].wave)
    assert few[name].turns == many[name].turns != other[name].turns


@needs_corpus
def test_conversations_have_the_channels_asked_for_and_what_was_chosen_happens_to_them() -> None:
    wishes = {"kinds": ("human-synthetic",), "count": 1, "channels": 2}
    ((name, plain),) = drawn(**wishes).items()
    changed = drawn(**wishes, degradation="noise-10dB")[name]
    assert plain.wave.shape == changed.wave.shape == (plain.wave.shape[0], 2)
    assert plain.turns == changed.turns
    noise = (changed.wave - plain.wave).astype(np.float64)
    levels = [speech_level(channel.astype(np.float64)) - 10 for channel in plain.wave.T]
    assert 10 * np.log10(np.mean(noise**2, axis=0)) == pytest.approx(levels, abs=0.01)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.1


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_every_degradation_takes_either_number_of_channels(name: str) -> None:
    for channels in (1, 2):
        made = converse(voice("ann"), voice("bob"), 5.0, np.random.default_rng(0), channels)
        changed = degrade(made, name, np.random.default_rng(0))
        assert changed.wave.shape == made.wave.shape
        assert changed.wave.dtype == np.float32
        assert np.abs(changed.wave).max() <= 1
        assert changed.turns == made.turns


def test_an_unknown_degradation_is_told_at_the_call() -> None:
    with pytest.raises(DataError, match="degradation 'telefone': did you mean 'telephone'"):
        draw_recordings(CORPUS, "eval", Request(degradation="telefone"))


def test_a_split_of_one_voice_is_told(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("utterance,split,label,attack,speaker,language\na,eval,bonafide,-,ann,en\n")
    with pytest.raises(DataError, match="split 'eval' has 1 human voices and 0 attacks, fewer than 2 and 1"):
        draw_recordings(tmp_path, "eval", Request())
