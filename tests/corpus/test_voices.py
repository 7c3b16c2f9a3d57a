from pathlib import Path

import numpy as np
import pytest

from aasist_jax.augmentation.sound.levels import active_level
from aasist_jax.corpus import voices
from aasist_jax.corpus.voices import Source
from aasist_jax.errors import DataError
from tests.conftest import CORPUS, needs_corpus

HEADER = "utterance,split,label,attack,speaker,language\n"


def source(name: str, attack: str, speaker: str, language: str) -> Source:
    return Source(name, Path(f"{name}.flac"), "bonafide" if attack == "-" else "spoof", attack, speaker, language)


def test_clips_are_found_by_speaker_and_by_attack() -> None:
    clips = [source("a", "-", "ann", "en"), source("b", "world", "ann", "en"), source("c", "world", "bob", "fr")]
    assert voices.human_voices(clips) == {"ann": (clips[0],)}
    assert voices.synthetic_voices(clips) == {"world": (clips[1], clips[2])}
    assert voices.of_others(clips, "ann") == (clips[2],)


@pytest.mark.parametrize("seed", range(4))
def test_the_speaker_fits_best_then_the_language(seed: int) -> None:
    clips = [source("a", "w", "eve", "fr"), source("b", "w", "bob", "en"), source("c", "w", "ann", "en")]
    fitting = voices.best_fitting(clips, source("h", "-", "ann", "en"), np.random.default_rng(seed))
    assert [each.utterance for each in fitting] == ["c", "b", "a"]


def test_the_same_voice_is_the_clip_and_then_others_of_its_speaker_and_attack() -> None:
    clips = [source(f"a{number}", "w", "ann", "en") for number in range(5)]
    clips += [source("b", "w", "bob", "en"), source("c", "-", "ann", "en"), source("d", "x", "ann", "en")]
    orders = {voices.same_voice(clips[2], clips, np.random.default_rng(seed)) for seed in range(5)}
    assert len(orders) > 1
    for order in orders:
        assert order[0] == clips[2]
        assert sorted(each.utterance for each in order) == ["a0", "a1", "a2", "a3", "a4"]


@needs_corpus
def test_the_real_corpus_has_the_voices_that_its_description_counts() -> None:
    sources = voices.list_sources(CORPUS, "eval")
    humans, attacks = voices.human_voices(sources), voices.synthetic_voices(sources)
    assert (len(humans), len(attacks)) == (11, 13)
    assert sum(map(len, humans.values())) == 160
    assert sum(map(len, attacks.values())) == 195
    for spoken in voices.read_voice(humans["tux_ro"][:3]):
        assert active_level(spoken.wave) == pytest.approx(-26, abs=0.01)
        assert spoken.source.speaker == "tux_ro"


@pytest.mark.parametrize(
    ("table", "split", "complaint"),
    [
        (None, "eval", "there is no metadata.csv; give a folder that aasist-jax build-corpus has made"),
        ("utterance,split\na,eval\n", "eval", "lacks attack, label, language, speaker; build the corpus again"),
        (HEADER, "eval", "lacks attack"),
        (f"{HEADER}a,dev,spoof,x,s,en\nb,train,spoof,x,s,en\n", "eval", "no split 'eval'; there are dev, train"),
        (f"{HEADER}../a,eval,spoof,x,s,en\n", "eval", "'../a' is not a plain file name"),
    ],
)
def test_what_is_no_corpus_is_told(tmp_path: Path, table: str | None, split: str, complaint: str) -> None:
    if table is not None:
        (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DataError, match=complaint):
        voices.list_sources(tmp_path, split)
