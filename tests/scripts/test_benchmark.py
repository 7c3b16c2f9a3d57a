"""`scripts/benchmark.py` on a tiny model: what it writes, what it refuses, and the parts that need no clock."""

import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import CORPUS, extra, needs_corpus

torch = extra("torch", "torch")
extra("onnxruntime", "onnx")

from aasist_jax.config import OptimConfig
from aasist_jax.features.sinc import sinc_filters
from aasist_jax.models.aasist.config import AASISTConfig
from aasist_jax.ops.convolution import convolve
from aasist_jax.ops.native.build import native_kernels
from aasist_jax.ops.sinc import sinc_convolution
from aasist_jax.weights.folder import Source, Weights, load_weights, save_weights
from scripts.benchmarking import choices
from scripts.benchmarking.apart import own_process
from scripts.benchmarking.ceilings import Ceilings, limit, limits
from scripts.benchmarking.child import run_child
from scripts.benchmarking.contenders import (
    BFLOAT16_LOGITS,
    CHANNELS_LAST_LOSS,
    SAME_LOGITS,
    SAME_LOSS,
    _groups,
    adam_options,
    as_torch_model,
)
from scripts.benchmarking.growth import measure_devices, measure_lengths, paper_steps, reduced_bytes
from scripts.benchmarking.setting import Setting
from scripts.benchmarking.torch_contenders import flavours
from scripts.benchmarking.turns import WARM_UP, BenchmarkError, Contender, take_turns, times_as_fast
from scripts.benchmarking.work import Layer, layers, totals
from tests.models.aasist.tiny import CONFIG, SAMPLES, random_variables, scaled_variables

REPOSITORY = Path(__file__).resolve().parents[2]
AASIST_L = AASISTConfig(
    nb_samp=64_600,
    first_conv=128,
    filts=(70, (1, 32), (32, 32), (32, 24), (24, 24)),
    gat_dims=(24, 32),
    pool_ratios=(0.4, 0.5, 0.7, 0.5),
    temperatures=(2.0, 2.0, 100.0, 100.0),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_weights(folder, CONFIG, scaled_variables(), Source("tiny", "0" * 64))
    return folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/benchmark.py", *(str(x) for x in arguments)]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def run_sections(tiny: Path, out: Path, *sections: str, more: tuple[object, ...] = ()) -> dict:
    options = ["--weights", tiny, "--rounds", 3, "--batch", 1, "--no-compiled", "--out", out]
    options += [] if "--train-batch" in more else ["--train-batch", 2]
    done = run(*options, *(x for name in sections for x in ("--only", name)), *more)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "benchmark.json").read_text())
    assert list(report["sections"]) == list(sections)
    text = (out / "benchmark.txt").read_text()
    assert all(line in done.stdout for line in text.splitlines())
    return report | {"text": text}


INFERENCE = {
    "PyTorch eager": SAME_LOGITS,
    "PyTorch channels last": SAME_LOGITS,
    "ONNX Runtime (our export)": SAME_LOGITS,
    "aasist_jax": SAME_LOGITS,
    "aasist_jax, bfloat16": BFLOAT16_LOGITS,
}
TRAINING = {"PyTorch eager": SAME_LOSS, "PyTorch channels last": CHANNELS_LAST_LOSS, "aasist_jax": SAME_LOSS}


def check_contenders(report: dict, section: str, batch: int, rounds: int, tolerances: dict[str, float]) -> None:
    """Who took part, in which order, and every figure of theirs."""
    rows = {row["contender"]: row for row in report["sections"][section]}
    assert {name: row["tolerance"] for name, row in rows.items()} == tolerances
    assert list(rows) == list(tolerances)
    for name, row in rows.items():
        assert row["batch"] == batch
        assert len(row["seconds"]) == len(row["baseline"]) == rounds
        assert row["median_s"] == statistics.median(row["seconds"])
        assert row["first_call_s"] > 0
        assert 0 <= row["difference"] <= row["tolerance"]
        assert row["speed"] == [base / own for base, own in zip(row["baseline"], row["seconds"], strict=True)]
        assert row["speed_median"] == statistics.median(row["speed"])
        assert row["speed_lowest"] == min(row["speed"]) <= row["speed_median"] <= row["speed_highest"]
        assert row["speed_highest"] == max(row["speed"])
        assert name in report["text"]


def test_a_short_run(tiny: Path, tmp_path: Path) -> None:
    report = run_sections(tiny, tmp_path, "inference", "end-to-end", "pipeline", "work", more=("--rounds", 2))
    machine = report["machine"]
    assert {"cpu", "cores used", "python", "jax", "jaxlib", "torch", "onnxruntime", "numpy", "device"} <= set(machine)
    assert machine["cores used"] == min(2, len(os.sched_getaffinity(0)))
    check_contenders(report, "inference", 1, 2, INFERENCE)
    rows = {row["contender"]: row for row in report["sections"]["inference"]}
    # bfloat16 was really computed in bfloat16.
    assert rows["aasist_jax, bfloat16"]["difference"] > 10 * rows["aasist_jax"]["difference"]
    _, against = report["text"].split("in float32 against each, within a round")
    assert rows["aasist_jax"]["ours_times_as_fast"] is None
    for name in ("PyTorch eager", "PyTorch channels last", "ONNX Runtime (our export)", "aasist_jax, bfloat16"):
        median, lowest, highest = rows[name]["ours_times_as_fast"]
        assert 0 < lowest <= median <= highest
        assert any(name in line and f"{median:.2f}" in line for line in against.splitlines())
    # Without a corpus, what needs one is left out.
    assert report["sections"]["end-to-end"] == report["sections"]["pipeline"] == []
    assert report["notes"] == [f"{name}: left out, it needs --corpus FOLDER" for name in ("end-to-end", "pipeline")]
    assert all(note in report["text"] for note in report["notes"])
    assert report["sections"]["work"][-1]["flops"] == totals(layers(CONFIG, SAMPLES), 1)["flops"]
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_inference_and_training_are_compared_with_pytorch(tiny: Path, tmp_path: Path) -> None:
    report = run_sections(tiny, tmp_path, "inference", "training")
    check_contenders(report, "inference", 1, 3, INFERENCE)
    check_contenders(report, "training", 2, 3, TRAINING)
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_growth_work_and_limits(tiny: Path, tmp_path: Path) -> None:
    more = ("--length", 1, "--length", 2, "--device", 1, "--device", 2, "--array-mib", 8, "--train-batch", 1)
    names = ("growth-batch", "growth-length", "growth-devices", "work", "limits")
    report = run_sections(tiny, tmp_path, *names, more=more)
    sections = report["sections"]
    assert [row["batch"] for row in sections["growth-batch"]] == [1, 2, 4, 8, 16, 24]
    one, two, *_ = sections["growth-batch"]
    shares = [b / (2 * a) for a, b in zip(one["seconds"], two["seconds"], strict=True)]
    np.testing.assert_allclose(two["share_of_batch_1"], shares)
    assert [row["length_s"] for row in sections["growth-length"]] == [1, 2]
    assert [row["windows"] for row in sections["growth-length"]] == [6, 13]
    virtual = [row for row in sections["growth-devices"] if row["what"] == "virtual"]
    assert [row["devices"] for row in virtual] == [1, 2]
    assert 0 <= virtual[1]["difference"] <= 1e-5
    assert len({round(loss, 4) for loss in virtual[0]["losses"]}) == len(virtual[0]["losses"])
    assert [row["devices"] for row in sections["growth-devices"] if row["what"] == "paper"] == [1]
    assert "ON PAPER" in report["text"]
    assert sections["work"][-1]["flops"] == totals(layers(CONFIG, SAMPLES), 1)["flops"]
    ceilings, inference, step = sections["limits"]
    assert min(ceilings[k] for k in ("float32_flops", "bfloat16_flops", "bytes_per_second")) > 1e8
    for row in (inference, step):
        assert 0 < row["share_fused_bytes"] <= row["share_fused"] <= row["share_unfused"] < 1
    assert not (tmp_path / "benchmark.png").exists()


@pytest.mark.slow
@pytest.mark.skipif(not native_kernels(), reason="a C++ compiler is not installed")
def test_every_choice_gives_what_it_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "STEPS", {"block 1": 300, "block 2": 100})
    monkeypatch.setattr(choices, "BATCH", 1)
    for what, contenders in choices.contenders_of_sets().items():
        assert len(contenders) > 1
        take_turns(what, contenders, rounds=0)
    wrong = {"first": lambda x: (x, x), "XLA, wrong": lambda x: (x, 2 * x)}
    monkeypatch.setattr(choices, "sets", lambda: {"wrong": ((jnp.arange(5.0),), wrong)})
    with pytest.raises(BenchmarkError, match="differs"):
        take_turns("wrong", choices.contenders_of_sets()["wrong"], rounds=0)


@pytest.mark.slow
@pytest.mark.reference
@needs_corpus
def test_files_and_the_loader(tiny: Path, tmp_path: Path) -> None:
    more = ("--corpus", CORPUS, "--block", 8, "--epoch-clips", 5, "--rounds", 1)
    report = run_sections(tiny, tmp_path, "end-to-end", "pipeline", more=more)
    alone, files = report["sections"]["end-to-end"]
    assert (alone["contender"], files["contender"]) == ("model alone", "from FLAC files")
    assert alone["clips"] == 8
    assert files["difference"] == 0
    rates = [row for row in report["sections"]["pipeline"] if row["what"] == "rate"]
    assert [(row["source"], row["workers"]) for row in rates] == [("FLAC", 0), ("FLAC", 2), ("cache", 0), ("cache", 2)]
    [epoch] = [row for row in report["sections"]["pipeline"] if row["what"] == "epoch"]
    assert (epoch["clips"], epoch["extrapolated"]) == (6, True)
    assert epoch["epoch_s"] == pytest.approx(25_380 / 6 * epoch["seconds"])
    assert "extrapolated" in report["text"]


@pytest.mark.slow
def test_fresh_processes(tiny: Path, tmp_path: Path) -> None:
    starts = run_sections(tiny, tmp_path, "starts", more=("--starts", 1))["sections"]["starts"]
    cold, warm = (row["seconds"][0] for row in starts if row["what"] == "start")
    assert warm < cold
    compiling = {row["program"]: row["compile_s"] for row in starts if row["what"] == "compile"}
    # Nothing came from a cache.
    assert set(compiling) == {"inference", "training step"}
    assert min(compiling.values()) > 1
    memory = {(row["work"], row["contender"]): row for row in starts if row["what"] == "memory"}
    assert len(memory) == 4 + 3
    assert all(row["peak_mb"] > row["before_mb"] > 10 for row in memory.values())
    # PyTorch and ONNX Runtime are measured without JAX in their processes.
    assert memory["inference", "ONNX Runtime (our export)"]["peak_mb"] < memory["inference", "aasist_jax"]["peak_mb"]


@pytest.mark.slow
def test_the_memory_of_pytorch(tiny: Path, tmp_path: Path) -> None:
    model = as_torch_model(load_weights(tiny))
    torch.save({"config": model.config, "state": model.state}, tmp_path / "model.pt")
    options = {"model": str(tmp_path / "model.pt"), "batch": 1, "threads": 1, "adam": astuple(adam_options())}
    for task in ("torch_inference", "torch_training"):
        found = run_child(task, options)
        assert 10 < found["before_mb"] < found["peak_mb"]


def test_the_memory_of_a_process_is_that_of_its_framework_alone(tmp_path: Path) -> None:
    modules = "import sys, scripts.benchmarking.child, scripts.benchmarking.{}_contenders as c; print(*sys.modules)"
    for framework, others in (("torch", {"jax", "onnxruntime"}), ("onnx", {"jax", "torch"})):
        command = [sys.executable, "-c", modules.format(framework)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert not others & set(done.stdout.split())
    with pytest.raises(BenchmarkError, match=r"^torch_inference: FileNotFoundError: [^\n]*$"):
        run_child("torch_inference", {"model": str(tmp_path / "none.pt"), "batch": 1, "threads": 1})


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--only", "speed"], "error: --only: no section 'speed'; there are inference, "),
        (["--corpus", "nowhere"], "error: --corpus: nowhere is no folder"),
        (["--weights", "nowhere"], "error: nowhere: "),
        (["--out", "README.md"], "error: README.md: File exists"),
    ],
)
def test_bad_options_give_one_line(tiny: Path, options: list[str], line: str) -> None:
    done = run(*([] if "--weights" in options else ["--weights", tiny]), *options)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def setting(**options: object) -> Setting:
    defaults = {"folder": Path(), "weights": Weights(CONFIG, scaled_variables(), Source("", ""), "tiny"), "threads": 1}
    defaults |= {"rounds": 1, "batches": (1,), "train_batches": (1,), "compiled": False, "gpu": False, "corpus": None}
    defaults |= {"block": 1, "epoch_clips": 1, "lengths": (1,), "devices": (1,), "starts": 1, "array_mib": 1}
    return Setting(**(defaults | options))


def test_lengths_and_devices_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(BenchmarkError, match=r"^growth-length: expected at least a window, 0\.2875 s, got 0\.1 s$"):
        measure_lengths(setting(lengths=(1, 0.1)))
    with pytest.raises(BenchmarkError, match=r"^growth-devices: 8 clips cannot be shared evenly by 3 devices$"):
        measure_devices(setting(devices=(3,)))


MAKERS = """
import os

import numpy as np

from scripts.benchmarking.turns import Contender

prepared = []


def prepare():
    prepared.append("prepared")


def counting(job):
    calls = list(prepared)

    def call():
        calls.append(job)
        return np.array([os.getpid(), *calls])

    return Contender(call, 0.25)


def refusing(job):
    raise FileNotFoundError(job)


def leaving(job):
    os._exit(job)


def failing(job):
    calls = iter([np.zeros(1)])

    def call():
        for result in calls:
            return result
        raise ValueError(job)

    return Contender(call, 0.0)
"""
"""A module of its own: a process that imported this one would import PyTorch and JAX."""


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("makers")
    (folder / "makers_of_contenders.py").write_text(MAKERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("makers_of_contenders")
    del sys.modules["makers_of_contenders"]


def is_alive(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_a_contender_works_in_a_process_of_its_own_which_ends_with_the_block(makers: ModuleType) -> None:
    with own_process("ours", makers.prepare, makers.counting, "job") as contender:
        assert contender.tolerance == 0.25
        process, *found = contender.call()
        assert found == ["prepared", "job"]
        assert list(contender.call()) == [process, "prepared", "job", "job"]
        assert int(process) != os.getpid()
        assert is_alive(int(process))
    assert not is_alive(int(process))


def test_a_contender_that_cannot_be_made_is_one_line(makers: ModuleType) -> None:
    expected = r"^ours: FileNotFoundError: no file here$"
    with (
        pytest.raises(BenchmarkError, match=expected),
        own_process("ours", makers.prepare, makers.refusing, "no file\n here"),
    ):
        raise AssertionError("it was made")
    assert not multiprocessing.active_children()


def test_a_call_that_fails_is_one_line(makers: ModuleType) -> None:
    with own_process("ours", makers.prepare, makers.failing, "too\nlong") as contender:
        assert contender.call() == np.zeros(1)
        with pytest.raises(BenchmarkError, match=r"^ours: ValueError: too long$"):
            contender.call()
        with pytest.raises(BenchmarkError, match=r"^ours: its process ended too early, with exit code 0; "):
            contender.call()


def test_a_process_that_dies_is_one_line(makers: ModuleType) -> None:
    expected = r"^ours: its process ended too early, with exit code 3; its messages stand above$"
    with (
        pytest.raises(BenchmarkError, match=expected),
        own_process("ours", makers.prepare, makers.leaving, 3),
    ):
        raise AssertionError("it was made")
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_one_line(makers: ModuleType) -> None:
    with own_process("ours", makers.prepare, makers.counting, "job") as contender:
        # As Linux does to whoever takes too much memory.
        os.kill(int(contender.call()[0]), signal.SIGKILL)
        while multiprocessing.active_children():
            time.sleep(0.01)
        with pytest.raises(BenchmarkError, match=r"^ours: its process was killed by SIGKILL \(too little memory\?\)$"):
            contender.call()


class Course:
    """Contenders whose seconds are known, and a clock that they move."""

    def __init__(self) -> None:
        self.now, self.calls, self.pauses = 0.0, "", 0

    def contender(self, name: str, seconds: list[float], result: float = 0.0, tolerance: float = 1e-4) -> Contender:
        left = iter(seconds)

        def call() -> np.ndarray:
            self.calls += name
            self.now += next(left)
            return np.array([result])

        return Contender(call, tolerance)

    def sleep(self, seconds: float) -> None:
        # A pause belongs to nobody's time.
        self.now += 1000
        self.pauses += 1


def test_contenders_take_turns_and_ratios_are_within_a_round() -> None:
    course = Course()
    contenders = {
        "A": course.contender("A", [9, 5, 1, 4, 2]),
        "B": course.contender("B", [7, 6, 2, 1, 2], result=5e-5),
        "C": course.contender("C", [8, 5, 4, 4, 4]),
    }
    a, b, c = take_turns("x", contenders, rounds=3, clock=lambda: course.now, sleep=course.sleep)
    assert WARM_UP == 2
    assert course.calls == "AABBCC" + "ABC" + "BCA" + "CAB"
    assert course.pauses == 9
    assert (a.first_call_s, b.first_call_s, c.first_call_s) == (9, 7, 8)
    assert b.seconds == (2, 1, 2)
    assert a.speed == (1, 1, 1)
    assert b.speed == (0.5, 4, 1)
    assert c.speed == (0.25, 1, 0.5)
    assert b.difference == 5e-5
    figures = b.figures()
    assert (figures["speed_lowest"], figures["speed_median"], figures["speed_highest"]) == (0.5, 1, 4)
    # Of B against C: 4 / 2, 4 / 1, 4 / 2.
    assert times_as_fast(b, c) == (2, 2, 4)


def test_who_is_in_memory_at_the_same_time() -> None:
    assert _groups(["base", "other", "ours", "bf16"], ("ours",)) == [
        ["base", "other", "ours"],
        ["base", "bf16", "ours"],
    ]
    assert _groups(["base", "other", "ours"], ()) == [["base", "other"], ["base", "ours"]]
    assert _groups(["ours", "bf16"], ("ours",)) == [["ours", "bf16"]]
    assert _groups(["base", "ours"], ("ours",)) == [["base", "ours"]]


@pytest.mark.parametrize("result", [2e-4, np.nan, np.inf])
def test_wrong_results_are_refused_before_timing(result: float) -> None:
    course = Course()
    contenders = {"A": course.contender("A", [1] * 5), "B": course.contender("B", [1] * 5, result)}
    with pytest.raises(BenchmarkError, match=r"^inference: B differs from A by [^\n]*, where 0\.0001 is allowed") as e:
        take_turns("inference", contenders, rounds=3, clock=lambda: course.now, sleep=course.sleep)
    assert "\n" not in str(e.value)
    assert course.calls == "AABB"
    assert course.pauses == 0


def test_results_of_another_shape_or_of_the_second_call_are_refused() -> None:
    wrong, nothing = iter([0.0, 1.0]), iter([0.0, np.nan])
    for call in (lambda: np.zeros(2), lambda: np.array([next(wrong)]), lambda: np.array([next(nothing)])):
        contenders = {"A": Contender(lambda: np.zeros(1), 0), "B": Contender(call, 1e-4)}
        with pytest.raises(BenchmarkError, match="B differs"):
            take_turns("x", contenders, rounds=1, pause=0)


def test_only_as_many_calls_as_asked_for_must_agree() -> None:
    def contenders() -> dict[str, Contender]:
        results = iter([0.0, 1.0, 1.0])
        return {"A": Contender(lambda: np.zeros(1), 0), "B": Contender(lambda: np.array([next(results)]), 1e-4)}

    _, b = take_turns("x", contenders(), rounds=1, compared=1, pause=0)
    assert b.difference == 0
    with pytest.raises(BenchmarkError, match="B differs from A by 1"):
        take_turns("x", contenders(), rounds=1, compared=2, pause=0)


def test_a_gpu_adds_the_low_precisions_of_pytorch() -> None:
    names = [flavour.name for flavour in flavours(compiled=True, gpu=False)]
    assert names == ["PyTorch eager", "PyTorch channels last", "torch.compile"]
    on_gpu = [flavour.name for flavour in flavours(compiled=True, gpu=True)]
    assert on_gpu == [name + more for more in ("", ", TF32", ", bfloat16 autocast") for name in names]
    assert len(flavours(compiled=False, gpu=True)) == 6


def test_pytorch_gets_the_published_optimizer() -> None:
    options = OptimConfig()
    found = adam_options()
    assert (found.learning_rate, found.betas, found.weight_decay) == (
        options.base_lr,
        options.betas,
        options.weight_decay,
    )


def named(config: AASISTConfig, samples: int) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers(config, samples)}


def test_the_work_of_aasist_l_is_what_a_hand_counts() -> None:
    found = named(AASIST_L, 64_600)
    # 70 filters of 129 taps; 64,472 places; pooled by 3 to 23 rows and 21,490 steps.
    assert found["sinc"].flops == 2 * 129 * 70 * 64_472
    assert found["sinc"].bytes(2) == 4 * (2 * (64_600 + 70 * 64_472) + 70 * 129)
    assert found["block1 conv1"].flops == 2 * 32 * 1 * 6 * 24 * 21_490
    assert found["block1 conv2"].flops == 2 * 32 * 32 * 6 * 23 * 21_490
    assert found["block1 conv2"].weights == 32 * 32 * 6 + 32
    assert found["block1 conv2"].backward_flops == 2 * found["block1 conv2"].flops
    assert found["sinc"].backward_flops == 0
    assert found["block1 shortcut"].flops == 2 * 32 * 1 * 3 * 23 * 21_490
    assert "block2 shortcut" not in found
    assert found["block3 conv1"].flops == 2 * 24 * 32 * 6 * 24 * 2387
    assert found["gat_t att_proj"].flops == 2 * 29 * 29 * 24 * 24
    # 14 of 29 temporal and 9 of 23 spectral nodes are kept.
    assert found["htrg11 att_proj"].flops == 2 * 23 * 23 * 24 * 32
    linear = sum(layer.flops for layer in found.values() if layer.linear)
    assert 13.1e9 < linear < 13.3e9
    total = totals(list(found.values()), 8)
    assert linear < total["flops"] / 8 < 13.5e9
    # The wave, and the outputs of six blocks written and read; the weights once a batch.
    steps = [7163, 2387, 795, 265, 88, 29]
    outputs = sum(23 * n * c for n, c in zip(steps, (32, 32, 24, 24, 24, 24), strict=True))
    weights = sum(layer.weights for layer in found.values())
    assert total["fused_bytes"] == 4 * (8 * (64_600 + 2 * outputs) + weights)


def test_the_weights_counted_are_those_of_the_model() -> None:
    leaves = random_variables()["params"]
    flat = {jax.tree_util.keystr(path): leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(leaves)}
    # bn1 feeds nothing, and the learned master nodes are inputs; the fixed filters are no parameters.
    used = sum(size for name, size in flat.items() if "bn1" not in name and "'master" not in name)
    bank = 24 * 9
    assert sum(layer.weights for layer in layers(CONFIG, SAMPLES)) == used + bank


def test_xla_counts_the_same_for_convolutions() -> None:
    found = named(CONFIG, SAMPLES)
    wave, bank = jnp.zeros((1, SAMPLES)), jnp.asarray(sinc_filters(24, 8))
    assert xla_flops(sinc_convolution, wave, bank) == pytest.approx(found["sinc"].flops, rel=1e-3)
    steps = (SAMPLES - 8) // 3
    x, kernel = jnp.zeros((1, 9, steps, 3)), jnp.zeros((2, 3, 3, 3))
    # XLA does not count products with the zeros that pad the ends of the time axis.
    assert xla_flops(lambda x, k: convolve(x, k, (0, 1)), x, kernel) == pytest.approx(
        found["block1 conv2"].flops, rel=1e-3
    )


def xla_flops(function: object, *arguments: jax.Array) -> float:
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def test_a_layer_waits_for_the_slower_of_arithmetic_and_memory() -> None:
    ceilings = Ceilings(float32_flops=10, bfloat16_flops=0, bytes_per_second=2)
    assert limit([(20, 2), (10, 8)], ceilings) == 2 + 4
    counted = [Layer("a", flops=20, read=1, written=1, weights=2, fused_read=1, linear=True)]
    assert limits(counted, 3, ceilings, training=False) == {"unfused_s": 16, "fused_s": 10, "fused_bytes_s": 10}
    assert limits(counted, 30, ceilings, training=False)["unfused_s"] == 4 * (30 * 2 + 2) / 2
    # Backward: the product for the input and the one for the weights.
    ample = Ceilings(10, 0, 1e9)
    assert limits(counted, 1, ample, training=True)["fused_s"] == pytest.approx(6)


def test_devices_on_paper_exchange_what_a_ring_exchanges() -> None:
    one, two, four = paper_steps({1: 8.0, 2: 4.0, 4: 2.0}, exchanged=1000, link=500)
    assert (one["step_s"], two["step_s"], four["step_s"]) == (8, 4 + 2, 2 + 3)
    assert four["speed_up"] == 8 / 5
    variables = {"params": {"w": np.zeros(5)}, "batch_stats": {"mean": np.zeros(2), "count": np.zeros(())}}
    assert reduced_bytes(Weights(CONFIG, variables, Source("", ""), "")) == 4 * 7
