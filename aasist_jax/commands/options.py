"""The options that several verbs share, and those that every verb has."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax import __version__
from aasist_jax.errors import ConfigError, ScoreFileError
from aasist_jax.runtime.devices import choose_device
from aasist_jax.runtime.messages import be_quiet

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
Scores = Annotated[Path, typer.Option(help="Score file in the ASVspoof 2019, 2021 or 5 layout.")]
Keys = Annotated[
    Path | None,
    typer.Option(help="Protocol or key file; not needed where the score file holds the keys (2019 layout)."),
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


def check_output(path: Path, suffixes: tuple[str, ...]) -> None:
    """Check before the work that a file can be written after it.

    Args:
        path: of the file.
        suffixes: of the formats that are written, in lower case; the suffix of the path chooses one.

    Raises:
        ConfigError: the path ends in none of them, it is a folder, or there is no folder that could hold it.
    """
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{path}: written as {' or '.join(suffixes)}; give a name that ends so")
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")


def segment_rule(threshold: float | None, hysteresis: float | None, min_spoof: float | None) -> Any:
    """The `Rule` of `--threshold`, `--hysteresis` and `--min-spoof`; what is not given is as usual."""
    from aasist_jax.detection.timeline import Rule

    usual = Rule()
    centre = (usual.enter + usual.leave) / 2 if threshold is None else threshold
    width = (usual.leave - usual.enter) / 2 if hysteresis is None else hysteresis
    return Rule(centre - width, centre + width, usual.min_spoof if min_spoof is None else min_spoof)


def chosen_keys(scores: Any, path: Path | None, where: list[str] | None) -> Any:
    """The `Keys` of a file, or those that the score file holds itself, kept to the trials asked for.

    Args:
        scores: the `Scores` of the file.
        path: of the key file.
        where: COLUMN=VALUE of the trials to keep to.

    Raises:
        ScoreFileError: there are no keys, or no such trials.
    """
    from aasist_jax.evaluation.score_files import read_keys

    keys = read_keys(path) if path else scores.keys
    if keys is None:
        raise ScoreFileError(f"{scores.source} holds no keys; give the protocol with --keys")
    for condition in where or []:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ScoreFileError(f"--where {condition!r} is not COLUMN=VALUE")
        keys = keys.where(column, value)
    return keys


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
