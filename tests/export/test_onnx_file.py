"""ONNX export: the scores of the native model, for any batch, without JAX; a wrong graph is never written."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import EVAL_CLIPS, extra, needs_corpus

onnx = extra("onnx", "onnx")
onnxruntime = extra("onnxruntime", "onnx")

from aasist_jax.audio.load import load_audio
from aasist_jax.audio.windows import first_window
from aasist_jax.calibration.llr import load_calibration
from aasist_jax.detection.detector import Detector
from aasist_jax.errors import ExportError
from aasist_jax.export import contract, onnx_file
from aasist_jax.export.onnx_file import export_onnx
from aasist_jax.export.stablehlo_file import export_stablehlo
from aasist_jax.models import family as registry
from aasist_jax.models.aasist.onnx import aasist_graph
from aasist_jax.models.family import Window
from aasist_jax.weights.folder import Source, Weights
from tests.blocked_imports import run_without
from tests.made_calibration import made_calibration
from tests.models import toy
from tests.models.aasist import official
from tests.models.aasist.tiny import CONFIG as TINY
from tests.models.aasist.tiny import scaled_variables
from tests.models.toys import any_length

SAMPLES = 14_000
"""Six temporal nodes."""

# With seed 9, every layer has a say: attention is sharp, and pools leave several nodes.
CONFIG = dataclasses.replace(TINY, nb_samp=SAMPLES, pool_ratios=(0.7, 0.9, 0.7, 0.5), temperatures=(0.5, 0.5, 0.5, 0.5))


def tiny_detector(variables: dict[str, Any]) -> Detector:
    return Detector(Weights(CONFIG, variables, Source("tiny.pth", "0"), "tiny-0123", "0123"))


@pytest.fixture(scope="module")
def detector() -> Detector:
    detector = tiny_detector(scaled_variables(9))
    detector.calibration = made_calibration(detector, 0.5, -1.25)
    return detector


@pytest.fixture(scope="module")
def exported(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    assert export_onnx(detector, path) < contract.TOLERANCE
    return path


def run(path: Path, waves: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(["logits"], {"wave": waves})[0]


def test_any_batch_scores_as_the_native_model(detector: Detector, exported: Path) -> None:
    waves = np.random.default_rng(3).normal(size=(16, SAMPLES)).astype(np.float32) * np.float32(0.1)
    native = detector.logits(waves)
    for size in (1, 3, 16):
        np.testing.assert_allclose(run(exported, waves[:size]), native[:size], rtol=0, atol=2e-5)


def test_the_file_states_what_a_user_must_know(detector: Detector, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert facts["weights_id"] == "tiny-0123"
    assert facts["architecture"] == "AASIST"
    assert json.loads(facts["source"]) == {"name": "tiny.pth", "sha256": "0"}
    assert (facts["sample_rate"], facts["window"], facts["bonafide_index"]) == ("16000", str(SAMPLES), "1")
    assert json.loads(facts["labels"]) == ["spoof", "bonafide"]
    assert "higher is more human" in facts["polarity"]
    # A model with a fixed window has no need of them.
    assert not {"fill", "shortest"} & set(facts)
    (tmp_path / "calibration.json").write_text(facts["calibration"])
    assert detector.calibration is not None
    assert load_calibration(tmp_path / "calibration.json") == detector.calibration.logistic
    (wave,), (logits,) = model.graph.input, model.graph.output
    assert [dim.dim_param or dim.dim_value for dim in wave.type.tensor_type.shape.dim] == ["batch", SAMPLES]
    assert [dim.dim_param or dim.dim_value for dim in logits.type.tensor_type.shape.dim] == ["batch", 2]


def test_equal_scores_are_pooled_in_the_native_order(tmp_path: Path) -> None:
    variables = scaled_variables(5)
    for name, layer in variables["params"].items():
        if name.startswith("pool_"):
            layer["proj"]["kernel"] = np.zeros_like(layer["proj"]["kernel"])
    assert export_onnx(tiny_detector(variables), tmp_path / "tied.onnx") < contract.TOLERANCE


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], None]:
    """Lets a function meddle with the graph before it is written."""
    entry = registry.family("AASIST")
    assert entry.onnx_graph is not None
    emit = entry.onnx_graph

    def meddle(change: Callable[[Any], None]) -> None:
        def graph(config: Any, variables: dict[str, Any]) -> Any:
            emitted = emit(config, variables)
            change(emitted)
            return emitted

        monkeypatch.setitem(registry._registered, "AASIST", dataclasses.replace(entry, onnx_graph=graph))

    return meddle


def change(graph: Any, name: str, values: slice = slice(None)) -> None:
    (constant,) = (c for c in graph.initializer if c.name == name)
    array = onnx.numpy_helper.to_array(constant).copy()
    array.flat[values] = array.flat[values] * 1.5 + 0.1
    constant.CopyFrom(onnx.numpy_helper.from_array(array, name))


def float_constants() -> list[str]:
    graph = aasist_graph(CONFIG, scaled_variables(9))
    return [c.name for c in graph.initializer if c.data_type == onnx.TensorProto.FLOAT]


def test_no_constant_of_the_graph_may_be_wrong(
    detector: Detector, emitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = float_constants()
    assert len(names) > 100
    # The native scores of the check are the same every time.
    native = detector.logits(contract.check_waves(SAMPLES))
    monkeypatch.setattr(detector, "logits", lambda waves: native)
    passed = []
    for name in names:
        emitted(lambda graph, name=name: change(graph, name))
        with contextlib.suppress(ExportError):
            export_onnx(detector, tmp_path / "wrong.onnx")
            passed.append(name)
    assert not passed, "\n".join(passed)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_leaves_the_file_that_was_there(detector: Detector, emitted: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("what was there")
    emitted(lambda graph: change(graph, "out_layer/kernel", slice(0, 1)))
    with pytest.raises(ExportError, match=r"model.onnx: not written, its logits are .* off the native ones"):
        export_onnx(detector, path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["what was there"]


def test_what_stands_in_the_way_is_told(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError, match=r"none/model.onnx: cannot be written \(No such file or directory\)"):
        export_onnx(detector, tmp_path / "none" / "model.onnx")
    with toy.registered(), pytest.raises(ExportError, match="Toy has no ONNX form; export it as StableHLO"):
        export_onnx(Detector(toy.toy_weights()), tmp_path / "toy.onnx")
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"onnx is not installed; run `pip install 'aasist-jax\[onnx\]'`"):
        export_onnx(detector, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_example_needs_no_jax(detector: Detector, exported: Path, tmp_path: Path) -> None:
    """`examples/score_onnx.py` on 22,050 Hz resamples; the score is the native one."""
    rng = np.random.default_rng(8)
    files = [tmp_path / "long.wav", tmp_path / "short stereo.wav", tmp_path / "22050 Hz.wav"]
    soundfile.write(files[0], rng.uniform(-0.5, 0.5, 3 * SAMPLES), 16_000)
    soundfile.write(files[1], rng.uniform(-0.5, 0.5, (SAMPLES // 3, 2)), 16_000)
    soundfile.write(files[2], rng.uniform(-0.5, 0.5, 2 * SAMPLES), 22_050)
    done = run_without(("jax", "jaxlib", "flax", "aasist_jax"), "examples/score_onnx.py", exported, *files)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [file for _, file in lines] == [str(file) for file in files]
    native = [detector.score(file, published=True).score for file in files]
    np.testing.assert_allclose([float(score) for score, _ in lines], native, rtol=0, atol=2e-5)


# A model without a fixed window: its second input is the length of each clip

LONGEST, FRAME = 6000, 200


def any_length_weights() -> Weights:
    f32, kernel = np.float32, np.array([[30], [-0.5]], np.float32)
    params = {"judge": {"kernel": kernel, "bias": np.array([-2], f32)}}
    variables = {"params": params, "memory": {"loudest": np.array(0.7, f32)}}
    return Weights(any_length.AnyLengthConfig(LONGEST, FRAME), variables, Source("any.pth", "0"), "any-0123", "0123")


@pytest.fixture
def of_any_length(toys: None) -> Detector:
    return Detector(any_length_weights())


def clips_of(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise that grows louder, each clip of its own length, with zeros behind it."""
    noise = np.random.default_rng(5).normal(size=(len(lengths), LONGEST)) * np.linspace(0.01, 0.5, LONGEST)
    inside = np.arange(LONGEST) < np.array(lengths)[:, None]
    return (noise * inside).astype(np.float32), np.array(lengths, np.int32)


def test_a_model_of_any_length_takes_the_lengths(of_any_length: Detector, tmp_path: Path) -> None:
    path = tmp_path / "any.onnx"
    assert export_onnx(of_any_length, path) < contract.TOLERANCE
    session = onnxruntime.InferenceSession(path)
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("wave", "tensor(float)", ["batch", LONGEST]),
        ("length", "tensor(int32)", ["batch"]),
    ]
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["window"], facts["fill"], facts["shortest"]) == (str(LONGEST), "zeros", str(FRAME))
    waves, lengths = clips_of([FRAME, LONGEST, 3100, 777])
    (logits,) = session.run(["logits"], {"wave": waves, "length": lengths})
    # What is expected knows nothing of padding.
    alone = [of_any_length.logits(wave[None, :length])[0] for wave, length in zip(waves, lengths, strict=True)]
    np.testing.assert_allclose(logits, alone, rtol=0, atol=2e-5)
    assert np.ptp(logits[:, 1]) > 1


def test_the_example_scores_clips_of_any_length(of_any_length: Detector, tmp_path: Path) -> None:
    """And those at 22,050 Hz, which both example programs resample."""
    export_onnx(of_any_length, tmp_path / "any.onnx")
    export_stablehlo(of_any_length, tmp_path / "any.zip")
    (wave,), _ = clips_of([3100])
    files = [tmp_path / f"{length}.wav" for length in (FRAME, 3100, 2 * LONGEST)]
    for file in files:
        soundfile.write(file, np.resize(wave[:3100], int(file.stem)), 16_000, "FLOAT")
    files.append(tmp_path / "22050 Hz.wav")
    louder = (np.linspace(0.01, 0.5, 5500) * np.sin(np.arange(5500) / 3)).astype(np.float32)
    soundfile.write(files[-1], louder, 22_050, "FLOAT")
    found = [of_any_length.score(audio, published=True).score for audio in ((louder, 16_000), files[-1])]
    assert abs(found[0] - found[1]) > 1e-3
    native = [of_any_length.score(file, published=True).score for file in files]
    soundfile.write(tmp_path / "too_short.wav", wave[: FRAME - 1], 16_000, "FLOAT")
    for kind, suffix in (("onnx", "onnx"), ("stablehlo", "zip")):
        run_example = functools.partial(run_without, ("aasist_jax",), f"examples/score_{kind}.py")
        done = run_example(tmp_path / f"any.{suffix}", *files)
        scores = [float(line.split(" ", 1)[0]) for line in done.stdout.splitlines()]
        assert scores == pytest.approx(native, abs=2e-5), done.stderr
        done = run_example(tmp_path / f"any.{suffix}", tmp_path / "too_short.wav")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert f"too_short.wav: {FRAME - 1} samples; the model takes at least {FRAME}" in done.stderr


@pytest.mark.parametrize("passed_on", [lambda one: np.full_like(one, LONGEST), lambda one: np.full_like(one, one[0])])
def test_an_export_that_loses_lengths_is_refused(of_any_length: Detector, tmp_path: Path, passed_on: Any) -> None:
    """It takes every clip for a full one, or for as long as the first of the batch."""

    def load(path: Path) -> Any:
        return lambda waves, lengths: of_any_length.logits(waves, passed_on(lengths))

    with pytest.raises(ExportError, match=r"any: not written, its logits are .* off the native ones"):
        contract.write_checked(tmp_path / "any", b"", of_any_length, load)
    assert list(tmp_path.iterdir()) == []


def test_the_check_meets_every_kind_of_length() -> None:
    full, shortest, middle, mixed = contract.check_lengths(Window(LONGEST, FRAME, fixed=False), 8)
    assert [set(lengths.tolist()) for lengths in (full, shortest, middle)] == [{LONGEST}, {FRAME}, {3100}]
    assert (mixed.min(), mixed.max(), len(set(mixed.tolist()))) == (FRAME, LONGEST, 8)


def test_a_graph_with_other_inputs_or_outputs_is_refused(
    of_any_length: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_one_length(config: Any, variables: dict[str, Any]) -> Any:
        graph = any_length._onnx_graph(config, variables)
        del graph.input[1]
        return graph

    def of_one_logit(config: Any, variables: dict[str, Any]) -> Any:
        graph = any_length._onnx_graph(config, variables)
        (last,) = (node for node in graph.node if node.name == "logits")
        last.input[0] = next(node.input[0] for node in graph.node if node.op_type == "Sub")
        graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
        return graph

    for wrong, message in (
        (
            of_one_length,
            r"any.onnx: not written, .* ToyAnyLength has the inputs \['wave'\] where .* \['wave', 'length'\]",
        ),
        (of_one_logit, r"gives logits of shape \(8, 1\) where \(8, 2\) is expected, spoof before bona fide"),
    ):
        family = dataclasses.replace(any_length.FAMILY, onnx_graph=wrong)
        monkeypatch.setitem(registry._registered, "ToyAnyLength", family)
        with pytest.raises(ExportError, match=message):
            export_onnx(of_any_length, tmp_path / "any.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.reference
@needs_corpus
@pytest.mark.parametrize(
    ("name", "batches"),
    [
        ("AASIST-L", [1, 3, 4]),
        pytest.param("AASIST-L", [1, 1, 3, 3, 8, 16, 16, 16], marks=pytest.mark.slow),
        pytest.param("AASIST", [1, 1, 3, 3, 8, 16, 16, 16], marks=pytest.mark.slow),
    ],
)
def test_real_clips_score_as_natively(name: str, batches: list[int], tmp_path: Path) -> None:
    detector, clips = official.detector(name), sum(batches)
    at_export = export_onnx(detector, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    files = sorted(EVAL_CLIPS.glob("*.flac"))
    waves = np.stack([first_window(load_audio(file), 64_600) for file in files[:: len(files) // clips][:clips]])
    native = np.concatenate([detector.logits(wave[None]) for wave in waves])
    parts = np.split(waves, np.cumsum(batches)[:-1])
    difference = np.abs(np.concatenate([session.run(None, {"wave": part})[0] for part in parts]) - native).max()
    print(f"{name}, ONNX: largest logit difference {difference:.1e} over {clips} clips, {at_export:.1e} at export")
    assert difference < 1e-4
