"""AAC, in M4A, MP4 and MOV files or bare (ADTS), by FFmpeg through PyAV: the extra `m4a`."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float32

from aasist_jax.audio.source import BLOCK_VALUES, AudioStream, BinaryFile
from aasist_jax.errors import AudioError

MAX_PACKETS = 1 << 21
"""Most packets that an index may list, all tracks together: 12 hours of AAC at 48 kHz. FFmpeg takes 75 MB for them."""

MAX_INDEX_BYTES = 1 << 26
"""Most that may stand in an M4A file besides its audio: indices, tags, a cover."""


def is_m4a(raw: BinaryFile) -> bool:
    """Whether the bytes are of the MP4 family, or AAC frames as they come (ADTS)."""
    raw.seek(0)
    head = raw.read(8)
    raw.seek(0)
    return head[4:8] == b"ftyp" or _is_adts(head)


@contextmanager
def open_m4a(raw: BinaryFile, name: str) -> Iterator[AudioStream]:
    """Open the first audio track with FFmpeg, in blocks. Other tracks, and files referred to, are not read.

    Raises:
        AudioError: the extra is not installed; no AAC; damaged; truncated.
    """
    try:
        import av
    except ImportError as error:
        raise AudioError(
            f"{name}: M4A and AAC need an extra: pip install 'aasist-jax[m4a]', or convert it, for example to FLAC"
        ) from error
    adts = _is_adts(raw.read(8))
    if not adts:
        _check_index(raw, name)
    raw.seek(0)
    try:
        with av.open(raw, format="aac" if adts else "mov", metadata_errors="replace") as container:
            if not container.streams.audio:
                raise AudioError(f"{name}: holds no audio track")
            track = container.streams.audio[0]
            codec = track.codec_context
            if codec is None or codec.name != "aac":
                kind = "no known type" if codec is None else f"type {codec.name}"
                raise AudioError(f"{name}: an audio track of {kind}; in M4A files AAC is read")
            frames = int((track.duration or 0) * (track.time_base or 0) * codec.sample_rate)
            yield AudioStream(codec.sample_rate, codec.channels, frames, _blocks(container, track, name))
    except av.FFmpegError as error:
        raise AudioError(
            f"{name}: AAC that cannot be decoded, damaged or truncated ({error.strerror}); get the whole file"
        ) from error


def _is_adts(head: bytes) -> bool:
    # Twelve ones, either version of MPEG, and the layer 0, which tells it from MP3.
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def _blocks(container: Any, track: Any, name: str) -> Iterator[Float32[np.ndarray, "frames channels"]]:
    rate, channels = track.codec_context.sample_rate, track.codec_context.channels
    packets = waiting = 0
    frames: list[np.ndarray] = []
    for packet in container.demux(track):
        packets += packet.size > 0
        for frame in packet.decode():
            if (frame.sample_rate, frame.layout.nb_channels, frame.format.name) != (rate, channels, "fltp"):
                raise AudioError(
                    f"{name}: changes its sample rate or channels on the way; convert it, for example to FLAC"
                )
            frames.append(frame.to_ndarray())
            waiting += frames[-1].size
        if waiting >= BLOCK_VALUES:
            yield np.concatenate(frames, axis=1).T
            frames, waiting = [], 0
    if frames:
        yield np.concatenate(frames, axis=1).T
    # A file that was streamed lists no packets.
    if packets < track.frames:
        raise AudioError(f"{name}: {packets} of {track.frames} packets are there: truncated; get the whole file")


def _check_index(raw: BinaryFile, name: str) -> None:
    """Refuse a file that ends amid its parts, or an index that FFmpeg would unfold to far more than the file.

    Tables of sample sizes and times are stored as runs, of up to 2**32 packets in a few bytes, and FFmpeg takes them
    at their word. Their tags are sought in all but the audio itself, however the boxes are nested.
    """
    listed: Counter[bytes] = Counter()
    chunks = most = 0
    for box in _boxes_but_audio(raw, name):
        if b"cmov" in box:
            raise AudioError(f"{name}: a compressed index is not read; convert it, for example to FLAC")
        for match in re.finditer(rb"stsz|stz2|stts|ctts|trun|stsc|stco|co64", box):
            tag, at = match[0], match.end()
            count = int.from_bytes(box[at + 4 : at + 8], "big")
            if tag in (b"stsz", b"stz2"):
                listed[tag] += int.from_bytes(box[at + 8 : at + 12], "big")
            elif tag == b"trun":
                listed[tag] += count
            elif tag in (b"stts", b"ctts"):
                listed[tag] += int(_column(box, at + 8, count, 2, 0).sum())
            elif tag == b"stsc":
                most = max(most, int(_column(box, at + 8, count, 3, 1).max(initial=0)))
            else:
                chunks += count
            if listed[tag] > MAX_PACKETS:
                raise AudioError(f"{name}: its index lists {listed[tag]} packets; up to {MAX_PACKETS} are read")
    # Where each sample is a tick long, FFmpeg notes one packet for every 1024 of a chunk.
    if chunks * most > 1024 * MAX_PACKETS:
        raise AudioError(f"{name}: its index lists too many samples; up to {1024 * MAX_PACKETS} are read")


def _column(box: bytes, start: int, rows: int, columns: int, column: int) -> np.ndarray:
    """One column of a table of 32-bit numbers, as far as it goes."""
    rows = min(rows, (len(box) - start) // (4 * columns))
    table = np.frombuffer(box, ">u4", rows * columns, start) if rows > 0 else np.zeros(0, ">u4")
    return table.reshape(-1, columns)[:, column].astype(np.uint64)


def _boxes_but_audio(raw: BinaryFile, name: str) -> Iterator[bytes]:
    """The outermost boxes of an M4A file, each as one piece, without those that hold the audio."""
    end = raw.seek(0, io.SEEK_END)
    start = read = 0
    while start < end:
        raw.seek(start)
        head = raw.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if end - start < 8 or (size > end - start and head[4:8] in (b"mdat", b"moof", b"moov")):
            raise AudioError(f"{name}: ends amid a box: truncated; get the whole file")
        if size < 8 or size > end - start:
            size = end - start
        if head[4:8] != b"mdat":
            read += size
            if read > MAX_INDEX_BYTES:
                raise AudioError(
                    f"{name}: over {MAX_INDEX_BYTES} bytes besides the audio; convert it, for example to FLAC"
                )
            raw.seek(start)
            yield raw.read(size)
        start += size
