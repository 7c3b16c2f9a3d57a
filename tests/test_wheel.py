"""The wheel is the whole product: what is in it, and everything done with it in an empty environment."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import aasist_jax
from aasist_jax.config import configuration_names
from tests.conftest import REPOSITORY, extra
from tests.runtime.http_server import Site, serve

PACKAGE = REPOSITORY / "aasist_jax"

# Names of files that an installed package does not hold.
OF_THE_REPOSITORY = re.compile(
    r"convert_weights\.py|\b(scripts|configs|benchmarks|tests|examples)/\w|constraints\.txt|\bMakefile|`make\b"
)


def build_wheel(folder: Path) -> Path:
    """Build the wheel as `pip wheel` does, without an environment of its own for it."""
    wheel = extra("hatchling.builders.wheel", "dev")
    (path,) = wheel.WheelBuilder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"])
    return Path(path)


def test_the_wheel_holds_everything(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith("aasist_jax-")}
        (metadata,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        assert f"\nVersion: {aasist_jax.__version__}\n" in archive.read(metadata).decode()
        for name in configuration_names():
            assert archive.read(f"aasist_jax/configs/{name}.json") == (REPOSITORY / f"configs/{name}.json").read_bytes()
    sources = {path.relative_to(REPOSITORY).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    sources = {name for name in sources if "__pycache__" not in name}
    assert held == sources | {f"aasist_jax/configs/{name}.json" for name in configuration_names()}
    assert {"aasist_jax/py.typed", "aasist_jax/ops/native/convolution.cc", "aasist_jax/ops/native/rows.h"} <= held


def test_the_version_is_written_once() -> None:
    version = re.escape(aasist_jax.__version__)
    for name in ("pyproject.toml", "CITATION.cff"):
        assert not re.search(rf"(?m)^version\W+{version}", (REPOSITORY / name).read_text()), name


def test_the_package_names_no_file_of_the_repository() -> None:
    """A wheel in a clean environment: advice names only what is installed."""
    named = {
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if OF_THE_REPOSITORY.search(line)
    }
    assert named == set()


@pytest.fixture
def site(reference: Path) -> Iterator[Site]:
    with serve() as site:
        site.files["/AASIST-L.pth"] = (reference / "weights" / "AASIST-L.pth").read_bytes()
        yield site


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The program in an environment that holds the wheel and what it depends on, at the versions tested."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    wheel, constraints = build_wheel(tmp_path), REPOSITORY / "constraints.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel], check=True)
    return environment / "bin" / "aasist-jax"


def write_clips(folder: Path) -> None:
    """Four seconds of noise a clip, and a table of them: two of each label in train and in dev."""
    rng = np.random.default_rng(0)
    with (folder / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for split in ("train", "dev"):
            for number in range(4):
                name = f"{split}{number}.wav"
                soundfile.write(folder / name, rng.uniform(-0.3, 0.3, 64_600).astype(np.float32), 16_000)
                table.writerow([name, ("bonafide", "spoof")[number % 2], split])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.reference
def test_everything_is_done_from_a_folder_elsewhere(site: Site, installed: Path, tmp_path: Path) -> None:
    """Fetch, score, timeline, train two steps, convert both ways, export: within a minute of the installation."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    write_clips(folder)
    shutil.copyfile(tmp_path / "elsewhere" / "dev0.wav", folder / "call.wav")
    (folder / "AASIST-L.pth").write_bytes(site.files["/AASIST-L.pth"])
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "CXX", "TMPDIR")}
    environment = kept | {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "AASIST_JAX_WEIGHTS_URL": site.url,
        "no_proxy": "127.0.0.1",
        "JAX_PLATFORMS": "cpu",
    }
    outputs: list[str] = []

    def aasist_jax(*arguments: str) -> str:
        began = time.monotonic()
        done = subprocess.run(
            [installed, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        outputs.append(
            f"$ aasist-jax {' '.join(arguments)}  # {time.monotonic() - began:.1f} s\n{done.stdout}{done.stderr}"
        )
        assert done.returncode == 0, outputs[-1]
        return done.stdout

    start = time.monotonic()
    assert aasist_jax("--version").split()[-1].count(".") == 2
    aasist_jax("fetch-weights", "AASIST-L")
    assert "AASIST-L_finetune" in aasist_jax("models")
    (scored,) = json.loads(aasist_jax("score", "call.wav", "--format", "json"))
    # Noise: that it is no speech is told by Silero's weights, which come with the wheel's dependencies.
    assert (scored["label"], scored["speech_seconds"]) == ("unsure", 0.0)
    assert "no speech" in scored["reasons"]
    assert json.loads(aasist_jax("timeline", "call.wav", "--format", "json"))["label"] == "unsure"
    aasist_jax(
        "train", "--config", "AASIST-L", "--output", "run",
        *("--set", "data_config.layout=csv", "--set", "database_path=clips.csv"),
        *("--set", "batch_size=2", "--set", "num_epochs=1"),
    )  # fmt: skip
    aasist_jax("score", "call.wav", "--weights", "run/weights")
    aasist_jax("convert", "AASIST-L.pth", "--config", "AASIST-L", "--output", "weights")
    aasist_jax("convert", "weights", "--to-torch", "back.pth")
    aasist_jax("export", "weights", "--format", "stablehlo", "--output", "model.zip")
    seconds = time.monotonic() - start
    assert {"run", "weights", "back.pth", "model.zip"} <= {path.name for path in folder.iterdir()}

    everything = "\n".join(outputs)
    print(everything, f"{seconds:.0f} s after the installation", file=sys.stderr)
    assert str(REPOSITORY) not in everything
    assert not OF_THE_REPOSITORY.search(everything)
    assert seconds < 60
