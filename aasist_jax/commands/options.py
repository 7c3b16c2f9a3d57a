"""The options that several verbs share, and those that every verb has."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax import __version__
from aasist_jax.errors import ConfigError, ScoreFileError
from aasist_jax.runtime.devices import choose_device
from aasist_jax.runtime.messages import be_quiet, say

EVERYWHERE = "Everywhere"
RARE = "Rarely needed"
"""Headings of the help, below the options that are mostly needed."""

WEIGHTS_HELP = "A weights folder, or the name of weights got with fetch-weights."

Weights = Annotated[str | None, typer.Option(help=f"{WEIGHTS_HELP} By default the smallest that are published.")]
Channel = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Score this channel, from 0 (a stereo call is two people), not the mean.",
        rich_help_panel=RARE,
    ),
]
ConfigKeys = Annotated[
    list[str] | None, typer.Option("--set", help="Change a key, such as optim_config.base_lr=5e-5; repeatable.")
]

# Scores over time: `timeline` and `listen`.
Hop = Annotated[float | None, typer.Option(help="Seconds from one window to the next; rounded to what the model can.")]
Vad = Annotated[bool, typer.Option("--vad", help="Do not judge windows without speech.")]
MinSpoof = Annotated[
    float | None,
    typer.Option(min=0, help="Seconds of spoof on end that raise an alarm, or make the recording a spoof; default 2."),
]
Exact = Annotated[
    bool,
    typer.Option("--exact", help="Encode every window by itself, not the recording once.", rich_help_panel=RARE),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Bona fide logit less spoof logit, below which a window is spoof; default 0.", rich_help_panel=RARE
    ),
]
Hysteresis = Annotated[
    float | None,
    typer.Option(
        min=0, help="How far beyond the threshold a segment begins and ends; default 1.", rich_help_panel=RARE
    ),
]

# Score files: `metrics`, `calibrate`, `fuse` and `llr`.
Scores = Annotated[Path, typer.Option(help="Score file, of ASVspoof's layouts, a table, or what `score` wrote.")]
Keys = Annotated[
    Path | None,
    typer.Option(help="Protocol or key file; not needed where the score file holds the keys (2019 layout)."),
]
ScoreName = Annotated[
    str, typer.Option("--name", help="Column of the scores, where there are several.", rich_help_panel=RARE)
]
BonafideIs = Annotated[
    str,
    typer.Option(help="Which label means bona fide, where labels are numbers, as in 1.", rich_help_panel=RARE),
]
Where = Annotated[
    list[str] | None, typer.Option(help="COLUMN=VALUE: keep to these trials, as in subset=eval; can be repeated.")
]
Prior = Annotated[float, typer.Option(help="Prior of bona fide speech that the fit weighs the classes by.")]
CalibrationOut = Annotated[Path, typer.Option(help="The calibration is written here, as JSON.")]
AsvScores = Annotated[Path | None, typer.Option(help="The organisers' ASV scores, for t-DCF and t-EER.")]
Resamples = Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0 for no intervals.")]
PSpoof = Annotated[float, typer.Option(help="Prior probability of a spoof.", rich_help_panel=RARE)]
CostMiss = Annotated[float, typer.Option(help="Cost of turning bona fide speech away.", rich_help_panel=RARE)]
CostFalseAlarm = Annotated[float, typer.Option(help="Cost of letting a spoof through.", rich_help_panel=RARE)]


def weights_folder(weights: str | None) -> Path:
    """The folder of the weights that are named, or else of those that are the default.

    Raises:
        WeightsError: there are no such weights here.
    """
    from aasist_jax.weights.published import default_weights, find_weights

    return find_weights(weights or default_weights())


def segment_rule(threshold: float | None, hysteresis: float | None, min_spoof: float | None) -> Any:
    """The `Rule` of `--threshold`, `--hysteresis` and `--min-spoof`; what is not given is as usual."""
    from aasist_jax.detection.timeline import Rule

    usual = Rule()
    centre = (usual.enter + usual.leave) / 2 if threshold is None else threshold
    width = (usual.leave - usual.enter) / 2 if hysteresis is None else hysteresis
    return Rule(centre - width, centre + width, usual.min_spoof if min_spoof is None else min_spoof)


def chosen_keys(scores: Any, path: Path | None, where: list[str] | None, bonafide_is: str = "") -> Any:
    """The `Keys` of a file, or those that the score file holds itself, kept to the trials asked for.

    Without a condition on the subset, they are kept to the official one. What was concluded about either file is said.

    Args:
        scores: the `Scores` of the file.
        path: of the key file.
        where: COLUMN=VALUE of the trials to keep to.
        bonafide_is: which label means bona fide, where labels are numbers.

    Raises:
        ScoreFileError: there are no keys, or no such trials.
    """
    from aasist_jax.evaluation.score_files import read_keys

    keys = read_keys(path, bonafide_is) if path else scores.keys
    if keys is None:
        raise ScoreFileError(scores.why_no_keys or f"{scores.source} holds no keys; give the protocol with --keys")
    conditions = [condition.partition("=") for condition in where or []]
    if not any(column == "subset" for column, _, _ in conditions):
        keys = keys.official()
    for column, equals, value in conditions:
        if not equals:
            raise ScoreFileError(f"--where {column!r} is not COLUMN=VALUE")
        keys = keys.where(column, value)
    for note in (*scores.notes, *keys.notes):
        say(note)
    return keys


def joined(scores: Any, keys: Any) -> Any:
    """The `Trials` of scores and keys; what was concluded about their names is said. Raises as `join` does."""
    from aasist_jax.evaluation.score_files import join

    trials = join(scores, keys)
    for note in trials.notes:
        say(note)
    return trials


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"aasist-jax {__version__}")
        raise typer.Exit
    return wanted


def everywhere(
    device: Annotated[
        str | None,
        typer.Option(help="Compute on: cpu, gpu, or the number of one GPU.", rich_help_panel=EVERYWHERE),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", help="No progress and no news on standard error; errors stay.", rich_help_panel=EVERYWHERE
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_print_version,
            is_eager=True,
            rich_help_panel=EVERYWHERE,
        ),
    ] = False,
) -> None:
    """Do what the options say that every verb has; they can stand before the verb and after it."""
    if device is not None:
        try:
            choose_device(device)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None
    if quiet:
        be_quiet(True)
