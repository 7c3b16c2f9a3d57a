"""The options that several verbs share, and those that every verb has."""

import enum
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aasist_jax import __version__
from aasist_jax.errors import ConfigError, ScoreFileError
from aasist_jax.runtime.devices import choose_device
from aasist_jax.runtime.messages import be_quiet, print_warning, say

EVERYWHERE = "Everywhere"
RARE = "Rarely needed"
"""Headings of the help, below the options that are mostly needed."""


class Format(enum.StrEnum):
    """How verdicts are printed, of many recordings or of one over time."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


# What `score` and `quality` judge, recording by recording.
AudioFiles = Annotated[
    list[str], typer.Argument(help="Audio files, folders, patterns in quotes, or - for one on stdin.")
]
RowFormat = Annotated[
    Format | None, typer.Option("--format", help="How to print the rows; by default a table, or what --output ends in.")
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Search folders with all their subfolders.")]

WEIGHTS_HELP = "A weights folder, or a name that `models` lists."
SEVERAL = "Several, as in a,b, are fused."

Weights = Annotated[str | None, typer.Option(help=f"{WEIGHTS_HELP} Default: what it marks so.")]
SeveralWeights = Annotated[
    str | None, typer.Option(help="A folder, or a name of `models` (default: what it marks so); a,b are fused.")
]
Channel = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Score this channel alone, counted from 0, not the mean of all channels.",
        rich_help_panel=RARE,
    ),
]
ChannelOrEach = Annotated[
    str | None,
    typer.Option(
        "--channel",
        help="One channel, counted from 0, not the mean; or `each`, a row for each.",
        rich_help_panel=RARE,
    ),
]
CONFIG_HELP = "A configuration file (JSON or an official .conf), or a name that `aasist-jax models` lists."
ConfigKeys = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a key of the configuration, as in optim_config.base_lr=5e-5; repeatable."),
]

# Scores over time: `timeline` and `listen`.
Hop = Annotated[
    float | None, typer.Option(help="Seconds from one window to the next; rounded to what the model allows.")
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Compute every window by itself: slower, and the same as scoring it alone.",
        rich_help_panel=RARE,
    ),
]

# Verdicts: `score`, `timeline` and `listen`.
Sure = Annotated[float, typer.Option(help="How sure a verdict must be; above 0.5, below 1.")]
SyntheticPrior = Annotated[
    float, typer.Option("--prior", help="Probability that a recording is synthetic, before it is heard.")
]
FailOnSynthetic = Annotated[bool, typer.Option("--fail-on-synthetic", help="Exit with 4 if a verdict is synthetic.")]

# Score files: `metrics`, `calibrate`, `fuse` and `llr`.
Scores = Annotated[Path, typer.Option(help="Score file, of ASVspoof's layouts, a table, or what `score` wrote.")]
Keys = Annotated[
    Path | None,
    typer.Option(help="File that says which trials are spoofs: a protocol or key file."),
]
ScoreName = Annotated[
    str, typer.Option("--name", help="Column of the scores, where there are several.", rich_help_panel=RARE)
]
BonafideIs = Annotated[
    str,
    typer.Option(help="Which label means bona fide, where labels are numbers, as in 1.", rich_help_panel=RARE),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help="COLUMN=VALUE: use only the trials with this value in the key file, as in subset=eval; repeatable."
    ),
]
Prior = Annotated[float, typer.Option(help="Share of bona fide speech, 0 to 1, that the fit is weighted for.")]
CalibrationOutput = Annotated[Path, typer.Option(help="File to write the calibration to, as JSON.")]
AsvScores = Annotated[
    Path | None, typer.Option(help="Scores of the challenge's speaker verification, for t-DCF and t-EER.")
]
Resamples = Annotated[int, typer.Option(min=0, help="Bootstrap resamples for the confidence intervals; 0 for none.")]
PSpoof = Annotated[float, typer.Option(help="Prior probability that a trial is a spoof.", rich_help_panel=RARE)]
CostMiss = Annotated[float, typer.Option(help="Cost of rejecting bona fide speech.", rich_help_panel=RARE)]
CostFalseAlarm = Annotated[float, typer.Option(help="Cost of accepting a spoof.", rich_help_panel=RARE)]


def weights_folder(weights: str | None) -> Path:
    """The folder of the weights that are named, or else of those that are the default.

    Raises:
        WeightsError: there are no such weights here.
    """
    from aasist_jax.weights.published import find_weights

    return find_weights(weights)


def one_or_several_weights(weights: str | None) -> Any:
    """What `Detector.from_pretrained` takes: the folder of the weights, or the text that names several.

    Raises:
        WeightsError: some of them are not here.
    """
    from aasist_jax.weights.published import find_weights, weights_names

    names = weights_names(weights)
    if len(names) < 2:
        return find_weights(weights)
    for name in names:
        find_weights(name)
    return weights


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


def chosen_channel(text: str | None) -> int | Literal["each"] | None:
    """The value of `--channel`.

    Raises:
        BadParameter: it is neither a count from 0 nor `each`.
    """
    if text is None:
        return None
    if text == "each":
        return "each"
    if not text.isascii() or not text.isdecimal():
        raise typer.BadParameter(f"--channel {text}: give a channel, counted from 0, or each")
    return int(text)


def decision_rule(prior: float, sure: float) -> Any:
    """The `DecisionRule` of `--prior` and `--sure`.

    Raises:
        BadParameter: a value out of range.
    """
    from aasist_jax.detection.verdict import DecisionRule

    try:
        return DecisionRule(prior, sure)
    except ConfigError as error:
        raise typer.BadParameter(f"--{error}") from None


def judging_detector(weights: str | None, rule: Any = None, *, several: bool = False) -> Any:
    """The `Detector` of the weights that are named, or of the default; what it can never be sure of is told.

    Args:
        weights: as they were named.
        rule: how labels are decided.
        several: whether several weights may be named, to be fused.

    Raises:
        WeightsError: there are no such weights here.
    """
    from aasist_jax.detection.detector import Detector
    from aasist_jax.runtime.start_up import prepare_to_compute

    found = one_or_several_weights(weights) if several else weights_folder(weights)
    prepare_to_compute()
    detector = Detector.from_pretrained(found)
    tell_what_is_never_sure(detector, weights, rule)
    return detector


def tell_what_is_never_sure(detector: Any, weights: str | None, rule: Any = None) -> None:
    """Warn of labels that no recording can get, without a calibration or by a rule that asks for too much of it."""
    from aasist_jax.detection.verdict import posterior
    from aasist_jax.weights.published import default_weights

    name = weights or default_weights()
    if detector.strongest is None:
        print_warning(
            f"{name}: not calibrated, so every verdict is unsure; calibrate with recordings whose truth you know: "
            f"`aasist-jax calibrate {shlex.quote(name)} --data clips.csv` (columns path,label,speaker)"
        )
    elif rule is not None:
        for label, llr in zip(("synthetic", "human"), detector.strongest, strict=True):
            if rule.label(posterior(llr, rule)) != label:
                print_warning(
                    f"{name}: no recording can be called {label}: its calibration gives no evidence that is strong "
                    f"enough for --sure {rule.sure:g} at --prior {rule.prior:g}; ask for less, or calibrate on more "
                    "recordings"
                )


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
    if not path and scores.keys_in_header:
        say(
            f"{scores.source}: the column {scores.keys_in_header!r} is taken as the truth; if it holds a program's "
            "decisions, give the truth with --keys"
        )
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
            "--quiet", help="Print no progress and no notes; warnings and errors stay.", rich_help_panel=EVERYWHERE
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
