"""`aasist-jax verify`: a report can be computed again, and whatever is not as it was is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
from aasist_jax.detection.report import compare
from aasist_jax.detection.report_gathering import Request, gather_facts
from aasist_jax.detection.report_page import report_json
from aasist_jax.weights.folder import MODEL_FILE
from tests.commands.made_reports import make_scratch, report

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, toy_family: None) -> Path:
    return make_scratch(tmp_path_factory.mktemp("verify"))


@pytest.fixture(scope="module")
def written(scratch: Path) -> dict[str, Path]:
    """The JSON reports on the two recordings, without the pictures that only the page needs."""
    detector, reports = Detector.from_pretrained(scratch / "weights"), {}
    for name in ("call", "stereo"):
        path = scratch / f"{name}.wav"
        request = Request(path, None, str(scratch / "weights"))
        reports[name] = scratch / f"{name}-facts.json"
        reports[name].write_text(report_json(gather_facts(detector, request, detector.score(path))))
    return reports


def test_a_report_that_is_computed_again_agrees(command: Any, scratch: Path, written: dict[str, Path]) -> None:
    report(command, scratch)
    for path in (scratch / "call.json", *written.values()):
        code, out, _ = command("verify", path)
        assert code == 0
        assert out.splitlines()[-1] == f"{path}: agrees"
        agreed = {cells[0] for line in out.splitlines() if (cells := line.split()) and cells[-1] == "agrees"}
        assert agreed >= {"sha256", "decoded_sha256", "weights_id", "model_id", "label", "reasons", "llr", "score"}


def test_another_file_is_told(command: Any, scratch: Path, written: dict[str, Path], tmp_path: Path) -> None:
    """One other sample: the hashes of the file and of what was decoded differ, whatever the verdict."""
    wave, rate = soundfile.read(scratch / "call.wav", dtype="int16")
    wave[-1] += 1
    soundfile.write(tmp_path / "call.wav", wave, rate)
    code, out, _ = command("verify", written["call"], "--audio", tmp_path / "call.wav")
    assert code == 1
    assert out.splitlines()[-1].startswith(f"{written['call']}: does not agree: sha256, decoded_sha256")


def test_a_file_that_is_not_there_is_one_line(command: Any, written: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = command("verify", written["call"], "--audio", tmp_path / "none.wav")
    assert (code, out) == (1, "")
    assert err == f"error: {tmp_path / 'none.wav'}: no such file; give the path of an audio file\n"


def test_other_weights_are_told(command: Any, scratch: Path, written: dict[str, Path], tmp_path: Path) -> None:
    """Weights of which one value was changed, and the same weights without their calibration."""
    changed = Path(shutil.copytree(scratch / "weights", tmp_path / "changed"))
    tensors = load_file(changed / MODEL_FILE)
    save_file(tensors | {"params/judge/bias": tensors["params/judge/bias"] + np.float32(1e-3)}, changed / MODEL_FILE)
    code, out, err = command("verify", written["call"], "--weights", changed)
    assert code == 1
    assert "calibration.json is left aside" in err
    assert (
        out.splitlines()[-1] == f"{written['call']}: does not agree: weights_id, model_id, label, reasons, llr, score"
    )
    plain = Path(shutil.copytree(scratch / "weights", tmp_path / "plain"))
    (plain / CALIBRATION_FILE).unlink()
    code, out, _ = command("verify", written["call"], "--weights", plain)
    assert code == 1
    assert out.splitlines()[-1] == f"{written['call']}: does not agree: model_id, label, reasons, llr"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("sha256",), "0" * 64, "sha256"),
        (("decoded_sha256",), "0" * 64, "decoded_sha256"),
        (("result", "label"), "human or not", "label"),
        (("result", "model_id"), "toy-0", "model_id"),
        (("result", "llr"), 0.123, "llr"),
        (("result", "reasons"), "windows disagree, or so", "reasons"),
        (("result", "channels", 1, "label"), "human", "label of channel 1"),
        (("result", "channels", 0, "llr"), 0.123, "llr of channel 0"),
        (("result", "channels"), [], "channels judged"),
    ],
)
def test_a_report_that_was_changed_does_not(
    command: Any, scratch: Path, written: dict[str, Path], tmp_path: Path, path: tuple[Any, ...], value: Any, said: str
) -> None:
    name = "stereo" if "channels" in path else "call"
    facts = json.loads(written[name].read_text())
    part = facts
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "call.json").write_text(json.dumps(facts))
    code, out, _ = command("verify", tmp_path / "call.json", "--audio", scratch / f"{name}.wav")
    assert code == 1
    assert out.splitlines()[-1] == f"{tmp_path / 'call.json'}: does not agree: {said}"


def test_another_version_is_told_and_is_no_disagreement(
    command: Any, scratch: Path, written: dict[str, Path], tmp_path: Path
) -> None:
    facts = json.loads(written["call"].read_text())
    facts["versions"]["numpy"] = "1.0"
    (tmp_path / "call.json").write_text(json.dumps(facts))
    # Found beside the report, under its own name.
    facts["file"] = "/nowhere/call.wav"
    shutil.copyfile(scratch / "call.wav", tmp_path / "call.wav")
    code, out, _ = command("verify", tmp_path / "call.json")
    assert code == 0
    assert "version of numpy" in out
    assert "another" in out


def test_numbers_agree_to_a_tolerance() -> None:
    result = {
        "weights_id": "a",
        "model_id": "a",
        "label": "unsure",
        "reasons": None,
        "llr": 1.0,
        "score": None,
        "channels": [],
    }
    then = {"sha256": "a", "decoded_sha256": "b", "versions": {}, "result": result}
    for llr, agrees in ((1.00009, True), (1.00011, False), (None, False)):
        now = {**then, "result": {**result, "llr": llr}}
        assert {each.name: each.agrees for each in compare(then, now)}["llr"] is agrees


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no json", "is no report"),
        ("[]", "is no report; give what"),
        ('{"report": "aasist-jax report 1"}', "its file is missing or of a wrong kind"),
        ("[" * 100_000, "is no report"),
    ],
)
def test_what_is_no_report_is_one_line(command: Any, tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.json").write_text(text)
    code, out, err = command("verify", tmp_path / "a.json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert complaint in err
