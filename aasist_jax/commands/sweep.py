"""aasist-jax sweep: Train with many settings and seeds, and compare them on dev.

The file is JSON: `config`, the base configuration; `set`, changes that all runs have; `grid`, values of keys that are
tried with one another; `choices`, a list of settings that are tried in turn; `seeds`. Every run is one of `train`, with
a run folder of its own. The same command goes on with a sweep that was stopped or killed.

Eval is never scored: a setting that is chosen by its figures on eval looks better there than it is. Score eval once,
with `evaluate`, when the choice is made. Exit codes: 0 complete; 1 some runs failed; 75 stopped by SIGTERM or SIGINT.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import exit_codes


def sweep(
    file: Annotated[Path, typer.Argument(help="The JSON file of the sweep.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run folders and of the table (default: runs/NAME of the file).")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
) -> None:
    """Make all runs, write the table as CSV and Markdown after each, and print it."""
    from aasist_jax.commands.tables import print_table
    from aasist_jax.runtime.messages import say
    from aasist_jax.training.interruption import StopRequested
    from aasist_jax.training.sweep import run_sweep
    from aasist_jax.training.sweep_plan import described, plan_sweep
    from aasist_jax.training.sweep_table import rows_of

    folder = output or Path("runs", file.stem)
    runs = plan_sweep(file, folder)

    def report(swept: Any, done: int) -> None:
        run, seed = swept.run, "" if swept.run.seed is None else f", seed {swept.run.seed}"
        result = f"EER on dev {100 * swept.figures['dev_eer']:.2f} %" if swept.figures else f"failed: {swept.fault}"
        say(f"{done}/{len(runs)}  {described(run.settings)}{seed}: {result}")

    try:
        program = [sys.executable, "-m", "aasist_jax", "train"]
        swept = run_sweep(runs, folder, file, program, processes=processes, report=report)
    except StopRequested:
        say(f"stopped on request; the same command goes on with what is in {folder}")
        raise typer.Exit(exit_codes.STOPPED) from None
    header = ("settings", "dev EER %", "unseen systems %", "runs finished")
    print_table(
        header, [(row.settings, row.text("dev_eer"), row.text("dev_unseen_eer"), row.done) for row in rows_of(swept)]
    )
    print(f"Written with the command of every run: {folder / 'sweep.csv'}, {folder / 'sweep.md'}")
    if any(each.fault for each in swept):
        raise typer.Exit(exit_codes.FAILURE)
