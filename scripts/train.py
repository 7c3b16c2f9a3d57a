"""Train a detector: `python scripts/train.py --config configs/AASIST-L.json`.

Start the same command again to resume: a run can be killed at any moment. Exit codes: 0 complete, 1 failure (one line
says why), 2 usage, 75 stopped by SIGTERM or SIGINT behind a saved checkpoint.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aasist_jax.commands.cli import check_backend, run, use_compilation_cache

if TYPE_CHECKING:
    from aasist_jax.config import ExperimentConfig
    from aasist_jax.training.reporting import Reporter


def main(
    config: Annotated[Path, typer.Option(help="Configuration: JSON, or an official .conf file.")],
    output: Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME of the configuration).")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key, such as optim_config.base_lr=5e-5; repeatable.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Start from these weights: a folder, or AASIST-L.")] = None,
    selection: Annotated[
        str | None, typer.Option(help="dev (sound, the default) or published (chooses on eval, which leaks).")
    ] = None,
    coordinator: Annotated[str, typer.Option(help="Several hosts: HOST:PORT of process 0.")] = "",
    processes: Annotated[int, typer.Option(help="Several hosts: number of processes.")] = 0,
    process_id: Annotated[int, typer.Option(help="Several hosts: this process, from 0.")] = -1,
) -> None:
    """Train, or go on where an earlier start was stopped."""
    import jax

    from aasist_jax.config import load_config
    from aasist_jax.runtime.memory import keep_freed_memory
    from aasist_jax.training.interruption import EXIT_STOPPED, StopRequested
    from aasist_jax.training.loop import train
    from aasist_jax.training.parallel import initialize_hosts
    from aasist_jax.training.reporting import Reporter

    overrides = list(set_ or [])
    overrides += [f"train_config.init={init}"] if init else []
    overrides += [f"train_config.selection={selection}"] if selection else []
    experiment = load_config(config, overrides)
    use_compilation_cache()
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", experiment.train_config.cpu_devices)
    initialize_hosts(coordinator, processes, process_id)
    check_backend()
    if jax.default_backend() == "cpu":
        keep_freed_memory()
    folder = output or Path("runs", config.stem)
    with Reporter(quiet=jax.process_index() > 0) as reporter:
        if experiment.data_config.corpus:
            _build_corpus(experiment, reporter)
        try:
            train(experiment, folder, reporter)
        except StopRequested:
            reporter.say(f"stopped on request; the same command goes on from the newest checkpoint in {folder}")
            sys.exit(EXIT_STOPPED)
        if experiment.data_config.corpus:
            _score_examples(experiment, folder)


def _build_corpus(experiment: "ExperimentConfig", reporter: "Reporter") -> None:
    """Build the quickstart corpus, or find it there from an earlier start."""
    from aasist_jax.corpus.build import build_corpus

    folder = Path(experiment.database_path)
    downloads = folder.with_name(folder.name + "-downloads")
    summary = build_corpus(folder, downloads=downloads, progress=reporter.clips)
    found = "found" if summary.reused else "built"
    human, synthetic = sum(summary.bonafide.values()), sum(summary.spoof.values())
    reporter.say(f"{folder}: {found}, {human} human and {synthetic} synthetic clips")


def _score_examples(experiment: "ExperimentConfig", folder: Path) -> None:
    """Score one human and one synthetic clip that training never heard."""
    from aasist_jax.commands.score_recordings import ScoreOptions, score_recordings
    from aasist_jax.detection.inputs import find_recordings

    examples = Path(experiment.database_path, "examples")
    files = [examples / "human.flac", examples / "synthetic.flac"]
    score_recordings(find_recordings(files), folder / "weights", ScoreOptions())


if __name__ == "__main__":
    run(main)
