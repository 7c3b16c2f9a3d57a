"""`aasist-jax train` as a process: stopped by a signal, gone on with, and quiet where that is asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from aasist_jax.commands import exit_codes
from tests.conftest import REPOSITORY
from tests.training.short_run import make_config, write_corpus


def test_a_run_that_is_stopped_goes_on_by_the_same_command(tmp_path: Path) -> None:
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(make_config(write_corpus(tmp_path / "LA"), num_epochs=1)))
    command = [sys.executable, "scripts/train.py", "--config", str(config), "--output", str(tmp_path / "run")]
    # Most of the time would go into optimising programs that run for a second.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": flags}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True) as first:
        log = tmp_path / "run" / "log.jsonl"
        while not (log.exists() and log.stat().st_size):
            assert first.poll() is None
            time.sleep(0.05)
        first.send_signal(signal.SIGTERM)
        assert first.stderr is not None
        told = first.stderr.read()
    if first.returncode == 0:  # it was faster than the signal
        assert (tmp_path / "run" / "summary.json").exists()
    else:
        assert first.returncode == exit_codes.STOPPED, told
        assert "stopped on request; the same command goes on from the newest checkpoint in" in told
    done = subprocess.run(
        [*command, "--quiet", "--device", "cpu"], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "run" / "weights" / "model.safetensors").exists()
