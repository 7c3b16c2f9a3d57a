"""What the documentation says can be done: its commands and their options exist, CONTRIBUTING.md's examples run."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import aasist_jax
from aasist_jax.commands import app
from benchmarks.__main__ import SECTIONS

REPOSITORY = Path(__file__).resolve().parent.parent
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
PAGES = [REPOSITORY / "README.md", CONTRIBUTING, *sorted((REPOSITORY / "docs").glob("*.md"))]
EXAMPLE_VERB = "duration"
"""The verb that CONTRIBUTING.md adds as an example."""

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"`(?P<path>aasist_jax/[a-z_/]+\.py)`[^`]*:\n\n```python\n(?P<text>.*?)^```$", re.M | re.S)


def shown_commands(page: Path) -> Iterator[list[str]]:
    """The words that follow `aasist-jax` in every command of a page's code blocks and in its running text."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        if block["language"] in ("sh", "text"):
            for line in block["text"].replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True) if "aasist-jax" in line else []
                if "aasist-jax" in words:
                    yield words[words.index("aasist-jax") + 1 :]
    for command in re.findall(r"`aasist-jax ([^`]+)`", BLOCK.sub("", text)):
        yield shlex.split(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_commands_exist(page: Path) -> None:
    verbs = app.find_verbs()
    for words in shown_commands(page):
        verb = words[0]
        if verb in (EXAMPLE_VERB, "VERB") or verb.startswith("--"):
            continue
        assert verb in verbs, f"aasist-jax {' '.join(words)}"
        known = {option for parameter in app.load_verb(verb).params for option in parameter.opts}
        known |= {option for parameter in app.load_verb(verb).params for option in parameter.secondary_opts}
        asked = {word.split("=")[0] for word in words if word.startswith("--")}
        assert asked <= known, f"aasist-jax {' '.join(words)}: {asked - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_benchmarks_exist(page: Path) -> None:
    shown = re.findall(r"python -m benchmarks ([a-z][a-z-]*)", page.read_text(encoding="utf-8"))
    assert set(shown) <= {*SECTIONS}


def test_pages_show_commands() -> None:
    shown = {words[0] for page in PAGES for words in shown_commands(page)}
    assert {"score", "timeline", "train", "convert", EXAMPLE_VERB} <= shown


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package with the examples of CONTRIBUTING.md in it; the folder to be put on the path."""
    folder = tmp_path / "package"
    source = Path(aasist_jax.__file__).parent
    shutil.copytree(source, folder / "aasist_jax", ignore=shutil.ignore_patterns("__pycache__"))
    examples = list(EXAMPLE.finditer(CONTRIBUTING.read_text(encoding="utf-8")))
    assert len(examples) == 4
    for example in examples:
        path = folder / example["path"]
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(example["text"], encoding="utf-8")
    return folder


def run(package: Path, *arguments: str) -> str:
    """What a Python process that has the copy prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(package), "JAX_NUM_CPU_DEVICES": "1"},
        cwd=package.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_noise(path: Path, seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    soundfile.write(path, rng.uniform(-0.5, 0.5, int(seconds * 16_000)), 16_000)


def test_example_of_a_command_runs(package: Path) -> None:
    write_noise(package.parent / "a.wav", 2.5, 0)
    printed = run(package, "-m", "aasist_jax", EXAMPLE_VERB, "a.wav")
    assert [line.split() for line in printed.splitlines()] == [["2.50", "s", "a.wav"], ["2.50", "s", "in", "all"]]


def test_example_of_an_augmentation_is_applied(package: Path) -> None:
    write_noise(package.parent / "a.wav", 0.5, 0)
    printed = run(package, "-m", "aasist_jax", "augment", "a.wav", "--kind", "hum", "--output", "heard")
    assert re.fullmatch(r"heard/hum\.wav  hum: snr_db [\d.]+, mains_hz [56]0\n", printed)
    wave, hum = (soundfile.read(package.parent / name)[0] for name in ("a.wav", "heard/hum.wav"))
    assert 10 < 10 * np.log10(np.mean(wave**2) / np.mean((hum - wave) ** 2)) < 40


def test_example_of_a_data_set_is_read(package: Path) -> None:
    for label in ("bonafide", "spoof"):
        write_noise(package.parent / "clips" / label / "a.wav", 0.1, 0)
    code = """
from pathlib import Path
from aasist_jax.data.layouts import find_layout
layout = find_layout("labelled_folders")
print(*layout.splits(Path("clips"), "LA"))
for clip in layout.read(Path("clips"), "eval", "LA"):
    print(clip.utterance, clip.path, clip.label, clip.attack)
"""
    assert run(package, "-c", code).splitlines() == [
        "eval",
        "bonafide_a clips/bonafide/a.wav bonafide -",
        "spoof_a clips/spoof/a.wav spoof unknown",
    ]


def test_example_of_a_family_trains_and_scores(package: Path) -> None:
    folder = package.parent
    with open(folder / "clips.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split"))
        for index in range(12):
            write_noise(folder / "clips" / f"{index}.wav", 4.1, index)
            table.writerow((f"clips/{index}.wav", ("spoof", "bonafide")[index % 2], "train" if index < 8 else "dev"))
    blocks = [b for b in BLOCK.finditer(CONTRIBUTING.read_text(encoding="utf-8")) if b["language"] == "json"]
    (folder / "mean_spectrum.json").write_text(blocks[0]["text"], encoding="utf-8")
    run(package, "-m", "aasist_jax", "train", "--config", "mean_spectrum.json", "--output", "runs/mean_spectrum")
    weights = ("--weights", "runs/mean_spectrum/weights")
    assert "0.wav" in run(package, "-m", "aasist_jax", "score", "clips/0.wav", *weights)
    assert "0.wav" in run(package, "-m", "aasist_jax", "timeline", "clips/0.wav", *weights)
