"""Runs the notebooks of `examples`; as a program, writes their outputs anew.

    python -m tests.examples.notebooks examples/finetune.ipynb FOLDER [SETTINGS]

FOLDER holds what the notebook reads, by relative paths, so that no path of a machine is in an output. SETTINGS is
JSON and takes the place of settings in the first cell.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def variable(notebook: Path) -> str:
    """The environment variable from which a notebook reads other settings."""
    return f"{notebook.stem.upper()}_SETTINGS"


def executed(notebook: Path, folder: Path, settings: dict[str, Any], *, seconds: int) -> Any:
    """A notebook after it has run in a folder; an error in a cell is raised.

    Args:
        notebook: the file.
        folder: where it runs.
        settings: what to change in its first cell.
        seconds: that a cell may take.
    """
    book = nbformat.read(notebook, as_version=4)
    client = NotebookClient(book, timeout=seconds, record_timing=False, resources={"metadata": {"path": str(folder)}})
    environment = os.environ | {
        variable(notebook): json.dumps(settings),
        "PYTHONPATH": str(REPOSITORY),
        "JAX_NUM_CPU_DEVICES": "1",
    }
    client.execute(env=environment)
    return book


def outputs(book: Any) -> list[Any]:
    """All outputs of a notebook, in order."""
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(output: Any) -> str:
    """An output as text, its pictures left out."""
    data = output.get("data", {})
    shown = [str(value) for kind, value in data.items() if kind.startswith("text/")]
    return "\n".join([output.get("text", ""), *output.get("traceback", []), *shown])


def main() -> None:
    """Write the outputs of a notebook."""
    notebook, folder = Path(sys.argv[1]), Path(sys.argv[2])
    settings = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    nbformat.write(executed(notebook, folder, settings, seconds=7200), notebook)


if __name__ == "__main__":
    main()
