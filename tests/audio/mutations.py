"""Decodes, or scores, damaged recordings in a process of its own, with little memory and little time for each.

Run as `python -m tests.audio.mutations KIND COUNT FOLDER [--score]`; prints one JSON object. What is read must be a
finite wave of which `condition` says something, or, with `--score`, a Score with a status; all else must be an
AudioError of one line, and neither for want of memory nor for a crash of FFmpeg. A file that takes more than
`SECONDS_PER_FILE` of processor time kills the process and stays behind in FOLDER.
"""

import json
import random
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np

from aasist_jax.audio.condition import Condition
from aasist_jax.audio.damage import find_damage
from aasist_jax.audio.load import load_audio
from aasist_jax.detection.cutting import Cutter
from aasist_jax.errors import AudioError
from aasist_jax.models.family import Window
from tests.audio.recordings import encoded, m4a, ogg_pages, voice, with_checksum

SECONDS_PER_FILE = 5
ADDRESS_BYTES = 1 << 30
KINDS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "webm", "wma", "amr")
BY_FFMPEG = ("m4a", "webm", "wma", "amr")
"""Those that FFmpeg encodes and decodes."""

EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF]
HEADER_BYTES = 100
CHILD_AT_FAULT = re.compile("ffmpeg (would take|was killed|crashed|gave nothing|cannot be used)")


def recordings(kind: str) -> list[bytes]:
    """Whole recordings of one kind: mono, stereo at another rate, and what else the kind has."""
    mono, stereo = voice(0.7), voice(0.3, 44_100, 2)
    if kind == "m4a":
        alac = m4a(mono, codec="alac")
        return [m4a(mono), m4a(stereo, 44_100), m4a(mono, kind="adts"), alac]
    if kind == "webm":
        live = m4a(mono, kind="webm", codec="libopus", live="1")
        return [m4a(stereo, 44_100, "webm", "libvorbis"), live, m4a(mono, kind="matroska")]
    if kind == "wma":
        return [m4a(mono, kind="asf", codec="wmav2"), m4a(stereo, 44_100, "asf", "wmav1")]
    if kind == "amr":
        # The frames of GSM have no header but four bits, which FFmpeg does not need.
        return [encoded(mono, 8_000, "raw", "GSM610"), amr(40), amr(10, is_wide=True)]
    found = [encoded(mono, kind=kind)]
    found.append(encoded(voice(0.3, 48_000, 2), 48_000, kind) if kind == "opus" else encoded(stereo, 44_100, kind))
    if kind == "wav":
        found += [encoded(mono, subtype=subtype) for subtype in ("FLOAT", "PCM_24", "ULAW", "IMA_ADPCM", "GSM610")]
    if kind == "flac":
        found.append(encoded(voice(0.2, 96_000, 8), 96_000, kind, "PCM_24"))
    return found


def amr(frames: int, *, is_wide: bool = False) -> bytes:
    """Frames of noise of the highest rate; few builds of FFmpeg have an encoder."""
    header, mode, size = (b"#!AMR-WB\n", 8, 60) if is_wide else (b"#!AMR\n", 7, 31)
    noise = np.random.default_rng(5)
    return header + b"".join(bytes([mode << 3 | 4]) + noise.bytes(size) for _ in range(frames))


def damage(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to four changes of the kinds that transport, editors and attackers make."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not content:
            break
        # Every other change strikes the header, where the numbers are.
        reach = min(len(content), HEADER_BYTES) if rng.random() < 0.5 else len(content)
        at = rng.randrange(reach)
        span = rng.randint(1, max(1, len(content) // 8))
        match rng.randrange(8):
            case 0:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at] = rng.randrange(256)
            case 2:
                width = rng.choice([2, 4, 8])
                value = rng.choice(EXTREMES) & ((1 << 8 * width) - 1)
                content[at : at + width] = value.to_bytes(width, rng.choice(["little", "big"]))
            case 3:
                del content[at : at + span]
            case 4:
                content[at:at] = rng.randbytes(rng.randint(1, 64))
            case 5:
                content[at:at] = content[at : at + span]
            case 6:
                del content[at if rng.random() < 0.3 else -span :]
            case 7:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                content[at : at + span] = other[start : start + span]
    return bytes(content)


def mutant(kind: str, sources: list[bytes], rng: random.Random) -> bytes:
    """A damaged recording; half of the Ogg files keep sound checksums, so that the damage reaches the codec."""
    source = rng.choice(sources)
    if kind in ("ogg", "opus") and rng.random() < 0.5:
        pages = ogg_pages(source)
        struck = rng.randrange(len(pages))
        body = 27 + pages[struck][26]
        changed = damage(bytes(pages[struck][body:]), rng, sources)[: len(pages[struck]) - body]
        pages[struck][body : body + len(changed)] = changed
        return b"".join([*pages[:struck], with_checksum(pages[struck]), *pages[struck + 1 :]])
    if kind == "m4a" and b"moov" in source and rng.random() < 0.5:
        index = source.index(b"moov")
        return source[:index] + damage(source[index:], rng, sources)
    return damage(source, rng, sources)


def decoded(path: Path) -> str:
    """The condition of what is read."""
    wave = load_audio(path)
    assert wave.dtype == np.float32
    assert wave.ndim == 1
    assert wave.size
    assert np.isfinite(wave).all()
    cutter = Cutter(Window(4000, 100))
    cutter.push(wave)
    return cutter.condition(cutter.facts(), is_damaged=find_damage(path) is not None)


def scorer() -> Callable[[Path], str]:
    """Score with the toy model; gives the status."""
    from aasist_jax.detection.detector import Detector
    from tests.models import toy

    with toy.registered():
        detector = Detector(toy.toy_weights())

    def score(path: Path) -> str:
        result = detector.score(path)
        assert (result.score is None) == (result.heard_seconds == 0)
        assert result.label == "unsure"
        # By the published rule everything is heard that is no line.
        published = detector.score(path, published=True)
        assert (published.score is None) == (published.status in ("silent", "constant"))
        assert published.score is None or np.isfinite(published.score)
        assert result.score is None or np.isfinite(result.score)
        return result.status

    return score


def peak_mib() -> int:
    """The most memory that has been resident; getrusage would count the parent's as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def processor_time() -> float:
    """Seconds that this process and its children have taken."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main(kind: str, count: str, folder: str, *options: str) -> None:
    judge = decoded
    if "--score" in options:
        judge = scorer()  # JAX reserves more addresses than the limit allows, but does not use them.
    else:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    sources = recordings(kind)
    path = Path(folder) / f"mutant.{kind}"
    for source in sources:  # as they are, each is fit to be judged
        path.write_bytes(source)
        assert judge(path) in ("ok", "short")
    tally: Counter[str] = Counter()
    violations: list[str] = []
    slowest = 0.0
    for index in range(int(count)):
        path.write_bytes(mutant(kind, sources, random.Random(f"{kind}/{index}")))
        start = processor_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS_PER_FILE)
        try:
            verdict = judge(path)
            if verdict not in get_args(Condition):
                violations.append(f"{index}: status {verdict!r}")
        except AudioError as error:
            verdict = "refused"
            if "\n" in str(error) or isinstance(error.__cause__, MemoryError) or CHILD_AT_FAULT.search(str(error)):
                violations.append(f"{index}: {error}")
        except Exception as error:
            verdict = "violation"
            violations.append(f"{index}: {error!r}")
        signal.setitimer(signal.ITIMER_PROF, 0)
        taken = processor_time() - start
        if taken > SECONDS_PER_FILE:
            violations.append(f"{index}: {taken:.1f} s")
        slowest = max(slowest, taken)
        tally[verdict] += 1
    path.unlink()
    result = {"tally": tally, "violations": violations[:20], "slowest": round(slowest, 3), "peak_mib": peak_mib()}
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
