"""`calibration.json` of a weights folder: used where it fits, left aside in a line where it does not."""

import dataclasses
import json
import logging
import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasist_jax.calibration.detector_calibration import (
    DetectorCalibration,
    read_detector_calibration,
    save_detector_calibration,
)
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
from aasist_jax.errors import ScoreFileError
from aasist_jax.weights.folder import CONFIG_FILE
from tests.conftest import REPOSITORY
from tests.made_calibration import calibrate_by_hand
from tests.made_speech import made_speech
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")

SPEECH = (made_speech(2.0), 16_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose calibration calls speech human."""
    return calibrate_by_hand(toy.save_toy(tmp_path / "toy"), 1.0, 9.0)


def loaded(folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[Detector, list[str]]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        detector = Detector.from_pretrained(folder)
    return detector, [record.getMessage() for record in caplog.records]


def assert_left_aside(folder: Path, caplog: pytest.LogCaptureFixture, complaint: str) -> None:
    detector, said = loaded(folder, caplog)
    assert detector.calibration is None
    (line,) = said
    assert line.startswith(f"{folder / CALIBRATION_FILE} is left aside, and no verdict is sure: ")
    assert re.search(complaint, line), line
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 1000
    result = detector.score(SPEECH)
    assert (result.label, result.reasons, result.llr) == ("unsure", ("uncalibrated",), None)


def test_what_is_in_the_folder_is_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    detector, said = loaded(folder, caplog)
    assert said == []
    result = detector.score(SPEECH)
    assert (result.label, result.reasons) == ("human", ())
    assert result.model_id == f"{detector.weights.weights_id}+{detector.calibration.calibration_id}"
    (folder / CALIBRATION_FILE).unlink()
    detector, said = loaded(folder, caplog)
    assert said == []
    assert detector.score(SPEECH).reasons == ("uncalibrated",)


def test_it_is_read_back_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    found = read_detector_calibration(folder / CALIBRATION_FILE)
    save_detector_calibration(found, tmp_path / "again" / "c.json")
    again = read_detector_calibration(tmp_path / "again" / "c.json")
    assert again.to_text() == found.to_text()
    assert again.calibration_id == found.calibration_id
    moved = dataclasses.replace(found, logistic=dataclasses.replace(found.logistic, offset=9.5))
    assert moved.calibration_id != found.calibration_id
    scores = np.random.default_rng(0).normal(size=100)
    np.testing.assert_array_equal(again.llrs(scores), found.llrs(scores))


def test_that_of_other_weights_is_left_aside(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = toy.toy_weights(gain=2.0)
    weights = toy.save_weights(tmp_path / "other", other.config, other.variables, other.source)
    (weights / CALIBRATION_FILE).write_bytes((folder / CALIBRATION_FILE).read_bytes())
    assert_left_aside(
        weights,
        caplog,
        r"it was fitted on the weights toy-\w{12}, not toy-\w{12}; calibrate again with `aasist-jax cal",
    )


def test_another_configuration_of_the_same_tensors_is_other_weights(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A window of another length gives other scores, and no tensor tells."""
    before, _ = loaded(folder, caplog)
    described = json.loads((folder / CONFIG_FILE).read_text())
    described["model_config"]["nb_samp"] = described["window"] = 2 * toy.WINDOW
    (folder / CONFIG_FILE).write_text(json.dumps(described))
    assert_left_aside(folder, caplog, "it was fitted on the weights")
    after, _ = loaded(folder, caplog)
    assert after.weights.tensors_id == before.weights.tensors_id
    assert after.weights.weights_id != before.weights.weights_id


def change(path: Path, keys: str, value: Any) -> None:
    document = json.loads(path.read_text())
    *parents, last = keys.split(".")
    inner = document
    for key in parents:
        inner = inner[key]
    inner[last] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        ("rule", "first window", r"it is for another score \(first window\); calibrate again"),
        ("rule", "a\nb\x1b[31m", "in no plain text; fit it again"),
        ("weights_id", "x" * 10_000, "in no plain text; fit it again"),
        ("logistic.slopes", [0.0], "its map does not rise; fit it again"),
        ("logistic.slopes", [-1.0], "its map does not rise"),
        ("logistic.slopes", [], "its map has 0 slopes, not one"),
        ("logistic.slopes", [1.0, 1.0], "its map has 2 slopes, not one"),
        ("logistic.slopes", [1e308], "its map holds numbers beyond 1e"),
        ("logistic.slopes", [1e8], "its map holds numbers beyond 1e"),
        ("logistic.slopes", "1", r"Expected `array`, got `str` - at `\$.logistic.slopes`"),
        ("logistic.offset", 1e300, "its map holds numbers beyond 1e"),
        ("logistic.offset", None, r"got `null` - at `\$.logistic.offset`"),
        ("logistic", None, "Expected `object`, got `null`"),
        ("lowest", 7.0e6, "its map does not rise"),
        ("highest", 10**400, r"is not the calibration of a detector: .*\$?"),
        ("domain.mean", None, "not finite"),
        ("domain.mean", "a", "could not convert string to float"),
        ("domain.mean", {"a": 1}, "is not the calibration of a detector"),
        ("domain.reference", [[0.0], [0.0, 1.0]], "inhomogeneous"),
        ("domain.farthest", "far", r"Expected `float`, got `str` - at `\$.domain.farthest`"),
        ("measured.durations", [], "Expected `object`, got `array`"),
        ("fitted_on.systems", {"a": 1}, "Expected `array`, got `object`"),
    ],
)
def test_a_field_that_makes_no_sense_is_one_line(
    folder: Path, caplog: pytest.LogCaptureFixture, keys: str, value: Any, complaint: str
) -> None:
    change(folder / CALIBRATION_FILE, keys, value)
    assert_left_aside(folder, caplog, complaint)


SHAPES = {
    "domain.mean []": "the arrays of its domain do not fit together",
    "domain.mean [0.0]": "the arrays of its domain do not fit together",
    "domain.mean 1.0": "Expected `Float[ndarray, 'features']`, got `numpy.ndarray` - at `$.domain.mean`",
    "domain.scale [0.0]": "the arrays of its domain do not fit together",
    "domain.reference []": (
        "Expected `Float[ndarray, 'windows components']`, got `numpy.ndarray` - at `$.domain.reference`"
    ),
    "domain.reference [[0.0, 0.0]]": "the arrays of its domain do not fit together",
    "domain.reference [[[0.0]]]": (
        "Expected `Float[ndarray, 'windows components']`, got `numpy.ndarray` - at `$.domain.reference`"
    ),
    "domain.components [[]]": "the arrays of its domain do not fit together",
    "domain.scale zeros": "a scale of its domain is not positive",
}


def test_arrays_that_do_not_fit_together_are_one_line_each(folder: Path) -> None:
    """In a process of its own: here, the checker of shapes under test would be first."""
    path = folder / CALIBRATION_FILE
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from aasist_jax.calibration.detector_calibration import parse_detector_calibration\n"
        "whole = Path(sys.argv[1]).read_text()\n"
        "for case in sys.argv[2:]:\n"
        "    field, value = case.split(' ', 1)\n"
        "    document = json.loads(whole)\n"
        "    document['domain'][field[7:]] = [0.0] * 100 if value == 'zeros' else json.loads(value)\n"
        "    try:\n"
        "        parse_detector_calibration(json.dumps(document))\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    command = [sys.executable, "-c", code, str(path), *SHAPES]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == list(SHAPES.values()), done.stderr


def test_embeddings_of_another_length_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    domain = {"mean": [0.0], "scale": [1.0], "components": [[1.0]], "reference": [[0.0]], "farthest": 1.0}
    change(folder / CALIBRATION_FILE, "domain", domain)
    assert_left_aside(folder, caplog, "its domain has 1 features, not 100; calibrate again")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (sparse, r"cannot read .*: more than [\d,]+ bytes"),
        (lambda path: path.write_bytes(b""), "is not the calibration of a detector: .*; fit it again"),
        (lambda path: path.write_bytes(b"\xff\xfe{}"), "is not the calibration of a detector"),
        (lambda path: path.write_text("{}"), "Object missing required field `weights_id`"),
        (lambda path: path.write_text("[]"), "Expected `object`, got `array`"),
        (lambda path: path.write_text("[" * 1_000_000), "is not the calibration of a detector"),
        (lambda path: path.write_text('{"domain": {"mean": ' + "[" * 1_000_000), "nested too deep|truncated"),
        (lambda path: path.write_text('{"weights_id": ' * 300_000), "is not the calibration of a detector"),
        (lambda path: path.write_text(path.read_text().replace("1.0", "NaN")), "JSON is malformed"),
        (
            lambda path: path.write_text(path.read_text().replace("1.0", "1e999")),
            "is not the calibration of a detector",
        ),
        (lambda path: path.write_text(path.read_text().replace("1.0", "9" * 100_000, 1)), "of a detector"),
        (lambda path: path.write_text(path.read_text()[:-100]), "truncated"),
        (lambda path: path.write_text(path.read_text() + "x"), "malformed"),
        # What `calibrate --scores` writes, and the calibrations of folders of old.
        (lambda path: path.write_text('{"kind": "logistic", "slopes": [1], "offset": 0, "prior": 0.5}'), "missing"),
    ],
)
def test_a_hostile_file_is_one_line_and_costs_little(
    folder: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object], complaint: str
) -> None:
    damage(folder / CALIBRATION_FILE)
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(ScoreFileError, match=complaint) as caught:
        read_detector_calibration(folder / CALIBRATION_FILE)
    taken, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert taken < 10
    assert peak < 1 << 28
    assert_left_aside(folder, caplog, complaint)


def test_what_cannot_be_read_is_told(folder: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (folder / CALIBRATION_FILE).unlink()
    (folder / CALIBRATION_FILE).symlink_to(tmp_path / "nowhere")
    # A link to nothing is no file, as is a folder: there is no calibration.
    assert loaded(folder, caplog)[1] == []


def test_the_published_calibrations_fit_weights_that_are_published() -> None:
    """Whatever the package carries is a calibration, and is found by the id of its weights."""
    from importlib import resources

    from aasist_jax.calibration.detector_calibration import published_calibration

    published = resources.files("aasist_jax.calibration").joinpath("published")
    names = [file.name for file in published.iterdir()] if published.is_dir() else []
    for name in names:
        if not name.endswith(".json"):
            continue
        found = published_calibration(name.removesuffix(".json"))
        assert isinstance(found, DetectorCalibration)
        assert f"{found.weights_id}.json" == name
        assert found.fitted_on.human > 0
    assert published_calibration("toy-0123") is None
