"""A head that is trained on stored features of its frozen encoder is that of the whole model."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from flax.traverse_util import flatten_dict

from aasist_jax.detection.detector import Detector
from aasist_jax.models.family import window_of
from aasist_jax.weights.folder import load_weights
from tests.conftest import Command
from tests.models.ssl import tiny
from tests.models.ssl.tiny import configuration

pytestmark = pytest.mark.usefixtures("quickly_compiled")

MHFA = {"kind": "mhfa", "heads": 2, "compression": 4}


def assert_scores_are_those_of_the_whole_model(run: Path, clips: Path, tolerance: float) -> None:
    detector = Detector.from_pretrained(run / "weights")
    lines = [line.split() for line in (run / "scores" / "eval_final.txt").read_text().splitlines()]
    assert len(lines) == 8
    window = window_of(detector.weights.config)
    for line in lines:
        wave, _ = soundfile.read(clips.parent / f"{line[0]}.wav", dtype="float32")
        expected = detector.logits(wave[None, : window.samples])[0, 1]
        assert float(line[-1]) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(("head", "tolerance"), [({"kind": "mlp"}, 2e-5), (MHFA, 5e-3)])
def test_scores_are_those_of_the_whole_model(
    head: dict[str, object], tolerance: float, clips: Path, tmp_path: Path, command: Command, tiny_file: Path
) -> None:
    """Statistics are stored in float32, steps in float16. Clips are shorter and longer than a window."""
    config = configuration(clips, tmp_path, tiny_file, head=head)
    run, stored = tmp_path / "run", f"data_config.features={tmp_path / 'features'}"
    code, _, said = command("train", "--config", config, "--output", run, "--set", stored)
    assert code == 0, said
    assert "features of train: 32 clips at" in said
    assert_scores_are_those_of_the_whole_model(run, clips, tolerance)
    weights = load_weights(run / "weights")
    for kind, tree in tiny.pretrained().variables.items():
        for path, value in flatten_dict(tree, sep="/").items():
            np.testing.assert_array_equal(flatten_dict(weights.variables[kind]["encoder"], sep="/")[path], value)


def test_other_runs_find_the_features(clips: Path, tmp_path: Path, command: Command, tiny_file: Path) -> None:
    """Those of other seeds, rates and heads that take the same, and epochs that take the versions in turn."""
    config = configuration(clips, tmp_path, tiny_file)
    stored = ("--set", f"data_config.features={tmp_path / 'features'}", "--set", "data_config.augmented_versions=2")
    noisy = ("--set", 'data_config.augmentation=[{"kind": "noise", "source": "babble"}]')
    code, _, said = command("train", "--config", config, "--output", tmp_path / "one", *stored, *noisy)
    assert (code, said.count("version 2 of 2: 32 clips at")) == (0, 1), said
    files = {path: path.stat().st_size for path in (tmp_path / "features").iterdir()}
    other = ("--set", "train_config.seed=1", "--set", 'model_config.head={"kind": "mlp"}', "--set", "batch_size=32")
    code, _, said = command("train", "--config", config, "--output", tmp_path / "two", *stored, *noisy, *other)
    assert (code, "clips/s" in said) == (0, False), said
    assert {path: path.stat().st_size for path in (tmp_path / "features").iterdir()} == files
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["steps"] == 1


def test_only_what_is_frozen_is_stored(clips: Path, tmp_path: Path, command: Command, tiny_file: Path) -> None:
    config = configuration(clips, tmp_path, tiny_file, freeze=0)
    stored = f"data_config.features={tmp_path / 'features'}"
    code, _, said = command("train", "--config", config, "--output", tmp_path / "run", "--set", stored)
    assert code == 1
    assert "data_config.features: only what is not trained can be stored; set model_config.freeze=encoder" in said
    assert not (tmp_path / "features").exists()
    more = ("--set", "data_config.augmented_versions=2")
    code, _, said = command("train", "--config", config, "--output", tmp_path / "run", *more)
    assert code != 0
    assert "augmented_versions: expected 1 without features" in said
