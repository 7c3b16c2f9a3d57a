"""The splits of an experiment, from any layout."""

import importlib
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aasist_jax.config import DataConfig, ExperimentConfig, TrainConfig
from aasist_jax.data import layouts
from aasist_jax.data import splits as datasets
from aasist_jax.data.labels import LABEL_INDEX
from aasist_jax.data.layouts import all_layouts, find_layout
from aasist_jax.data.overlap import BEGINNING
from aasist_jax.data.splits import has_split, open_splits, read_split
from aasist_jax.errors import DataError
from tests.models import toy

CLIPS = {"train": 7, "dev": 11}


def lines_of(split: str) -> list[tuple[str, str, str]]:
    """Utterance, attack and label; every third is bona fide."""
    kinds = [("-", "bonafide"), ("A01", "spoof"), ("A02", "spoof")]
    return [(f"{split}_{i:02}", *kinds[i % 3]) for i in range(CLIPS[split])]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and dev in the published layout, and a CSV file of the same clips."""
    root = tmp_path_factory.mktemp("LA")
    rng = np.random.default_rng(0)
    protocols = root / "ASVspoof2019_LA_cm_protocols"
    protocols.mkdir()
    table = ["path,label,attack,speaker,split,utterance"]
    for split, ending in (("train", "trn"), ("dev", "trl")):
        flac = root / f"ASVspoof2019_LA_{split}" / "flac"
        flac.mkdir(parents=True)
        protocol = []
        for name, attack, label in lines_of(split):
            samples = rng.integers(-3000, 3000, rng.integers(2000, 6000), dtype=np.int16)
            soundfile.write(flac / f"{name}.flac", samples, 16_000)
            protocol.append(f"LA_0001 {name} - {attack} {label}\n")
            table.append(f"{flac.relative_to(root)}/{name}.flac,{label},{attack},LA_0001,{split},{name}")
        (protocols / f"ASVspoof2019.LA.cm.{split}.{ending}.txt").write_text("".join(protocol))
    (root / "clips.csv").write_text("\n".join(table) + "\n")
    return root


@pytest.fixture
def copy(database: Path, tmp_path: Path) -> Path:
    return shutil.copytree(database, tmp_path / "LA")


def config(root: Path, layout: Any = "asvspoof2019_la", **train: Any) -> ExperimentConfig:
    return ExperimentConfig(
        model_config=toy.ToyConfig(toy.WINDOW, toy.WIDTH),
        database_path=str(root / "clips.csv" if layout == "csv" else root),
        data_config=DataConfig(layout=layout),
        train_config=TrainConfig(**train),
    )


def skipping(config: ExperimentConfig) -> ExperimentConfig:
    return replace(config, data_config=replace(config.data_config, on_bad_file="skip"))


@pytest.mark.parametrize("layout", ["asvspoof2019_la", "csv"])
def test_both_layouts_give_the_same_splits(database: Path, tmp_path: Path, layout: str) -> None:
    experiment = config(database, layout)
    assert [has_split(experiment, name) for name in ("train", "dev", "eval")] == [True, True, False]
    splits = open_splits(experiment, ["train", "dev"], tmp_path)
    assert list(splits) == ["train", "dev"]
    for name, split in splits.items():
        assert split.name == name
        assert [(u.utterance, u.attack, u.label) for u in split.utterances] == lines_of(name)
        assert all(u.path.is_file() for u in split.utterances)
    assert splits["train"].fingerprint != splits["dev"].fingerprint
    # Nothing to report, and a note of what was checked.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checked_dev.txt", "checked_train.txt"]
    with pytest.raises(DataError, match="eval"):
        read_split(experiment, "eval")


def test_a_missing_table_is_reported_when_it_is_read(tmp_path: Path) -> None:
    experiment = config(tmp_path, "csv")
    assert not has_split(experiment, "eval")
    with pytest.raises(DataError, match=r"clips.csv: No such file"):
        read_split(experiment, "train")


def test_the_faults_of_all_splits_are_reported_together(copy: Path, tmp_path: Path) -> None:
    (copy / "ASVspoof2019_LA_train" / "flac" / "train_01.flac").unlink()
    (copy / "ASVspoof2019_LA_dev" / "flac" / "dev_04.flac").write_bytes(b"fLaC and no more")
    with pytest.raises(DataError) as error:
        open_splits(config(copy), ["train", "dev"], tmp_path / "run")
    message = str(error.value)
    assert "train: 1 of 7 clips" in message
    assert "train_01.flac" in message
    assert "dev: 1 of 11 clips" in message
    assert "dev_04.flac" in message
    assert message.endswith("--set data_config.on_bad_file=skip")
    assert "train_01" in (tmp_path / "run" / "bad_files_train.txt").read_text()
    assert "dev_04" in (tmp_path / "run" / "bad_files_dev.txt").read_text()

    splits = open_splits(skipping(config(copy)), ["train", "dev"], tmp_path / "run")
    assert [u.utterance for u in splits["train"].utterances] == [n for n, *_ in lines_of("train") if n != "train_01"]
    assert [u.utterance for u in splits["dev"].utterances] == [n for n, *_ in lines_of("dev") if n != "dev_04"]


@pytest.mark.parametrize("layout", ["asvspoof2019_la", "csv"])
def test_nobody_is_told_to_skip_what_cannot_be_skipped(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataError, match="No such file") as error:
        open_splits(config(tmp_path, layout), ["train", "dev"], tmp_path)
    assert "on_bad_file" not in str(error.value)
    assert "check the path of the data set and its layout" in str(error.value)


def test_the_remedies_of_a_table_are_those_that_help(copy: Path, tmp_path: Path) -> None:
    """One line for both splits, and no advice to skip what cannot be skipped."""
    experiment, table = config(copy, "csv"), copy / "clips.csv"
    header, *lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines))
    with pytest.raises(DataError) as error:
        open_splits(experiment, ["train", "dev"], tmp_path)
    assert str(error.value).startswith(f"train, dev: {table}: its first line is a clip already; put a line above it")
    assert "\n" not in str(error.value)
    table.write_text(header + "".join(lines).replace(".flac", ".wav"))
    with pytest.raises(DataError, match=r"train: 7 of 7 clips .* there are 7 of the same stem with \.flac") as error:
        open_splits(experiment, ["train", "dev"], tmp_path)
    assert "on_bad_file" not in str(error.value)
    table.write_text(header.replace(",", ";") + "".join(lines).replace(",", ";"))
    assert len(open_splits(experiment, ["train", "dev"], tmp_path)["dev"].utterances) == CLIPS["dev"]


def test_numbers_for_labels_are_told_by_a_key_of_the_configuration(copy: Path, tmp_path: Path) -> None:
    table = copy / "clips.csv"
    table.write_text(table.read_text().replace(",bonafide,", ",1,").replace(",spoof,", ",0,"))
    experiment = config(copy, "csv")
    with pytest.raises(DataError, match=r"data_config\.bonafide_is=1") as error:
        open_splits(experiment, ["train", "dev"], tmp_path)
    assert "\n" not in str(error.value)
    told = replace(experiment, data_config=replace(experiment.data_config, bonafide_is=1))
    assert [u.label for u in read_split(told, "train")] == [label for *_, label in lines_of("train")]
    published = replace(told, data_config=replace(told.data_config, layout="asvspoof2019_la"))
    with pytest.raises(DataError, match="the layout 'asvspoof2019_la' has no numeric labels"):
        read_split(published, "train")


def test_a_clip_in_two_splits_is_refused_by_its_content_too(copy: Path, tmp_path: Path) -> None:
    flac = copy / "ASVspoof2019_LA_train" / "flac"
    other = copy / "ASVspoof2019_LA_dev" / "flac" / "dev_03.flac"
    shutil.copyfile(flac / "train_02.flac", other)
    for _ in range(2):  # What was checked in vain is not noted as checked.
        with pytest.raises(DataError) as error:
            open_splits(config(copy), ["train", "dev"], tmp_path)
        first, second = str(error.value).splitlines()
        assert first == (
            "1 clip stands in two splits, by the content of the files; keep each in one and take it out of the other "
            "(on_bad_file=skip does not choose for you):"
        )
        assert "train.trn.txt:3 (train) and " in second
        assert "dev.trl.txt:4 (dev)" in second
    # The same beginning and size are not the same clip.
    content = bytearray((flac / "train_02.flac").read_bytes())
    other.write_bytes(content)
    assert len(content) > BEGINNING
    samples = soundfile.read(flac / "train_02.flac", dtype="int16")[0]
    for path, sample in ((flac / "train_02.wav", 1), (other.with_suffix(".wav"), 2)):
        samples[-1] = sample
        soundfile.write(path, samples, 16_000)
        path.replace(path.with_suffix(".flac"))
    open_splits(config(copy), ["train", "dev"], tmp_path)


def test_what_stands_in_two_splits_is_not_skipped_and_the_way_out_that_is_named_helps(
    copy: Path, tmp_path: Path
) -> None:
    """Skipping is for files that cannot be read; which split a good clip belongs to, only its user knows."""
    table = copy / "clips.csv"
    lines = table.read_text().splitlines()
    lines += [line.replace(f"train,train_0{i}", f"dev,again_{i}") for i, line in enumerate(lines[1:3])]
    table.write_text("\n".join(lines) + "\n")
    experiment = skipping(config(copy, "csv"))
    with pytest.raises(DataError) as error:
        open_splits(experiment, ["train", "dev"], tmp_path)
    first, *named = str(error.value).splitlines()
    assert first.startswith("2 clips stand in two splits")
    assert "on_bad_file=skip does not choose for you" in first
    # The lines of dev that it names are taken out, as it says.
    taken_out = [int(re.search(r"clips\.csv:(\d+) \(dev\)", line)[1]) for line in named]  # type: ignore[index]
    assert taken_out == [20, 21]
    table.write_text("\n".join(line for number, line in enumerate(lines, 1) if number not in taken_out) + "\n")
    splits = open_splits(experiment, ["train", "dev"], tmp_path)
    assert {name: len(split.utterances) for name, split in splits.items()} == CLIPS


def test_the_same_path_in_two_splits_is_refused(copy: Path, tmp_path: Path) -> None:
    table = copy / "clips.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[1].replace(",train,train_00", ",dev,again")]) + "\n")
    with pytest.raises(DataError, match=r"1 clip stands in two splits(.|\n)*clips.csv:2 \(train\) and .*:20 \(dev\)"):
        open_splits(config(copy, "csv"), ["train", "dev"], tmp_path)


def test_speakers_in_two_splits_are_warned_of(
    database: Path, copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_splits(config(database), ["train", "dev"], tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        "train and dev share 1 of their speakers (LA_0001): the figures promise too much for new voices"
    ]
    caplog.clear()
    protocol = next((copy / "ASVspoof2019_LA_cm_protocols").glob("*.dev.*"))
    protocol.write_text(protocol.read_text().replace("LA_0001", "LA_0002"))
    open_splits(config(copy), ["train", "dev"], tmp_path)
    assert caplog.text == ""


def test_an_unknown_layout_is_one_fault_of_all_splits(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^data_config.layout: there is no layout 'csw'; did you mean 'csv'\?"
    ) as error:
        open_splits(config(tmp_path, "csw"), ["train", "dev"], tmp_path)
    assert str(error.value).count("csw") == 1


def test_nobody_is_told_to_skip_who_skips_already(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "ASVspoof2019_LA_dev" / "flac")
    with pytest.raises(DataError, match="none is left") as error:
        open_splits(skipping(config(copy)), ["train", "dev"], tmp_path)
    assert "on_bad_file" not in str(error.value)


@pytest.mark.parametrize(
    ("split", "kept", "missing"), [("train", "spoof", "bona fide"), ("dev", "bonafide", "spoofed")]
)
def test_a_split_of_one_kind_is_refused(copy: Path, tmp_path: Path, split: str, kept: str, missing: str) -> None:
    protocol = next((copy / "ASVspoof2019_LA_cm_protocols").glob(f"*.{split}.*"))
    lines = protocol.read_text().splitlines(keepends=True)
    protocol.write_text("".join(line for line in lines if line.split()[-1] == kept))
    with pytest.raises(DataError, match=f"split '{split}' has no {missing} clip; both kinds are needed"):
        open_splits(config(copy), ["train", "dev"], tmp_path)


def test_shuffled_labels_are_the_same_labels_dealt_anew(copy: Path, tmp_path: Path) -> None:
    (protocol,) = copy.glob("ASVspoof2019_LA_cm_protocols/*.dev.trl.txt")
    shutil.copyfile(protocol, protocol.with_name(protocol.name.replace("dev", "eval")))
    for clip in sorted((copy / "ASVspoof2019_LA_dev" / "flac").iterdir()):
        other = copy / "ASVspoof2019_LA_eval" / "flac" / clip.name
        other.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(other, soundfile.read(clip, dtype="int16")[0][::-1], 16_000)
    names = ["train", "dev", "eval"]
    plain = open_splits(config(copy), names, tmp_path)
    shuffled = open_splits(config(copy, shuffle_labels=True), names, tmp_path)
    again = open_splits(config(copy, shuffle_labels=True), names, tmp_path)
    other = open_splits(config(copy, shuffle_labels=True, seed=3), names, tmp_path)

    def kinds(splits: Any, name: str) -> list[tuple[str, str]]:
        return [(u.label, u.attack) for u in splits[name].utterances]

    for name in ("train", "dev"):
        assert kinds(shuffled, name) != kinds(plain, name)
        assert Counter(kinds(shuffled, name)) == Counter(kinds(plain, name))
    assert kinds(again, "train") == kinds(shuffled, "train") != kinds(other, "train")
    assert [u.path for u in shuffled["train"].utterances] == [u.path for u in plain["train"].utterances]
    assert kinds(shuffled, "eval") == kinds(plain, "eval")
    source = shuffled["train"].source
    assert [int(source[i]["label"]) for i in range(7)] == [LABEL_INDEX[k] for k, _ in kinds(shuffled, "train")]


def test_damage_behind_an_intact_header_is_found_before_the_first_step(copy: Path, tmp_path: Path) -> None:
    experiment = config(copy)
    open_splits(experiment, ["train"], tmp_path)
    clip = next(iter(sorted((copy / "ASVspoof2019_LA_train" / "flac").iterdir())))
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    # The note of the earlier check does not hold for the changed file.
    with pytest.raises(DataError, match=clip.stem):
        open_splits(experiment, ["train"], tmp_path)


def test_unchanged_files_are_checked_once(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_splits(config(database), ["train"], tmp_path)["train"].fingerprint

    def fail(*args: Any, **options: Any) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr(datasets, "usable_utterances", fail)
    assert open_splits(config(database), ["train"], tmp_path)["train"].fingerprint == before


THIRD_LAYOUT = '''"""A folder a split with a folder a label, `train/spoof/x.flac`."""

from aasist_jax.data.layouts import Layout
from aasist_jax.data.utterances import make_utterance


def read(database_path, split, track):
    return [
        make_utterance(path.stem, path, label, "-" if label == "bonafide" else "unknown", track, str(path))
        for label in ("bonafide", "spoof")
        for path in sorted((database_path / split / label).iterdir())
    ]


def splits(database_path, track):
    return [folder.name for folder in sorted(database_path.iterdir())]


LAYOUT = Layout("folders", "database_path holds a folder a split", read, splits)
'''


@pytest.fixture
def layouts_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are layouts too, as if they lay in `data/layouts`."""
    folder = tmp_path / "more_layouts"
    folder.mkdir()
    monkeypatch.setattr(layouts, "__path__", [*layouts.__path__, str(folder)])
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("aasist_jax.data.layouts."):
            del sys.modules[name]


def test_a_layout_is_one_file(database: Path, layouts_folder: Path, tmp_path: Path) -> None:
    (layouts_folder / "folders.py").write_text(THIRD_LAYOUT)
    for split in ("train", "dev"):
        for name, _, label in lines_of(split):
            folder = tmp_path / "clips" / split / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(database / f"ASVspoof2019_LA_{split}" / "flac" / f"{name}.flac", folder)
    experiment = replace(config(tmp_path / "clips", "folders"), track="DF")
    assert [has_split(experiment, name) for name in ("train", "dev", "eval")] == [True, True, False]
    splits = open_splits(experiment, ["train", "dev"], tmp_path)
    for name, split in splits.items():
        assert sorted((u.utterance, u.label) for u in split.utterances) == [
            (n, label) for n, _, label in lines_of(name)
        ]
        assert {u.speaker for u in split.utterances} == {"DF"}  # The track reaches the layout.
        assert split.source[0]["wave"].size >= 2000


def test_the_track_names_the_folders_of_the_published_layout(copy: Path, tmp_path: Path) -> None:
    for path in sorted(copy.rglob("*2019*"), reverse=True):
        path.rename(path.with_name(path.name.replace("_LA_", "_PA_").replace(".LA.", ".PA.")))
    other = config(copy)
    assert not has_split(other, "train")
    experiment = replace(other, track="PA")
    assert has_split(experiment, "train")
    assert [u.utterance for u in read_split(experiment, "train")] == [name for name, *_ in lines_of("train")]


def test_an_unknown_layout_is_one_line_with_the_nearest_name(tmp_path: Path) -> None:
    for call in (has_split, read_split):
        with pytest.raises(DataError) as error:
            call(config(tmp_path, "asvspoof2019"), "train")
        message = str(error.value)
        assert message.startswith(
            "data_config.layout: there is no layout 'asvspoof2019'; did you mean 'asvspoof2019_la'? There are: "
        )
        assert "'csv' (database_path is a CSV file" in message
        assert "\n" not in message
    with pytest.raises(DataError, match=r"there is no layout 'zip'\. There are: "):
        find_layout("zip")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"layouts/new\.py: sets no LAYOUT"),
        (THIRD_LAYOUT.replace('"folders"', '"csv"'), r"layouts/new\.py: another file has the name 'csv' already"),
    ],
)
def test_a_file_that_is_no_layout_is_told(layouts_folder: Path, text: str, complaint: str) -> None:
    (layouts_folder / "new.py").write_text(text)
    with pytest.raises(DataError, match=complaint):
        all_layouts()


def test_one_host_writes_and_builds_first(copy: Path, tmp_path: Path) -> None:
    clip = next(iter(sorted((copy / "ASVspoof2019_LA_train" / "flac").iterdir())))
    experiment = skipping(config(copy))
    experiment = replace(experiment, data_config=replace(experiment.data_config, cache=str(tmp_path / "cache")))
    run = tmp_path / "run"
    run.mkdir()
    calls: list[list[str]] = []

    def one_host_first(function: Any) -> Any:
        calls.append([path.suffix for path in tmp_path.glob("cache/*")])
        return function()

    open_splits(experiment, ["dev"], run, is_writer=False, one_host_first=one_host_first)
    clip.write_bytes(b"no audio")
    open_splits(experiment, ["train"], run, is_writer=False, one_host_first=one_host_first)
    assert list(run.iterdir()) == []
    # Nothing was built before the first call, and one cache by the second.
    assert [sorted(call) for call in calls] == [[], [".int16", ".json"]]
    open_splits(experiment, ["dev", "train"], run)
    assert sorted(path.name for path in run.iterdir()) == ["bad_files_train.txt", "checked_dev.txt"]
