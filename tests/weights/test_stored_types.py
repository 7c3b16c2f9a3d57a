"""Parameters stored as float16: float32 again in memory, state untouched, and what it changes in scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file

from aasist_jax.detection.detector import Detector
from aasist_jax.errors import WeightsError
from aasist_jax.weights.convert import convert_checkpoint, export_checkpoint
from aasist_jax.weights.folder import MODEL_FILE, load_weights, save_weights
from aasist_jax.weights.torch_file import read_torch_file
from tests.conftest import EVAL_CLIPS, Command, needs_corpus
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")

SMALLEST_VARIANCE = 2.1e-7
"""As small as those of published networks; half of its digits would be lost in float16."""


def changed_toy(changes: Mapping[str, Any]) -> Any:
    """The toy's weights with other values in some variables, by path."""
    weights = toy.toy_weights()
    for path, value in changes.items():
        *parents, last = path.split("/")
        inner = weights.variables
        for part in parents:
            inner = inner[part]
        inner[last] = np.full_like(inner[last], value)
    return weights


def stored(folder: Path, changes: Mapping[str, Any], dtype: Any = None) -> Path:
    weights = changed_toy(changes)
    return save_weights(folder, weights.config, weights.variables, weights.source, dtype=dtype)


def test_parameters_are_rounded_once_and_state_is_not(tmp_path: Path) -> None:
    changes = {"batch_stats/norm/var": SMALLEST_VARIANCE, "params/judge/bias": 0.1}
    folder = stored(tmp_path / "half", changes, "float16")
    whole = flatten_dict(changed_toy(changes).variables, sep="/")
    for path, value in load_file(folder / MODEL_FILE).items():
        assert value.dtype == (np.float16 if path.startswith("params/") else whole[path].dtype), path
    loaded = load_weights(folder)
    for path, value in flatten_dict(loaded.variables, sep="/").items():
        assert value.dtype == whole[path].dtype, path
        expected = whole[path].astype(np.float16).astype(np.float32) if path.startswith("params/") else whole[path]
        np.testing.assert_array_equal(value, expected, err_msg=path)
    again = save_weights(tmp_path / "again", loaded.config, loaded.variables, loaded.source, dtype="float16")
    assert (again / MODEL_FILE).read_bytes() == (folder / MODEL_FILE).read_bytes()
    assert load_weights(again).weights_id == loaded.weights_id


def test_the_id_is_of_what_is_stored(tmp_path: Path) -> None:
    half, whole = stored(tmp_path / "half", {}, "float16"), stored(tmp_path / "whole", {})
    assert load_weights(half).weights_id != load_weights(whole).weights_id
    assert load_weights(stored(tmp_path / "float32", {}, "float32")).weights_id == load_weights(whole).weights_id


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        stored(tmp_path / "half", {"params/gain": 70_000.0}, "float16")
    told = "params/gain holds values up to 7e+04, too large for float16; store float32"
    assert str(caught.value) == f"{tmp_path / 'half'}: {told}"
    assert not (tmp_path / "half").exists()


def test_the_command_stores_a_folder_again(command: Command, tmp_path: Path) -> None:
    folder, half = stored(tmp_path / "whole", {}), tmp_path / "half"
    assert command("convert", folder, "--dtype", "float16", "--output", half) == (0, f"{half}\n", "")
    assert (half / MODEL_FILE).stat().st_size < (folder / MODEL_FILE).stat().st_size
    assert load_weights(half).source == load_weights(folder).source
    for arguments in ((folder,), (folder, "--output", half), (folder, "--dtype", "float16")):
        code, out, err = command("convert", *arguments)
        told = "is a weights folder; give --to-torch FILE, or --dtype and --output to store it once more"
        assert (code, out, err) == (1, "", f"error: {folder}: {told}\n")


@needs_corpus
@pytest.mark.reference
def test_scores_of_real_clips_hardly_change(reference: Path, tmp_path: Path) -> None:
    """Official weights, five clips: logits move by thousandths, where they are some units from one another."""
    checkpoint = reference / "weights" / "AASIST-L.pth"
    detectors = []
    for dtype in ("float32", "float16"):
        folder = convert_checkpoint(checkpoint, "AASIST-L", tmp_path / dtype, dtype=dtype)
        detectors.append(Detector.from_pretrained(folder))
    back = read_torch_file(export_checkpoint(tmp_path / "float16", tmp_path / "back.pth"))
    official = read_torch_file(checkpoint)
    assert {name: value.dtype for name, value in back.items()} == {n: v.dtype for n, v in official.items()}
    clips = sorted(EVAL_CLIPS.glob("*.flac"))[:5]
    found = np.array([[each.score(clip).score for clip in clips] for each in detectors])
    difference = np.abs(found[1] - found[0]).max()
    print(f"largest change of a score by float16: {difference:.1e}")
    assert 0 < difference < 0.02
