"""aasist-jax train: Train a detector, or go on with a run that was stopped.

A run can be killed at any moment; the same command continues it. Exit codes: 0 complete; 1 failure; 2 usage; 75 stopped
by SIGTERM or SIGINT, after saving a checkpoint.
"""

import functools
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import exit_codes
from aasist_jax.commands.options import CONFIG_HELP, ConfigKeys

HOSTS = "Several hosts"


def train(
    config: Annotated[Path, typer.Option(help=CONFIG_HELP)],
    output: Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME of the configuration).")] = None,
    set_: ConfigKeys = None,
    init: Annotated[
        str | None, typer.Option(help="Start from these weights: a folder, or a name that `models` lists.")
    ] = None,
    selection: Annotated[
        str | None,
        typer.Option(
            help="Data that the final weights are chosen on: dev (default), or published (eval, as the paper did)."
        ),
    ] = None,
    coordinator: Annotated[str, typer.Option(help="HOST:PORT of process 0.", rich_help_panel=HOSTS)] = "",
    processes: Annotated[int, typer.Option(help="Number of processes.", rich_help_panel=HOSTS)] = 0,
    process_id: Annotated[int, typer.Option(help="This process, from 0.", rich_help_panel=HOSTS)] = -1,
) -> None:
    """Train as configured, on a corpus that is built first where the configuration says so."""
    import jax

    from aasist_jax.config import load_config
    from aasist_jax.runtime.start_up import prepare_to_compute
    from aasist_jax.training import loop
    from aasist_jax.training.interruption import StopRequested
    from aasist_jax.training.parallel import initialize_hosts
    from aasist_jax.training.reporting import Reporter

    overrides = list(set_ or [])
    overrides += [f"train_config.init={init}"] if init else []
    overrides += [f"train_config.selection={selection}"] if selection else []
    experiment = load_config(config, overrides)
    prepare_to_compute(
        cpu_devices=experiment.train_config.cpu_devices,
        join_hosts=functools.partial(initialize_hosts, coordinator, processes, process_id),
    )
    folder = output or Path("runs", config.stem)
    is_first = jax.process_index() == 0
    with Reporter(quiet=not is_first) as reporter:
        if experiment.data_config.corpus:
            _build_corpus(Path(experiment.database_path), reporter, quiet=not is_first)
        try:
            loop.train(experiment, folder, reporter)
        except StopRequested:
            reporter.say(f"stopped on request; the same command goes on from the newest checkpoint in {folder}")
            raise typer.Exit(exit_codes.STOPPED) from None
    if experiment.data_config.corpus and experiment.train_config.score_eval:
        _show_what_it_can(Path(experiment.database_path), folder / "weights")


def _build_corpus(folder: Path, reporter: Any, *, quiet: bool) -> None:
    """Build the quickstart corpus, or find it there from an earlier start."""
    from aasist_jax.commands.build_corpus import build_showing_progress

    summary = build_showing_progress(folder, quiet=quiet)
    found = "found" if summary.reused else "built"
    human, synthetic = sum(summary.bonafide.values()), sum(summary.spoof.values())
    reporter.say(f"{folder}: {found}, {human} human and {synthetic} synthetic clips")


def _show_what_it_can(corpus: Path, weights: Path) -> None:
    """Calibrate on voices of the dev split, count verdicts on those of the eval split, and judge one clip of each kind.

    No voice of either was trained on. Where the detector cannot be calibrated, every verdict is unsure.
    """
    from aasist_jax.calibration.detector_calibration import save_detector_calibration
    from aasist_jax.commands.score import ScoreOptions, score_recordings
    from aasist_jax.commands.verdicts import print_shares
    from aasist_jax.data.layouts import find_layout
    from aasist_jax.detection.calibrating import calibrate_on, read_recordings
    from aasist_jax.detection.detector import CALIBRATION_FILE, Detector
    from aasist_jax.detection.inputs import find_recordings
    from aasist_jax.detection.verdict import DecisionRule
    from aasist_jax.detection.verdict_shares import judge_all
    from aasist_jax.errors import DataError
    from aasist_jax.runtime.messages import print_warning
    from aasist_jax.weights.published import default_weights
    from aasist_jax.weights.shipped import shipped_names

    read = find_layout("asvspoof2019_la").read
    detector = Detector.from_pretrained(weights)
    recordings = [each for each in read_recordings(detector, read(corpus, "dev", "LA")) if each is not None]
    command = f"aasist-jax calibrate {weights} --data {corpus} --split dev"
    try:
        calibration = calibrate_on(detector, recordings, data=f"{corpus.name}, split dev", command=command)
    except DataError as error:
        print_warning(f"{weights}: cannot be calibrated on the dev split: {error}")
    else:
        save_detector_calibration(calibration, weights / CALIBRATION_FILE)
        detector.calibration = calibration
    print("\nVerdicts on voices that it never met (they must be 90 % sure; a detector this small is often unsure):")
    print_shares(list(judge_all(detector, read(corpus, "eval", "LA"))), makers=False)
    files = [corpus / "examples" / "human.flac", corpus / "examples" / "synthetic.flac"]
    score_recordings(find_recordings(files), weights, str(weights), ScoreOptions(DecisionRule()))
    program = "aasist-jax" if shutil.which("aasist-jax") else f"{os.path.relpath(sys.executable)} -m aasist_jax"
    print(f"Your own recording: {program} score FILE --weights {shlex.quote(str(weights))}")
    default = default_weights()
    fetch = "" if default in shipped_names() else f"{program} fetch-weights {default}; "
    print(f"With a detector that was trained on more: {fetch}{program} score FILE")
