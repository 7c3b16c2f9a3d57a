"""`scripts/evaluate.py` as a process: killed midway, started again, and its report."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aasist_jax.evaluation.score_files import read_scores
from aasist_jax.metrics.error_rates import equal_error_rate
from aasist_jax.weights.folder import Source, save_weights
from tests.conftest import CORPUS, needs_corpus
from tests.models.aasist.tiny import CONFIG, random_variables

REPOSITORY = Path(__file__).resolve().parents[2]
PROTOCOL = CORPUS / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.eval.trl.txt"


@pytest.mark.reference
@needs_corpus
def test_a_killed_evaluation_keeps_its_rows_and_ends_in_a_report(tmp_path: Path) -> None:
    save_weights(tmp_path / "tiny", CONFIG, random_variables(), Source("tiny", "0" * 64))
    model = {"architecture": "AASIST"} | dataclasses.asdict(CONFIG)
    (tmp_path / "c.json").write_text(json.dumps({"model_config": model, "database_path": str(CORPUS)}))
    command = [sys.executable, "scripts/evaluate.py", "--config", tmp_path / "c.json", "--weights", tmp_path / "tiny"]
    command += ["--split", "eval", "--output", tmp_path / "out", "--resamples", "20"]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(REPOSITORY)}
    scores = tmp_path / "out" / "eval.txt"

    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (scores.exists() and scores.stat().st_size > 0):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9
    text = scores.read_text()
    rows = text[: text.rfind("\n") + 1].splitlines(keepends=True)
    trials = [line.split()[1] for line in PROTOCOL.read_text().splitlines()]
    assert 0 < len(rows) < len(trials)

    # A mark in the first row shows that it is not scored again; the last row was cut off halfway.
    marked = rows[0].rsplit(" ", 1)[0] + " 77.5\n" + "".join(rows[1:-1])
    scores.write_text(marked + rows[-1][:9])
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert scores.read_text().startswith(marked)
    written = read_scores(scores)
    assert written.utterances.tolist() == trials
    assert np.unique(written.scores).size > len(trials) / 2

    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    is_bonafide = written.keys.is_bonafide
    assert figures["eer"] == equal_error_rate(written.scores[is_bonafide], written.scores[~is_bonafide]).eer
    assert figures["n_bonafide"] + figures["n_spoof"] == len(trials)
    assert "EER" in done.stdout
    assert "<h2>By attack</h2>" in (tmp_path / "out" / "report.html").read_text()
    assert "## By attack" in (tmp_path / "out" / "report.md").read_text()
