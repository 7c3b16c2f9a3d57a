"""Explanations: survivors and occlusion recomputed by other means, and what occlusion tells of spliced recordings."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import soundfile
from scipy.stats import spearmanr

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.windows import first_window
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.explanation_text import explanation_dict, explanation_sentence
from aasist_jax.detection.timeline_text import sentence
from aasist_jax.errors import AudioError, ConfigError
from aasist_jax.features.sinc import sinc_filters
from aasist_jax.models.aasist import network
from aasist_jax.models.aasist.explain import Explanation, rollout, time_spans
from aasist_jax.weights.folder import Source, Weights, save_weights
from tests.conftest import CORPUS, EVAL_CLIPS, needs_corpus
from tests.models import toy
from tests.models.aasist import official
from tests.models.aasist.tiny import CONFIG as TINY
from tests.models.aasist.tiny import scaled_variables

SAMPLES = 14_000
NODES = {"t": 6, "s": 8}
CONFIG = dataclasses.replace(TINY, nb_samp=SAMPLES, pool_ratios=(0.7, 0.9, 0.7, 0.5))
WEIGHTS = Weights(CONFIG, scaled_variables(10), Source("tiny.pth", "0"), "tiny-0123", "0123")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(WEIGHTS)


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    rng = np.random.default_rng(4)
    return (rng.normal(size=SAMPLES) * np.repeat(rng.uniform(0.01, 0.3, 20), SAMPLES // 20)).astype(np.float32)


@pytest.fixture(scope="module")
def explanation(detector: Detector, wave: np.ndarray) -> Explanation:
    return detector.explain((np.concatenate([wave, wave]), 16_000))


def test_it_explains_the_score_of_the_first_window(
    detector: Detector, explanation: Explanation, wave: np.ndarray
) -> None:
    score = detector.score((wave, 16_000), published=True)
    assert explanation.score == pytest.approx(score.score, abs=1e-5)
    assert explanation.weights_id == "tiny-0123"
    assert (explanation.duration, explanation.window) == (2 * SAMPLES / 16_000, SAMPLES / 16_000)
    for kind, nodes in (("t", explanation.time), ("s", explanation.frequency)):
        assert len(nodes.edges) == NODES[kind] + 1
        assert np.all(np.diff(nodes.edges) > 0)
        assert len(nodes.attention) == len(nodes.rollout) == len(nodes.occlusion) == NODES[kind]
        assert sum(nodes.attention) == pytest.approx(1, abs=1e-6)
        assert min(nodes.rollout) >= 0
    assert sum(explanation.time.rollout + explanation.frequency.rollout) == pytest.approx(1)
    assert explanation.time.edges[0] == 4 / 16_000
    assert explanation.time.edges[-1] <= explanation.window
    assert (explanation.frequency.edges[0], explanation.frequency.edges[-1]) == (0, pytest.approx(8000))


def highest(pool: dict[str, Any], nodes: np.ndarray, kept: int) -> list[int]:
    """The indices of the nodes that a pool keeps, by the definition."""
    scores = np.asarray(nodes, np.float64) @ pool["proj"]["kernel"].astype(np.float64) + pool["proj"]["bias"]
    return np.argsort(-scores[:, 0], kind="stable")[:kept].tolist()


def test_survivors_are_those_of_the_layers_outputs(
    detector: Detector, explanation: Explanation, wave: np.ndarray
) -> None:
    module = detector.network.module
    _, sown = jax.jit(lambda wave: module.apply(detector.variables, wave, mutable=["stages"]))(wave[None])
    stages = {key: value[0][0] for key, value in sown["stages"].items() if key != "encoder"}
    params = WEIGHTS.variables["params"]
    for kind, nodes, first, later in (("t", explanation.time, 5, 3), ("s", explanation.frequency, 5, 3)):
        survivors = highest(params[f"pool_{kind}"], stages[f"after_gat_{kind}"], first)
        assert nodes.first_pool == tuple(survivors)
        for b in (1, 2):
            left = highest(params[f"pool_h{kind}{b}"], stages[f"after_htrg{b}1.{kind}"], later)
            assert nodes.branch_pools[b - 1] == tuple(survivors[i] for i in left)
    # Else the test would not tell one branch from the other, nor an order from another.
    assert explanation.time.branch_pools[0] != explanation.time.branch_pools[1]
    assert list(explanation.frequency.first_pool) != sorted(explanation.frequency.first_pool)


def test_occlusion_in_time_is_the_score_without_the_span(
    detector: Detector, explanation: Explanation, wave: np.ndarray
) -> None:
    for i, fall in enumerate(explanation.time.occlusion):
        begin, end = (round(16_000 * second) for second in explanation.time.edges[i : i + 2])
        silenced = wave.copy()
        silenced[begin:end] = 0
        assert end - begin == 3**7
        assert explanation.score - detector.logits(silenced[None])[0, 1] == pytest.approx(fall, abs=2e-5)
    assert max(map(abs, explanation.time.occlusion)) > 1e-3


def test_occlusion_in_frequency_is_the_score_without_the_filters(
    explanation: Explanation, wave: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    band = int(np.argmax(np.abs(explanation.frequency.occlusion)))
    bank = sinc_filters(24, CONFIG.first_conv).copy()
    bank[3 * band : 3 * band + 3] = 0
    monkeypatch.setattr(network, "sinc_filters", lambda filters, first_conv: bank)
    without = Detector(WEIGHTS).logits(wave[None])[0, 1]
    assert explanation.score - without == pytest.approx(explanation.frequency.occlusion[band], abs=2e-5)
    assert abs(explanation.frequency.occlusion[band]) > 1e-3


def sown_by_hand(times: int, bands: int, order_t: list[int]) -> dict[str, dict[str, np.ndarray]]:
    """Every node attends to itself alone; the pools keep all nodes, but for the first of the temporal ones."""

    def keep(order: list[int]) -> dict[str, np.ndarray]:
        return {"order": np.array(order), "gates": np.ones(len(order))}

    def attend(nodes: int) -> dict[str, np.ndarray]:
        return {"attention": np.eye(nodes), "stack_node_attention": np.full((1, nodes), 1 / nodes)}

    kept, all_bands = list(range(len(order_t))), list(range(bands))
    sown = {"gat_t": attend(times), "gat_s": attend(bands), "pool_t": keep(order_t), "pool_s": keep(all_bands)}
    for b in (1, 2):
        sown |= {f"pool_ht{b}": keep(kept), f"pool_hs{b}": keep(all_bands)}
        sown |= {f"htrg{b}{i}": attend(len(kept) + bands) for i in (1, 2)}
    return sown


def test_rollout_follows_who_attends_to_whom() -> None:
    sown = sown_by_hand(4, 3, [2, 0])
    times, bands = rollout(sown)
    # Of the read-out, 2 parts are the temporal nodes, 2 the spectral, 1 the stack node. Half of that comes from the
    # nodes after two layers that each pass on half: 1/2 * 1/2 + ... as the second layer is residual.
    assert times[[1, 3]].tolist() == [0, 0]
    assert times[0] == times[2]
    assert len(set(bands.round(12))) == 1
    assert times.sum() + bands.sum() == pytest.approx(1)
    stack_node = 1 / 2
    stack_node = (stack_node + (1 + stack_node) / 2) / 2
    assert times[0] == pytest.approx((2 / 2 + stack_node / 5) / (4 + stack_node))
    assert bands[0] == pytest.approx((2 / 3 + stack_node / 5) / (4 + stack_node))
    # One temporal node looks at another alone.
    sown["gat_t"]["attention"] = np.eye(4)[[0, 1, 3, 3]]
    looking, _ = rollout(sown)
    np.testing.assert_allclose(looking, [times[0], 0, times[0] / 2, times[0] / 2])
    # A gate weighs its node.
    sown["pool_t"]["gates"] = np.array([0.0, 1.0])
    closed, _ = rollout(sown)
    assert closed[2] == closed[3] == 0 < closed[0]


def test_what_cannot_be_explained_is_told(detector: Detector) -> None:
    for wave, status in ((np.zeros(SAMPLES), "silent"), (np.full(SAMPLES, 0.5), "constant")):
        with pytest.raises(AudioError, match=f"{status}; there is nothing to explain"):
            detector.explain((wave, 16_000))
    with toy.registered(), pytest.raises(ConfigError, match="Toy: scores of this family cannot be explained"):
        Detector(toy.toy_weights()).explain((np.ones(5000, np.float32), 16_000))


def test_the_command_prints_and_draws(command: Any, wave: np.ndarray, tmp_path: Path) -> None:
    folder = save_weights(tmp_path / "weights", CONFIG, WEIGHTS.variables, WEIGHTS.source)
    # Shorter than the window, so that the repetition is drawn; a name that could be taken for a formula.
    file = tmp_path / "a$b_c.wav"
    soundfile.write(file, wave[: SAMPLES // 2], 16_000, "FLOAT")
    code, out, err = command("explain", file, "--weights", folder, "--plot", tmp_path / "a.png", "--json")
    assert code == 0
    detector = Detector.from_pretrained(folder)
    expected, result = detector.explain(file), detector.score(file)
    numbers = json.loads(json.dumps(explanation_dict(expected)))
    assert json.loads(out) == {"file": str(file), **result.to_dict(), "explanation": numbers}
    assert "rollout" in numbers["time"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    code, out, err = command("explain", file, "--weights", folder)
    assert code == 0
    assert "not calibrated" in err
    words = " ".join(out.split())
    assert f"{file}: unsure. {sentence(result)}" in words
    assert words.endswith(explanation_sentence(expected))
    code, out, err = command("explain", file, "--weights", folder, "--plot", tmp_path / "none" / "a.png")
    assert (code, err.count("\n")) == (1, 1)
    assert "none/a.png: there is no folder" in err


# What holds of the official AASIST-L on real recordings


def clips(label: str, attacks: tuple[str, ...], count: int) -> list[np.ndarray]:
    """First windows of clips of the corpus, evenly spread over its list."""
    rows = [line.split() for line in (CORPUS / PROTOCOL).read_text().splitlines()]
    names = sorted(row[1] for row in rows if row[4] == label and row[3] in attacks)
    files = [EVAL_CLIPS / f"{name}.flac" for name in names]
    return [first_window(load_audio(file), 64_600) for file in files[:: len(files) // count][:count]]


PROTOCOL = "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt"
SPLICE, BEFORE, AFTER = (slice(first, first + 8) for first in (10, 1, 19))


@pytest.mark.reference
@needs_corpus
@pytest.mark.parametrize(("count", "moved"), [(4, 3), pytest.param(20, 18, marks=pytest.mark.slow)])
def test_silencing_a_splice_makes_a_recording_more_human(count: int, moved: int) -> None:
    """1.1 s of a text-to-speech voice in a human recording, at the level of the recording."""
    detector = official.detector("AASIST-L")
    spans = time_spans(official.weights("AASIST-L").config)

    def silenced(wave: np.ndarray, nodes: slice) -> np.ndarray:
        wave = wave.copy()
        wave[spans[nodes.start] : spans[nodes.stop]] = 0
        return wave

    spliced = []
    humans = clips("bonafide", ("-",), count)
    for human, synthetic in zip(humans, clips("spoof", ("espeak", "flite", "hts_slt"), count), strict=True):
        where = slice(spans[SPLICE.start], spans[SPLICE.stop])
        part = synthetic[: where.stop - where.start]
        wave = human.copy()
        wave[where] = part * (human.std() / part.std())
        spliced.append(wave)
    scores = detector.logits(
        np.stack([*humans, *spliced, *(silenced(wave, at) for at in (SPLICE, BEFORE, AFTER) for wave in spliced)])
    )[:, 1].reshape(5, count)
    human, whole, without, *elsewhere = scores
    print(f"AASIST-L, {count} recordings: the splice lowers the score of {np.sum(whole < human)}")
    print(f"silencing the splice raises it in {np.sum(without > whole)}, by {np.median(without - whole):+.2f} (median)")
    print(f"silencing as much before or after it: {np.median(np.stack(elsewhere) - whole):+.2f} (median)")
    print(f"the splice's silence is the more human than the mean of these in {np.sum(without > np.mean(elsewhere, 0))}")
    assert np.sum(without > np.mean(elsewhere, 0)) >= moved


@pytest.mark.reference
@pytest.mark.slow
@needs_corpus
def test_attention_against_occlusion_on_real_clips() -> None:
    """How far the graph's attention agrees with occlusion: measured, and honest."""
    detector = official.detector("AASIST-L")
    waves = clips("bonafide", ("-",), 10) + clips("spoof", ("espeak", "hts_slt", "griffin", "world", "piper"), 10)
    found: dict[str, list[float]] = {}
    for wave in waves:
        explanation = detector.explain((wave, 16_000))
        for name, nodes in (("time", explanation.time), ("frequency", explanation.frequency)):
            moved = np.abs(nodes.occlusion)
            reached = [sum(i in kept for kept in nodes.branch_pools) for i in range(len(moved))]
            for kind, values in (("rollout", nodes.rollout), ("attention", nodes.attention), ("survival", reached)):
                found.setdefault(f"{name}, {kind}", []).append(spearmanr(values, moved).statistic)
    for key, values in found.items():
        low, middle, high = np.quantile(values, [0, 0.5, 1])
        print(f"AASIST-L, 20 clips, {key} against |occlusion|: {middle:+.2f} (median; {low:+.2f} to {high:+.2f})")
    assert all(np.isfinite(values).all() for values in found.values())
