"""The two ways to choose the final weights: what each keeps after an epoch, and what it chooses in the end."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aasist_jax.evaluation.score_files import Trials
from aasist_jax.metrics.tandem import asv_error_rates, min_tdcf_2019
from aasist_jax.models.variables import join_variables
from aasist_jax.training.averaging import empty_average
from aasist_jax.training.interruption import StopRequested
from aasist_jax.training.selection import (
    AveragedModel,
    DevSelection,
    EvaluatedEpoch,
    PublishedSelection,
    Selection,
    is_stalled,
)
from aasist_jax.training.state import Candidates

ASV = asv_error_rates(np.array([2.0, 3.0, 4.0]), np.array([-3.0, -2.0, -1.0]), np.array([0.0, 1.0, 2.5]))
PERFECT = ([2.0, 3.0], [-2.0, -3.0])
HALF = ([2.0, -2.5], [-2.0, 2.5])
ALIKE = ([0.0, 0.0], [0.0, 0.0])


def variables(value: float) -> Any:
    return join_variables({"w": np.full(2, value, np.float32)}, {"mean": np.full(1, -value, np.float32)})


def start() -> Candidates:
    return Candidates(variables(0), empty_average(variables(0)["params"]))


def trials(scores: tuple[list[float], list[float]]) -> Trials:
    bonafide, spoof = scores
    return Trials(
        utterances=np.array([f"clip{i}" for i in range(len(bonafide) + len(spoof))]),
        scores=np.array(bonafide + spoof),
        is_bonafide=np.array([True] * len(bonafide) + [False] * len(spoof)),
        columns={},
    )


def epoch(number: int, dev_eer: float) -> EvaluatedEpoch:
    return EvaluatedEpoch(number, variables(number), trials(PERFECT), dev_eer)


def never() -> Trials:
    raise AssertionError("eval has been scored")


def after_epochs(selection: Selection, eers: list[float], score_eval: Callable[[], Trials] = never) -> Candidates:
    candidates = start()
    for i, eer in enumerate(eers):
        candidates, _ = selection.after_epoch(candidates, epoch(i + 1, eer), score_eval)
    return candidates


def test_dev_keeps_the_best_epoch_of_equals_the_later() -> None:
    candidates = after_epochs(DevSelection(4), [0.3, 0.1, 0.1, 0.2])
    assert (candidates.best_epoch, candidates.best_dev_eer, candidates.best_eval_tdcf) == (3, 0.1, math.inf)
    np.testing.assert_equal(candidates.best, variables(3))


@pytest.mark.parametrize(("epochs", "averaged"), [(1, [1]), (3, [3]), (8, [7, 8])])
def test_dev_averages_the_last_quarter(epochs: int, averaged: list[int]) -> None:
    candidates = after_epochs(DevSelection(epochs), [0.5] * epochs)
    assert int(candidates.average.count) == len(averaged)
    np.testing.assert_allclose(candidates.average.params["w"], np.mean(averaged))


@pytest.mark.parametrize(("scores", "best_eer", "chosen"), [(PERFECT, 0.0, "average"), (HALF, 0.4, "best")])
def test_dev_chooses_the_average_unless_the_best_is_better(scores: Any, best_eer: float, chosen: str) -> None:
    selection = DevSelection(1)
    candidates = after_epochs(selection, [best_eer])
    choice = selection.choose(
        candidates, variables(7), AveragedModel(lambda: variables(9), lambda given: trials(scores))
    )
    assert choice.name == chosen
    np.testing.assert_equal(choice.variables, variables(9 if chosen == "average" else 1))
    assert choice.candidates["best"] == {"epoch": 1, "dev_eer": best_eer}
    assert choice.candidates["average"] == {"epochs": 1, "dev_eer": 0.0 if chosen == "average" else 0.5}


@pytest.mark.parametrize(
    ("epochs", "scores", "best_eer", "chosen"),
    [
        (1, {8: PERFECT, 9: PERFECT}, 0.0, "ema"),
        (1, {8: PERFECT, 9: HALF}, 0.4, "average"),
        (1, {8: HALF, 9: HALF}, 0.4, "best"),
        (4, {9: PERFECT}, 0.4, "ema"),
        (4, {}, 0.4, "best"),
    ],
)
def test_dev_chooses_among_all_averages(epochs: int, scores: Any, best_eer: float, chosen: str) -> None:
    """8 is the average and 9 the moving one. A run that ends after the first of four epochs has no average."""
    selection = DevSelection(epochs)
    candidates = after_epochs(selection, [best_eer])
    models = {
        number: AveragedModel(
            lambda number=number: variables(number), lambda given: trials(scores[int(given["params"]["w"][0])])
        )
        for number in (8, 9)
    }
    choice = selection.choose(candidates, variables(7), models[8], models[9] if 9 in scores else None)
    assert choice.name == chosen
    np.testing.assert_equal(choice.variables, variables({"best": 1, "average": 8, "ema": 9}[chosen]))
    expected = {"best"} | ({"average"} if 8 in scores else set()) | ({"ema"} if 9 in scores else set())
    assert choice.candidates.keys() == expected


@pytest.mark.parametrize(
    ("eers", "patience", "stalled"),
    [
        ([0.5, 0.4, 0.4], 1, True),
        ([0.5, 0.4, 0.4], 2, False),
        ([0.5, 0.4, 0.4, 0.41], 2, True),
        ([0.5, 0.4, 0.45, 0.39], 2, False),
        ([0.4], 1, False),
        ([], 1, False),
        ([0.4, 0.5, 0.6], 0, False),
    ],
)
def test_training_ends_after_epochs_that_are_no_better(eers: list[float], patience: int, stalled: bool) -> None:
    assert is_stalled(eers, patience) is stalled


def test_published_looks_at_eval_only_where_dev_is_the_best_so_far() -> None:
    selection = PublishedSelection(ASV)
    scored: list[int] = []

    def score_eval() -> Trials:
        scored.append(len(scored))
        return trials(HALF if len(scored) == 1 else PERFECT)

    candidates, found = selection.after_epoch(start(), epoch(1, 0.02), score_eval)  # Above 1 %: does not count.
    assert found.keys() == {"dev_min_tdcf_2019"}
    assert int(candidates.average.count) == len(scored) == 0
    assert (candidates.best_epoch, candidates.best_dev_eer) == (0, math.inf)
    expected_half, expected_perfect = (
        min_tdcf_2019(np.array(scores[0]), np.array(scores[1]), ASV) for scores in (HALF, PERFECT)
    )
    assert expected_perfect < expected_half
    candidates, found = selection.after_epoch(candidates, epoch(2, 0.01), score_eval)
    assert found["eval_eer"] == 0.5
    assert found["eval_min_tdcf_2019"] == candidates.best_eval_tdcf == expected_half
    assert (candidates.best_epoch, candidates.best_dev_eer) == (2, 0.01)
    candidates, found = selection.after_epoch(candidates, epoch(3, 0.011), score_eval)  # Worse on dev than before.
    assert "eval_eer" not in found
    candidates, found = selection.after_epoch(candidates, epoch(4, 0.005), score_eval)
    assert (candidates.best_epoch, candidates.best_dev_eer) == (4, 0.005)
    assert candidates.best_eval_tdcf == found["eval_min_tdcf_2019"] == expected_perfect
    candidates, found = selection.after_epoch(candidates, epoch(5, 0.005), score_eval)  # No better on eval.
    assert candidates.best_epoch == 4
    np.testing.assert_equal(candidates.best, variables(4))
    np.testing.assert_allclose(candidates.average.params["w"], np.mean([2, 4, 5]), rtol=1e-6)


def test_published_passes_over_a_model_that_scores_all_trials_alike() -> None:
    candidates, found = PublishedSelection(ASV).after_epoch(start(), epoch(1, 0.0), lambda: trials(ALIKE))
    assert found["eval_min_tdcf_2019"] is None
    assert candidates.best_epoch == 0
    assert int(candidates.average.count) == 1


def test_an_epoch_cut_short_while_eval_is_scored_leaves_the_candidates_as_they_were() -> None:
    def stopped() -> Trials:
        raise StopRequested

    candidates = start()
    with pytest.raises(StopRequested):
        PublishedSelection(ASV).after_epoch(candidates, epoch(1, 0.0), stopped)
    assert (candidates.best_epoch, candidates.best_dev_eer, int(candidates.average.count)) == (0, math.inf, 0)


def test_published_chooses_the_average_or_else_the_last_epoch() -> None:
    selection = PublishedSelection(ASV)

    def no_scores(given: Any) -> Trials:
        raise AssertionError("dev has been scored")

    choice = selection.choose(start(), variables(7), AveragedModel(lambda: variables(9), no_scores))
    assert (choice.name, choice.candidates["averaged"]) == ("last epoch (no dev EER reached 1 %)", 0)
    np.testing.assert_equal(choice.variables, variables(7))
    candidates = after_epochs(selection, [0.0], lambda: trials(PERFECT))
    choice = selection.choose(candidates, variables(7), AveragedModel(lambda: variables(9), no_scores))
    assert choice.name == "average"
    assert choice.candidates == {"best_epoch_by_eval_tdcf": 1, "averaged": 1}
    np.testing.assert_equal(choice.variables, variables(9))
