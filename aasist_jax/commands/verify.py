"""aasist-jax verify: Compute a report again, and tell whether it agrees.

It takes the JSON report of `aasist-jax score FILE --report NAME.json`, and compares the hashes of the file and of what
was decoded, the weights and the calibration, the label, the reasons and the numbers. Other versions of programs are
told, and are no disagreement by themselves.

Exit codes: 0 it agrees; 1 it does not, or cannot be computed; 2 usage.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aasist_jax.commands import exit_codes
from aasist_jax.commands.options import WEIGHTS_HELP, decision_rule, weights_folder
from aasist_jax.detection.inputs import printable
from aasist_jax.errors import ScoreFileError


def verify(
    report: Annotated[Path, typer.Argument(help="A JSON report.")],
    audio: Annotated[
        Path | None, typer.Option(help="The recording; default: the file that the report names, or beside the report.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help=f"{WEIGHTS_HELP} Default: those that the report names.")] = None,
) -> None:
    """Compute a report again, print what was compared, and exit with 0 if it agrees."""
    from aasist_jax.detection.report import check_report, compare

    then = check_report(_read(report), str(report))
    rule = decision_rule(then["result"]["rule"]["prior"], then["result"]["rule"]["sure"])

    from aasist_jax.detection.detector import Detector
    from aasist_jax.detection.report_gathering import Request, gather_facts
    from aasist_jax.runtime.start_up import prepare_to_compute

    folder = weights_folder(weights or then["weights"])
    prepare_to_compute()
    detector = Detector.from_pretrained(folder)
    path = audio or _recording(then["file"], report)
    result = detector.score(path, channel=then["channel"], rule=rule)
    found = compare(then, gather_facts(detector, Request(path, then["channel"], weights), result))
    _print(found)
    wrong = [each.name for each in found if each.agrees is False]
    if wrong:
        print(f"{printable(str(report))}: does not agree: {', '.join(wrong)}")
        raise typer.Exit(exit_codes.FAILURE)
    print(f"{printable(str(report))}: agrees")


def _read(path: Path) -> Any:
    from aasist_jax.runtime.files import read_text

    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ScoreFileError(f"{path}: is no report ({error}); give the .json one") from error


def _recording(name: str, report: Path) -> Path:
    """The file that a report names, or else the one of that name beside the report."""
    beside = report.parent / Path(name).name
    return Path(name) if Path(name).exists() or not beside.exists() else beside


def _print(found: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    words = {True: ("agrees", "green"), False: ("differs", "red"), None: ("another", "yellow")}
    table = Table(box=box.SIMPLE)
    for name in ("", "in the report", "now", ""):
        table.add_column(name, overflow="fold")
    for each in found:
        cells = ("-" if value is None else printable(str(value)) for value in (each.then, each.now))
        table.add_row(each.name, *map(Text, cells), Text(*words[each.agrees]))
    Console().print(table)
