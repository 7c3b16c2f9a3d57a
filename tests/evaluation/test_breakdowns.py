"""Breakdowns by column."""

import numpy as np

from aasist_jax.evaluation.breakdowns import binned, break_down, informative_columns
from aasist_jax.evaluation.score_files import Trials
from aasist_jax.metrics.bootstrap import Resampling
from aasist_jax.metrics.error_rates import equal_error_rate


def make_trials():
    random = np.random.default_rng(0)
    is_bonafide = np.arange(600) < 200
    attack = np.where(is_bonafide, "-", np.where(np.arange(600) < 400, "A01", "A02"))
    codec = np.array(["opus", "alaw", "none"])[np.arange(600) % 3]
    codec[is_bonafide & (codec == "none")] = "opus"
    scores = random.normal(3.0 * is_bonafide + 1.5 * (attack == "A02"), 1)
    columns = {
        "attack": attack,
        "codec": codec,
        "speaker": np.char.add("s", (np.arange(600) % 20).astype(str)),
        "duration": np.linspace(1, 5, 600).astype(str),
        "environment": np.full(600, "-"),
        "take": np.char.add("t", np.arange(600).astype(str)),
    }
    return Trials(np.char.add("u", np.arange(600).astype(str)), scores, is_bonafide, columns)


def test_attacks_are_measured_against_all_bona_fide_trials_worst_first():
    trials = make_trials()
    groups = break_down(trials, "attack", resampling=Resampling(50))
    assert [(group.value, group.n_bonafide, group.n_spoof) for group in groups] == [
        ("A02", 200, 200),
        ("A01", 200, 200),
    ]
    for group in groups:
        spoof = trials.scores[trials.columns["attack"] == group.value]
        assert group.eer == equal_error_rate(trials.bonafide, spoof).eer
        assert group.interval.low <= group.eer <= group.interval.high


def test_a_column_both_classes_share_is_split_in_both():
    trials = make_trials()
    groups = break_down(trials, "codec")
    assert groups[-1].value == "none"
    assert (groups[-1].n_bonafide, groups[-1].eer) == (0, None)
    assert groups[0].eer >= groups[1].eer
    assert sum(group.n_bonafide for group in groups) == 200
    assert sum(group.n_spoof for group in groups) == 400


def test_columns_that_tell_nothing_are_passed_over_and_attacks_come_first():
    assert informative_columns(make_trials()) == ["attack", "codec", "duration", "speaker"]


def test_the_breakdowns_of_the_challenges_come_before_others():
    trials = make_trials()
    two = np.array(["x", "y"])[np.arange(600) % 2]
    columns = dict.fromkeys(("speaker", "task", "vocoder", "trim", "codec", "attack"), two)
    ordered = informative_columns(Trials(trials.utterances, trials.scores, trials.is_bonafide, columns))
    assert ordered == ["attack", "codec", "vocoder", "task", "trim", "speaker"]


def test_many_numbers_are_cut_into_quarters():
    bins = binned(np.linspace(0, 100, 401).astype(str))
    names, counts = np.unique(bins, return_counts=True)
    assert sorted(names.tolist()) == ["0 to 25", "25 to 50", "50 to 75", "75 to 100"]
    assert counts.tolist() == [100, 100, 100, 101]
    few = np.array(["1", "2", "3"] * 5)
    assert binned(few) is few
    words = np.array(["a", "b"])
    assert binned(words) is words
