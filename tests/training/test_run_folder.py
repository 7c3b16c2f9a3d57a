"""The run folder: the log after a kill, files written whole or not at all, full disks, and what counts as changed."""

import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aasist_jax.config import ExperimentConfig, OptimConfig, to_json
from aasist_jax.errors import TrainingError
from aasist_jax.training.identity import check_identity, config_fault, describe_environment, differences
from aasist_jax.training.reporting import Board
from aasist_jax.training.run_folder import RunFolder
from tests.models import toy
from tests.training.short_run import board_points, read_log


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk looks like to whoever writes: an OSError in the midst of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def logged(folder: Path, step: int, epoch: int) -> list[dict[str, object]]:
    run = RunFolder(folder, is_writer=True)
    run.open_log(step, epoch)
    run.close()
    return read_log(folder)


def test_log_keeps_what_the_checkpoint_holds(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, is_writer=True)
    run.open_log(0, 0)
    for step in range(1, 5):
        run.log(step=step, epoch=-(-step // 2), loss=step / 3)
        if step % 2 == 0:
            run.log(step=step, epoch=step // 2, dev_eer=0.5)
    run.close()
    lines = read_log(tmp_path)
    assert len(lines) == 6
    assert logged(tmp_path, 4, 2) == lines
    # Saved at the end of the second epoch, before it was evaluated.
    assert logged(tmp_path, 4, 1) == lines[:5]
    assert logged(tmp_path, 3, 1) == lines[:4]
    assert logged(tmp_path, 0, 0) == []


def test_a_half_written_line_goes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, is_writer=True)
    whole = json.dumps({"step": 1, "epoch": 1, "loss": 0.5})
    for end in (b'{"step": 2, "epo', b'{"step": 2, "utterance": "\xc3', b"\0\0\0"):
        (tmp_path / "log.jsonl").write_bytes(whole.encode() + b"\n" + end)
        run.open_log(2, 1)
        run.log(step=2, epoch=1, loss=0.25)
        run.close()
        assert [line["step"] for line in read_log(tmp_path)] == [1, 2]


def test_what_a_killed_run_had_begun_to_write_goes(tmp_path: Path) -> None:
    """And nothing else: neither a file that another process is writing now, nor one of another name."""
    run = RunFolder(tmp_path, is_writer=True)
    with subprocess.Popen(["true"]) as killed:
        pass
    left = [tmp_path / "scores" / f".dev_1.txt.{killed.pid}.writing", tmp_path / f".summary.json.{killed.pid}.writing"]
    kept = [
        tmp_path / "scores" / f".dev_2.txt.{os.getpid()}.writing",
        tmp_path / "notes.writing",
        tmp_path / ".a.b.writing",
    ]
    for path in (*left, *kept):
        path.write_text("half")
    run.open_log(0, 0)
    run.close()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_a_key_that_an_earlier_version_did_not_know_is_no_difference(tmp_path: Path) -> None:
    with toy.registered():
        config: ExperimentConfig = ExperimentConfig(toy.ToyConfig(4000), OptimConfig(), "data")
        now = {"config": to_json(config), "init": "seed 1"}
        earlier = json.loads(json.dumps(now))
        del earlier["config"]["data_config"]["augmentation"]
        del earlier["config"]["train_config"]["log_steps"]
        check_identity(tmp_path, earlier, now)
        (tmp_path / "config.json").write_text(json.dumps(earlier["config"]))
        assert config_fault(tmp_path / "config.json", config) == ""
        earlier["config"]["num_epochs"] = 7
        with pytest.raises(TrainingError, match=r"differs from what is asked for: config.num_epochs: was 7, is \d+\. "):
            check_identity(tmp_path, earlier, now)


def test_processes_that_do_not_write_leave_no_trace(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", is_writer=False)
    run.write_json("config.json", {})
    run.open_log(0, 0)
    run.log(step=1)
    run.close()
    assert not (tmp_path / "run").exists()


def test_json_survives_a_full_disk(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, is_writer=True)
    run.write_json("summary.json", {"a": 1})
    with file_size_limit(100), pytest.raises(TrainingError, match=r"summary\.json: cannot be written \(File too large"):
        run.write_json("summary.json", {"a": "x" * 1000})
    assert run.read_json("summary.json") == {"a": 1}
    assert run.read_json("other.json") is None


def test_damaged_json_is_one_line(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, is_writer=True)
    (tmp_path / "summary.json").write_text('{"a":')
    with pytest.raises(TrainingError, match=r"summary\.json: cannot be read") as caught:
        run.read_json("summary.json")
    assert "\n" not in str(caught.value)


def test_log_on_a_full_disk(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, is_writer=True)
    run.open_log(0, 0)
    with file_size_limit(10):
        with pytest.raises(TrainingError, match=r"log\.jsonl: cannot be written"):
            run.log(step=1, epoch=1, loss=0.5)
        run.close()
    assert logged(tmp_path, 9, 9) == []


def test_board_on_a_full_disk_neither_hangs_nor_hides_it(tmp_path: Path) -> None:
    board = Board(tmp_path / "tensorboard", 1)

    def fill() -> None:
        for step in range(1, 1000):
            board.add(step, {"loss": 0.5})
            board.flush()

    with file_size_limit(200), pytest.raises(TrainingError, match="tensorboard: cannot be written"):
        fill()
    board.close()


def test_board_drops_what_a_resumed_run_does_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1_700_000_000, 1_800_000_000))
    monkeypatch.setattr("time.time", lambda: float(next(seconds)))
    first = Board(tmp_path / "tensorboard", 1)
    for step in range(1, 5):
        first.add(step, {"loss": float(step)})
    first.close()
    with next((tmp_path / "tensorboard").iterdir()).open("ab") as file:
        file.write(b"\x20\0\0")
    second = Board(tmp_path / "tensorboard", 3)
    second.add(3, {"loss": 30.0})
    second.close()
    assert board_points(tmp_path) == {("loss", 1): [1.0], ("loss", 2): [2.0], ("loss", 3): [30.0]}


def test_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be used as a run folder"):
        RunFolder(tmp_path / "file", is_writer=True)


def test_differences() -> None:
    before = {"config": {"batch_size": 8, "gone": 1}, "data": {"train": "a"}}
    now = {"config": {"batch_size": 4, "new": None}, "data": {"train": "a"}}
    assert differences(before, before) == []
    assert differences(before, now) == ["config.batch_size: was 8, is 4", "config.gone: was 1, is null"]


def test_a_flipped_bit_of_a_configuration_is_found(tmp_path: Path) -> None:
    """But for those by which JSON says the same in another way, as in 1E-05."""
    config = ExperimentConfig(toy.ToyConfig(toy.WINDOW, toy.WIDTH), database_path="clips")
    with toy.registered():
        value = to_json(config)
        RunFolder(tmp_path, is_writer=True).write_json("config.json", value)
        path = tmp_path / "config.json"
        assert config_fault(path, config) == ""
        whole = path.read_bytes()
        for bit in range(0, 8 * len(whole), 11):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            fault = config_fault(path, config)
            assert "\n" not in fault
            if not fault:
                assert json.loads(flipped) == value
        for one, other, told in (
            (b'"clips"', b'"clipt"', 'database_path: was "clips", is "clipt"'),
            (b'"bonafide_is": null', b'"conafide_is": null', "other keys"),
            (whole, b"[]", "other keys"),
        ):
            path.write_bytes(whole.replace(one, other))
            assert config_fault(path, config) == f"is not as it was written ({told})"
        path.unlink()
        assert config_fault(path, config) == "cannot be read (No such file or directory)"


def test_environment() -> None:
    told = describe_environment(7)
    assert told["seed"] == 7
    assert None not in [told["packages"][name] for name in ("jax", "orbax-checkpoint")]
    assert len(told["devices"]) == int(os.environ["JAX_NUM_CPU_DEVICES"])
