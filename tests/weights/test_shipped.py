"""Weights that come with the package: found by name, never written to, and what each of them must have."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from aasist_jax.calibration.detector_calibration import read_detector_calibration
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector, calibration_file
from aasist_jax.errors import WeightsError
from aasist_jax.weights import shipped
from aasist_jax.weights.folder import load_weights
from aasist_jax.weights.published import default_weights, fetch_weights, find_weights
from scripts import ship_weights
from tests.commands.labelled_clips import write_clips
from tests.conftest import REPOSITORY, Command
from tests.made_calibration import calibrate_by_hand
from tests.made_speech import made_speech
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")

SPEECH = (made_speech(2.0), 16_000)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder of weights: `default` is calibrated, `small` is not. The user's data folder is another."""
    folder = tmp_path / "package"
    calibrate_by_hand(toy.save_toy(folder / "default"), 1.0, 9.0)
    toy.save_toy(folder / "small")
    monkeypatch.setattr(shipped, "FOLDER", folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return folder


def assert_complete(name: str) -> None:
    """The folder holds all that it must have and nothing else, is small enough, and is of float16."""
    folder = shipped.shipped_folder(name)
    held = {path.name for path in folder.iterdir()}
    assert held == {"model.safetensors", "config.json", CALIBRATION_FILE, "LICENSE", "NOTICE"}
    assert shipped.folder_size(folder) <= ship_weights.largest(name) <= 10_000_000
    calibration = read_detector_calibration(folder / CALIBRATION_FILE)
    assert calibration.weights_id == load_weights(folder).weights_id
    assert "/" not in calibration.fitted_on.command
    assert (folder / "LICENSE").read_bytes() == ship_weights.LICENCE.read_bytes()
    assert (folder / "NOTICE").read_text().strip()
    parameters = {path: value for path, value in load_file(folder / "model.safetensors").items() if "params/" in path}
    assert {value.dtype for value in parameters.values()} == {np.dtype(np.float16)}


def test_each_that_is_here_is_complete_and_has_a_model_card() -> None:
    for name in shipped.shipped_names():
        assert_complete(name)
        card = REPOSITORY / "docs" / "models" / f"{name}.md"
        assert card.is_file(), f"write {card}"
        assert f"models/{name}.md" in (REPOSITORY / "mkdocs.yml").read_text(), "name it in the navigation"


def test_a_folder_there_is_a_name(package: Path) -> None:
    assert shipped.shipped_names() == ["default", "small"]
    assert default_weights() == "default"
    assert find_weights(None) == find_weights("default") == fetch_weights("default") == package / "default"
    assert find_weights("small") == package / "small"
    assert Detector.from_pretrained().score(SPEECH).label == "human"
    assert Detector.from_pretrained("small").score(SPEECH).reasons == ("uncalibrated",)
    with pytest.raises(WeightsError, match="smal: no such folder, nor weights of that name; did you mean 'small'"):
        find_weights("smal")


def test_without_one_the_published_ones_are_the_default(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "FOLDER", package / "small")
    assert shipped.shipped_names() == []
    assert default_weights() == "AASIST-L"


def test_a_folder_of_that_name_does_not_take_its_place(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()
    (tmp_path / "small").mkdir()
    assert find_weights(None) == package / "default"
    assert find_weights("small") == package / "small"
    assert find_weights("./small") == Path("./small")


def test_models_lists_them(package: Path, command: Command) -> None:
    code, out, err = command("models")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if "MIT" in line}
    assert list(rows)[:2] == ["default", "small"]
    assert "default (default)" in rows["default"]
    assert rows["small"].endswith("comes with the package")
    assert "(default)" not in rows["AASIST-L"]


def test_every_verb_takes_their_names(package: Path, command: Command, tmp_path: Path) -> None:
    clips = write_clips(tmp_path)
    for arguments in (
        ("score", tmp_path / "human00.wav", "--format", "json"),
        ("timeline", tmp_path / "human00.wav", "--format", "json"),
    ):
        for weights, label in (((), "human"), (("--weights", "default"), "human"), (("--weights", "small"), "unsure")):
            code, out, _ = command(*arguments, *weights)
            found = json.loads(out)
            assert code == 0
            assert (found[0] if isinstance(found, list) else found)["label"] == label
    assert command("verdicts", clips, "--weights", "small")[0] == 0


def test_a_calibration_of_ones_own_goes_where_the_users_data_are(
    package: Path, command: Command, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    clips = write_clips(tmp_path)
    for name in ("default", "small"):
        detector = Detector.from_pretrained(name)
        own = tmp_path / "data" / "aasist_jax" / "calibrations" / f"{detector.weights.weights_id}.json"
        assert calibration_file(package / name, detector.weights.weights_id) == own
        code, _, err = command("calibrate", name, "--data", clips)
        assert (code, err) == (0, f"{own}: written; `score`, `timeline` and `listen` use it\n")
        assert Detector.from_pretrained(name).calibration.fitted_on.data == "clips.csv"
        own.unlink()
    assert Detector.from_pretrained().calibration.fitted_on.data == "made by hand"
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before


@pytest.fixture
def trained(package: Path, tmp_path: Path, command: Command) -> tuple[Path, Path]:
    """A run whose weights are calibrated, and a notice."""
    folder = toy.save_toy(tmp_path / "run" / "weights")
    assert command("calibrate", folder, "--data", write_clips(tmp_path), "--split", "dev")[0] == 0
    notice = tmp_path / "NOTICE"
    notice.write_text("Made from nothing.\n")
    return tmp_path / "run", notice


def test_a_run_is_put_into_the_package(package: Path, trained: tuple[Path, Path]) -> None:
    """As float16, with a calibration of just that, which names no folder of this machine; again, it is replaced."""
    run, notice = trained
    for _ in range(2):
        folder = ship_weights.ship(run, "small", notice)
    assert folder == package / "small"
    assert_complete("small")
    detector = Detector.from_pretrained("small")
    assert detector.weights.weights_id != load_weights(run / "weights").weights_id
    assert detector.calibration.fitted_on.command == "aasist-jax calibrate small --data clips.csv --split dev"
    assert detector.score(SPEECH).label == "human"
    assert sorted(path.name for path in package.iterdir()) == ["default", "small"]


def test_what_cannot_be_shipped_is_told(
    package: Path, trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, notice = trained
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    bare = toy.save_toy(tmp_path / "bare")
    with pytest.raises(WeightsError, match=r"bare: not calibrated; run `aasist-jax calibrate \S*bare --data CLIPS`"):
        ship_weights.ship(bare, "fast", notice)
    other = toy.toy_weights(gain=2.0)
    toy.save_weights(bare, other.config, other.variables, other.source)
    (bare / CALIBRATION_FILE).write_bytes((run / "weights" / CALIBRATION_FILE).read_bytes())
    with pytest.raises(WeightsError, match="was fitted on other weights, toy-"):
        ship_weights.ship(bare, "fast", notice)
    with pytest.raises(WeightsError, match="nothing: holds no text; say there what the weights were made from"):
        ship_weights.ship(run, "fast", tmp_path / "nothing")
    with pytest.raises(WeightsError, match=r"'\.\./fast': a name is of small letters"):
        ship_weights.ship(run, "../fast", notice)
    monkeypatch.setattr(ship_weights, "LARGEST", 4000)
    with pytest.raises(WeightsError, match=r"fast: [\d,]+ bytes, more than 4,000; train a smaller model"):
        ship_weights.ship(run, "fast", notice)
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before


def test_the_script_tells_what_is_wrong_in_a_line(tmp_path: Path) -> None:
    arguments = [sys.executable, "scripts/ship_weights.py", tmp_path, "small", "--notice", tmp_path / "NOTICE"]
    done = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, env=None, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'NOTICE'}: holds no text")
    assert done.stderr.count("\n") == 1
