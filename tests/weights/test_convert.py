"""Whole checkpoints to weights folders and back, from the command too; damage is refused in one line."""

import dataclasses
import hashlib
import json
import re
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aasist_jax.detection.detector import Detector
from aasist_jax.errors import AasistError, AudioError, CheckpointError, ConfigError, WeightsError
from aasist_jax.weights.convert import convert_checkpoint, export_checkpoint
from aasist_jax.weights.folder import CONFIG_FILE, MODEL_FILE, Source, load_weights, save_weights
from aasist_jax.weights.torch_file import read_torch_file, write_torch_file
from tests.blocked_imports import run_without
from tests.conftest import REFERENCE, REPOSITORY, extra
from tests.made_speech import made_speech
from tests.models import toy
from tests.models.aasist import tiny
from tests.models.test_family import toy_tensors

OFFICIAL = ("AASIST", "AASIST-L")


@pytest.fixture(scope="module", params=OFFICIAL)
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """An official model's name, its weights folder, and the checkpoint made of that again."""
    name, scratch = request.param, tmp_path_factory.mktemp(request.param)
    folder = convert_checkpoint(
        REFERENCE / "weights" / f"{name}.pth", REPOSITORY / "configs" / f"{name}.json", scratch / "weights"
    )
    return name, folder, export_checkpoint(folder, scratch / "back.pth")


@pytest.mark.reference
def test_official_weights_come_back_bit_for_bit(converted: tuple[str, Path, Path]) -> None:
    name, _, back = converted
    before, after = read_torch_file(REFERENCE / "weights" / f"{name}.pth"), read_torch_file(back)
    assert after.keys() == before.keys()
    for key, value in before.items():
        assert after[key].dtype == value.dtype
        assert after[key].shape == value.shape
        assert after[key].tobytes() == value.tobytes(), key
    assert {key.split(".")[-1] for key in before if ".bn1." in key} == {
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }


@pytest.mark.reference
def test_pytorch_loads_what_comes_back(converted: tuple[str, Path, Path]) -> None:
    torch = extra("torch", "torch")
    from benchmarks.torch_aasist import TorchAASIST

    name, _, back = converted
    config = json.loads((REPOSITORY / "configs" / f"{name}.json").read_text())["model_config"]
    official = torch.load(REFERENCE / "weights" / f"{name}.pth", map_location="cpu", weights_only=True)
    model = TorchAASIST(config)
    model.load_state_dict(torch.load(back, weights_only=True), strict=True)
    assert all(torch.equal(value, official[key]) for key, value in model.state_dict().items())


@pytest.mark.reference
def test_the_folder_tells_all_that_is_needed(converted: tuple[str, Path, Path]) -> None:
    name, folder, _ = converted
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_FILE, MODEL_FILE]
    description = json.loads((folder / CONFIG_FILE).read_text())
    source = REFERENCE / "weights" / f"{name}.pth"
    published = json.loads((REPOSITORY / "configs" / f"{name}.json").read_text())["model_config"]
    assert description == {
        "format": 1,
        "model_config": published,
        "sample_rate": 16_000,
        "window": 64_600,
        "labels": ["spoof", "bonafide"],
        "bonafide_index": 1,
        "source": {"name": f"{name}.pth", "sha256": hashlib.sha256(source.read_bytes()).hexdigest()},
    }
    tensors = load_file(folder / MODEL_FILE)
    count = {"AASIST": 297_866, "AASIST-L": 85_306}[name]
    assert sum(value.size for path, value in tensors.items() if path.startswith("params/")) == count
    digest = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    weights = load_weights(folder)
    assert weights.tensors_id == f"{name}-{digest[:12]}"
    assert re.fullmatch(f"{name}-[0-9a-f]{{12}}", weights.weights_id)
    assert weights.weights_id != weights.tensors_id


def test_weights_are_known_by_configuration_and_tensors(tmp_path: Path) -> None:
    """Other pool ratios over the same tensors are other weights; the words of the source are not."""
    ratios = (0.5, 0.7, 0.5, 0.9)
    other = dataclasses.replace(tiny.CONFIG, pool_ratios=ratios)
    variables = tiny.random_variables()
    found = {}
    for name, config, seed in (
        ("a", tiny.CONFIG, None),
        ("again", tiny.CONFIG, None),
        ("ratios", other, None),
        ("tensors", tiny.CONFIG, 1),
    ):
        values = variables if seed is None else tiny.random_variables(seed)
        found[name] = load_weights(save_weights(tmp_path / name, config, values, Source("t.pth", name)))
    assert found["a"].weights_id == found["again"].weights_id
    assert found["a"].tensors_id == found["again"].tensors_id == found["ratios"].tensors_id
    assert found["a"].weights_id != found["ratios"].weights_id
    assert found["tensors"].tensors_id != found["a"].tensors_id
    assert len({each.weights_id for each in found.values()}) == 3


@pytest.mark.reference
def test_a_wrong_configuration_is_refused_in_one_line(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        convert_checkpoint(
            reference / "weights" / "AASIST.pth", REPOSITORY / "configs" / "AASIST-L.json", tmp_path / "out"
        )
    message = str(caught.value)
    assert "\n" not in message
    assert "AASIST.pth: does not fit AASIST as configured" in message
    assert message.count(" has shape ") == 3
    assert message.endswith("; and 90 more; this is AASIST; use --config AASIST")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def toy_folder(tmp_path: Path) -> Iterator[Path]:
    """A small weights folder, made by conversion."""
    with toy.registered():
        write_torch_file(tmp_path / "toy.pth", toy_tensors(50))
        config = {"model_config": {"architecture": "Toy", "nb_samp": 400, "width": 50}}
        (tmp_path / "toy.json").write_text(json.dumps(config))
        yield convert_checkpoint(tmp_path / "toy.pth", tmp_path / "toy.json", tmp_path / "folder")


def test_conversion_again_replaces_the_folder(toy_folder: Path, tmp_path: Path) -> None:
    first = (toy_folder / MODEL_FILE).read_bytes()
    tensors = toy_tensors(50)
    tensors["Gain"] += 1
    write_torch_file(tmp_path / "toy.pth", tensors)
    convert_checkpoint(tmp_path / "toy.pth", tmp_path / "toy.json", toy_folder)
    assert (toy_folder / MODEL_FILE).read_bytes() != first
    assert sorted(path.name for path in toy_folder.iterdir()) == [CONFIG_FILE, MODEL_FILE]
    assert load_weights(toy_folder).variables["params"]["gain"] == 3


def test_what_cannot_be_read_or_written_is_named(toy_folder: Path, tmp_path: Path) -> None:
    pth, config = tmp_path / "toy.pth", tmp_path / "toy.json"
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        convert_checkpoint(tmp_path / "none.pth", config, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        convert_checkpoint(pth, tmp_path / "none.json", tmp_path / "out")
    with pytest.raises(WeightsError, match=r"toy\.json: cannot be written"):
        convert_checkpoint(pth, config, config)
    with pytest.raises(WeightsError, match=r"nowhere: no config.json there; convert a checkpoint"):
        export_checkpoint(tmp_path / "nowhere", tmp_path / "out.pth")
    with pytest.raises(CheckpointError, match=r"out\.pth"):
        export_checkpoint(toy_folder, tmp_path / "nowhere" / "out.pth")
    (toy_folder / MODEL_FILE).unlink()
    with pytest.raises(WeightsError, match=r"folder: no model.safetensors there"):
        load_weights(toy_folder)


def test_weights_that_are_not_finite_are_not_converted(toy_folder: Path, tmp_path: Path) -> None:
    tensors = toy_tensors(50)
    tensors["back.linear.bias"][1] = np.inf
    write_torch_file(tmp_path / "bad.pth", tensors)
    with pytest.raises(WeightsError, match="params/judge/bias holds NaN or infinite values"):
        convert_checkpoint(tmp_path / "bad.pth", tmp_path / "toy.json", tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def damages(content: bytes) -> dict[str, bytes]:
    """Safetensors files that are none."""
    length = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + length]
    return {
        "empty": b"",
        "short": content[:7],
        "cut header": content[: length // 2],
        "cut data": content[:-1],
        "longer": content + b"\0",
        "huge header": struct.pack("<Q", 2**62) + content[8:],
        "not JSON": content[:8] + b"x" * length + content[8 + length :],
        "unknown type": content.replace(b'"F32"', b'"F33"'),
        "type NumPy lacks": struct.pack("<Q", 64)
        + b'{"gain":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'.ljust(64)
        + b"ab",
        "overlap": content.replace(header[-20:], header[-20:].replace(b"1", b"2", 1)),
        "zip": (b"PK\x03\x04" + content)[: len(content)],
    }


@pytest.mark.parametrize("damage", list(damages(b"\0" * 100)))
def test_damaged_safetensors_are_refused(toy_folder: Path, damage: str) -> None:
    path = toy_folder / MODEL_FILE
    content = damages(path.read_bytes())[damage]
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_weights(toy_folder)
    assert "\n" not in str(caught.value)
    assert MODEL_FILE in str(caught.value)


def test_tensors_of_another_model_are_listed(toy_folder: Path) -> None:
    tensors = load_file(toy_folder / MODEL_FILE)
    tensors["params/judge/kernel"] = tensors["params/judge/kernel"][:-1].copy()
    # One name inside another is no tree.
    tensors["params/gain/deeper"] = tensors["params/gain"]
    tensors["params/judge/bias"] = np.full(2, np.nan, np.float32)
    del tensors["batch_stats/norm/mean"]
    save_file(tensors, toy_folder / MODEL_FILE)
    with pytest.raises(WeightsError) as caught:
        load_weights(toy_folder)
    message = str(caught.value)
    for fault in (
        "batch_stats/norm/mean is missing",
        "params/gain/deeper is not used",
        "params/judge/kernel has shape (49, 2), expected (50, 2)",
        "params/judge/bias holds NaN or infinite values",
    ):
        assert fault in message


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "format: expected 1, got 2"),
        ({"sample_rate": 8000}, "sample_rate: expected 16000, got 8000"),
        ({"window": 64600}, "window: expected 400, got 64600"),
        ({"labels": ["bonafide", "spoof"]}, 'labels: expected ["spoof", "bonafide"], got ["bonafide", "spoof"]'),
        ({"bonafide_index": 0}, "bonafide_index: expected 1, got 0"),
        ({"source": None}, "source: expected an object, got null"),
        ({"source": {"name": "x"}}, "source.sha256: missing; expected a string"),
        ({"source": {"name": 3, "sha256": ""}}, "source.name: expected a string, got 3"),
        ({"model_config": None}, "model_config: expected an object, got null"),
        ({"model_config": {"architecture": "Toi"}}, "model_config.architecture: expected 'AASIST' or 'SSL' or 'Toy'"),
        ({"model_config": {"architecture": "Toy", "nb_samp": "x"}}, "model_config.nb_samp: expected an integer"),
    ],
)
def test_a_description_that_is_off_is_refused(toy_folder: Path, change: dict[str, Any], complaint: str) -> None:
    path = toy_folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AasistError) as caught:
        load_weights(toy_folder)
    assert str(caught.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(caught.value)


def convert_weights(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_without(("torch",), "convert_weights.py", *arguments)


@pytest.mark.reference
def test_the_command_converts_both_ways_without_pytorch(reference: Path, tmp_path: Path) -> None:
    source = reference / "weights" / "AASIST-L.pth"
    done = convert_weights(source, "--config", "configs/AASIST-L.json", "--output", tmp_path / "weights")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'weights'}\n"
    done = convert_weights(tmp_path / "weights", "--to-torch", tmp_path / "back.pth")
    assert (done.returncode, done.stderr) == (0, "")
    before, after = read_torch_file(source), read_torch_file(tmp_path / "back.pth")
    assert {name: value.tobytes() for name, value in after.items()} == {
        name: value.tobytes() for name, value in before.items()
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("none.pth",), "--config and --output: both are needed"),
        (("none.pth", "--config", "configs/AASIST.json", "--output", "x"), "'none.pth' cannot be read"),
        (("x", "--to-torch", "y.pth", "--output", "z"), "--to-torch: goes without --config, --output and --dtype"),
        (("x\x1b[31m\ny", "--to-torch", "y.pth"), r"x\x1b[31m\ny: no config.json there"),
    ],
)
def test_the_command_reports_faults_in_one_line(
    arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aasist_jax.commands.app import run_verb

    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "argv", ["convert_weights.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_verb("convert")
    assert stop.value.code == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"error: {complaint}")
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_far_too_large_is_refused_unread(toy_folder: Path, name: str) -> None:
    with (toy_folder / name).open("ab") as file:
        file.truncate(40 << 30)
    tracemalloc.start()
    try:
        with pytest.raises((ConfigError, WeightsError)) as caught:
            Detector.from_pretrained(toy_folder)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert str(toy_folder / name) in str(caught.value)
    assert "bytes" in str(caught.value)


def test_negative_variances_are_refused(toy_folder: Path) -> None:
    path = toy_folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("/var"))
    save_file(tensors | {name: -tensors[name]}, path)
    with pytest.raises(WeightsError, match=f"{name} holds negative variances"):
        Detector.from_pretrained(toy_folder)


def overblown(folder: Path) -> Path:
    """The folder, its weights grown until all that they give is infinite or NaN, although every one is finite."""
    path = folder / MODEL_FILE
    large = {name: np.full_like(value, 1e38) for name, value in load_file(path).items() if "params/" in name}
    save_file(load_file(path) | large, path)
    return folder


def test_weights_that_score_nothing_are_named_as_they_are_loaded(command: Any, toy_folder: Path) -> None:
    """The folder is named before any recording is read, and by a Detector of weights in memory never the audio."""
    overblown(toy_folder)
    told = (
        "these weights give no finite score for noise at full scale; they are damaged, or not those of this "
        "configuration"
    )
    with pytest.raises(WeightsError, match=f"^{re.escape(f'{toy_folder}: {told}')}$"):
        Detector.from_pretrained(toy_folder)
    out = toy_folder / "scores.csv"
    for verb in (("score", "--output", out), ("timeline",)):
        code, printed, err = command(*verb, "none.wav", "--weights", toy_folder)
        assert (code, printed, err) == (1, "", f"error: {toy_folder}: {told}\n")
    assert not out.exists()
    detector = Detector(load_weights(toy_folder))
    with pytest.raises(WeightsError, match=f"^toy-[0-9a-f]+: {told}$"):
        detector.score((made_speech(1.0), 16_000))


def test_weights_must_stand_audio_of_full_scale(toy_folder: Path) -> None:
    """What only audio far beyond full scale makes infinite is the fault of the audio."""
    path = toy_folder / MODEL_FILE
    tensors = load_file(path)
    for gain, stands in ((1e30, True), (3e38, False)):
        save_file(tensors | {"params/gain": np.full_like(tensors["params/gain"], gain)}, path)
        if stands:
            with pytest.raises(AudioError, match="the audio: too loud for the model"):
                Detector.from_pretrained(toy_folder).score((np.float32(1e12) * made_speech(1.0), 16_000))
        else:
            with pytest.raises(WeightsError, match="give no finite score"):
                Detector.from_pretrained(toy_folder)
