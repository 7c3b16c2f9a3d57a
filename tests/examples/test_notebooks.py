"""The notebooks of `examples` run from the first cell to the last, and are shipped with outputs."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from aasist_jax.weights.folder import Source, save_weights
from tests.conftest import needs_corpus
from tests.examples.notebooks import EXAMPLES, executed, outputs, text_of
from tests.examples.recordings import write_recordings, write_table
from tests.models.aasist.tiny import CONFIG, scaled_variables
from tests.quick_compilation import quick_flags

NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|content|opt|usr)/")


def pictures(book: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(book))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_shipped_with_the_outputs_of_one_run(notebook: Path) -> None:
    book = nbformat.read(notebook, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert {output.output_type for output in outputs(book)} <= {"execute_result", "display_data", "stream"}
    assert pictures(book) >= 1
    assert not MACHINE_PATH.search(notebook.read_text(encoding="utf-8"))
    assert notebook.stat().st_size < 1_000_000


def test_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["finetune", "first_look"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of a tiny network, for kernels that do not optimise programs which run for a second."""
    monkeypatch.setenv("XLA_FLAGS", quick_flags())
    return save_weights(tmp_path / "tiny", CONFIG, scaled_variables(), Source("tiny.pth", "0"))


@needs_corpus
def test_first_look_runs(tmp_path: Path, tiny: Path) -> None:
    write_recordings(tmp_path)
    book = executed(EXAMPLES / "first_look.ipynb", tmp_path, {"weights": str(tiny), "hop": 0.1}, seconds=120)
    shown = "\n".join(map(text_of, outputs(book)))
    assert "unsure (uncalibrated)" in shown.replace("</b>", "")
    assert "broken.flac: " in shown
    assert pictures(book) == 3


@needs_corpus
def test_finetune_runs(tmp_path: Path, tiny: Path) -> None:
    write_table(tmp_path, {"train": 8, "dev": 24, "eval": 8})
    model = json.loads((tiny / "config.json").read_text(encoding="utf-8"))["model_config"]
    settings = {
        "weights": str(tiny),
        "epochs": 2,
        "batch": 4,
        "accumulation": 2,
        "changes": [f"model_config={json.dumps(model)}"],
    }
    book = executed(EXAMPLES / "finetune.ipynb", tmp_path, settings, seconds=300)
    shown = "\n".join(map(text_of, outputs(book)))
    assert (tmp_path / "runs" / "finetune" / "weights" / "calibration.json").is_file()
    assert "EER before: " in shown
    assert pictures(book) == 1
