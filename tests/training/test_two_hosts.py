"""The training command on two processes of two devices: killed, resumed, and ending in the same bits."""

import json
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.training.short_run import make_config, outcome, outcome_differences, read_log, write_corpus
from tests.training.two_processes import Process, start_two, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def start_both(config: Path, folder: Path) -> AbstractContextManager[list[Process]]:
    command = [str(REPOSITORY / "scripts" / "train.py"), "--config", str(config), "--output", str(folder)]

    def arguments(index: int, port: int) -> list[str]:
        return [*command, "--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process-id", str(index)]

    return start_two(arguments)


def run_to_the_end(config: Path, folder: Path) -> None:
    with start_both(config, folder) as processes:
        wait_for(processes, timeout=600)


def test_two_hosts_killed_and_resumed(tmp_path: Path) -> None:
    config = tmp_path / "run.json"
    config.write_text(json.dumps(make_config(write_corpus(tmp_path / "corpus"))))
    run_to_the_end(config, tmp_path / "alone")
    assert [line["step"] for line in read_log(tmp_path / "alone") if "loss" in line] == list(range(1, 19))

    # The folder is named alike, as the final weights carry its name.
    folder = tmp_path / "killed" / "alone"
    with start_both(config, folder) as processes:
        while not (folder / "log.jsonl").exists() or len(read_log(folder)) < 9:
            assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
            time.sleep(0.05)
    run_to_the_end(config, folder)
    # One process cannot read what two have saved; the final weights and every logged loss tell as much.
    alone, killed = (outcome(run, with_state=False) for run in (tmp_path / "alone", folder))
    assert outcome_differences(alone, killed) == []
