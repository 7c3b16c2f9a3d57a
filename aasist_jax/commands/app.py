"""The program: finds the verbs, runs one, and turns what goes wrong into one line and an exit code.

Results go to standard output, everything else to standard error.
"""

import contextlib
import errno
import functools
import importlib
import inspect
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from aasist_jax import commands
from aasist_jax.commands import exit_codes
from aasist_jax.commands.interrupts import end_interrupted, interrupt_handling, was_interrupted
from aasist_jax.commands.options import EVERYWHERE, everywhere
from aasist_jax.errors import AasistError, DataError
from aasist_jax.runtime.messages import be_quiet, print_error, print_warning, stop_writing

SETTINGS: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    # Plain text fits twice as much on a screen as rich's boxes.
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
_FIRST_LINE = re.compile(r'"""aasist-jax (?P<verb>\S+): (?P<help>.+?)(?:""")?\n')


class _Interrupted(BaseException):
    """Ctrl-C in a verb, kept from Typer, which would forget what is said of it."""


def find_verbs() -> dict[str, str]:
    """The verbs, by their names in order, and what each does in a line; no verb's file is imported for it.

    Raises:
        AasistError: the first line of a file names a verb that the file's own name does not fit.
    """
    verbs = {}
    for path in (path for folder in commands.__path__ for path in Path(folder).glob("*.py")):
        with path.open(encoding="utf-8") as file:
            declared = _FIRST_LINE.match(file.readline())
        if declared:
            verb = path.stem.replace("_", "-")
            if declared["verb"] != verb:
                raise AasistError(
                    f"commands/{path.name}: its first line names the verb {declared['verb']!r}, where the file is that "
                    f"of the verb {verb!r}; write the one that is meant"
                )
            verbs[verb] = declared["help"]
    return dict(sorted(verbs.items()))


def load_verb(verb: str) -> TyperCommand:
    """Import a verb's file, and make the command of it; the file's docstring is the command's help.

    Raises:
        AasistError: the file has no function of the verb's name.
    """
    name = verb.replace("-", "_")
    module = importlib.import_module(f"aasist_jax.commands.{name}")
    function = getattr(module, name, None)
    if function is None:
        raise AasistError(f"commands/{name}.py: has no function {name}, whose parameters are the options of the verb")
    return as_command(function, verb, (module.__doc__ or "").removeprefix(f"aasist-jax {verb}: "))


def as_command(function: Callable[..., Any], name: str | None = None, help: str | None = None) -> Any:
    """Make a command of a function whose parameters are its options, and give it the options of every verb."""
    shared, own = inspect.signature(everywhere), inspect.signature(function)

    @functools.wraps(function)
    def command(**given: Any) -> None:
        everywhere(**{option: given.pop(option) for option in shared.parameters})
        try:
            function(**given)
        except KeyboardInterrupt as interruption:
            raise _Interrupted(str(interruption)) from None

    both = {**own.parameters, **shared.parameters}
    # Typer takes the options from the signature; the type stubs do not know that a function may carry one of its own.
    command.__signature__ = own.replace(parameters=[*both.values()])  # type: ignore[attr-defined]
    command.__annotations__ = {option: parameter.annotation for option, parameter in both.items()}
    single = typer.Typer(add_completion=False, **SETTINGS)
    single.command(name=name, help=help, cls=_Verb)(command)
    return get_command(single)


def _format_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the options of a help page, each below its heading."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        if record := parameter.get_help_record(ctx):
            usual = "Options" if parameter.param_type_name == "option" else "Arguments"
            heading = getattr(parameter, "rich_help_panel", None) or usual
            sections.setdefault(EVERYWHERE if parameter.name == "help" else heading, []).append(record)
    for heading, records in sections.items():
        with formatter.section(heading):
            formatter.write_dl(records)


class _Verb(TyperCommand):
    """A command whose help has headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of the help page."""
        _format_options(self, ctx, formatter)


class _Verbs(TyperGroup):
    """A group that knows its verbs by name and one line, and imports the one that is called for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {verb: TyperCommand(name=verb, short_help=help) for verb, help in find_verbs().items()}

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs and the options of the help page."""
        self.format_commands(ctx, formatter)
        _format_options(self, ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb that is called for, and import it."""
        verb, known, rest = super().resolve_command(ctx, args)
        return verb, None if verb is None or known is None else load_verb(verb), rest


app = typer.Typer(cls=_Verbs, no_args_is_help=True, help="Is this voice a human's or a machine's?", **SETTINGS)
app.callback()(everywhere)


def main() -> None:
    """Run the command line; `aasist_jax.__main__` is the entry point of `aasist-jax`."""
    run(functools.partial(app, prog_name="aasist-jax"))


def run_verb(verb: str) -> None:
    """Run a verb as a program of its own: what the scripts do."""
    run(load_verb(verb))


def run(program: Callable[..., Any]) -> None:
    """Run a command, or a function as one, on the arguments of this process, and end the process.

    An error that the user can mend becomes one line on standard error; see `exit_codes`.
    """
    if inspect.isfunction(program):
        program = as_command(program)
    be_quiet(False)
    if sys.stdout is None:
        _replace_closed_output()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name need not be text, and no encoding of the terminal may stop a result.
        sys.stdout.reconfigure(errors="backslashreplace")
    with interrupt_handling(), _warnings_in_a_line():
        try:
            _run(program)
        except BaseException:
            if was_interrupted():
                # The interrupt surfaced as another error, as it can in an extension module.
                end_interrupted()
            raise


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Print what the package's loggers warn of as the command prints its own warnings."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print_warning(record.getMessage())

    logger, handler = logging.getLogger("aasist_jax"), Lines(logging.WARNING)
    logger.addHandler(handler)
    # The libraries that are imported later give the root logger handlers of their own.
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


def _run(program: Callable[..., Any]) -> None:
    try:
        try:
            program()
        finally:
            print(end="", flush=True)
    except (KeyboardInterrupt, _Interrupted) as interruption:
        end_interrupted(str(interruption))
    except AasistError as error:
        if was_interrupted():
            raise
        # What is wrong with a data set is listed in lines of its own.
        print_error(str(error), is_list=isinstance(error, DataError))
        sys.exit(exit_codes.FAILURE)
    except BrokenPipeError:
        _end_unread()
    except OSError as error:
        if was_interrupted():
            raise
        print_error(f"{error.filename or 'standard output'}: {error.strerror or error}")
        sys.exit(exit_codes.FAILURE)
    except SystemExit as stop:
        if stop.code == exit_codes.INTERRUPTED:
            end_interrupted()
        raise


class _ClosedOutput(io.TextIOBase):
    """Stands for a standard output that was closed before the start, as `>&-` does: whoever writes to it is told."""

    def write(self, text: str) -> int:
        """Fail, unless there is nothing to write."""
        if text:
            raise OSError(errno.EBADF, "is closed, and the results have no place to go; redirect it to a file")
        return 0


def _replace_closed_output() -> None:
    sys.stdout = _ClosedOutput()
    # The next file that is opened would get the number of standard output, which child processes redirect.
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 1:
            os.close(null)


def _end_unread() -> None:
    # What reads standard output has seen enough, as `head` does.
    stop_writing(sys.__stdout__)
    sys.exit(exit_codes.FAILURE)


if __name__ == "__main__":
    main()
