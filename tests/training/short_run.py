"""A training run in small, with a real corpus and in real processes, to be stopped in every way there is.

    python short_run.py CONFIG FOLDER

trains as `scripts/train.py` does, with the same exit codes. Prints a line for every step that is settled, for every
epoch and for every pass over clips, so that a test can act at a moment of its choosing.
"""

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# The child finds it by its PYTHONPATH.
from tests.quick_compilation import quick_flags

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = {
    "architecture": "AASIST",
    "nb_samp": 6000,
    "first_conv": 16,
    "filts": [12, [1, 4], [4, 4], [4, 6], [6, 6]],
    "gat_dims": [5, 7],
    "pool_ratios": [0.5, 0.7, 0.5, 0.5],
    "temperatures": [2.0, 2.0, 100.0, 100.0],
}
CLIPS = {"train": 48, "dev": 16, "eval": 16}


def write_corpus(root: Path) -> Path:
    """Write short FLACs in the layout of ASVspoof 2019 LA: bona fide noise is brighter than spoofed noise."""
    import soundfile

    rng = np.random.default_rng(0)
    (root / "ASVspoof2019_LA_cm_protocols").mkdir(parents=True)
    for number, (split, clips) in enumerate(CLIPS.items()):
        folder = root / f"ASVspoof2019_LA_{split}" / "flac"
        folder.mkdir(parents=True)
        lines = []
        for i in range(clips):
            name, spoof = f"LA_{split[0].upper()}_{i:07d}", i % 4 != 0
            wave = rng.normal(size=rng.integers(4000, 9000)) * 0.1
            wave = np.cumsum(wave) * 0.1 if spoof and i % 4 < 3 else wave
            soundfile.write(folder / f"{name}.flac", np.clip(wave, -1, 1), 16000, subtype="PCM_16")
            speaker, attack = f"LA_{10 * number + i % 5:04d}", f"A0{i % 4}" if spoof else "-"
            lines.append(f"{speaker} {name} - {attack} {'spoof' if spoof else 'bonafide'}")
        listing = {"train": "train.trn"}.get(split, f"{split}.trl")
        protocol = root / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{listing}.txt"
        protocol.write_text("\n".join(lines) + "\n")
    originals = [f"LA_T_{i:07d},LA_T_{i - i % 4:07d}\n" for i in range(CLIPS["train"]) if i % 4]
    (root / "metadata.csv").write_text("utterance,origin\n" + "".join(originals))
    return root


def write_asv_scores(path: Path) -> Path:
    """Write ASV scores in the organisers' format."""
    rng = np.random.default_rng(1)
    means = {"target": 2.0, "nontarget": -2.0, "spoof": 1.0}
    lines = [f"A0{i % 3} {key} {mean + rng.normal():.6f}" for key, mean in means.items() for i in range(50)]
    path.write_text("\n".join(lines) + "\n")
    return path


def make_config(corpus: Path, **changes: Any) -> dict[str, Any]:
    """A configuration of 18 steps; `changes` go into the section that knows them, or on top."""
    config: dict[str, Any] = {
        "model_config": dict(MODEL),
        "optim_config": {"base_lr": 1e-3, "lr_min": 5e-6},
        "database_path": str(corpus),
        "batch_size": 8,
        "num_epochs": 3,
        "data_config": {},
        "train_config": {"log_steps": 1, "log_batches": True, "checkpoint_steps": 3},
    }
    sections = {
        "workers": "data_config",
        "augmentation": "data_config",
        "base_lr": "optim_config",
        "weight_decay": "optim_config",
        "rates": "optim_config",
    }
    of_training = (
        "selection",
        "checkpoint_steps",
        "checkpoint_minutes",
        "seed",
        "balance",
        "pairs",
        "held_out_systems",
    )
    sections |= dict.fromkeys((*of_training, "ema", "patience", "teacher"), "train_config")
    for key, value in changes.items():
        (config[sections[key]] if key in sections else config)[key] = value
    return config


def write_config(config: dict[str, Any], folder: Path) -> Path:
    """Write the configuration of a run beside its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(folder.name + ".config.json")
    path.write_text(json.dumps(config))
    return path


def child_environment(cache: Path, devices: int = 1) -> dict[str, str]:
    """The environment of a process that trains and keeps compiled programs in `cache`."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Runs are compared with each other, all compiled alike; most of the first one's time is compiling.
        "XLA_FLAGS": quick_flags(),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
    }


class Start:
    """A child process that trains; its lines are read as they come."""

    def __init__(self, config: dict[str, Any], folder: Path, cache: Path, devices: int = 1, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(write_config(config, folder)), str(folder)],
            env=child_environment(cache, devices),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        self.output = ""

    def until(self, text: str) -> bool:
        """Read up to a line that begins so; False where the process ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if line.startswith(text):
                return True
        return False

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given, and wait; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=300)
        self.output += rest
        return self.process.returncode


class Outcome(NamedTuple):
    """All of a finished run that must not depend on how often it was stopped, as bytes and JSON."""

    state: dict[str, bytes]
    weights: bytes
    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    summary: dict[str, Any]
    scores: dict[str, str]


def read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def newest_state(folder: Path) -> dict[str, bytes]:
    """Read the newest checkpoint of one process."""
    import orbax.checkpoint as ocp
    from jax.tree_util import keystr, tree_leaves_with_path

    newest = max(int(entry.name) for entry in (folder / "checkpoints").iterdir() if entry.name.isdigit())
    tree = ocp.StandardCheckpointer().restore(folder.resolve() / "checkpoints" / str(newest) / "state")
    return {keystr(path): np.asarray(leaf).tobytes() for path, leaf in tree_leaves_with_path(tree["train"])}


def outcome(folder: Path, *, with_state: bool = True) -> Outcome:
    """Read a finished run; without the checkpoint's state where several processes saved it."""
    state = newest_state(folder) if with_state else {}
    log = read_log(folder)
    timed = {"clips_per_second", "data_wait_share"}
    return Outcome(
        state,
        (folder / "weights" / "model.safetensors").read_bytes(),
        [{k: v for k, v in line.items() if k not in timed} for line in log if "loss" in line],
        [line for line in log if "dev_eer" in line],
        {k: v for k, v in json.loads((folder / "summary.json").read_text()).items() if k != "weights_id"},
        {path.name: path.read_text() for path in sorted((folder / "scores").iterdir())},
    )


def outcome_differences(one: Outcome, other: Outcome) -> list[str]:
    """Say in which respects two outcomes differ; nothing where they are the same to the last bit."""
    return [name for name in Outcome._fields if getattr(one, name) != getattr(other, name)]


def board_points(folder: Path) -> dict[tuple[str, int], list[float]]:
    """Read all TensorBoard files of a run as TensorBoard does: checksums checked, a torn end and purged steps left."""
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto.event_pb2 import Event

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    points: dict[tuple[str, int], list[float]] = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        data, at = path.read_bytes(), 0
        while at + 12 <= len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            if at + 16 + length > len(data):
                break
            content = data[at + 12 : at + 12 + length]
            assert struct.unpack("<I", data[at + 8 : at + 12]) == (masked(data[at : at + 8]),)
            assert struct.unpack("<I", data[at + 12 + length : at + 16 + length]) == (masked(content),)
            event = Event.FromString(content)
            if event.HasField("session_log"):
                points = {key: values for key, values in points.items() if key[1] < event.step}
            for value in event.summary.value:
                points.setdefault((value.tag, event.step), []).append(value.simple_value)
            at += 16 + length
    return points


def main(config: str, folder: str) -> None:
    began = time.monotonic()
    if '"augmentation"' in Path(config).read_text():
        import scipy.signal  # noqa: F401  (it cannot be imported after the next line)

    # Where PyTorch is installed tensorboardX imports it, which takes longer than all other imports together.
    sys.modules["torch"] = None  # type: ignore[assignment]

    from aasist_jax.commands.app import run
    from aasist_jax.commands.exit_codes import STOPPED
    from aasist_jax.config import load_config
    from aasist_jax.models.family import register
    from aasist_jax.training.interruption import StopRequested
    from aasist_jax.training.loop import train
    from aasist_jax.training.reporting import Reporter
    from tests.models.toys import trained

    register(trained.FAMILY)

    class Lines(Reporter):
        def start(self, step: int, total: int) -> None:
            print(f"start {step} of {total} after {time.monotonic() - began:.1f} s", flush=True)

        def step(self, step: int, total: int, loss: float, rate: float | None) -> None:
            print(f"step {step}", flush=True)

        def clips(self, what: str, done: int, total: int) -> None:
            print(f"{what} {done}", flush=True)

    def command() -> None:
        try:
            train(load_config(config), folder, Lines())
        except StopRequested:
            sys.exit(STOPPED)

    sys.argv = sys.argv[:1]
    run(command)


if __name__ == "__main__":
    main(*sys.argv[1:])
