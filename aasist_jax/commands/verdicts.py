"""aasist-jax verdicts: Count right, wrong and unsure verdicts on known recordings.

Use recordings that the weights were neither trained nor calibrated on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import options
from aasist_jax.commands.calibrate import utterances_of
from aasist_jax.errors import DataError, nearest


def verdicts(
    data: Annotated[
        Path,
        typer.Argument(help="A CSV with the columns path, label and speaker, or the folder of a data set."),
    ],
    weights: options.SeveralWeights = None,
    split: Annotated[str | None, typer.Option(help="Use this split; of a folder, eval by default.")] = None,
    degrade: Annotated[
        str | None, typer.Option(help="Change every recording first: telephone, noise-10dB, opus-12k, mp3-64k, room.")
    ] = None,
    made: Annotated[
        str | None,
        typer.Option(
            help="Judge recordings made of a corpus, as join-clips makes them: one-voice, inserted, human-human, ..."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many are made.")] = 20,
    minutes: Annotated[float, typer.Option(help="How long each is.")] = 1.0,
    channels: Annotated[int, typer.Option(min=1, max=2, help="Channels of a conversation.")] = 1,
    sure: options.Sure = 0.9,
    prior: options.SyntheticPrior = 0.5,
    bonafide_is: options.BonafideIs = "",
) -> None:
    """Judge the recordings, and print the shares of all, of every voice and of every system."""
    rule = options.decision_rule(prior, sure)
    from aasist_jax.corpus.degradations import DEGRADATIONS
    from aasist_jax.detection.verdict_shares import judge_all
    from aasist_jax.runtime.progress import with_progress

    if degrade is not None and degrade not in DEGRADATIONS:
        raise DataError(f"--degrade: there is no {degrade!r}; {nearest(degrade, DEGRADATIONS)}")
    detector = options.judging_detector(weights, rule, several=made is None)
    if made is not None:
        _print_made(detector, rule, data, split or "eval", made, count, minutes, channels, degrade)
        return
    utterances = utterances_of(data, split, "eval", bonafide_is)
    found = judge_all(detector, utterances, rule=rule, change=None if degrade is None else DEGRADATIONS[degrade])
    judged = list(with_progress(found, description="Judging", total=len(utterances)))
    if all(each.label is None for each in judged):
        raise DataError(f"{data}: none of its recordings could be read")
    print_shares(judged, makers=True)


def _print_made(
    detector: Any,
    rule: Any,
    corpus: Path,
    split: str,
    kind: str,
    count: int,
    minutes: float,
    channels: int,
    degrade: str | None,
) -> None:
    """Judge recordings made of a corpus; print their labels, and the time of the turns by what it was called."""
    from aasist_jax.commands.tables import percent, print_table
    from aasist_jax.corpus.drawn_recordings import KINDS, Request, draw_recordings
    from aasist_jax.detection.made_verdicts import judge_made, shares_by_kind
    from aasist_jax.evaluation.turn_shares import shares_by_label
    from aasist_jax.runtime.progress import with_progress

    if kind not in KINDS:
        raise DataError(f"--made: there is no {kind!r}; {nearest(kind, KINDS)}")
    request = Request((kind,), count, channels, 60 * minutes, degrade)
    found = judge_made(detector, draw_recordings(corpus, split, request), rule=rule)
    judged = list(with_progress(found, description="Judging", total=count * channels))
    rows = [
        (
            each.kind,
            str(each.count),
            *(percent(each.labels[label]) for label in ("human", "unsure", "synthetic")),
            f"{each.segments_per_hour:.2f}",
            "" if each.found is None else percent(each.found),
        )
        for each in shares_by_kind(judged)
    ]
    header = (
        "recordings",
        "count",
        "human",
        "unsure",
        "synthetic",
        "wrong synthetic segments an hour",
        "synthetic found",
    )
    print_table(header, rows)
    print()
    spans = [(each.turns, [(part.start, part.end, part.label) for part in each.segments]) for each in judged]
    turns = [
        (f"{label} turns", *(percent(shares[call]) for call in ("human", "unsure", "synthetic", "unheard")))
        for label, shares in shares_by_label(spans).items()
    ]
    print_table(("time of", "called human", "unsure", "synthetic", "unheard"), turns)


def print_shares(judged: Sequence[Any], *, makers: bool) -> None:
    """Print the shares of human and synthetic recordings and, with `makers`, of every voice and every system."""
    from aasist_jax.commands.tables import percent, print_table
    from aasist_jax.detection.verdict_shares import by_maker, shares

    read = [each for each in judged if each.label is not None]
    kinds = [[each for each in read if each.is_human is is_human] for is_human in (True, False)]
    names = ("human (wrong: called synthetic)", "synthetic (wrong: called human)")
    all_shares = [shares(name, kind) for name, kind in zip(names, kinds, strict=True) if kind]
    tables = [("recordings", all_shares)]
    if makers:
        tables += [("voice, worst first", by_maker(read, is_human=True))]
        tables += [("system, worst first", by_maker(read, is_human=False))]
    for header, rows in tables:
        print_table(
            (header, "count", "right", "wrong", "95 % interval", "unsure"),
            [
                (
                    each.name,
                    str(each.count),
                    percent(1 - each.wrong - each.unsure),
                    percent(each.wrong),
                    f"{100 * each.low:.1f} to {100 * each.high:.1f} %",
                    percent(each.unsure),
                )
                for each in rows
            ],
        )
        print()
    unsure = sum(each.label == "unsure" for each in read)
    if read:
        print(f"Unsure: {percent(unsure / len(read))} of {len(read)} recordings.")
