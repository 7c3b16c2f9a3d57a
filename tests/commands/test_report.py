"""`aasist-jax score --report`: the facts are those of the file and of the verdict, and the page stands alone."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from aasist_jax.audio.load import load_audio
from aasist_jax.detection.detector import Detector
from tests.commands.made_reports import HOSTILE, make_scratch, report

pytestmark = pytest.mark.usefixtures("toy_family")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, toy_family: None) -> Path:
    return make_scratch(tmp_path_factory.mktemp("report"))


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


def test_both_sides_of_a_call_have_their_verdicts_and_timelines(command: Any, scratch: Path) -> None:
    facts = report(command, scratch, "stereo.wav")
    sides = facts["result"]["channels"]
    assert [side["label"] for side in sides] == ["human", "synthetic"]
    assert "channels differ" in facts["result"]["reasons"]
    page = parsed(scratch / "call.html")
    pictures = [values["alt"] or "" for tag, values in page.found if tag == "img"]
    whole = "Waveform, spectrogram, verdict and evidence over time"
    assert pictures == [whole, f"{whole} of channel 0", f"{whole} of channel 1"]
    sources = {values["src"] for tag, values in page.found if tag == "img"}
    assert len(sources) == 3
    told = page.text.partition("Each channel by itself")[2]
    first, second = told.partition("Channel 1")[::2]
    for text, side in ((first, sides[0]), (second, sides[1])):
        assert f"{side['label']}The evidence: {side['evidence']}." in text
        assert side["sentence"] in text
    # The other recording has one side, and says nothing of channels.
    assert report(command, scratch)["result"]["channels"] == []
    assert "Each channel" not in (scratch / "call.html").read_text()


def test_a_report_on_one_channel_has_the_name_it_was_given(command: Any, scratch: Path, tmp_path: Path) -> None:
    wanted = ("--weights", scratch / "weights", "--channel", 1, "--report", tmp_path / "call.json")
    assert command("score", scratch / "stereo.wav", *wanted)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["call.json"]
    assert json.loads((tmp_path / "call.json").read_text())["channel"] == 1


def test_each_channel_has_a_report_of_its_own(command: Any, scratch: Path, tmp_path: Path) -> None:
    pages = ("--report", tmp_path / "call.html", "--report", tmp_path / "call.json")
    options = ("--weights", scratch / "weights", "--channel", "each", "--format", "jsonl")
    code, out, _ = command("score", scratch / "stereo.wav", *options, *pages)
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"call-channel-{side}.{suffix}" for side in (0, 1) for suffix in ("html", "json")
    ]
    for side, row in enumerate(map(json.loads, out.splitlines())):
        facts = json.loads((tmp_path / f"call-channel-{side}.json").read_text())
        wave = load_audio(scratch / "stereo.wav", channel=side)
        assert facts["decoded_sha256"] == hashlib.sha256(wave.astype("<f4").tobytes()).hexdigest()
        assert (row["channel"], facts["channel"], facts["result"]["label"]) == (
            side,
            side,
            ("human", "synthetic")[side],
        )
        assert command("verify", tmp_path / f"call-channel-{side}.json")[0] == 0


def test_a_page_in_a_browser(command: Any, scratch: Path, tmp_path: Path) -> None:
    """Chromium lays it out, plays the recording, runs nothing and asks for nothing."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here: apt install chromium")
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
