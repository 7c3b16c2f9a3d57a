"""What an explanation says in a sentence, and where its overlay lies."""

import dataclasses

import numpy as np
import pytest

from aasist_jax.detection.explanation_plot import explanation_figure, overlay_of
from aasist_jax.detection.explanation_text import explanation_dict, explanation_sentence, strongest
from aasist_jax.detection.verdict import DecisionRule, judge
from aasist_jax.models.explanation import Explanation, Nodes

TIME = Nodes(edges=(0.0, 1.0, 2.0, 3.0, 4.0), occlusion=(0.5, 1.0, -0.9, 0.1), rollout=(0.1, 0.2, 0.3, 0.4))
BANDS = Nodes(edges=(0.0, 500.0, 1000.0, 8000.0), occlusion=(0.0, -0.3, -0.2))
EXPLANATION = Explanation(-1.25, 60.0, 4.0, "toy-0123", TIME, BANDS)


def test_the_strongest_neighbours_are_named_together() -> None:
    assert strongest(TIME, 1) == [(0.0, 2.0)]
    assert strongest(TIME, -1) == [(2.0, 3.0)]
    assert strongest(BANDS, -1) == [(500.0, 8000.0)]
    assert strongest(BANDS, 1) == []
    runs = Nodes(edges=tuple(map(float, range(8))), occlusion=(0.6, 0.0, 0.9, 0.9, 0.0, 1.0, 0.0))
    assert strongest(runs, 1) == [(2.0, 4.0), (5.0, 6.0)]


def test_the_sentence_says_which_parts_spoke_for_whom() -> None:
    assert explanation_sentence(EXPLANATION) == (
        "The raw score of the first 4.00 s is -1.25. Silencing its parts shows that 0.00 to 2.00 s spoke for a human, "
        "and 2.00 to 3.00 s and 500 to 8000 Hz spoke for a machine."
    )
    nothing = Nodes(edges=(0.0, 1.0), occlusion=(0.019,))
    quiet = Explanation(0.5, 1.0, 1.0, "toy-0123", nothing, nothing)
    assert "no span of time and no band of frequency moves it by 0.02" in explanation_sentence(quiet)
    short = explanation_sentence(dataclasses.replace(EXPLANATION, duration=1.3))
    assert short.startswith("The raw score of the recording, repeated to 4.00 s is -1.25.")


def test_numbers_keep_what_the_family_gives_and_have_no_label() -> None:
    found = explanation_dict(EXPLANATION)
    assert found["time"]["rollout"] == TIME.rollout
    assert "rollout" not in found["frequency"]
    assert "label" not in found
    assert found["sentence"] == explanation_sentence(EXPLANATION)


def test_the_overlay_is_the_sum_of_spans_and_bands() -> None:
    overlay = overlay_of(EXPLANATION)
    assert overlay.shape == (3, 4)
    assert overlay[0, 1] == pytest.approx(0.5)
    assert overlay[1, 2] == pytest.approx((-0.9 - 1.0) / 2)
    assert np.abs(overlay).max() <= 1


def test_the_figure_has_one_picture_and_the_verdict_for_a_title() -> None:
    verdict = judge(np.array([5.0]), DecisionRule())
    figure = explanation_figure(
        EXPLANATION, np.random.default_rng(0).normal(size=64_000).astype(np.float32), "a.wav", verdict
    )
    assert len(figure.axes) == 1
    assert figure.get_suptitle() == "a.wav: human"
    assert "spoke for a machine" in figure.axes[0].get_xlabel().replace("\n", " ")
