"""The runs of a sweep, and its table."""

import csv
import io
import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from aasist_jax.config import load_config
from aasist_jax.errors import ConfigError
from aasist_jax.training.sweep_plan import PlannedRun, plan_sweep
from aasist_jax.training.sweep_table import SweptRun, as_csv, as_markdown, figures_of, rows_of


def planned(folder: Path, **changes: Any) -> list[PlannedRun]:
    sweep = {"config": "AASIST-L", "set": {"batch_size": 8}, "seeds": [1, 2]} | changes
    (folder / "sweep.json").write_text(json.dumps(sweep))
    return plan_sweep(folder / "sweep.json", folder / "runs")


GRID = {"optim_config.base_lr": [0.1, 0.2], "num_epochs": [3]}


def test_grid_choices_and_seeds_are_all_there(tmp_path: Path) -> None:
    runs = planned(tmp_path, grid=GRID, choices=[{"freq_aug": True}, {"freq_aug": False, "num_epochs": 4}])
    found = [
        (run.config.optim_config.base_lr, run.config.num_epochs, run.config.freq_aug, run.config.train_config.seed)
        for run in runs
    ]
    tried = [(rate, epochs, mask) for epochs, mask in ((3, True), (4, False)) for rate in (0.1, 0.2)]
    assert found == [(*each, seed) for each in tried for seed in (1, 2)]
    assert {run.config.batch_size for run in runs} == {8}
    assert len({run.folder for run in runs}) == len(runs)


def test_a_choice_of_a_section_does_not_undo_its_keys(tmp_path: Path) -> None:
    changes = {"grid": {"optim_config.base_lr": [0.1, 0.2]}, "choices": [{"optim_config": {"weight_decay": 0.5}}]}
    found = [run.config.optim_config for run in planned(tmp_path, seeds=[1], **changes)]
    assert [(each.base_lr, each.weight_decay) for each in found] == [(0.1, 0.5), (0.2, 0.5)]
    with pytest.raises(ConfigError, match="two runs are the same"):
        planned(tmp_path, grid={"train_config.seed": [5, 6]}, seeds=[1])


def test_the_command_makes_the_run(tmp_path: Path) -> None:
    run = planned(tmp_path, grid={"data_config.augmentation": [[{"kind": "noise"}]]})[1]
    program, verb, *options = shlex.split(run.command)
    assert (program, verb) == ("aasist-jax", "train")
    assert options[:2] == ["--config", "AASIST-L"]
    changes = [word for option, word in itertools.pairwise(options) if option == "--set"]
    assert load_config("AASIST-L", changes) == run.config
    assert options[-2:] == ["--output", str(run.folder)]


def test_eval_is_never_scored(tmp_path: Path) -> None:
    for changes in ({}, {"set": {"train_config.score_eval": True}}, {"grid": {"train_config.score_eval": [True]}}):
        assert not any(run.config.train_config.score_eval for run in planned(tmp_path, **changes))
    with pytest.raises(ConfigError, match="score_eval: expected true with the published selection"):
        planned(tmp_path, set={"train_config.selection": "published"})


def test_folders_stay_where_settings_are_added(tmp_path: Path) -> None:
    """So a sweep that is made larger keeps the runs that it has."""
    before = {run.folder for run in planned(tmp_path, grid=GRID)}
    more = planned(tmp_path, grid=GRID | {"optim_config.base_lr": [0.05, 0.1, 0.2]}, seeds=[3, 2, 1])
    assert before < {run.folder for run in more}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"grids": GRID}, "sweep.json: grids: unknown key; did you mean 'grid'"),
        ({"grid": {"num_epochs": []}}, "sweep.json: grid.*"),
        ({"grid": {"num_epochs": [0]}}, "num_epochs: expected an integer of at least 1, got 0"),
        ({"grid": {"epochs": [1]}}, "epochs: unknown key"),
        ({"seeds": [1, 1]}, "two runs are the same, as it is; leave one out"),
        ({"config": "AASIST-M"}, "AASIST-M"),
    ],
)
def test_what_is_not_understood_is_refused_before_the_first_run(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        planned(tmp_path, **changes)


def swept(tmp_path: Path) -> list[SweptRun]:
    runs = planned(tmp_path, grid={"optim_config.base_lr": [0.1, 0.2, 0.3]})
    figures = [{"dev_eer": x} for x in (0.30, 0.10)] + [{"dev_eer": x, "dev_unseen_eer": 0.5} for x in (0.10, 0.12)]
    return [
        *(SweptRun(run, each) for run, each in zip(runs, figures, strict=False)),
        SweptRun(runs[4], {}, "batch_size: 3 | 4"),
        SweptRun(runs[5], {}),
    ]


def test_the_best_setting_comes_first_by_its_mean(tmp_path: Path) -> None:
    rows = [
        (row.settings, row.text("dev_eer"), row.text("dev_unseen_eer"), row.done) for row in rows_of(swept(tmp_path))
    ]
    assert rows == [
        ("base_lr=0.2", "11.00 ± 1.41", "50.00 ± 0.00", "2 of 2"),
        ("base_lr=0.1", "20.00 ± 14.14", "", "2 of 2"),
        ("base_lr=0.3", "", "", "0 of 2"),
    ]


def test_both_tables_have_every_run_and_its_command(tmp_path: Path) -> None:
    runs = swept(tmp_path)
    lines = list(csv.DictReader(io.StringIO(as_csv(runs))))
    assert [line["seed"] for line in lines] == ["1", "2"] * 3
    assert [line["state"] for line in lines] == ["finished"] * 4 + ["failed", "to do"]
    assert [line["dev_eer"] for line in lines][:3] == ["0.100000", "0.120000", "0.300000"]
    assert lines[4]["fault"] == "batch_size: 3 | 4"
    assert [line["optim_config.base_lr"] for line in lines] == ["0.2", "0.2", "0.1", "0.1", "0.3", "0.3"]
    text = as_markdown(runs, Path("x/sweep.json"))
    assert "| base_lr=0.2 | 11.00 ± 1.41 | 50.00 ± 0.00 | 2 of 2 |" in text
    for each in runs:
        assert each.run.command in text
        assert each.run.command in {line["command"] for line in lines}


def test_figures_are_those_of_dev() -> None:
    summary = {"dev": {"eer": 0.25, "eer_unseen_attacks": 0.5}, "eval": {"eer": 0.1}}
    assert figures_of(summary) == {"dev_eer": 0.25, "dev_unseen_eer": 0.5}
    assert figures_of({"dev": {"eer": 0.25}}) == {"dev_eer": 0.25}
