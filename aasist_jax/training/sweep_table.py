"""The table of a sweep, by its figures on dev: CSV with a line for each run, Markdown with one for each setting."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aasist_jax.training.sweep_plan import PlannedRun, by_settings, described

FIGURES = {"dev_eer": "eer", "dev_unseen_eer": "eer_unseen_attacks"}
"""Names of the figures, and where the results of dev in a summary have them."""


@dataclass(frozen=True)
class SweptRun:
    """How far a run of a sweep has come.

    Attributes:
        run: the run.
        figures: those of `FIGURES` that it reports, fractions; empty if it has not ended.
        fault: why it has not ended, in a line; "" if it has, or has yet to begin.
    """

    run: PlannedRun
    figures: Mapping[str, float]
    fault: str = ""

    @property
    def state(self) -> str:
        """One word for it."""
        return "finished" if self.figures else "failed" if self.fault else "to do"


@dataclass(frozen=True)
class Row:
    """The runs of one setting.

    Attributes:
        settings: the setting, in a line.
        runs: its runs, seed by seed.
    """

    settings: str
    runs: Sequence[SweptRun]

    def values(self, figure: str) -> list[float]:
        """A figure of all runs that report it."""
        return [swept.figures[figure] for swept in self.runs if figure in swept.figures]

    def text(self, figure: str) -> str:
        """Mean and standard deviation over the seeds in percent; "" if no run reports it."""
        values = [100 * value for value in self.values(figure)]
        if not values:
            return ""
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.2f}{spread}"

    @property
    def done(self) -> str:
        """How many of the runs have ended."""
        return f"{len(self.values('dev_eer'))} of {len(self.runs)}"


def figures_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a run's `summary.json`."""
    return {name: float(summary["dev"][key]) for name, key in FIGURES.items() if key in summary["dev"]}


def rows_of(swept: Sequence[SweptRun]) -> list[Row]:
    """The settings, the lowest mean EER on dev first; those without any at the end."""
    found = {each.run.folder: each for each in swept}
    rows = [
        Row(described(group[0].settings), [found[run.folder] for run in group])
        for group in by_settings([each.run for each in swept])
    ]
    return sorted(rows, key=lambda row: statistics.fmean(row.values("dev_eer") or [float("inf")]))


def as_csv(swept: Sequence[SweptRun]) -> str:
    """A line for each run, the best setting's first: settings, seed, figures (fractions), state, fault and command."""
    keys = list(dict.fromkeys(key for each in swept for key in each.run.settings))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "seed", *FIGURES, "state", "fault", "folder", "command"])
    for row in rows_of(swept):
        for each in row.runs:
            run = each.run
            settings = [json.dumps(run.settings[key]) if key in run.settings else "" for key in keys]
            figures = [f"{each.figures[name]:.6f}" if name in each.figures else "" for name in FIGURES]
            seed = "" if run.seed is None else run.seed
            writer.writerow([*settings, seed, *figures, each.state, each.fault, run.folder, run.command])
    return text.getvalue()


def as_markdown(swept: Sequence[SweptRun], source: Path) -> str:
    """The table for people, and below it why runs failed and the command of each run."""
    rows = rows_of(swept)
    lines = [
        f"# Sweep {source.name}",
        "",
        "EER on dev in percent: mean and standard deviation over seeds. Eval was not scored.",
        "",
        "| settings | dev | unseen systems | runs finished |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(row.settings)} | {row.text('dev_eer')} | {row.text('dev_unseen_eer')} | {row.done} |" for row in rows
    ]
    failed = [each for row in rows for each in row.runs if each.fault]
    if failed:
        lines += ["", "## Failed", "", *(f"- `{each.run.folder}`: {each.fault}" for each in failed)]
    lines += ["", "## Commands", "", "```sh", *(each.run.command for row in rows for each in row.runs), "```", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
