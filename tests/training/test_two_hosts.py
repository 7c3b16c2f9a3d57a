"""The training command on two processes of two devices: killed, resumed, and ending in the same bits."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

from .short_run import make_config, outcome, outcome_differences, read_log, write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def start_both(config: Path, folder: Path) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "scripts" / "train.py"), "--config", str(config)]
    command += ["--output", str(folder), "--coordinator", f"127.0.0.1:{port}", "--processes", "2"]
    return [
        subprocess.Popen(
            [*command, "--process-id", str(i)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in (0, 1)
    ]


def run_to_the_end(config: Path, folder: Path) -> None:
    for process in start_both(config, folder):
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output


def test_two_hosts_killed_and_resumed(tmp_path: Path) -> None:
    config = tmp_path / "run.json"
    config.write_text(json.dumps(make_config(write_corpus(tmp_path / "corpus"))))
    run_to_the_end(config, tmp_path / "alone")
    assert [line["step"] for line in read_log(tmp_path / "alone") if "loss" in line] == list(range(1, 19))

    # The folder is named alike, as the final weights carry its name.
    folder = tmp_path / "killed" / "alone"
    processes = start_both(config, folder)
    while not (folder / "log.jsonl").exists() or len(read_log(folder)) < 9:
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
        time.sleep(0.05)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run_to_the_end(config, folder)
    # One process cannot read what two have saved; the final weights and every logged loss tell as much.
    alone, killed = (outcome(run, with_state=False) for run in (tmp_path / "alone", folder))
    assert outcome_differences(alone, killed) == []
