"""Several detectors as one: the evidence of whole recordings is fused, and a fusion is no surer than it may be."""

import dataclasses
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from aasist_jax.calibration.detector_calibration import FittedOn, Measured
from aasist_jax.calibration.evidence import recording_llr
from aasist_jax.calibration.fusion import Fusion, read_fusion, save_fusion
from aasist_jax.calibration.llr import LogisticCalibration
from aasist_jax.detection.detector import CALIBRATION_FILE, Detector, FusedDetector
from aasist_jax.detection.fused import fusion_file
from aasist_jax.detection.verdict import DecisionRule
from aasist_jax.errors import AudioError, ConfigError, ScoreFileError, WeightsError
from tests.commands.labelled_clips import write_clips
from tests.conftest import Command
from tests.made_calibration import calibrate_by_hand
from tests.made_speech import made_speech
from tests.models import toy

pytestmark = pytest.mark.usefixtures("toy_family")

SPEECH = (made_speech(2.0), 16_000)


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, Path]:
    """Two toys of different windows, calibrated by hand; what one hears of speech is that of another length."""
    found = []
    for name, gain, window, offset in (("one", 1.0, toy.WINDOW, 1.0), ("two", 2.0, 2 * toy.WINDOW, -0.5)):
        made = toy.toy_weights(gain)
        config = dataclasses.replace(made.config, nb_samp=window)
        folder = toy.save_weights(tmp_path / name, config, made.variables, dataclasses.replace(made.source, name=name))
        found.append(calibrate_by_hand(folder, 1.0, offset))
    return found[0], found[1]


def both(weights: tuple[Path, Path]) -> str:
    return ",".join(map(str, weights))


def made_fusion(members: tuple[str, ...], slopes: tuple[float, ...] = (0.5, 0.75), offset: float = 0.25) -> Fusion:
    return Fusion(
        members=members,
        logistic=LogisticCalibration(slopes, offset, 0.5),
        lowest=-4.0,
        highest=4.0,
        fitted_on=FittedOn("made by hand", "0" * 64, 0, 0, 0, (), "none"),
        measured=Measured(0.0, 0.0, 0.9, 0.0, 0.0, 0.0),
    )


def fused_by_hand(weights: tuple[Path, Path], **how: Any) -> FusedDetector:
    """A detector of both, with a fusion that is kept where it is found again."""
    members = Detector.from_pretrained(both(weights)).member_ids
    save_fusion(made_fusion(members, **how), fusion_file(members))
    detector = Detector.from_pretrained(both(weights))
    assert isinstance(detector, FusedDetector)
    return detector


def test_the_evidence_of_the_members_is_weighed(weights: tuple[Path, Path]) -> None:
    detector = fused_by_hand(weights)
    result = detector.score(SPEECH)
    alone = [member.score(SPEECH) for member in detector.members]
    assert len({len(each.windows) for each in alone}) == 2
    expected = 0.25 + 0.5 * alone[0].llr + 0.75 * alone[1].llr
    assert result.llr == pytest.approx(min(max(expected, -4.0), 4.0))
    assert result.p_synthetic == pytest.approx(1 / (1 + np.exp(result.llr)))
    assert [each.llr for each in result.members] == [each.llr for each in alone]
    assert result.model_id == f"{alone[0].model_id},{alone[1].model_id}+{detector.fusion.fusion_id}"
    assert result.weights_id == f"{alone[0].weights_id},{alone[1].weights_id}"
    assert (result.score, result.logits, result.windows, result.segments) == (None, None, (), ())
    assert result.to_dict()["llr"] == result.llr
    assert "P(synthetic)" in result._repr_html_()
    with pytest.raises(ConfigError, match="has no windows to draw; plot one of its `members`"):
        result.plot()


def test_no_evidence_is_stronger_than_what_it_was_fitted_on_supports(weights: tuple[Path, Path]) -> None:
    for offset, strongest in ((50.0, 4.0), (-50.0, -4.0)):
        assert fused_by_hand(weights, offset=offset).score(SPEECH).llr == strongest


def test_the_order_of_the_names_does_not_matter(weights: tuple[Path, Path]) -> None:
    first, second = fused_by_hand(weights), Detector.from_pretrained(both(weights[::-1]))
    assert second.model_id == first.model_id
    assert second.score(SPEECH) == first.score(SPEECH)


def test_without_a_fusion_every_verdict_is_unsure(weights: tuple[Path, Path]) -> None:
    result = Detector.from_pretrained(both(weights)).score(SPEECH)
    assert (result.label, result.reasons, result.llr) == ("unsure", ("uncalibrated",), None)
    assert all(each.llr is not None for each in result.members)


def test_what_one_member_doubts_the_fusion_doubts(weights: tuple[Path, Path]) -> None:
    document = json.loads((weights[1] / CALIBRATION_FILE).read_text())
    document["domain"]["farthest"] = 0.0
    (weights[1] / CALIBRATION_FILE).write_text(json.dumps(document))
    result = fused_by_hand(weights).score(SPEECH)
    assert (result.label, result.reasons, result.llr) == ("unsure", ("unlike anything it was calibrated on",), None)


def test_without_speech_there_is_no_number(weights: tuple[Path, Path]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    result = fused_by_hand(weights).score((noise, 16_000))
    assert (result.label, result.reasons, result.llr, result.heard_seconds) == ("unsure", ("no speech",), None, 0.0)


def test_both_sides_of_a_call_are_fused(weights: tuple[Path, Path]) -> None:
    """A loud side and a faint one: each has its evidence, and it is said that their labels differ."""
    speech = made_speech(4.0)
    call = np.stack([speech, 0.02 * np.roll(speech, 30_000)], axis=1)
    detector = fused_by_hand(weights, slopes=(40.0, 40.0), offset=-50.0)
    result = detector.score((call, 16_000))
    sides = [detector.score((call, 16_000), channel=side) for side in (0, 1)]
    assert [each.llr for each in result.channels] == [each.llr for each in sides]
    assert {each.label for each in sides} == {"human", "synthetic"}
    assert "channels differ" in result.reasons


def test_many_are_scored_as_one_is(weights: tuple[Path, Path]) -> None:
    """Also of file objects, which every member reads anew; and a fault stays with its recording."""
    detector = fused_by_hand(weights)
    file = io.BytesIO()
    soundfile.write(file, SPEECH[0], SPEECH[1], format="WAV")
    found = list(detector.score_many([file, b"no audio", SPEECH]))
    assert isinstance(found[1], AudioError)
    assert found[2] == detector.score(SPEECH)
    assert found[0].llr == pytest.approx(found[2].llr, abs=1e-3)
    assert detector.predict([SPEECH]) == [found[2].label]
    assert detector.decision_function([SPEECH])[0] == -found[2].llr


def test_what_needs_one_network_is_refused_in_a_line(weights: tuple[Path, Path]) -> None:
    detector = Detector.from_pretrained(both(weights))
    uses: tuple[Callable[[], object], ...] = (
        detector.stream,
        lambda: detector.timeline(SPEECH),
        lambda: detector.explain(SPEECH),
        lambda: detector.logits(np.zeros((1, toy.WINDOW), np.float32)),
        lambda: detector.window,
        lambda: detector.score(SPEECH, published=True),
    )
    for use in uses:
        with pytest.raises(ConfigError, match=r"a fusion (judges whole recordings|has no published score)") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert not hasattr(detector, "nonsense")


def test_names_that_make_no_sense_are_refused(weights: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = weights
    for name, complaint in (
        (f"{one},", "names nothing beside a comma"),
        (f"{one},{one}", "the same weights are named twice; name each once"),
        (f"{one},{two}x", "twox: no such folder"),
    ):
        with pytest.raises(WeightsError, match=complaint):
            Detector.from_pretrained(name)
    with_comma = one.rename(tmp_path / "one,two")
    assert not isinstance(Detector.from_pretrained(str(with_comma)), FusedDetector)


def test_a_fusion_of_others_is_left_aside(weights: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    detector = fused_by_hand(weights)
    path = fusion_file(detector.member_ids)
    for change, complaint in (
        ({"members": ["a", "b"]}, "the fusion is one of a,b; fit it again"),
        ({"members": ["a"]}, "it has 1 members and 2 weights"),
        ({"members": ["a\n", "b"]}, "in no plain text"),
        ({"lowest": 5.0}, "its map does not rise"),
        ({"logistic": {"slopes": [1.0, -1.0], "offset": 0.0, "prior": 0.5}}, "its map does not rise"),
        ({"measured": None}, "Expected `object`"),
    ):
        save_fusion(detector.fusion, path)
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert Detector.from_pretrained(both(weights)).score(SPEECH).reasons == ("uncalibrated",)
        (line,) = (record.getMessage() for record in caplog.records)
        assert line.startswith(f"{path} is left aside, and no verdict is sure: ")
        assert complaint in line
    path.unlink()
    with pytest.raises(ScoreFileError, match="cannot read"):
        read_fusion(path)


def test_other_calibrations_of_the_members_want_another_fusion(weights: tuple[Path, Path]) -> None:
    fused_by_hand(weights)
    calibrate_by_hand(weights[0], 1.0, 2.0)
    assert Detector.from_pretrained(both(weights)).fusion is None


@pytest.fixture
def two_views(tmp_path: Path, command: Command) -> tuple[Path, Path, Path]:
    """Two toys that hear one half of the bands each, in windows of their own, both calibrated, and the clips."""
    clips = write_clips(tmp_path)
    folders = []
    for name, half, window in (("one", slice(0, None, 2), toy.WINDOW), ("two", slice(1, None, 2), 2 * toy.WINDOW)):
        made = toy.toy_weights()
        config = dataclasses.replace(made.config, nb_samp=window)
        folder = toy.save_weights(tmp_path / name, config, made.variables, dataclasses.replace(made.source, name=name))
        tensors = load_file(folder / "model.safetensors")
        kernel = np.zeros((toy.WIDTH, 2), np.float32)
        kernel[half] = -1, 1
        save_file(tensors | {"params/judge/kernel": kernel}, folder / "model.safetensors")
        assert command("calibrate", folder, "--data", clips)[0] == 0
        folders.append(folder)
    return folders[0], folders[1], clips


def test_calibrate_fits_a_fusion_that_score_uses(
    command: Command, two_views: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    one, two, clips = two_views
    names, human = f"{one},{two}", clips.parent / "human00.wav"
    code, out, err = command("score", human, "--weights", names, "--format", "json")
    assert (code, json.loads(out)[0]["reasons"]) == (0, "uncalibrated")
    assert f"{names}: not calibrated, so every verdict is unsure; calibrate with" in err
    assert f"`aasist-jax calibrate {names} --data clips.csv`" in err

    plot = tmp_path / "reliability.png"
    code, out, err = command("calibrate", names, "--data", clips, "--plot", plot)
    assert code == 0, err
    detector = Detector.from_pretrained(names)
    path = fusion_file(detector.member_ids)
    assert err.splitlines()[-1] == f"{path}: written; `score` and `verdicts` use it"
    assert "members were calibrated on the same recordings" in err
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert detector.fusion == read_fusion(path)
    assert all(member.weights_id in out for member in detector.members)
    assert "On voices left out in turn: Cllr 0." in out

    code, out, err = command("score", human, "--weights", names, "--format", "json")
    row = json.loads(out)[0]
    assert (code, err) == (0, "")
    member = [each.score(human) for each in detector.members]
    llrs = [recording_llr(np.array([window.llr for window in each.windows])) for each in member]
    assert row["llr"] == pytest.approx(detector.fusion.llrs(np.array(llrs))[0])
    assert row["model_id"] == detector.model_id
    assert command("verdicts", clips, "--weights", names)[0] == 0


def test_evaluate_scores_by_the_first_window_of_each(
    command: Command, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    clips = write_clips(tmp_path)
    model = json.loads((weights[0] / "config.json").read_text())["model_config"]
    config = {"model_config": model, "database_path": str(clips), "data_config": {"layout": "csv"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    arguments = ("evaluate", "--config", tmp_path / "config.json", "--weights", both(weights), "--split", "dev")
    code, _, err = command(*arguments, "--output", out, "--resamples", "10")
    assert code == 1
    assert "the fusion is not fitted; fit it with `aasist-jax calibrate`" in err
    detector = fused_by_hand(weights)
    assert command(*arguments, "--output", tmp_path / "fused", "--resamples", "10")[0] == 0
    rows = [line.split() for line in (tmp_path / "fused" / "dev.txt").read_text().splitlines()]
    assert len(rows) == 48
    assert "eer" in json.loads((tmp_path / "fused" / "metrics.json").read_text())
    starts = [
        float(member.calibration.llrs(np.array([member.score(tmp_path / "human00.wav", published=True).score]))[0])
        for member in detector.members
    ]
    (found,) = (float(row[3]) for row in rows if row[0].endswith("human00"))
    assert found == pytest.approx(np.clip(0.25 + 0.5 * starts[0] + 0.75 * starts[1], -4, 4), abs=1e-5)


def test_verbs_that_judge_by_one_detector_refuse_several(command: Command, weights: tuple[Path, Path]) -> None:
    names = both(weights)
    for arguments in (
        ("timeline", "call.wav", "--weights", names),
        ("explain", "call.wav", "--weights", names),
        ("export", names, "--format", "onnx", "--output", "model.onnx"),
    ):
        code, out, err = command(*arguments)
        assert (code, out) == (1, "")
        told = "several weights, which only `score`, `verdicts`, `evaluate` and `calibrate` take; name one"
        assert err == f"error: {names}: {told}\n"
    for option in (("--published",), ("--report", "call.html")):
        code, out, err = command("score", weights[0] / "config.json", "--weights", names, *option)
        assert code == 2
        assert "are of one detector; name one" in err.replace("\n", " ")


def test_members_must_be_calibrated_to_be_fused(command: Command, weights: tuple[Path, Path], tmp_path: Path) -> None:
    clips = write_clips(tmp_path)
    (weights[0] / CALIBRATION_FILE).unlink()
    code, _, err = command("calibrate", both(weights), "--data", clips)
    assert code == 1
    assert "not calibrated, so its scores cannot be weighed against others; calibrate it by itself first" in err


def test_the_prior_counts_as_for_one(weights: tuple[Path, Path]) -> None:
    detector = fused_by_hand(weights)
    even, rare = detector.score(SPEECH), detector.score(SPEECH, rule=DecisionRule(prior=0.01))
    assert rare.llr == even.llr
    assert rare.p_synthetic < even.p_synthetic
