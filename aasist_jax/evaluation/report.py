"""Writes the report of an evaluation: a self-contained HTML page, the same in Markdown, and the metrics as JSON."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aasist_jax.evaluation.plots import calibration_plot, det_plot, error_rate_plot, histogram_plot
from aasist_jax.evaluation.results import Evaluation
from aasist_jax.evaluation.score_files import Trials
from aasist_jax.metrics.bootstrap import Comparison, Interval
from aasist_jax.runtime.files import write_text

Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]
"""A header and rows of text."""

METRIC_NAMES = {
    "eer": "EER",
    "eer_convex_hull": "EER on the convex hull",
    "auc": "AUC",
    "min_tdcf_2019": "min t-DCF (ASVspoof 2019)",
    "min_tdcf_2021": "min t-DCF (ASVspoof 2021)",
    "t_eer": "t-EER, concurrent",
    "min_a_dcf": "min a-DCF of the SASV scores",
    "min_dcf": "minDCF",
    "act_dcf": "actDCF",
    "cllr_bits": "Cllr, bits",
    "min_cllr_bits": "min Cllr, bits",
    "eer_threshold": "Threshold of the EER",
    "min_dcf_threshold": "Threshold of minDCF",
}
PERCENTAGES = ("eer", "eer_convex_hull", "auc", "t_eer")

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 68rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d9dfe5; padding-bottom: .2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #edf0f3; }
td:not(:first-child), th:not(:first-child) { text-align: right; }
.warning { background: #fdf1dd; border-left: 4px solid #d98e04; padding: .5rem .8rem; }
.note { color: #5a6775; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; flex: 1 1 28rem; max-width: 34rem; } img { max-width: 100%; }
figcaption { color: #5a6775; font-size: .9rem; max-width: 34rem; }
"""


def write_report(
    folder: Path,
    evaluation: Evaluation,
    trials: Trials,
    *,
    other: tuple[str, Trials] | None = None,
    comparison: Mapping[str, Comparison] | None = None,
) -> Path:
    """Write report.html, report.md with its SVG plots, and metrics.json into a folder; return the HTML page.

    Args:
        folder: The folder; created if it is missing.
        evaluation: The metrics of the system.
        trials: The trials from which they were computed.
        other: Name and trials of a second system, for the DET curve.
        comparison: The comparison of the system with the second one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    systems = {evaluation.system: trials} | ({other[0]: other[1]} if other else {})
    plots = {
        "det": ("Detection error trade-off; the dots are the equal error rates.", det_plot(systems)),
        "scores": ("Scores of the two classes.", histogram_plot(trials)),
        "calibration": (
            "Calibration: what a score is worth against what it claims, where the classes overlap.",
            calibration_plot(trials),
        ),
    }
    for column, groups in evaluation.breakdowns.items():
        if any(group.eer is not None for group in groups):
            caption = f"EER by {_words(column)}, worst first, with intervals where they were asked for."
            plots[f"by-{column}"] = (caption, error_rate_plot(groups, evaluation.eer))
    for name, (_, svg) in plots.items():
        write_text(folder / f"{name}.svg", svg)
    write_text(folder / "metrics.json", metrics_json(evaluation, comparison))
    heading = f"{evaluation.system} less {other[0]}" if other else ""
    captions = {name: caption for name, (caption, _) in plots.items()}
    write_text(folder / "report.md", _markdown(evaluation, comparison, heading, captions))
    page = folder / "report.html"
    write_text(page, _html(evaluation, comparison, heading, plots))
    return page


def metrics_json(evaluation: Evaluation, comparison: Mapping[str, Comparison] | None = None) -> str:
    """The metrics as JSON text; every float is read back as the same float64."""
    content: dict[str, Any] = evaluation.as_json()
    if comparison:
        content["comparison"] = {
            name: {**vars(compared), "difference": vars(compared.difference)} for name, compared in comparison.items()
        }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def metrics_table(evaluation: Evaluation) -> Table:
    """The metrics of a system with their intervals, as text."""
    rows = []
    for name, label in METRIC_NAMES.items():
        value = getattr(evaluation, name)
        if value is not None:
            rows.append((label, _number(name, value), _interval(name, evaluation.intervals.get(name))))
    return ("Metric", "Value", _interval_heading(evaluation)), rows


def comparison_table(comparison: Mapping[str, Comparison]) -> Table:
    """The differences between two systems, as text."""
    rows = [
        (
            METRIC_NAMES[name],
            _number(name, compared.difference.estimate, sign="+"),
            _interval(name, compared.difference, sign="+"),
            f"{compared.p_value:.3f}",
        )
        for name in METRIC_NAMES
        if (compared := comparison.get(name))
    ]
    confidence = next(iter(comparison.values())).difference.confidence
    return ("Metric", "Difference", f"{100 * confidence:g} % interval", "p"), rows


def breakdown_table(evaluation: Evaluation, column: str) -> Table:
    """The groups of one column, worst first, as text."""
    rows = [
        (
            group.value,
            "one class only" if group.eer is None else _number("eer", group.eer),
            _interval("eer", group.interval),
            str(group.n_bonafide),
            str(group.n_spoof),
        )
        for group in evaluation.breakdowns[column]
    ]
    return (_words(column).capitalize(), "EER", _interval_heading(evaluation), "Bona fide", "Spoof"), rows


def _markdown(
    evaluation: Evaluation,
    comparison: Mapping[str, Comparison] | None,
    heading: str,
    captions: Mapping[str, str],
) -> str:
    def table(content: Table) -> list[str]:
        header, rows = content
        ruler = "|".join(["---"] + ["---:"] * (len(header) - 1))
        cells = [[cell.replace("|", "\\|") for cell in row] for row in [header, *rows]]
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        return [lines[0], f"|{ruler}|", *lines[1:], ""]

    def figure(name: str) -> list[str]:
        return [f"![{captions[name]}]({name}.svg)", ""]

    lines = [f"# {evaluation.system}", "", _summary(evaluation), ""]
    lines += [f"> **Warning:** {warning}\n" for warning in evaluation.warnings]
    lines += table(metrics_table(evaluation))
    if comparison:
        lines += [f"## {heading}", "", *table(comparison_table(comparison))]
    lines += ["## Curves", "", *figure("det"), *figure("scores"), *figure("calibration")]
    for column in evaluation.breakdowns:
        lines += [f"## By {_words(column)}", "", *table(breakdown_table(evaluation, column))]
        lines += figure(f"by-{column}") if f"by-{column}" in captions else []
    return "\n".join([*lines, _notes(evaluation), ""])


def _html(
    evaluation: Evaluation,
    comparison: Mapping[str, Comparison] | None,
    heading: str,
    plots: Mapping[str, tuple[str, str]],
) -> str:
    def table(content: Table) -> str:
        header, rows = content
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"

    def figure(name: str) -> str:
        caption, svg = plots[name]
        data = base64.b64encode(svg.encode()).decode()
        words = html.escape(caption)
        return (
            f'<figure><img alt="{words}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{words}</figcaption></figure>"
        )

    blocks = [f"<h1>{html.escape(evaluation.system)}</h1>", f'<p class="note">{html.escape(_summary(evaluation))}</p>']
    blocks += [f'<p class="warning">{html.escape(warning)}</p>' for warning in evaluation.warnings]
    blocks.append(table(metrics_table(evaluation)))
    if comparison:
        blocks += [f"<h2>{html.escape(heading)}</h2>", table(comparison_table(comparison))]
    curves = "".join(figure(name) for name in ("det", "scores", "calibration"))
    blocks += ["<h2>Curves</h2>", f'<div class="figures">{curves}</div>']
    for column in evaluation.breakdowns:
        blocks.append(f"<h2>By {html.escape(_words(column))}</h2>")
        drawing = figure(f"by-{column}") if f"by-{column}" in plots else ""
        blocks.append(f'<div class="figures">{drawing}{table(breakdown_table(evaluation, column))}</div>')
    blocks.append(f'<p class="note">{html.escape(_notes(evaluation))}</p>')
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(evaluation.system)}</title>\n<style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(blocks)
        + "\n</body>\n</html>\n"
    )


def _summary(evaluation: Evaluation) -> str:
    summary = f"{evaluation.n_bonafide:,} bona fide trials, {evaluation.n_spoof:,} spoofs."
    if evaluation.asv:
        summary += f" ASV: EER {100 * evaluation.asv.eer:.3f} %, threshold {evaluation.asv.threshold:.6g}."
    return summary


def _notes(evaluation: Evaluation) -> str:
    costs = evaluation.costs
    return (
        f"minDCF and actDCF at a spoof prior of {costs.p_spoof:g}, a miss costing {costs.miss:g} and a false alarm "
        f"{costs.false_alarm:g}. actDCF and Cllr take the scores as log-likelihood ratios (natural log, bona fide "
        "over spoof). Intervals are percentile bootstrap intervals; the ASV is held fixed. t-DCF and a-DCF at the "
        "challenges' priors and costs."
    )


def _interval_heading(evaluation: Evaluation) -> str:
    first = next(iter(evaluation.intervals.values()), None)
    return f"{100 * first.confidence:g} % interval" if first else "Interval"


def _number(name: str, value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.3f} %" if name in PERCENTAGES else f"{value:{sign}.4f}"


def _interval(name: str, interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return ""
    return f"{_number(name, interval.low, sign)} to {_number(name, interval.high, sign)}"


def _words(column: str) -> str:
    return column.replace("_", " ")
