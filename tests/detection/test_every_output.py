"""Whatever a result is shown on, the label is one, and neither its number nor its sentence contradicts it."""

import csv
import io
import json
import re
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import strategies as st
from rich.console import Console

from aasist_jax.audio.facts import REASONS
from aasist_jax.commands.exit_codes import SYNTHETIC
from aasist_jax.commands.score import exit_code, table_of, verdict_line
from aasist_jax.detection.files import Row
from aasist_jax.detection.report import _result_facts
from aasist_jax.detection.report_page import _verdict
from aasist_jax.detection.result import Score
from aasist_jax.detection.row_text import Format, write_rows
from aasist_jax.detection.timeline_text import as_json, sentence
from aasist_jax.detection.verdict import LABELS, DecisionRule, judge
from tests.detection.results import made_score, made_timeline
from tests.properties import holds_for

rules = st.builds(DecisionRule, st.just(0.5) | st.floats(0.01, 0.99), st.floats(0.51, 0.99))
results = st.fixed_dictionaries(
    {
        "llrs": st.lists(st.none() | st.floats(-9, 9, allow_subnormal=False), min_size=1, max_size=40),
        "rule": rules,
        # Most of them have a number, and so no reason against one.
        "reasons": st.just([])
        | st.just([])
        | st.just([])
        | st.lists(st.sampled_from((*REASONS, "damaged")), max_size=2),
        "calibrated": st.sampled_from([True, True, True, False]),
    }
)
"""Arguments of `made_score`."""


def as_text(row: Row, format: Format) -> str:
    text = io.StringIO()
    write_rows([row], format, text.write)
    return text.getvalue()


def as_table(row: Row) -> str:
    text = io.StringIO()
    Console(width=300, file=text).print(table_of([row], published=False))
    return text.getvalue()


def labels_of(result: Score) -> dict[str, str]:
    """The label on every output."""
    row = Row("a.wav", result)
    (table_line,) = (line for line in as_table(row).splitlines() if "a.wav" in line)
    code = exit_code(Counter([row.outcome]), fail_on_synthetic=True, continue_on_error=True)
    page = _verdict(_result_facts(result))
    (notebook,) = re.findall(r"<b[^>]*>(\w+)</b>", result._repr_html_())
    return {
        "Python": result.label or "",
        "row": row.outcome,
        "exit code": "synthetic" if code == SYNTHETIC else "another",
        "CSV": next(csv.DictReader(io.StringIO(as_text(row, "csv"))))["label"],
        "JSON": json.loads(as_text(row, "json"))[0]["label"],
        "JSON lines": json.loads(as_text(row, "jsonl"))["label"],
        "table": next(word for word in table_line.split() if word in LABELS),
        "line": str(verdict_line("a.wav", result)).split(": ")[1].split(".")[0],
        "timeline": json.loads(as_json([("a.wav", made_timeline(result))]))["label"],
        "page of the report": re.findall(r"<b>(\w+)</b>", page)[0],
        "notebook": notebook,
        "dictionary": str(result.to_dict()["label"]),
    }


@holds_for(results, examples=100)
def test_every_output_has_the_label_of_the_result(arguments: dict[str, Any]) -> None:
    result = made_score(**arguments)
    found = labels_of(result)
    assert (found.pop("exit code") == "synthetic") == (result.label == "synthetic")
    assert set(found.values()) == {result.label}, found


@holds_for(results, examples=100)
def test_label_number_and_sentence_agree(arguments: dict[str, Any]) -> None:
    result = made_score(**arguments)
    assert result.verdict is not None
    told, rule = sentence(result), result.verdict.rule
    if result.p_synthetic is None:
        assert result.label == "unsure"
        assert result.reasons
        assert told.startswith(("No probability is given", "Nothing of"))
        return
    # What is written is a number with few digits: it must lie on the label's side of the borders as well.
    (written,) = re.findall(r"P\(synthetic\) ([0-9.e-]+)", told)
    assert rule.label(float(written)) == rule.label(result.p_synthetic) == result.label
    assert result.llr is not None
    if result.label != "unsure" and rule.prior == 0.5:
        assert (result.llr > 0) == (result.label == "human")
    for side, words in (("human", "for a synthetic one"), ("synthetic", "for a human voice")):
        assert rule.prior != 0.5 or result.label != side or words not in told


@holds_for(
    st.lists(st.floats(-9, 9), min_size=1, max_size=60), st.integers(0, 59), st.floats(0, 12), rules, examples=100
)
def test_a_lower_ratio_never_moves_the_label_towards_human(
    llrs: list[float], place: int, less: float, rule: DecisionRule
) -> None:
    before = np.array(llrs)
    after = before.copy()
    after[place % before.size] -= less
    # human < unsure < synthetic, in the order of the labels.
    assert LABELS.index(judge(after, rule).label) >= LABELS.index(judge(before, rule).label)
