"""StableHLO export: a program for any architecture, which JAX runs without the code that made it."""

import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import soundfile

from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ExportError
from aasist_jax.export import contract, stablehlo_file
from aasist_jax.export.stablehlo_file import export_stablehlo
from tests.blocked_imports import run_without
from tests.conftest import REPOSITORY
from tests.made_calibration import made_calibration
from tests.models import toy
from tests.models.aasist import official
from tests.models.toy import WINDOW

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def detector() -> Detector:
    detector = Detector(toy.toy_weights())
    detector.calibration = made_calibration(detector, 2.0, -3.0)
    return detector


@pytest.fixture(scope="module")
def exported(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stablehlo") / "toy.zip"
    assert export_stablehlo(detector, path) < 1e-5
    return path


def program(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return jax.export.deserialize(bytearray(archive.read("model.stablehlo")))


def test_any_batch_scores_as_the_native_model(detector: Detector, exported: Path) -> None:
    waves = np.random.default_rng(3).normal(size=(16, WINDOW)).astype(np.float32)
    native = detector.logits(waves)
    restored = program(exported)
    assert restored.platforms == ("cpu", "cuda", "tpu")
    for size in (1, 3, 16):
        np.testing.assert_allclose(restored.call(waves[:size]), native[:size], rtol=1e-5, atol=1e-6)


def test_the_file_states_what_a_user_must_know(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        assert archive.namelist() == ["model.stablehlo", "facts.json"]
        facts = json.loads(archive.read("facts.json"))
    assert facts["weights_id"] == "toy-0123"
    assert facts["architecture"] == "Toy"
    assert facts["source"] == {"name": "toy.pth", "sha256": "0"}
    assert (facts["sample_rate"], facts["window"], facts["bonafide_index"]) == (16_000, WINDOW, 1)
    assert facts["labels"] == ["spoof", "bonafide"]
    assert facts["calibration"] == {"kind": "logistic", "slopes": [2], "offset": -3, "prior": 0.5}


def test_the_program_names_no_folder_of_this_machine(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        content = archive.read("model.stablehlo")
    assert b"stablehlo_file.py" in content
    for folder in (REPOSITORY, Path(np.__file__).parent.parent):
        assert f"{folder}/".encode() not in content
    # The caller's own compiling is as it was.
    assert jax.config.jax_hlo_source_file_canonicalization_regex is None


def test_a_program_that_scores_otherwise_is_refused(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    louder = Detector(toy.toy_weights(gain=1.001))
    right = stablehlo_file._program
    monkeypatch.setattr(stablehlo_file, "_program", lambda detector: right(louder))
    with pytest.raises(ExportError, match=r"toy.zip: not written, its logits are .* off the native ones"):
        export_stablehlo(detector, tmp_path / "toy.zip")
    assert list(tmp_path.iterdir()) == []


def test_nan_is_refused(detector: Detector, tmp_path: Path) -> None:
    def load(path: Path) -> Any:
        return lambda waves, lengths: np.full((len(waves), 2), np.nan, np.float32)

    with pytest.raises(ExportError, match="not written, its logits are nan off"):
        contract.write_checked(tmp_path / "nan", b"", detector, load)
    assert list(tmp_path.iterdir()) == []


def test_the_example_needs_nothing_of_this_package(detector: Detector, exported: Path, tmp_path: Path) -> None:
    """`examples/score_stablehlo.py` on 22,050 Hz resamples; the score is the native one."""
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for file, rate in zip(files, (16_000, 22_050), strict=True):
        soundfile.write(file, np.random.default_rng(8).uniform(-0.5, 0.5, 3 * WINDOW), rate)
    done = run_without(("aasist_jax", "flax"), "examples/score_stablehlo.py", exported, *files)
    assert (done.returncode, done.stderr) == (0, "")
    for path, line in zip(files, done.stdout.splitlines(), strict=True):
        score, file = line.split(" ", 1)
        assert file == str(path)
        assert float(score) == pytest.approx(detector.score(path, published=True).score, abs=2e-6)


def test_the_command_exports_or_says_why_not(command: Any, tmp_path: Path) -> None:
    folder = toy.save_toy(tmp_path / "weights")
    code, out, err = command("export", folder, "--format", "stablehlo", "--output", tmp_path / "toy.zip")
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'toy.zip'}: largest difference of a logit from the native one ")
    waves = np.ones((2, WINDOW), np.float32)
    np.testing.assert_allclose(
        program(tmp_path / "toy.zip").call(waves), Detector.from_pretrained(folder).logits(waves), atol=1e-5
    )
    code, out, err = command("export", folder, "--format", "onnx", "--output", tmp_path / "toy.onnx")
    assert (code, out) == (1, "")
    assert err == "error: Toy has no ONNX form; export it as StableHLO (--format stablehlo)\n"
    assert command("export", folder, "--output", tmp_path / "toy.zip")[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.zip", "weights"]


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize("name", ["AASIST-L", "AASIST"])
def test_the_official_models(name: str, tmp_path: Path) -> None:
    difference = export_stablehlo(official.detector(name), tmp_path / "model.zip")
    waves = official.golden(name).wave.astype(np.float32)
    logits = np.asarray(jax.jit(program(tmp_path / "model.zip").call)(waves[:3]))
    print(f"{name}, StableHLO: largest logit difference {difference:.1e} at export")
    np.testing.assert_allclose(logits, official.golden(name).stages["logits"][:3], rtol=0, atol=2e-5)
