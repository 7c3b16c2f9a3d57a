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

from aasist_jax.errors import AasistError, DataError
from aasist_jax.evaluation import command as evaluation_command

EXIT_FAILURE, EXIT_SOME_FAILED = 1, 3
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


class Windows(enum.StrEnum):
    """Which windows of a recording are scored."""

    first = "first"
    all = "all"


@app.command()
def score(
    files: Annotated[list[Path], typer.Argument(help="Audio files: WAV, FLAC, MP3, OGG, Opus.")],
    weights: Annotated[
        str, typer.Option(help="A weights folder, or the name of weights got with fetch-weights.")
    ] = "AASIST-L",
    windows: Annotated[
        Windows, typer.Option(help="The published rule (first window alone), or the mean over all windows.")
    ] = Windows.first,
    format: Annotated[Format, typer.Option(help="How to print the scores.")] = Format.table,
    p_spoof: Annotated[
        float | None, typer.Option(help="Prior of a spoof: also give P(spoof), where the weights are calibrated.")
    ] = None,
) -> None:
    """Score audio files: a higher score is more human.

    Exit codes: 0 all scored, 1 failure, 2 usage, 3 some files could not be scored.
    """
    from aasist_jax.detection.files import print_rows, score_files
    from aasist_jax.pretrained import find_weights

    check_backend()
    use_compilation_cache()
    rows = score_files(files, find_weights(weights), windows.value, p_spoof)
    failed = print_rows(rows, format.value)
    if failed:
        raise typer.Exit(EXIT_FAILURE if failed == len(files) else EXIT_SOME_FAILED)


@app.command("fetch-weights")
def fetch_weights_command(
    name: Annotated[str, typer.Argument(help="AASIST or AASIST-L.")],
) -> None:
    """Download official weights, check their SHA-256, convert them and keep them in the cache folder."""
    from aasist_jax.pretrained import fetch_weights

    print(fetch_weights(name))


for _command in (
    evaluation_command.metrics,
    evaluation_command.calibrate,
    evaluation_command.fuse,
    evaluation_command.llr,
):
    app.command()(_command)


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
