"""The command line. Results go to standard output, everything else to standard error; faults are one line."""

import enum
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import score_files as evaluation_command
from aasist_jax.errors import AasistError, DataError

EXIT_FAILURE, EXIT_SOME_FAILED, EXIT_SPOOF = 1, 3, 4
INTERRUPTED_BY_TYPER = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Is this voice a human's or a machine's?",
)


class Format(enum.StrEnum):
    """How scores are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


class LiveFormat(enum.StrEnum):
    """How `listen` prints what it hears."""

    table = "table"
    jsonl = "jsonl"


class Encoding(enum.StrEnum):
    """Raw samples on standard input, little-endian."""

    s16le = "s16le"
    f32le = "f32le"


class Windows(enum.StrEnum):
    """Which windows of a recording are scored."""

    first = "first"
    all = "all"


WeightsOption = Annotated[str, typer.Option(help="A weights folder, or the name of weights got with fetch-weights.")]
Channel = Annotated[
    int | None, typer.Option(min=0, help="Score this channel, from 0 (a stereo call is two people), not the mean.")
]
Hop = Annotated[
    float | None, typer.Option(help="Over time: seconds from one window to the next (AASIST: multiples of 0.137).")
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Over time: encode every window by itself, not the recording once.")
]
Vad = Annotated[bool, typer.Option("--vad", help="Over time: do not judge windows without speech.")]
Threshold = Annotated[
    float | None,
    typer.Option(help="Over time: bona fide logit less spoof logit, below which a window is spoof (0 by default)."),
]
Hysteresis = Annotated[
    float | None,
    typer.Option(min=0, help="Over time: how far beyond the threshold a segment begins and ends (1 by default)."),
]
MinSpoof = Annotated[
    float | None,
    typer.Option(
        min=0, help="Over time: seconds of spoof on end that make an alarm, or the recording a spoof (2 by default)."
    ),
]


@app.command()
def score(
    files: Annotated[
        list[Path],
        typer.Argument(help="Audio files, folders of them, patterns in quotes, or - for a file on standard input."),
    ],
    weights: WeightsOption = "AASIST-L",
    windows: Annotated[
        Windows, typer.Option(help="The published rule (first window alone), or the mean over all windows.")
    ] = Windows.first,
    format: Annotated[
        Format | None, typer.Option(help="How to print the scores; by default a table, or what --out ends in.")
    ] = None,
    p_spoof: Annotated[
        float | None, typer.Option(help="Prior of a spoof: also give P(spoof), where the weights are calibrated.")
    ] = None,
    channel: Channel = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders with all their subfolders.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the scores to this file (.csv, .jsonl or .json), which must be new.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out: what is in it already is not scored again.")
    ] = False,
    continue_on_error: Annotated[
        bool,
        typer.Option(
            "--continue-on-error/--stop-on-error", help="After a file that cannot be scored, go on with the others."
        ),
    ] = True,
    fail_on_spoof: Annotated[bool, typer.Option("--fail-on-spoof", help="Exit with 4 if anything is a spoof.")] = False,
    segments: Annotated[
        Path | None, typer.Option(help="Score one recording over time: write its segments to this .json or .csv.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Score one recording over time: draw it to this .png.")] = None,
    hop: Hop = None,
    exact: Exact = False,
    vad: Vad = False,
    threshold: Threshold = None,
    hysteresis: Hysteresis = None,
    min_spoof: MinSpoof = None,
) -> None:
    """Score audio files: a higher score is more human. With --segments or --plot, one recording over time.

    Exit codes: 0 all scored; 1 failure, none scored, or stopped; 2 usage; 3 some not scored; 4 --fail-on-spoof.
    """
    from aasist_jax.detection.inputs import find_recordings

    recordings = find_recordings(files, recursive=recursive)
    over_time = {"--hop": hop is not None, "--exact": exact, "--vad": vad}
    over_time |= {"--threshold": threshold is not None, "--hysteresis": hysteresis is not None}
    over_time |= {"--min-spoof": min_spoof is not None}
    if segments or plot:
        alone = {"--windows": windows is Windows.all, "--p-spoof": p_spoof is not None, "--out": out is not None}
        alone |= {"--resume": resume, "--stop-on-error": not continue_on_error}
        if given := [name for name, is_given in alone.items() if is_given]:
            raise typer.BadParameter(f"{', '.join(given)}: not with --segments or --plot")
        if len(recordings) != 1:
            raise typer.BadParameter("--segments and --plot take one recording at a time")
        label = _score_over_time(
            recordings[0],
            weights,
            segments=segments,
            plot=plot,
            hop=hop,
            exact=exact,
            vad=vad,
            rule=_rule(threshold, hysteresis, min_spoof),
            format=(format or Format.table).value,
            channel=channel,
        )
        if fail_on_spoof and label == "spoof":
            raise typer.Exit(EXIT_SPOOF)
        return
    if given := [name for name, is_given in over_time.items() if is_given]:
        raise typer.BadParameter(f"{', '.join(given)}: only with --segments or --plot")
    # What loads JAX comes after what can fail at once.
    from aasist_jax.commands.score_recordings import ScoreOptions, check_options, score_recordings, summary
    from aasist_jax.weights.published import find_weights

    shape = format or _format_of(out)
    options = ScoreOptions(windows.value, shape.value, p_spoof, out, resume, continue_on_error, channel)
    if fault := check_options(recordings, options):
        raise typer.BadParameter(fault)
    folder = find_weights(weights)
    prepare_for_scoring()
    counts = score_recordings(recordings, folder, options)
    if out is not None:
        print(f"{out}: {summary(counts)}", file=sys.stderr)
    failed = counts["error"]
    if failed and (failed == counts.total() or not continue_on_error):
        raise typer.Exit(EXIT_FAILURE)
    if fail_on_spoof and counts["spoof"]:
        raise typer.Exit(EXIT_SPOOF)
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _score_over_time(recording: Any, weights: str, **options: Any) -> str | None:
    from aasist_jax.commands.timeline_recording import score_over_time
    from aasist_jax.weights.published import find_weights

    prepare_for_scoring()
    return score_over_time(recording, find_weights(weights), **options).label


def _format_of(out: Path | None) -> Format:
    suffix = "" if out is None else out.suffix.removeprefix(".").lower()
    return Format(suffix) if suffix in ("json", "jsonl", "csv") else Format.table


@app.command("listen")
def listen_command(
    weights: WeightsOption = "AASIST-L",
    rate: Annotated[int, typer.Option(help="Sample rate of what comes in, in Hz.")] = 16_000,
    channels: Annotated[int, typer.Option(min=1, max=32, help="Channels of what comes in; they are averaged.")] = 1,
    encoding: Annotated[Encoding, typer.Option(help="Raw samples on standard input.")] = Encoding.s16le,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Listen to a microphone (extra `microphone`), not to standard input.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="Number or name of the microphone.")] = None,
    format: Annotated[LiveFormat, typer.Option(help="Lines for people, or an object a line.")] = LiveFormat.table,
    hop: Hop = None,
    exact: Exact = False,
    vad: Vad = False,
    threshold: Threshold = None,
    hysteresis: Hysteresis = None,
    min_spoof: MinSpoof = None,
) -> None:
    """Score audio as it comes: raw samples from standard input, or a microphone. Ctrl-C ends it.

    A score comes about every half second, or every --hop seconds.

    For example: ffmpeg -i URL -f s16le -ac 1 -ar 16000 - | aasist-jax listen
    """
    from aasist_jax.commands import listen
    from aasist_jax.detection.detector import Detector
    from aasist_jax.weights.published import find_weights

    prepare_for_scoring()

    def source(stopped: Callable[[], bool]) -> Any:
        if microphone:
            return listen.microphone(rate, channels, device, stopped)
        return listen.standard_input(encoding.value, channels, stopped)

    listen.listen(
        Detector.from_pretrained(find_weights(weights)),
        source,
        sample_rate=rate,
        hop=hop,
        exact=exact,
        vad=vad,
        rule=_rule(threshold, hysteresis, min_spoof),
        as_json=format is LiveFormat.jsonl,
    )


def _rule(threshold: float | None, hysteresis: float | None, min_spoof: float | None) -> Any:
    from aasist_jax.detection.timeline import Rule

    usual = Rule()
    centre = (usual.enter + usual.leave) / 2 if threshold is None else threshold
    width = (usual.leave - usual.enter) / 2 if hysteresis is None else hysteresis
    return Rule(centre - width, centre + width, usual.min_spoof if min_spoof is None else min_spoof)


@app.command("fetch-weights")
def fetch_weights_command(
    name: Annotated[str, typer.Argument(help="AASIST or AASIST-L.")],
) -> None:
    """Download official weights, check their SHA-256, convert them and keep them in the cache folder."""
    from aasist_jax.weights.published import fetch_weights

    print(fetch_weights(name))


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    weights: WeightsOption = "AASIST-L",
    plot: Annotated[Path | None, typer.Option(help="Draw the explanation over the spectrogram: a PNG file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
    channel: Channel = None,
) -> None:
    """Tell which spans of time and bands of frequency carried the score of a file's first window."""
    from aasist_jax.commands.explain_file import explain_file
    from aasist_jax.weights.published import find_weights

    prepare_for_scoring()
    explain_file(file, find_weights(weights), plot, json, channel)


class ExportFormat(enum.StrEnum):
    """What a model is exported as."""

    onnx = "onnx"
    stablehlo = "stablehlo"


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="A weights folder, or the name of weights got with fetch-weights.")],
    format: Annotated[ExportFormat, typer.Option(help="For ONNX Runtime, or for any program with JAX.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
) -> None:
    """Export a model as one file, written only if it scores as the model does (logits to 1e-4)."""
    from aasist_jax.detection.detector import Detector
    from aasist_jax.export.onnx_file import export_onnx
    from aasist_jax.export.stablehlo_file import export_stablehlo
    from aasist_jax.weights.published import find_weights

    prepare_for_scoring()
    write = export_onnx if format is ExportFormat.onnx else export_stablehlo
    difference = write(Detector.from_pretrained(find_weights(weights)), out)
    print(f"{out}: largest difference of a logit from the native one {difference:.1e}")


for _command in (
    evaluation_command.metrics,
    evaluation_command.calibrate,
    evaluation_command.fuse,
    evaluation_command.llr,
):
    app.command()(_command)


def prepare_for_scoring() -> None:
    """Set JAX up to compute: keep freed memory, check the platform, keep compiled programs."""
    from aasist_jax.runtime.memory import keep_freed_memory

    keep_freed_memory()
    check_backend()
    use_compilation_cache()


def check_backend() -> None:
    """Refuse, in one line, a platform that JAX cannot use on this machine."""
    import jax

    try:
        jax.devices()
    except RuntimeError as error:
        raise AasistError(f"JAX finds no device to compute on: {error}") from None


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder, so that a second start need not compile again."""
    import jax
    from platformdirs import user_cache_path

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(user_cache_path("aasist_jax") / "compiled"))
    # By default a program that is compiled within a second is not worth keeping; loading one takes a tenth of that.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def run(command: Callable[..., Any] | typer.Typer) -> None:
    """Run a command; a fault of the user's becomes one line on standard error and exit code 1."""
    if not isinstance(command, typer.Typer):
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command()(command)
        command = single
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name need not be text, and no encoding of the terminal may stop a result.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            command()
        finally:
            print(end="", flush=True)
    except AasistError as error:
        _fail(str(error), EXIT_FAILURE, is_list=isinstance(error, DataError))
    except OSError as error:
        _fail(f"{error.filename or 'standard output'}: {error.strerror or error}", EXIT_FAILURE)
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as stop:
        if stop.code == INTERRUPTED_BY_TYPER:
            _end_interrupted()
        raise


def _end_interrupted() -> None:
    print("error: interrupted", file=sys.stderr, flush=True)
    # The end that a shell expects of Ctrl-C. An orderly exit could crash in JAX, stopped in the midst of its work.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def _fail(message: str, code: int, *, is_list: bool = False) -> None:
    # Messages may quote files and their names, which must neither break the line nor command a terminal. What is
    # wrong with a data set is listed in lines of its own.
    lines = message.split("\n") if is_list else [message]
    safe = ("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)
    print("error: " + "\n".join(safe), file=sys.stderr)
    sys.exit(code)


def main() -> None:
    """Entry point of `aasist-jax`."""
    run(app)


if __name__ == "__main__":
    main()
