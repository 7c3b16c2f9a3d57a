"""Damages single frames of FLAC and MP3 and pages of Ogg, which decoders conceal, and counts how many are told.

Run as `python -m tests.audio.frame_damage FORMAT COUNT`; prints one JSON object.
"""

import io
import json
import random
import sys
from collections import Counter
from functools import cache
from itertools import pairwise

from aasist_jax.audio.damage import find_damage
from aasist_jax.audio.load import load_audio
from aasist_jax.errors import AudioError
from tests.audio.recordings import PROGRAMS, encoded, m4a, ogg_pages, voice, with_checksum

FORMATS = ("flac", "mp3", "ogg", "opus")
CHANGES = ("drop", "double", "swap", "flip", "overwrite", "zero", "blank", "insert", "replace", "renumber")
LEAST_TOLD = {"flac": 0.99, "mp3": 0.70, "ogg": 0.95, "opus": 0.95}

Parts = tuple[bytes, tuple[bytes, ...], bytes]
"""What stands before the frames, the frames, and what stands behind them."""


@cache
def recordings(kind: str) -> tuple[Parts, ...]:
    """Recordings of several encoders, split into frames."""
    mono, stereo = voice(6.0), voice(3.0, 44_100, 2)
    files = [encoded(mono, kind=kind)]
    files.append(encoded(voice(3.0, 48_000, 2), 48_000, kind) if kind == "opus" else encoded(stereo, 44_100, kind))
    if kind == "flac":
        files.append(encoded(mono, kind=kind, subtype="PCM_24"))
    if PROGRAMS:
        codec = {"flac": "flac", "mp3": "libmp3lame", "ogg": "libvorbis", "opus": "libopus"}[kind]
        muxer = "ogg" if kind == "opus" else kind
        files.append(m4a(mono, 16_000, muxer, codec))
        if kind == "mp3":
            files.append(m4a(stereo, 44_100, muxer, codec, **{"q:a": "4"}))
            files.append(m4a(mono, 16_000, muxer, codec, write_xing="0"))
    split = {"flac": flac_parts, "mp3": mp3_parts}.get(kind, ogg_parts)
    return tuple(split(data) for data in files)


def flac_parts(data: bytes) -> Parts:
    """Frames of one length, up to 128: each begins as the first one does, but for its number."""
    at, is_last = 4, 0
    while not is_last:
        is_last = data[at] & 0x80
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    starts = [at]
    while len(starts) < 128:
        found = data.find(data[at : at + 2], starts[-1] + 5)
        while found >= 0 and (data[found + 3] != data[at + 3] or data[found + 4] != len(starts)):
            found = data.find(data[at : at + 2], found + 1)
        if found < 0:
            break
        starts.append(found)
    ends = [*starts[1:], len(data)]
    return data[:at], tuple(data[start:end] for start, end in zip(starts, ends, strict=True)), b""


def mp3_parts(data: bytes) -> Parts:
    """Frames of layer 3 at 16 and at 44.1 kHz; the tag in the first frame counts as what stands before."""
    at = data.index(b"\xff", 10 + int.from_bytes(data[6:10], "big") if data.startswith(b"ID3") else 0)
    ends = [at]
    while data[at : at + 1] == b"\xff":
        index = data[at + 2] >> 4
        if data[at + 1] & 8:
            size = 144_000 * (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)[index] // 44_100
        else:
            size = 72_000 * (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[index] // 16_000
        at += size + (data[at + 2] >> 1 & 1)
        ends.append(at)
    frames = tuple(data[start:end] for start, end in pairwise(ends))
    tagged = int(b"Xing" in frames[0] or b"Info" in frames[0])
    return data[: ends[tagged]], frames[tagged:], data[at:]


def ogg_parts(data: bytes) -> Parts:
    """The pages of the audio; the headers are those whose position is 0."""
    pages = [bytes(page) for page in ogg_pages(data)]
    first = next(index for index, page in enumerate(pages) if any(page[6:14]))
    return b"".join(pages[:first]), tuple(pages[first:]), b""


def damaged(kind: str, rng: random.Random) -> tuple[str, bytes]:
    """One change to one or two frames of a recording: its name, and the file."""
    sources = recordings(kind)
    before, intact, behind = rng.choice(sources)
    while True:
        frames = list(intact)
        at, run = rng.randrange(len(frames)), rng.choice((1, 1, 1, 2, 5))
        frame, change = bytearray(frames[at]), rng.choice(CHANGES)
        # A frame's header takes at least this much.
        head = 28 if kind in ("ogg", "opus") else 6
        match change:
            case "drop":
                del frames[at : at + run]
            case "double":
                frames[at:at] = frames[at : at + run]
            case "swap":
                other = rng.randrange(len(frames))
                frames[at], frames[other] = frames[other], frames[at]
            case "flip":
                frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
                frames[at] = bytes(frame)
            case "overwrite":
                start = rng.randrange(len(frame))
                frames[at] = bytes(frame[:start]) + rng.randbytes(len(frame) - start)
            case "zero":
                frames[at] = bytes(frame[:head]) + bytes(len(frame) - head)
            case "blank":
                frames[at] = bytes(len(frame))
            case "insert":
                frames.insert(at, rng.randbytes(rng.randint(1, 2000)))
            case "replace":
                frames[at] = rng.choice(rng.choice(sources)[1])
            case "renumber" if kind in ("ogg", "opus") and len(frames) > 2:
                # As a program writes it that drops or doubles a page but keeps the container sound.
                frames = _renumbered(frames, rng.randrange(1, len(frames) - 1), rng.random() < 0.5)
            case "renumber":
                continue
        if tuple(frames) != intact:
            return change, before + b"".join(frames) + behind


def _renumbered(frames: list[bytes], at: int, is_doubled: bool) -> list[bytes]:
    first = int.from_bytes(frames[0][18:22], "little")
    frames[at : at + 1] = [frames[at]] * (2 if is_doubled else 0)
    pages = []
    for number, frame in enumerate(frames, first):
        pages.append(bytes(with_checksum(bytearray(frame[:18] + number.to_bytes(4, "little") + frame[22:]))))
    return pages


def told(data: bytes) -> str | None:
    """What is said of a damaged file; None where it passes for intact."""
    try:
        load_audio(io.BytesIO(data))
    except AudioError:
        return "refused"
    return None if find_damage(io.BytesIO(data)) is None else "damaged"


def main(kind: str, count: str) -> None:
    tally: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for index in range(int(count)):
        change, data = damaged(kind, random.Random(f"{kind}/{index}"))
        outcome = told(data)
        tally[outcome or "missed"] += 1
        if outcome is None:
            missed[change] += 1
    share = 1 - tally["missed"] / int(count)
    print(json.dumps({"share": round(share, 4), "tally": tally, "missed": missed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
