"""Scoring a split during training."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from aasist_jax.data.pipeline import ClipSource
from aasist_jax.data.splits import Split
from aasist_jax.data.utterances import Utterance
from aasist_jax.models.family import window_of
from aasist_jax.models.network import build_network
from aasist_jax.models.variables import split_variables
from aasist_jax.training.scoring import make_score_function, score_split
from tests.models import toy


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Eleven clips of 2000 to 6000 samples; every third is bona fide."""
    rng = np.random.default_rng(0)
    clips = []
    for i in range(11):
        path = tmp_path / f"dev_{i:02}.flac"
        soundfile.write(path, rng.integers(-3000, 3000, rng.integers(2000, 6000), dtype=np.int16), 16_000)
        label = "spoof" if i % 3 else "bonafide"
        clips.append(Utterance(path.stem, path, label, f"A0{i % 3}" if i % 3 else "-", "-", f"list:{i + 1}"))
    return Split("dev", ClipSource(clips), "")


def test_every_clip_is_scored_once_in_order(split: Split) -> None:
    weights = toy.toy_weights()
    with toy.registered():
        network = build_network(weights.config)
        score = make_score_function(weights.config, network)
        window = window_of(weights.config)
    done: list[tuple[int, int]] = []
    options: dict[str, Any] = {"window": window, "batch_size": 8, "workers": 0}
    trials = score_split(
        score,
        weights.variables,
        split,
        **options,
        progress=lambda *figures: done.append(figures),
        should_stop=lambda: False,
    )
    assert trials is not None
    assert done == [(8, 11), (11, 11)]
    assert [*zip(trials.utterances, trials.columns["attack"], trials.is_bonafide, strict=True)] == [
        (utterance.utterance, utterance.attack, utterance.label == "bonafide") for utterance in split.utterances
    ]
    # Shorter clips are repeated, longer ones cut.
    waves = [np.resize(soundfile.read(u.path, dtype="float32")[0], toy.WINDOW) for u in split.utterances]
    outputs, _ = network.apply(*split_variables(weights.variables), jnp.stack(waves))
    expected = np.asarray(outputs.logits)[:, 1]
    np.testing.assert_allclose(trials.scores, expected, rtol=1e-5)
    assert trials.scores.dtype == np.float64

    answers = iter([False, True])
    stopped = score_split(
        score,
        weights.variables,
        split,
        **options,
        progress=lambda *figures: None,
        should_stop=lambda: next(answers),
    )
    assert stopped is None
