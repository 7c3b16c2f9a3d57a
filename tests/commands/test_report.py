"""`aasist-jax score --report` and `aasist-jax verify`: the page stands alone, and the facts can be computed again."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import soundfile

from aasist_jax.audio.load import load_audio
from aasist_jax.calibration.detector_calibration import FittedOn, Measured, VoiceErrors, save_detector_calibration
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
from aasist_jax.detection.report import compare
from tests.made_calibration import made_calibration
from tests.made_speech import made_speech
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")

HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e.wav"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, toy_family: None) -> Path:
    folder = tmp_path_factory.mktemp("report")
    weights = toy.save_toy(folder / "weights")
    detector = Detector.from_pretrained(weights)
    with soundfile.SoundFile(folder / "call.wav", "w", 16_000, 1, "PCM_16") as file:
        file.title = "</table><script>alert(2)</script>"
        file.write(made_speech(3.0))
    calibration = dataclasses.replace(
        made_calibration(detector),
        fitted_on=FittedOn("clips<1>.csv", "ab" * 32, 30, 40, 5, ("espeak", "hts"), "aasist-jax calibrate toy"),
        measured=Measured(0.5, 0.4, 0.9, 0.011, 0.022, 0.333, voices=(VoiceErrors("anna", True, 12, 0.25, 0.5),)),
    )
    save_detector_calibration(calibration, weights / CALIBRATION_FILE)
    shutil.copyfile(folder / "call.wav", folder / HOSTILE)
    return folder


def report(command: Any, scratch: Path, name: str = "call.wav", *options: object) -> dict[str, Any]:
    pages = ("--report", scratch / "call.html", "--report", scratch / "call.json")
    code, _, err = command("score", scratch / name, "--weights", scratch / "weights", *pages, *options)
    assert code == 0, err
    assert err.splitlines()[-2:] == [f"{scratch / f'call{suffix}'}: written" for suffix in (".html", ".json")]
    return json.loads((scratch / "call.json").read_text())


def test_the_facts_are_those_of_the_file_and_of_the_verdict(command: Any, scratch: Path) -> None:
    facts = report(command, scratch)
    path = scratch / "call.wav"
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["decoded_sha256"] == hashlib.sha256(load_audio(path).astype("<f4").tobytes()).hexdigest()
    assert facts["bytes"] == path.stat().st_size
    result = Detector.from_pretrained(scratch / "weights").score(path)
    found = facts["result"]
    assert (found["label"], found["weights_id"], found["model_id"]) == (
        result.label,
        result.weights_id,
        result.model_id,
    )
    assert found["llr"] == pytest.approx(result.llr, abs=1e-5)
    assert found["evidence"] == result.verdict.evidence
    assert facts["command"].startswith("aasist-jax score ")
    assert {"aasist-jax", "Python", "jax", "numpy", "decoder"} <= facts["versions"].keys()
    assert facts["calibration"]["fitted_on"]["sha256"] == "ab" * 32
    assert facts["calibration"]["measured"]["human_called_synthetic"] == 0.011
    assert "1.1 % of human recordings were called synthetic" in facts["limits"][0]
    assert facts["says_of_itself"]["tags"]["title"].startswith("</table>")
    assert facts["explanation"] is None


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text; what never closes is an error."""

    EMPTY = ("meta", "img", "br", "!doctype")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: Path) -> Elements:
    elements = Elements()
    elements.feed(page.read_text(encoding="utf-8"))
    assert elements.open == []
    return elements


def test_the_page_needs_nothing_else_and_names_cannot_break_out(command: Any, scratch: Path) -> None:
    if not (scratch / HOSTILE).exists():
        pytest.skip("this file system does not take the name")
    facts = report(command, scratch, HOSTILE)
    page = parsed(scratch / "call.html")
    tags = {tag for tag, _ in page.found}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "form", "a", "svg"})
    policy = next(values["content"] for tag, values in page.found if values.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for tag, values in page.found:
        assert not [name for name in values if name.startswith("on")]
        if "src" in values:
            assert re.match(r"data:(image/png|audio/wav);base64,", values["src"] or ""), tag
    assert "\u202e" not in (scratch / "call.html").read_text(encoding="utf-8")
    audio = next(values["src"] for tag, values in page.found if tag == "audio")
    assert base64.b64decode((audio or "").partition(",")[2]) == (scratch / HOSTILE).read_bytes()
    for words in (
        facts["result"]["sentence"],
        facts["result"]["label"],
        facts["sha256"],
        facts["decoded_sha256"],
        facts["result"]["model_id"],
        "</table><script>alert(2)</script>",
        "clips<1>.csv: 30 human, 40 synthetic recordings",
        "anna: 25.0 % of 12 wrong",
        *facts["limits"],
    ):
        assert words in page.text, words


def test_a_page_in_a_browser(command: Any, scratch: Path, tmp_path: Path) -> None:
    """Chromium lays it out, plays the recording, runs nothing and asks for nothing."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here")
    report(command, scratch, HOSTILE)
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}",
    ]
    page = (scratch / "call.html").as_uri()
    done = subprocess.run(
        [chromium, *options, "--virtual-time-budget=3000", "--dump-dom", page], capture_output=True, timeout=240
    )
    assert done.returncode == 0
    elements = Elements()
    elements.feed(done.stdout.decode())
    assert "script" not in {tag for tag, _ in elements.found}
    picture = tmp_path / "page.png"
    subprocess.run(
        [chromium, *options, "--window-size=1000,3000", f"--screenshot={picture}", page],
        capture_output=True,
        timeout=240,
        check=True,
    )
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (3000, 1000)
    # The timeline's spectrogram is dark, the text is dark on white: nothing is blank, nothing runs off to the right.
    assert (pixels[300:1000].min(axis=(1, 2)) < 0.3).mean() > 0.5
    assert pixels[:, -5:].min() > 0.9


def test_a_report_that_is_computed_again_agrees(command: Any, scratch: Path) -> None:
    report(command, scratch)
    code, out, _ = command("verify", scratch / "call.json")
    assert code == 0
    assert out.splitlines()[-1] == f"{scratch / 'call.json'}: agrees"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("sha256",), "0" * 64, "sha256"),
        (("decoded_sha256",), "0" * 64, "decoded_sha256"),
        (("result", "label"), "human or not", "label"),
        (("result", "model_id"), "toy-0", "model_id"),
        (("result", "llr"), 0.123, "llr"),
        (("result", "reasons"), "windows disagree, or so", "reasons"),
    ],
)
def test_a_report_that_was_changed_does_not(
    command: Any, scratch: Path, tmp_path: Path, path: tuple[str, ...], value: Any, said: str
) -> None:
    facts = report(command, scratch)
    part = facts
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "call.json").write_text(json.dumps(facts))
    code, out, _ = command("verify", tmp_path / "call.json", "--audio", scratch / "call.wav")
    assert code == 1
    assert out.splitlines()[-1] == f"{tmp_path / 'call.json'}: does not agree: {said}"


def test_another_version_is_told_and_is_no_disagreement(command: Any, scratch: Path, tmp_path: Path) -> None:
    facts = report(command, scratch)
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
    result = {"weights_id": "a", "model_id": "a", "label": "unsure", "reasons": None, "llr": 1.0, "score": None}
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


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["call.wav", "other.wav", "--report", "a.html"], 2, "is on one recording, and 2 are named"),
        (["-", "--report", "a.html"], 2, "needs a file that can be read again"),
        (["call.wav", "--report", "a.html", "--published"], 2, "tells a verdict"),
        (["call.wav", "--report", "a.pdf"], 1, "a.pdf: written as .html or .json"),
        (["call.wav", "--report", "nowhere/a.html"], 1, "there is no folder nowhere"),
    ],
)
def test_wrong_use_is_one_line(command: Any, scratch: Path, arguments: list[str], code: int, complaint: str) -> None:
    found, out, err = command("score", *arguments, "--weights", scratch / "weights")
    assert (found, out) == (code, "")
    assert complaint in err
