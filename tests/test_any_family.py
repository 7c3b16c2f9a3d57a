"""Families that nobody foresaw go through everything, and no line outside their own file knows of them.

Each toy of `tests/models/toys` is of another kind: without state; of any length, with a state that is no batch norm and
one logit; with a loss that asks for the attack, and bona fide as its first logit.
"""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from aasist_jax.commands import exit_codes
from aasist_jax.config import TrainConfig
from aasist_jax.data.layouts.csv_table import read_csv
from aasist_jax.data.pipeline import ClipSource, train_dataset
from aasist_jax.detection.detector import Detector
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.models.family import StateEstimate, Window, register, unregister
from aasist_jax.models.network import Outputs
from aasist_jax.training.epoch import StepRunner
from aasist_jax.training.interruption import StopRequested
from aasist_jax.weights.folder import load_weights
from tests.conftest import Command
from tests.made_speech import made_speech
from tests.models.toys import any_length, attack_types, stateless

TOYS = (stateless, any_length, attack_types)
RATE = 16_000
LOUD, FAINT = 3.0, 0.3
SURE = 0.8
SPLITS = {"train": 32, "dev": 12, "eval": 12}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Humans are loud and machines quiet, by two attacks; clips are shorter and longer than a window."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    rows = []
    for split, count in SPLITS.items():
        for i in range(count):
            human = i % 5 < 2
            wave = made_speech(rng.integers(2500, 9000) / RATE, seed=i, gain=LOUD if human else FAINT)
            soundfile.write(folder / f"{split}{i}.wav", wave, RATE, subtype="FLOAT")
            attack = "-" if human else ("vocoder", "splice")[i % 2]
            rows.append((f"{split}{i}.wav", "bonafide" if human else "spoof", attack, f"speaker{i % 4}", split))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "attack", "speaker", "split"), *rows])
    return folder / "clips.csv"


def configuration(toy: Any, clips: Path, folder: Path) -> Path:
    path = folder / "toy.json"
    document = {
        "model_config": toy.MODEL_CONFIG,
        "optim_config": {"base_lr": 0.1},
        "data_config": {"layout": "csv"},
        "train_config": {"checkpoint_steps": 100, "log_steps": 1, "class_weights": [0.5, 0.5]},
        "database_path": str(clips),
        "batch_size": 8,
        "num_epochs": 6,
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("toy", TOYS, ids=[toy.FAMILY.name for toy in TOYS])
@pytest.mark.usefixtures("toys")
def test_a_new_family_goes_through_everything(
    toy: ModuleType, clips: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(toy, clips, tmp_path)
    weights = train_and_resume(config, tmp_path, command, monkeypatch)
    convert_there_and_back(config, weights, tmp_path, command)
    scores = score_each_clip(weights, clips, tmp_path, command)
    evaluate(config, weights, scores, tmp_path, command)
    calibrate(weights, clips, tmp_path, command)
    timeline_and_stream(weights, tmp_path, command)
    export(toy, weights, tmp_path, command)
    explain(toy, weights, tmp_path, command)


def train_and_resume(config: Path, folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is stopped and goes on ends in the bits of one that was left alone, and has learnt."""
    assert command("train", "--config", config, "--output", folder / "alone")[0] == 0
    take_step = StepRunner.take_step

    def stop_at_six(steps: StepRunner) -> None:
        if steps._state.step == 6:
            raise StopRequested
        take_step(steps)

    with monkeypatch.context() as patch:
        patch.setattr(StepRunner, "take_step", stop_at_six)
        assert command("train", "--config", config, "--output", folder / "stopped")[0] == exit_codes.STOPPED
    code, _, said = command("train", "--config", config, "--output", folder / "stopped")
    assert code == 0
    assert "step 6 of 24" in said
    for name in ("weights/model.safetensors", "scores/dev_final.txt", "scores/eval_final.txt"):
        assert (folder / "stopped" / name).read_bytes() == (folder / "alone" / name).read_bytes()
    summary = json.loads((folder / "alone" / "summary.json").read_text())
    assert summary["eval"]["eer"] == 0
    assert set(summary["eval"]["attacks"]) == {"vocoder", "splice"}
    return folder / "alone" / "weights"


def convert_there_and_back(config: Path, weights: Path, folder: Path, command: Command) -> None:
    assert command("convert", weights, "--to-torch", folder / "toy.pth")[0] == 0
    assert command("convert", folder / "toy.pth", "--config", config, "--output", folder / "back")[0] == 0
    assert (folder / "back" / "model.safetensors").read_bytes() == (weights / "model.safetensors").read_bytes()


def score_each_clip(weights: Path, clips: Path, folder: Path, command: Command) -> dict[str, float]:
    """The published scores are those that the network gives for the clip as the window rule fills it."""
    code, out, _ = command("score", clips.parent, "--weights", weights, "--published", "--format", "jsonl")
    rows = {Path(row["file"]).stem: row for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert len(rows) == sum(SPLITS.values())
    detector = Detector.from_pretrained(weights)
    for name in ("eval0", "eval1", "eval2"):
        wave, _ = soundfile.read(clips.parent / f"{name}.wav", dtype="float32")
        start = wave[: detector.window]
        fixed = detector.window_rule.fixed
        expected = detector.logits((np.resize(start, detector.window) if fixed else start)[None])[0, 1]
        assert rows[name]["score"] == pytest.approx(expected, abs=2e-5)
        assert (rows[name]["label"], rows[name]["reasons"]) == (None, None)
    score_all_windows(detector, weights, folder, command)
    return {name: row["score"] for name, row in rows.items()}


def score_all_windows(detector: Detector, weights: Path, folder: Path, command: Command) -> None:
    """The whole recording has the mean over windows side by side, the last of which ends with it."""
    size = detector.window
    wave = made_speech((2 * size + 700) / RATE, gain=LOUD)
    wave[size:] *= 0.1
    soundfile.write(folder / "three.wav", wave, RATE, subtype="FLOAT")
    code, out, _ = command("score", folder / "three.wav", "--weights", weights, "--format", "jsonl")
    expected = detector.logits(np.stack([wave[:size], wave[size : 2 * size], wave[-size:]]))[:, 1]
    assert code == 0
    row = json.loads(out)
    assert row["score"] == pytest.approx(expected.mean(), abs=2e-5)
    assert (row["label"], row["llr"], row["heard_seconds"]) == ("unsure", None, row["seconds"])
    assert "uncalibrated" in row["reasons"]
    assert abs(expected[0] - expected.mean()) > 0.1, "the first window alone would pass as well"


def evaluate(config: Path, weights: Path, scores: dict[str, float], folder: Path, command: Command) -> None:
    options = ("--split", "eval", "--output", folder / "report", "--resamples", 0)
    assert command("evaluate", "--config", config, "--weights", weights, *options)[0] == 0
    assert json.loads((folder / "report" / "metrics.json").read_text())["eer"] == 0
    rows = [line.split() for line in (folder / "report" / "eval.txt").read_text().splitlines()]
    assert {row[0]: pytest.approx(float(row[3]), abs=2e-5) for row in rows} == {
        name: score for name, score in scores.items() if name.startswith("eval")
    }


def calibrate(weights: Path, clips: Path, folder: Path, command: Command) -> None:
    """What it has learnt becomes verdicts by one command; a recording of either kind is then called what it is."""
    code, out, said = command("calibrate", weights, "--data", clips)
    assert code == 0, said
    assert "Fitted on" in out
    detector = Detector.from_pretrained(weights)
    assert detector.calibration is not None
    for gain, label in ((LOUD, "human"), (FAINT, "synthetic")):
        soundfile.write(folder / f"{label}.wav", made_speech(3.0, gain=gain), RATE, subtype="FLOAT")
        code, out, _ = command("score", folder / f"{label}.wav", "--weights", weights, "--format", "jsonl")
        row = json.loads(out)
        assert (code, row["label"], row["reasons"]) == (0, label, None)
        assert row["model_id"] == detector.model_id != row["weights_id"]


def timeline_and_stream(weights: Path, folder: Path, command: Command) -> None:
    """Faint speech in a loud recording is found, by the file and by the stream alike.

    The few clips of the calibration support no ratio that is strong enough to be 90 % sure of a part.
    """
    wave = made_speech(5.0, gain=LOUD)
    wave[2 * RATE : 4 * RATE] *= 0.1
    soundfile.write(folder / "long.wav", wave, RATE, subtype="FLOAT")
    options = ("--weights", weights, "--segments", folder / "long.json", "--sure", SURE)
    assert command("timeline", folder / "long.wav", *options)[0] == 0
    document = json.loads((folder / "long.json").read_text())
    faint = [segment for segment in document["segments"] if segment["label"] == "synthetic"]
    assert (document["label"], len(faint)) == ("synthetic", 1)
    assert faint[0]["start"] == pytest.approx(2, abs=0.4)
    assert faint[0]["end"] == pytest.approx(4, abs=0.4)

    detector = Detector.from_pretrained(weights)
    rule = DecisionRule(sure=SURE)
    stream = detector.stream(rule=rule)
    windows = [window for chunk in np.array_split(wave, 13) for window in stream.push(chunk)] + stream.finish()
    assert [window.score for window in windows] == [window["score"] for window in document["windows"]]
    assert stream.result() == detector.score(folder / "long.wav", rule=rule)
    assert stream.result() == detector.timeline(folder / "long.wav", rule=rule).score
    short = detector.stream()
    short.push(wave[:1500])
    assert short.finish()[0].score == detector.score((wave[:1500], RATE)).score


def export(toy: ModuleType, weights: Path, folder: Path, command: Command) -> None:
    """What is written has been checked against the native scores; what cannot be written is told in a line.

    `tests/export/test_onnx_file.py` exports the toy that has an ONNX form.
    """
    assert command("export", weights, "--format", "stablehlo", "--output", folder / "toy.zip")[0] == 0
    if toy.FAMILY.onnx_graph is not None:
        return
    code, _, said = command("export", weights, "--format", "onnx", "--output", folder / "toy.onnx")
    assert (code, said.count("\n")) == (exit_codes.FAILURE, 1)
    assert "has no ONNX form; export it as StableHLO" in said
    assert not (folder / "toy.onnx").exists()


def explain(toy: ModuleType, weights: Path, folder: Path, command: Command) -> None:
    """A short clip is explained over its own length; a family without explanations says so in a line."""
    wave = np.random.default_rng(2).normal(scale=0.1, size=2000).astype(np.float32)
    wave[500:1000] *= 2
    soundfile.write(folder / "short.wav", wave, RATE, subtype="FLOAT")
    if toy.FAMILY.explainer is None:
        code, _, said = command("explain", folder / "short.wav", "--weights", weights)
        assert (code, said.count("\n")) == (exit_codes.FAILURE, 1)
        assert f"{toy.FAMILY.name}: scores of this family cannot be explained" in said
        return
    options = ("--weights", weights, "--json", "--plot", folder / "why.png")
    code, out, _ = command("explain", folder / "short.wav", *options)
    found = json.loads(out)["explanation"]
    assert code == 0
    assert (found["duration"], found["window"]) == (2000 / RATE, 2000 / RATE)
    for nodes in (found["time"], found["frequency"]):
        assert list(nodes) == ["edges", "occlusion"]
    assert found["time"]["edges"][-1] == 2000 / RATE
    assert (folder / "why.png").read_bytes().startswith(b"\x89PNG")
    detector = Detector.from_pretrained(weights)
    assert found["score"] == pytest.approx(detector.score((wave, RATE), published=True).score, abs=2e-5)
    silenced = np.concatenate([wave[:500], np.zeros(500, np.float32), wave[1000:]])
    fall = found["score"] - detector.score((silenced, RATE), published=True).score
    assert found["time"]["occlusion"][1] == pytest.approx(fall, abs=2e-5)
    assert np.argmax(found["time"]["occlusion"]) == 1
    code, out, _ = command("explain", folder / "short.wav", "--weights", weights)
    assert code == 0
    assert "0.03 to 0.06 s" in out
    # Shorter than a frame of the spectrogram.
    soundfile.write(folder / "tiny.wav", wave[:201], RATE, subtype="FLOAT")
    assert command("explain", folder / "tiny.wav", *options)[0] == 0


@pytest.mark.usefixtures("toys")
def test_a_state_that_is_not_batch_norm_is_kept(clips: Path, tmp_path: Path, command: Command) -> None:
    """The loudest sample that training heard stands in the weights, and not what it was at the start."""
    config = configuration(any_length, clips, tmp_path)
    assert command("train", "--config", config, "--output", tmp_path / "run")[0] == 0
    state = load_weights(tmp_path / "run" / "weights").model_state
    loudest = max(np.abs(soundfile.read(path)[0]).max() for path in clips.parent.glob("train*.wav"))
    assert 0.5 * loudest < float(state["memory"]["loudest"]) <= max(loudest, 1)


@dataclass(frozen=True)
class EstimatedConfig(any_length.AnyLengthConfig):
    """The configuration of a variant: a type belongs to one family."""


@dataclass(frozen=True)
class WatchedConfig(attack_types.AttackTypesConfig):
    """The same for the family whose loss is watched."""


@contextlib.contextmanager
def variant(toy: ModuleType, **changes: Any) -> Iterator[SimpleNamespace]:
    """A toy with another name and other abilities, among the registered families for a while."""
    family = register(dataclasses.replace(toy.FAMILY, name="ToyVariant", **changes))
    try:
        yield SimpleNamespace(FAMILY=family, MODEL_CONFIG=toy.MODEL_CONFIG | {"architecture": family.name})
    finally:
        unregister(family.name)


def test_a_state_that_is_not_batch_norm_is_estimated_for_averaged_parameters(
    clips: Path, tmp_path: Path, command: Command
) -> None:
    """Averaged parameters get the mean, over the batches of the first epoch, of each batch's loudest sample."""
    estimate = StateEstimate(
        start=lambda state: jax.tree.map(jnp.zeros_like, state),
        finish=lambda replaced, mean, batches: np.asarray(mean, replaced.dtype),
    )
    with variant(any_length, config_type=EstimatedConfig, state_estimate=estimate) as toy:
        config = configuration(toy, clips, tmp_path)
        assert command("train", "--config", config, "--output", tmp_path / "run")[0] == 0
        state = load_weights(tmp_path / "run" / "weights").model_state
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["chosen"] == "average"
    source = ClipSource(read_csv(clips, "train"))
    window = Window(6000, 200, fixed=False)
    batches = train_dataset(source, window=window, batch_size=8, seed=TrainConfig().seed, epochs=1)
    loudest = [np.abs(batch["wave"]).max() for batch in batches]
    assert len(loudest) == SPLITS["train"] // 8
    assert float(state["memory"]["loudest"]) == pytest.approx(np.mean(loudest), rel=1e-6)


@pytest.mark.parametrize("known", [["vocoder"], []])
def test_a_loss_that_needs_the_attack_is_told_which_attacks_are_unknown(
    known: list[str], clips: Path, tmp_path: Path, command: Command
) -> None:
    """By the word `unknown` in the table, or because the table has no attacks at all; such clips are learnt from."""
    with clips.open(newline="") as file:
        rows = [row | {"path": str(clips.parent / row["path"])} for row in csv.DictReader(file)]
    for row in rows:
        if not known:
            del row["attack"]
        elif row["attack"] not in ("-", *known):
            row["attack"] = "unknown"
    table = tmp_path / "clips.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    seen: set[tuple[int, int]] = set()

    def see(label: Any, attack: Any) -> None:
        seen.update(zip(label.tolist(), attack.tolist(), strict=True))

    def watched(outputs: Outputs, record: Any, class_weights: tuple[float, float]) -> tuple[Any, Any]:
        jax.debug.callback(see, record["label"], record["attack"])
        return attack_types.FAMILY.loss(outputs, record, class_weights)

    with variant(attack_types, config_type=WatchedConfig, loss=watched) as toy:
        config = configuration(toy, table, tmp_path)
        assert command("train", "--config", config, "--output", tmp_path / "run")[0] == 0
    assert seen == {(1, 0), (0, -1)} | {(0, number) for number, _ in enumerate(known, start=1)}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["eval"]["eer"] == 0


@pytest.mark.usefixtures("toys")
def test_what_a_family_lacks_is_told_before_the_first_step(clips: Path, tmp_path: Path, command: Command) -> None:
    config = configuration(stateless, clips, tmp_path)
    code, _, said = command("train", "--config", config, "--output", tmp_path / "run", "--set", "freq_aug=true")
    assert code == exit_codes.FAILURE
    assert said.strip().endswith("freq_aug: ToyStateless has no filters to mask; leave it false")
