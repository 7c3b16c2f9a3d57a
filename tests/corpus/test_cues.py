import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from aasist_jax.commands.app import app
from aasist_jax.corpus.cues import (
    ALL,
    CUES,
    LIMIT,
    WITH_CREST,
    _logistic,
    below_limit,
    cue_error_rates,
    cue_table,
    fold_by_speaker,
    measure,
)
from aasist_jax.data.layouts.asvspoof2019 import clip_path
from tests.corpus.made_voices import speech_like

RATE = 16_000


def test_cues_of_a_known_wave() -> None:
    wave = np.concatenate([np.full(320, 0.5), np.zeros(320), np.full(320, -0.5)])
    measured = dict(zip(CUES, measure(wave), strict=True))
    assert measured["duration"] == pytest.approx(0.06)
    assert measured["offset"] == 0
    assert measured["zeros"] == pytest.approx(1 / 3)
    assert measured["silence"] == pytest.approx(1 / 3)
    assert measured["edges"] == pytest.approx(20 * np.log10(0.5))
    assert measured["crest"] == pytest.approx(20 * np.log10(np.sqrt(1.5)))


def test_slope_and_bandwidth_are_those_of_the_spectrum() -> None:
    white = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE)
    pink = signal.lfilter([1.0], [1.0, -0.98], white)
    narrow = signal.sosfiltfilt(signal.butter(8, 4000, fs=RATE, output="sos"), white)
    of = {
        name: dict(zip(CUES, measure(wave), strict=True)) for name, wave in (("w", white), ("p", pink), ("n", narrow))
    }
    assert of["w"]["slope"] == pytest.approx(0, abs=0.3)
    assert of["p"]["slope"] == pytest.approx(-6, abs=1)
    assert of["w"]["bandwidth"] > 7800
    assert 4000 < of["n"]["bandwidth"] < 5500


def make_corpus(folder: Path, quieter: float) -> None:
    """Eight human and eight synthetic voices; the noise floor of the attack `lpc` is so many dB lower."""
    rows = []
    rng = np.random.default_rng(0)
    for number in range(96):
        attack = ("-", "lpc", "-", "piper")[number % 4]
        level = -40 - 10 * rng.random() - (quieter if attack == "lpc" else 0)
        # The last third of every clip is a pause.
        speech = speech_like(1.2, number) * (np.arange(round(1.2 * RATE)) < 0.8 * RATE)
        wave = speech + 10 ** (level / 20) * rng.standard_normal(speech.size)
        row = {"utterance": f"U{number}", "split": ("train", "eval")[number % 2], "attack": attack}
        row |= {"label": "bonafide" if attack == "-" else "spoof", "speaker": f"{attack}{number % 8}"}
        rows.append(row)
        path = clip_path(folder, row["split"], row["utterance"])
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, RATE)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_cue_that_gives_the_class_away_is_found(tmp_path: Path) -> None:
    make_corpus(tmp_path, quieter=20)
    rates = cue_error_rates(tmp_path)
    assert set(rates) == {"copy", "neural"}
    assert rates["copy"]["noise floor"] < 0.05
    assert rates["copy"][ALL] < 0.1
    assert rates["copy"]["duration"] >= 0.5
    failing = {(group, cue) for group, cue, _ in below_limit(rates)}
    assert ("copy", "noise floor") in failing
    assert ("copy", ALL) in failing
    assert rates["copy"][WITH_CREST] < 0.1
    assert ("copy", WITH_CREST) not in failing
    assert ("neural", "noise floor") not in failing

    result = CliRunner().invoke(app, ["build-corpus", str(tmp_path), "--check"])
    assert result.exit_code == 1
    assert "copy: noise floor tells the classes apart" in result.output
    assert cue_table(rates) in result.output


def test_a_corpus_without_cues_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "aasist_jax.corpus.cues.cue_error_rates",
        lambda corpus: {"copy": dict.fromkeys((*CUES, ALL), LIMIT) | {WITH_CREST: 0.3}},
    )
    (tmp_path / "metadata.csv").touch()
    result = CliRunner().invoke(app, ["build-corpus", str(tmp_path), "--check"])
    assert result.exit_code == 0
    assert "35.0" in result.output


def test_all_clips_of_a_speaker_are_in_one_fold() -> None:
    speakers = [f"s{number % 7}" for number in range(70)] + ["big"] * 30
    folds = fold_by_speaker(speakers)
    of = {name: {fold for fold, other in zip(folds, speakers, strict=True) if other == name} for name in set(speakers)}
    assert all(len(each) == 1 for each in of.values())
    assert set(folds) == set(range(5))
    assert max(np.bincount(folds)) == 30


def test_the_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    cues = rng.standard_normal((120, 3))
    human = (cues @ [1.0, -2.0, 0.5] + rng.standard_normal(120)) > 0.8
    found = _logistic(cues, human)
    # Its penalty is half the squared weights over C, and its loss a sum over clips of weight 60 / number of the class.
    other = LogisticRegression(C=1 / (2 * 0.01 * 120), class_weight="balanced", tol=1e-10).fit(cues, human)
    np.testing.assert_allclose(found[:-1], other.coef_[0], atol=1e-3)
    assert found[-1] == pytest.approx(other.intercept_[0], abs=1e-3)
