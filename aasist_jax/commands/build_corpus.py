"""aasist-jax build-corpus: Build a small corpus of human and synthetic speech.

It is made from free packages, and laid out like ASVspoof 2019 LA. It needs Debian or Ubuntu (no root), the extra
`quickstart`, about 270 MB of downloads and two minutes. The same command goes on where an earlier one was stopped.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.runtime.messages import say


def build_corpus(
    output: Annotated[Path, typer.Argument(help="Folder for the corpus.")],
    downloads: Annotated[
        Path | None, typer.Option(help="Folder for packages (default: OUTPUT-downloads, beside it).")
    ] = None,
    train: Annotated[int, typer.Option(min=1, help="Clips to train on.")] = 300,
    dev: Annotated[int, typer.Option(min=1, help="Clips to choose the best epoch on.")] = 96,
    evaluation: Annotated[int, typer.Option("--eval", min=1, help="Clips to evaluate on.")] = 160,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another corpus.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that synthesise side by side.")] = 2,
    check: Annotated[bool, typer.Option("--check", help="Print what trivial cues alone give away.")] = False,
) -> None:
    """Build the corpus, or find it there, and print what is in it."""
    from aasist_jax.corpus.plan import ClipCounts

    summary = build_showing_progress(
        output, downloads=downloads, counts=ClipCounts(train, dev, evaluation), seed=seed, processes=processes
    )
    say("the corpus was there already" if summary.reused else "the corpus is built")
    for split, attacks in summary.attacks.items():
        human, synthetic = summary.bonafide[split], summary.spoof[split]
        print(f"{split}: {human} human, {synthetic} synthetic ({', '.join(attacks)})")
    print(f"{summary.seconds / 60:.1f} minutes of speech in {summary.folder}")
    print(f"a human: {summary.human}\na synthetic voice: {summary.synthetic}")
    if check:
        from aasist_jax.corpus.cues import cue_table

        print(cue_table(output))


def build_showing_progress(output: Path, *, downloads: Path | None = None, quiet: bool = False, **options: Any) -> Any:
    """Build a corpus, or find it there, showing a bar or a line for each stage; its `CorpusSummary`.

    Args:
        output: folder of the corpus.
        downloads: folder for the packages; OUTPUT-downloads unless given.
        quiet: show nothing.
        options: of `corpus.build.build_corpus`.
    """
    from aasist_jax.corpus.build import build_corpus as build
    from aasist_jax.runtime.progress import BYTES, Progress

    units = {"download": BYTES, "unpack": "packages"}
    with Progress(lines="begin and end", quiet=quiet) as progress:

        def show(stage: str, done: int, total: int) -> None:
            progress.update(stage, done, total, unit=units.get(stage, "clips"))

        downloads = downloads or output.with_name(output.name + "-downloads")
        return build(output, downloads=downloads, progress=show, **options)
