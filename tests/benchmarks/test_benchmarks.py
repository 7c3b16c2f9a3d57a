"""`python -m benchmarks` on a tiny model: what it writes, what it refuses, and what needs no clock."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax.traverse_util import unflatten_dict

from tests.conftest import CORPUS, extra, needs_corpus

extra("torch", "torch")
extra("onnxruntime", "onnx")

from aasist_jax.augmentation import kind_names
from aasist_jax.config import OptimConfig, load_config
from aasist_jax.corpus.non_speech import NON_SPEECH
from aasist_jax.ops.choice import native_kernels
from aasist_jax.weights.folder import Source, save_weights
from aasist_jax.weights.names import variable_shapes
from benchmarks import (
    augmentations,
    calibrations,
    comparison,
    end_to_end,
    jax_programs,
    onnx_programs,
    operations,
    speech,
)
from benchmarks.comparison import BFLOAT16_LOGITS, BFLOAT16_LOSS, CHANNELS_LAST_LOSS, SAME, count, entries, groups
from benchmarks.inputs import recording, write_corpus, write_random_weights
from benchmarks.options import Options, parse
from benchmarks.rounds import BenchmarkError, take_turns
from tests.made_speech import made_speech
from tests.models.aasist.tiny import CONFIG, scaled_variables
from tests.models.toys import any_length, attack_types

REPOSITORY = Path(__file__).resolve().parents[2]
AASIST_L = load_config("AASIST-L").model_config


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_weights(folder, CONFIG, scaled_variables(), Source("tiny", "0" * 64))
    return folder


@pytest.fixture
def options(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    # Of the child processes.
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    return Options(weights=str(tiny), batch=(1,), step_batch=(2,), rounds=1, no_compiled=True, scratch=tmp_path)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *(str(x) for x in arguments)]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


PROGRAM = """
import numpy

def logits(batch, offset):
    return lambda: numpy.full((batch, 2), offset)
"""


def test_what_a_run_writes(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("layers", "--weights", tiny, "--rounds", 2, "--output", out)
    assert done.returncode == 0, done.stderr
    report, text = json.loads((out / "benchmark.json").read_text()), (out / "benchmark.md").read_text()
    assert all(line in done.stdout for line in text.splitlines())
    known = {"cpu", "cores", "threads", "rounds", "python", "jax", "jaxlib", "torch", "onnxruntime", "numpy", "device"}
    assert known <= set(report["machine"])
    assert list(report["sections"]) == ["layers"]
    layers = [row["layer"] for row in report["sections"]["layers"][0]["rows"]]
    assert layers == sorted(layers)
    assert layers[0] == "Global"


def test_the_tables_of_a_comparison(options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By programs that compute nothing, each in a process of its own."""
    (tmp_path / "program.py").write_text(PROGRAM)
    offsets = {"PyTorch eager": 1.0, "ONNX": 1.00005, "aasist_jax": 1.0, "aasist_jax, bfloat16": 1.1}
    program = f"{tmp_path}/program.py:logits"
    found = {name: (program, {"offset": x}, 0.2 if "bf" in name else SAME) for name, x in offsets.items()}
    monkeypatch.setattr(comparison, "entries", lambda what, options: found)
    timed, against, memory = comparison.inference(dataclasses.replace(options, batch=(1, 3), rounds=2))
    assert [row[:3] for row in timed.rows] == [("inference", batch, name) for batch in (1, 3) for name in offsets]
    assert [row[-1] for row in timed.rows[:4]] == [pytest.approx(x - 1) for x in offsets.values()]
    for row in timed.records():
        assert 0 < row["lowest"] <= row["speed (times the first)"] <= row["highest"]
    assert [row[1] for row in against.rows] == 2 * [name for name in offsets if name != "aasist_jax"]
    assert [row[2] for row in memory.rows] == [row[2] for row in timed.rows]
    assert min(row[3] for row in memory.rows) > 10
    found["ONNX"] = (program, {"offset": 1.2}, SAME)
    with pytest.raises(BenchmarkError, match=r"^inference, batch 1: ONNX differs from PyTorch eager by 2\.0e-01"):
        comparison.inference(options)


@pytest.mark.slow
def test_a_short_run(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("inference", "layers", "--weights", tiny, "--rounds", 2, "--batch", 1, "--no-compiled", "--output", out)
    assert done.returncode == 0, done.stderr
    report, text = json.loads((out / "benchmark.json").read_text()), (out / "benchmark.md").read_text()
    assert all(line in done.stdout for line in text.splitlines())
    assert list(report["sections"]) == ["inference", "layers"]
    timed, against, memory = report["sections"]["inference"]
    rows = {row["implementation"]: row for row in timed["rows"]}
    others = ["PyTorch eager", "PyTorch channels last", "ONNX Runtime (our export)"]
    assert list(rows) == [*others, "aasist_jax", "aasist_jax, bfloat16"]
    for row in rows.values():
        assert (row[""], row["batch"]) == ("inference", 1)
        assert row["first call (s)"] > 0
        assert 0 < row["lowest"] <= row["speed (times the first)"] <= row["highest"]
    # bfloat16 was really computed in bfloat16.
    assert rows["aasist_jax, bfloat16"]["off by"] > 10 * rows["aasist_jax"]["off by"]
    assert sorted(row["implementation"] for row in against["rows"]) == sorted({*rows} - {"aasist_jax"})
    peaks = {row["implementation"]: row["peak (MB)"] for row in memory["rows"]}
    assert set(peaks) == set(rows)
    # Each is measured alone: ONNX Runtime without JAX in its process.
    assert 10 < peaks["ONNX Runtime (our export)"] < peaks["aasist_jax"]
    assert "Global" in {row["layer"] for row in report["sections"]["layers"][0]["rows"]}


@pytest.mark.slow
def test_training_is_compared_with_pytorch(tiny: Path, tmp_path: Path) -> None:
    done = run("training", "--weights", tiny, "--rounds", 1, "--step-batch", 2, "--no-compiled", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    timed, _, memory = json.loads((tmp_path / "benchmark.json").read_text())["sections"]["training"]
    tolerances = {"PyTorch eager": SAME, "PyTorch channels last": CHANNELS_LAST_LOSS, "aasist_jax": SAME}
    assert [row["implementation"] for row in timed["rows"]] == list(tolerances)
    assert all(0 <= row["off by"] <= tolerances[row["implementation"]] for row in timed["rows"])
    assert {row["implementation"] for row in memory["rows"] if row["peak (MB)"] > 10} == set(tolerances)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["speed"], "error: argument SECTION: invalid choice: 'speed'"),
        (["inference", "--weights", "nowhere"], "error: nowhere: "),
        (["inference", "--output", "README.md"], "error: README.md: File exists"),
    ],
)
def test_bad_options_give_one_line(arguments: list[str], line: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_options_are_read_and_checked() -> None:
    names, options = parse(["b", "a", "b", "--batch", "1", "8", "--output", "x", "--no-compiled"], {"a": "", "b": ""})
    assert names == ["b", "a"]
    assert options == Options(batch=(1, 8), output=Path("x"), no_compiled=True)
    assert (options.steps, dataclasses.replace(options, gpu=True).steps) == ((8,), (24, 48, 96))
    assert dataclasses.replace(options, step_batch=(2,), gpu=True).steps == (2,)
    for wrong in (["--rounds", "0"], ["--length", "1", "-2.0"]):
        with pytest.raises(BenchmarkError, match=rf"^{wrong[0]}: expected numbers above 0"):
            parse(["a", *wrong], {"a": ""})
    with pytest.raises(BenchmarkError, match=r"^--base: this section needs it$"):
        options.path("base")
    with pytest.raises(BenchmarkError, match=r"^--base: nowhere is not there$"):
        dataclasses.replace(options, base=Path("nowhere")).path("base")


def test_who_is_in_memory_at_the_same_time() -> None:
    ours = "aasist_jax"
    assert groups(["base", "other", ours, "bf16"], beside=True) == [["base", "other", ours], ["base", "bf16", ours]]
    assert groups(["base", "other", ours], beside=False) == [["base", "other"], ["base", ours]]
    assert groups([ours, "bf16"], beside=True) == [[ours, "bf16"]]
    assert groups(["base", ours], beside=True) == [["base", ours]]


def test_who_takes_part_and_how_close_they_must_be(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    eager, last, compiled, onnx = "PyTorch eager", "PyTorch channels last", "torch.compile", "ONNX Runtime (our export)"
    ours, bfloat16 = "aasist_jax", "aasist_jax, bfloat16"
    cpu = dataclasses.replace(options, no_compiled=False)
    monkeypatch.setattr("benchmarks.comparison.write_onnx_model", lambda options: {})

    def tolerances(what: str, options: Options) -> dict[str, float]:
        return {name: tolerance for name, (_, _, tolerance) in entries(what, options).items()}

    exact = dict.fromkeys((eager, last, compiled, onnx, ours), SAME)
    assert tolerances("inference", cpu) == exact | {bfloat16: BFLOAT16_LOGITS}
    training = {eager: SAME, last: CHANNELS_LAST_LOSS, ours: SAME}
    assert tolerances("training_step", options) == training
    assert tolerances("training_step", cpu) == training | {compiled: SAME}
    # A GPU adds low precisions, if PyTorch's build can use it.
    gpu = dataclasses.replace(cpu, gpu=True)
    low = {f"{ours}, TF32": BFLOAT16_LOSS, bfloat16: BFLOAT16_LOSS}
    assert tolerances("training_step", gpu) == {ours: SAME} | low
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    low |= {f"{name}, {x}": BFLOAT16_LOSS for name in (eager, last, compiled) for x in ("TF32", "bfloat16 autocast")}
    assert tolerances("training_step", gpu) == training | {compiled: SAME} | low
    recipe = OptimConfig()
    assert entries("training_step", options)[eager][1]["adam"] == (recipe.base_lr, recipe.betas, recipe.weight_decay)


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("toy", [any_length, attack_types], ids=["any_length", "attack_types"])
def test_any_family_can_be_timed(toy: ModuleType, tmp_path: Path) -> None:
    """From a configuration; a loss of its own gets what it asks for, and an ONNX form its lengths."""
    document = {"model_config": toy.MODEL_CONFIG, "database_path": ".", "batch_size": 2, "num_epochs": 1}
    (tmp_path / "toy.json").write_text(json.dumps(document | {"optim_config": {}}))
    weights = write_random_weights(tmp_path / "toy", tmp_path / "toy.json")
    options = Options(weights=str(weights), batch=(1,), step_batch=(2,), rounds=1, scratch=tmp_path)
    ours, onnx = ["aasist_jax", "aasist_jax, bfloat16"], "ONNX Runtime (our export)"
    found = entries("inference", options)
    assert list(found) == ([onnx, *ours] if toy is any_length else ours)
    assert list(entries("training_step", options)) == ours[:1]
    logits = jax_programs.inference(str(weights), 2)()
    assert logits.shape == (2, 2)
    if onnx in found:
        np.testing.assert_allclose(onnx_programs.inference(batch=2, **found[onnx][1])(), logits, atol=SAME)
    step = jax_programs.training_step(str(weights), 2)
    assert float(step()[0]) != float(step()[0])
    with pytest.raises(BenchmarkError, match="a PyTorch model, which only AASIST has"):
        count(options, "inference")


def test_the_flops_counted_for_aasist_l_are_those_of_a_hand(tmp_path: Path) -> None:
    weights = tmp_path / "AASIST-L"
    ones = {path: np.ones(leaf.shape, leaf.dtype) for path, leaf in variable_shapes(AASIST_L).items()}
    save_weights(weights, AASIST_L, unflatten_dict(ones, sep="/"), Source("AASIST-L", "0" * 64))
    options = Options(weights=str(weights), scratch=tmp_path)
    forward, training = count(options, "inference"), count(options, "training_step")
    block1, block3 = "TorchAASIST.encoder.0.0", "TorchAASIST.encoder.2.0"
    # 64,472 filtered samples, pooled by 3 to 23 rows and 21,490 steps; a row more between the two convolutions.
    assert forward[f"{block1}.conv1"] == 2 * 32 * 1 * 6 * 24 * 21_490
    assert forward[f"{block1}.conv2"] == 2 * 32 * 32 * 6 * 23 * 21_490
    assert forward[f"{block1}.conv_downsample"] == 2 * 32 * 1 * 3 * 23 * 21_490
    assert forward[f"{block3}.conv1"] == 2 * 24 * 32 * 6 * 24 * 2387
    assert forward["TorchAASIST.GAT_layer_T.att_proj"] == 2 * 29 * 29 * 24 * 24
    # 14 of 29 temporal and 9 of 23 spectral nodes are kept.
    assert forward["TorchAASIST.HtrgGAT_layer_ST11.att_proj"] == 2 * 23 * 23 * 24 * 32
    encoder = sum(forward[f"TorchAASIST.encoder.{i}"] for i in range(6))
    sinc = 2 * 129 * 70 * 64_472
    assert sinc + encoder < forward["Global"] < 1.001 * (sinc + encoder)
    # The gradients for a convolution's input and for its kernel cost as much as the convolution.
    assert training[f"{block1}.conv2"] == 3 * forward[f"{block1}.conv2"]


@pytest.mark.slow
@pytest.mark.skipif(not native_kernels(), reason="a C++ compiler is not installed")
def test_every_operation_gives_what_it_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "STEPS", (300, 100))
    for what, (operands, forms) in operations.forms_of_operations().items():
        found = operations.implementations(operands, forms)
        assert len(found) > 1
        take_turns(what, found, rounds=0)
    wrong = {"XLA, first": lambda x: (x, x), "XLA, wrong": lambda x: (x, 2 * x)}
    with pytest.raises(BenchmarkError, match="differs"):
        take_turns("wrong", operations.implementations((jnp.arange(5.0),), wrong), rounds=0)


@pytest.mark.slow
def test_devices_agree(options: Options) -> None:
    [table] = end_to_end.devices(dataclasses.replace(options, devices=(1, 2)))
    assert [row[0] for row in table.rows] == [1, 2]
    # The section itself refuses losses that differ.


def test_clips_that_the_devices_cannot_share_evenly_are_refused(options: Options) -> None:
    with pytest.raises(BenchmarkError, match=r"^--devices: 2 clips cannot be shared evenly by 3 devices$"):
        end_to_end.devices(dataclasses.replace(options, devices=(3,)))


@pytest.mark.slow
def test_a_checkout_equals_itself(options: Options) -> None:
    [table] = comparison.revisions(dataclasses.replace(options, base=REPOSITORY))
    assert [row[:2] for row in table.rows] == [("inference", 1), ("training_step", 2)]
    assert [row[-1] for row in table.rows] == [0, 0]


def test_a_folder_without_benchmarks_is_no_base(options: Options, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"^--base: \S+ is no checkout of this project, or one from before it had"):
        comparison.revisions(dataclasses.replace(options, base=tmp_path))


@pytest.mark.slow
def test_two_runs_give_the_same_bits_and_the_pipeline_is_timed(options: Options) -> None:
    [table] = end_to_end.determinism(options)
    assert [row[1] for row in table.rows] == [True, True]
    rates, epoch = end_to_end.pipeline(options)
    assert [row[:2] for row in rates.rows] == [("FLAC", 0), ("FLAC", 2), ("cache", 0), ("cache", 2)]
    [(batch, speed, _, seconds)] = epoch.rows
    assert batch == 2
    assert seconds == 25_380 / speed


@pytest.mark.slow
def test_augmentation_is_timed_alone_and_in_training(options: Options) -> None:
    kinds, chains = augmentations.augmentation(options)
    [epochs] = augmentations.epochs(options)
    assert {row[0].partition("-")[0] for row in kinds.rows} == set(kind_names())
    names = list(augmentations.CHAINS)
    assert [row[0] for row in chains.rows] == names
    assert [row[0] for row in epochs.rows] == ["none", *names]
    assert epochs.rows[0][2] == 1


@pytest.mark.slow
def test_recordings_are_scored_three_ways_and_over_time(options: Options, tmp_path: Path) -> None:
    [table] = end_to_end.scoring(dataclasses.replace(options, clips=3))
    assert [row[2] for row in table.rows] == ["model alone", "from FLAC files", "aasist-jax score"]
    assert [row[-1] for row in table.rows] == [0, 0, pytest.approx(0, abs=1e-6)]
    with pytest.raises(BenchmarkError, match="no window holds speech; give a corpus of speech, --corpus FOLDER"):
        end_to_end.timeline(dataclasses.replace(options, length=(1.0, 2.0)))
    spoken = tmp_path / "corpus" / "ASVspoof2019_LA_eval" / "flac"
    spoken.mkdir(parents=True)
    soundfile.write(spoken / "a.flac", made_speech(3.0), 16_000)
    corpus = dataclasses.replace(options, corpus=tmp_path / "corpus", length=(1.0, 2.0))
    passes, modes, live = end_to_end.timeline(corpus)
    assert [row[:2] for row in passes.rows] == [(1.0, 6), (2.0, 13)]
    assert dict(modes.rows)["windows in both modes"] == 12
    assert [row[0] for row in live.rows] == ["windows of the verdict", "shared encoder", "exact"]


@pytest.mark.slow
def test_a_start_with_compiled_programs_is_the_quicker_one(options: Options) -> None:
    [table] = end_to_end.starts(options)
    cold, warm = table.rows
    assert (cold[0], warm[0]) == ("cold", "warm")
    assert 0 < warm[1] < cold[1]


@pytest.mark.slow
def test_the_share_of_the_ceiling_is_that_of_the_counted_work(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "SIDES", (256, 512))
    products, shares = comparison.ceilings(options)
    peaks = dict(products.rows)
    assert list(peaks) == ["float32 (GFLOP/s)", "bfloat16 (GFLOP/s)"]
    assert min(peaks.values()) > 0.1
    assert [row[:2] for row in shares.rows] == [("inference", 1), ("training step", 2)]
    for (what, size, ms, speed, share), counted in zip(shares.rows, ("inference", "training_step"), strict=True):
        assert 1e6 * speed * ms == pytest.approx(size * count(options, counted)["Global"]), what
        assert share == speed / peaks["float32 (GFLOP/s)"]
        assert 0 < share < 1


def test_a_recording_shorter_than_a_window_is_refused(options: Options) -> None:
    with pytest.raises(BenchmarkError, match=r"^--length: expected at least a window, 0\.2875 s, got 0\.1 s$"):
        end_to_end.timeline(dataclasses.replace(options, length=(1.0, 0.1)))


def test_the_section_on_encoders_says_what_it_needs(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.encoders import encoders

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BenchmarkError, match="needs the package `transformers`; run `pip install transformers`"):
        encoders(options)


def test_noise_is_dropped_by_the_detector_of_speech(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "SECONDS", 3)
    monkeypatch.setattr(speech, "TIMED", 2.0)
    corpus = write_corpus(tmp_path / "corpus", {"dev": 2, "eval": 2})
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "hiss").symlink_to(corpus / "ASVspoof2019_LA_eval" / "flac")
    kept, dropped, times = speech.speech(dataclasses.replace(options, corpus=corpus, sounds=tmp_path / "sounds"))
    assert {row[0] for row in kept.rows} == {
        f"{split}, {key}" for split in ("dev", "eval") for key in ("bonafide", "spoof")
    }
    assert [row[3:] for row in kept.rows if row[1] == "detector"] == [(0.0,) * 6] * 4
    assert [row[2] for row in dropped.rows] == [1.0] * (2 + len(NON_SPEECH))
    assert dropped.rows[-1][0] == "hiss"
    assert min(row[1] for row in times.rows) > 0


def test_a_recording_is_made_of_the_corpus(options: Options, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"eval": 2})
    found = recording(dataclasses.replace(options, corpus=corpus), 20.0)
    assert (found.shape, found.dtype) == ((320_000,), np.float32)


@needs_corpus
@pytest.mark.reference
def test_a_recording_is_made_of_a_real_corpus(options: Options) -> None:
    assert recording(dataclasses.replace(options, corpus=CORPUS), 3.0).shape == (48_000,)


def test_the_least_cllr_ratio_is_that_of_the_same_trials(options: Options, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys = [(f"S{i // 50}", f"U{i:04}", "-" if i % 2 else "A01", "bonafide" if i % 2 else "spoof") for i in range(400)]
    (tmp_path / "keys.txt").write_text("".join(f"{s} {u} - {a} {k}\n" for s, u, a, k in keys))
    scores = [f"{u} {2 * (k == 'bonafide') + rng.normal()}\n" for _, u, _, k in keys]
    (tmp_path / "scores.txt").write_text("".join(scores))
    files = {"scores": tmp_path / "scores.txt", "keys": tmp_path / "keys.txt"}
    [table] = calibrations.calibration(dataclasses.replace(options, **files))
    medians = {row[0]: row[3] for row in table.rows}
    assert len(medians) == 5
    # Isotonic regression on the very trials is the optimum, a rounding apart; others lie above it.
    assert 1 <= medians["isotonic, the same trials"] < min(v for k, v in medians.items() if "other" in k)
