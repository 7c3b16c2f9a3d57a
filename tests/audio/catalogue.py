"""Bad audio, and good audio that looks bad: every case by name, how it is made, and what is to be said of it."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.audio.recordings import RATE, encoded, m4a, ogg_pages, silent, voice, with_checksum


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        name: what is bad about it.
        build: gives its bytes.
        status: the status of its score, or None where there is an AudioError.
        error: what the error's message says, a regular expression.
    """

    name: str
    build: Callable[[], bytes]
    status: str | None = None
    error: str = ""


CASES: list[Case] = []
M4A_CASES: list[Case] = []
"""Those that only FFmpeg can make and read."""


def refused(name: str, build: Callable[[], bytes], error: str) -> None:
    CASES.append(Case(name, build, error=error))


def told(name: str, build: Callable[[], bytes], status: str) -> None:
    CASES.append(Case(name, build, status=status))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def wav(samples: np.ndarray | None = None, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    return encoded(voice(1.0) if samples is None else samples, rate, "wav", subtype)


def wav_with(offset: int, form: str, value: int) -> bytes:
    """A good WAV, but for one number of its 44-byte header."""
    return patched(wav(), offset, struct.pack("<" + form, value))


def float_wav(value: float) -> bytes:
    samples = voice(1.0).astype(np.float32)
    samples[5000] = value
    return wav(samples, subtype="FLOAT")


def flac_claiming(frames: int, data: bytes | None = None) -> bytes:
    """A FLAC whose STREAMINFO states this length."""
    content = bytearray(encoded(voice(1.0), kind="flac") if data is None else data)
    content[21] = content[21] & 0xF0 | frames >> 32
    content[22:26] = (frames & 0xFFFF_FFFF).to_bytes(4, "big")
    return bytes(content)


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def ogg_claiming(kind: str, granule: int) -> bytes:
    pages = ogg_pages(encoded(voice(1.0), kind=kind))
    pages[-1][6:14] = granule.to_bytes(8, "little")
    return b"".join([*pages[:-1], with_checksum(pages[-1])])


def without_page(kind: str, index: int) -> bytes:
    pages = ogg_pages(encoded(voice(5.0), kind=kind))
    del pages[index]
    return b"".join(pages)


def smooth(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Low-passed to where speech has its energy, at peak 1."""
    kernel = np.hanning(rate // 1000)
    filtered = np.convolve(samples[:, 0], kernel, mode="same")
    return filtered / np.abs(filtered).max()


CONTENTS = {
    "text": b"This is no audio.\n" * 100,
    "HTML": b"<!doctype html><html><body>404</body></html>" * 20,
    "JSON": b'{"error": "not found"}' * 20,
    "zero bytes": bytes(1000),
    "random bytes": np.random.default_rng(3).bytes(4000),
    "a PNG's start": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "a ZIP's start": b"PK\x03\x04" + bytes(500),
    "a PDF's start": b"%PDF-1.7\n" + bytes(500),
    "an ELF's start": b"\x7fELF\x02\x01\x01" + bytes(500),
    "a MIDI's start": b"MThd\x00\x00\x00\x06\x00\x01\x00\x02\x00\x60MTrk" + bytes(500),
    "RIFF alone": b"RIFF",
    "a RIFF without chunks": b"RIFF\x04\x00\x00\x00WAVE",
    "fLaC alone": b"fLaC",
    "OggS alone": b"OggS",
    "ID3 alone": b"ID3\x04\x00\x00\x00\x00\x00\x00",
    "an ID3 tag that claims 256 MB": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000),
    "one MP3 sync word": b"\xff\xfb\x90\x00",
    "one byte": b"R",
}
for _name, _content in CONTENTS.items():
    refused(_name, lambda content=_content: content, "not audio|cannot be read|truncated|no samples")
refused("no bytes", lambda: b"", "the file is empty")

# WAV
refused("WAV without samples", lambda: wav(np.zeros(0)), "no samples")
refused("WAV at 0 Hz", lambda: wav_with(24, "I", 0), "not audio|0 Hz")
refused("WAV at 1 Hz", lambda: wav_with(24, "I", 1), "1 Hz; sample rates from")
refused("WAV at 3,999 Hz", lambda: wav_with(24, "I", 3_999), "3999 Hz; sample rates from")
refused("WAV at 384,001 Hz", lambda: wav_with(24, "I", 384_001), "384001 Hz; sample rates from")
refused("WAV at 2 GHz", lambda: wav_with(24, "I", 0x7FFF_FFFF), "2147483647 Hz; sample rates from")
refused("WAV of 0 channels", lambda: wav_with(22, "H", 0), "not audio")
refused("WAV of 33 channels", lambda: wav(voice(0.1, channels=33)), "33 channels; 1 to 32")
refused("WAV of 65,535 channels", lambda: wav_with(22, "H", 65_535), "not audio|65535 channels")
refused("WAV of an unknown codec", lambda: wav_with(20, "H", 0x7777), "not audio")
refused("WAV of 0 bits", lambda: wav_with(34, "H", 0), "not audio")
refused("WAV of 77 bits", lambda: wav_with(34, "H", 77), "not audio")
refused("WAV cut in its header", lambda: wav()[:30], "not audio")
refused("WAV cut before its data", lambda: wav()[:36], "not audio|no samples")
refused("WAV cut in half", lambda: cut(wav(), 0.5), "truncated")
refused("WAV without its last second byte", lambda: wav()[:-3], "truncated")
refused("WAV of which the data claim 1 GB", lambda: wav_with(40, "I", 1 << 30), "truncated")
refused("WAV with a NaN", lambda: float_wav(np.nan), "NaN or infinite")
refused("WAV with an infinity", lambda: float_wav(np.inf), "NaN or infinite")
refused("WAV with minus infinity", lambda: float_wav(-np.inf), "NaN or infinite")
refused("WAV with 1e300 in float64", lambda: wav(np.full(8000, 1e300), subtype="DOUBLE"), "NaN or infinite")
refused("WAV of which one channel is NaN", lambda: wav(voice(1.0, channels=2) * [1, np.nan], subtype="FLOAT"), "NaN")
refused("WAV too loud to resample", lambda: wav(3.4e38 * np.sign(voice(1.0)), 44_100, "FLOAT"), "too large|infinite")
told("WAV of one sample", lambda: wav(np.full(1, 0.3)), "constant")
told("WAV of ten samples", lambda: wav(voice(1.0)[:10]), "short")
told("WAV of 0.499 s", lambda: wav(voice(0.499)), "short")
told("WAV of 0.5 s", lambda: wav(voice(0.5)), "ok")
told("WAV of digital silence", lambda: silent(10, kind="wav"), "silent")
told("WAV of 0.1 s of digital silence", lambda: wav(np.zeros(1600)), "silent")
told("WAV of silence with dither", lambda: wav(np.sign(voice(2.0)) / 32768), "silent")
told("WAV of silence at 44.1 kHz", lambda: silent(10, 44_100, 2, "wav"), "silent")
told("WAV whose channels cancel", lambda: wav(voice(1.0) * [1, -1]), "silent")
told("WAV of a DC line", lambda: wav(np.full(RATE, 0.4)), "constant")
told("WAV of a DC line at 48 kHz", lambda: wav(np.full(48_000, 0.4), 48_000), "constant")
told("WAV of a DC line at 4 kHz", lambda: wav(np.full(4_000, -0.4), 4_000), "constant")
told("WAV of a line at full scale", lambda: wav(np.full(RATE, -1.0)), "constant")
told("WAV clipped", lambda: wav(np.clip(8 * smooth(voice(2.0)), -1, 1)), "clipped")
told("WAV clipped, then attenuated", lambda: wav(0.2 * np.clip(8 * smooth(voice(2.0)), -1, 1)), "clipped")
told("WAV clipped at 48 kHz", lambda: wav(np.clip(8 * smooth(voice(2.0, 48_000), 48_000), -1, 1), 48_000), "clipped")
told("WAV loud and not clipped", lambda: wav(smooth(voice(2.0))), "ok")
told("WAV of floats beyond full scale", lambda: wav(20 * voice(1.0), subtype="FLOAT"), "ok")
told("WAV with a constant added", lambda: wav(0.3 + 0.5 * voice(1.0)), "ok")
told("WAV written to a pipe", lambda: wav_with(40, "I", 0xFFFF_FFFF), "ok")
told("WAV with garbage after its data", lambda: wav() + b"garbage!" * 50, "ok")
told("WAV with a foreign chunk", lambda: patched_chunk(wav(), b"junk" + struct.pack("<I", 10) + bytes(10)), "ok")
told("WAV with a wrong RIFF size", lambda: wav_with(4, "I", 4), "ok")
refused(
    "WAV with a chunk that claims 4 GB before the data",
    lambda: patched_chunk(wav(), b"LIST" + struct.pack("<I", 0xFFFF_FFF0)),
    "not audio|no samples|truncated",
)
for _subtype in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"):
    told(f"WAV of {_subtype}", lambda subtype=_subtype: wav(subtype=subtype), "ok")
for _kind in ("rf64", "w64", "aiff", "au", "caf"):
    told(_kind.upper(), lambda kind=_kind: encoded(voice(1.0), kind=kind, subtype="PCM_16"), "ok")
refused("AIFF cut in half", lambda: cut(encoded(voice(1.0), kind="aiff", subtype="PCM_16"), 0.5), "truncated")


def patched_chunk(data: bytes, chunk: bytes) -> bytes:
    """A chunk put between the format and the data of a WAV."""
    return data[:36] + chunk + data[36:]


# FLAC
refused("FLAC cut in half", lambda: cut(encoded(voice(2.0), kind="flac"), 0.5), "truncated|stated length")
refused("FLAC cut in its header", lambda: encoded(voice(1.0), kind="flac")[:60], "not audio|truncated|stated length")
refused("FLAC that claims 2**36 - 1 samples", lambda: flac_claiming((1 << 36) - 1), "longer than the limit")
refused("FLAC that claims one second more", lambda: flac_claiming(2 * RATE), "truncated|stated length")
refused("FLAC of unknown length", lambda: flac_claiming(0), "states no length")
refused("FLAC bomb of 7,200 s", lambda: silent(7200), "over 256 decoded values per byte")
refused("FLAC bomb of 8 channels", lambda: silent(200, 48_000, 8), "over 256 decoded values per byte")
refused("FLAC at 0 Hz", lambda: patched(encoded(voice(1.0), kind="flac"), 18, b"\x00\x00\x00"), "not audio|0 Hz")
refused("FLAC with noise amid its frames", lambda: _noisy(encoded(voice(1.0), kind="flac")), "truncated|damaged")
told("FLAC of a silent minute", lambda: silent(60), "silent")
told("FLAC of 24 bits", lambda: encoded(voice(1.0), kind="flac", subtype="PCM_24"), "ok")
told("FLAC of 8 channels", lambda: encoded(voice(1.0, channels=8), kind="flac"), "ok")
told("FLAC with an ID3 tag before it", lambda: _id3(100) + encoded(voice(1.0), kind="flac"), "ok")


def _noisy(data: bytes) -> bytes:
    """Noise over the middle tenth."""
    middle = len(data) // 2
    return patched(data, middle, np.random.default_rng(4).bytes(len(data) // 10))


def _id3(size: int) -> bytes:
    """An ID3v2 tag of padding."""
    return b"ID3\x04\x00\x00" + bytes([0, 0, size >> 7, size & 127]) + bytes(size)


def mp3(seconds: float = 2.0) -> bytes:
    return encoded(voice(seconds), kind="mp3")


# MP3
refused("MP3 cut in half", lambda: cut(mp3(), 0.5), "truncated")
refused("MP3 cut in its first frame", lambda: mp3()[:100], "not audio|truncated|no samples|cannot be read")
refused("MP3 followed by 100 KB that are none", lambda: mp3() + bytes(100_000), "truncated")
told("MP3 with an ID3v2 tag", lambda: _id3(2000) + mp3(), "ok")
told("MP3 with an ID3v1 tag", lambda: mp3() + b"TAG" + bytes(125), "ok")
told("MP3 of digital silence", lambda: silent(10, kind="mp3"), "silent")
told("MP3 of 0.2 s", lambda: encoded(voice(0.2), kind="mp3"), "short")

# Ogg Vorbis and Opus
for _kind in ("ogg", "opus"):
    _label = {"ogg": "Ogg Vorbis", "opus": "Opus"}[_kind]
    refused(f"{_label} cut in half", lambda kind=_kind: cut(encoded(voice(5.0), kind=kind), 0.5), "truncated")
    refused(f"{_label} without its last 10 bytes", lambda kind=_kind: encoded(voice(5.0), kind=kind)[:-10], "truncated")
    refused(f"{_label} cut in its header", lambda kind=_kind: encoded(voice(5.0), kind=kind)[:40], "not audio")
    refused(f"{_label} without its first page", lambda kind=_kind: without_page(kind, 0), "not audio")
    refused(f"{_label} without its second page", lambda kind=_kind: without_page(kind, 1), "not audio|no samples")
    refused(
        f"{_label} that claims 2**60 samples", lambda kind=_kind: ogg_claiming(kind, 1 << 60), "longer than|malformed"
    )
    told(f"{_label} cut between two pages", lambda kind=_kind: without_page(kind, -1), "damaged")
    told(f"{_label} of digital silence", lambda kind=_kind: silent(10, kind=kind), "silent")
    told(f"{_label} of 0.2 s", lambda kind=_kind: encoded(voice(0.2), kind=kind), "short")


# M4A and AAC
def box_at(data: bytes, tag: bytes) -> int:
    """Where the content of a box begins."""
    return data.index(tag) + 4


def m4a_with(tag: bytes, offset: int, form: str, *values: int) -> bytes:
    data = m4a(voice(2.0))
    return patched(data, box_at(data, tag) + offset, struct.pack(">" + form, *values))


def fragmented() -> bytes:
    """As a browser or a live recorder writes it: the index in pieces between the audio."""
    return m4a(voice(2.0), movflags="frag_keyframe+empty_moov+default_base_moof", frag_duration="500000")


def m4a_bomb(packets: int) -> bytes:
    """20 KB that state this many packets of one size, of which FFmpeg would note each in 24 bytes and more."""
    data = m4a_with(b"stsz", 4, "II", 9, packets)
    return patched(data, box_at(data, b"stsc") + 12, struct.pack(">I", packets))


def many_packets(packets: int) -> bytes:
    """An M4A of silence that really holds this many packets, of four bytes each; its edit list hides all but 2 s."""
    data = m4a(np.zeros(2 * RATE))
    audio, index = box_at(data, b"mdat"), data.index(b"moov") - 4
    moov = data[index:]
    sizes = box_at(moov, b"stsz")
    moov = patched(moov, sizes + 4, struct.pack(">II", 4, packets))
    moov = patched(moov, box_at(moov, b"stsc") + 12, struct.pack(">I", packets))
    moov = patched(moov, box_at(moov, b"stts") + 8, struct.pack(">IIII", packets - 1, 1024, 1, 1024))
    content = data[index - 4 : index] * packets
    return data[: audio - 8] + struct.pack(">I", 8 + len(content)) + b"mdat" + content + moov


def many_tracks(packets: int) -> bytes:
    """Three times the same track, each of which states this many packets."""
    data = m4a_bomb(packets)
    start = data.index(b"trak") - 4
    track = data[start : start + int.from_bytes(data[start : start + 4], "big")]
    index = data.index(b"moov") - 4
    size = int.from_bytes(data[index : index + 4], "big") + 2 * len(track)
    return patched(data[:start] + 3 * track + data[start + len(track) :], index, struct.pack(">I", size))


def moved_index(data: bytes) -> bytes:
    """The index before the audio, as for streaming; chunk offsets follow."""
    start = data.index(b"moov") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    moov = bytearray(data[start : start + size])
    assert start + size == len(data)
    at = box_at(bytes(moov), b"stco") + 4
    for entry in range(at + 4, at + 4 + 4 * int.from_bytes(moov[at : at + 4], "big"), 4):
        moov[entry : entry + 4] = (int.from_bytes(moov[entry : entry + 4], "big") + size).to_bytes(4, "big")
    audio = data.index(b"mdat") - 4
    return data[:audio] + bytes(moov) + data[audio:start]


def _told_m4a(name: str, build: Callable[[], bytes], status: str) -> None:
    M4A_CASES.append(Case(name, build, status=status))


def _refused_m4a(name: str, build: Callable[[], bytes], error: str) -> None:
    M4A_CASES.append(Case(name, build, error=error))


_told_m4a("M4A", lambda: m4a(voice(2.0)), "ok")
_told_m4a("M4A for streaming", lambda: moved_index(m4a(voice(2.0))), "ok")
_told_m4a("M4A in fragments", fragmented, "ok")
_told_m4a("M4A in stereo at 44.1 kHz", lambda: m4a(voice(2.0, 44_100, 2), 44_100), "ok")
_told_m4a("M4A of digital silence", lambda: m4a(np.zeros(2 * RATE)), "silent")
_told_m4a("M4A of 0.2 s", lambda: m4a(voice(0.2)), "short")
_told_m4a("bare AAC", lambda: m4a(voice(2.0), kind="adts"), "ok")
_refused_m4a("M4A cut in half", lambda: cut(m4a(voice(2.0)), 0.5), "truncated")
_refused_m4a("M4A for streaming, cut in half", lambda: cut(moved_index(m4a(voice(2.0))), 0.5), "truncated")
_refused_m4a("M4A in fragments, cut in half", lambda: cut(fragmented(), 0.5), "truncated")
_refused_m4a("M4A for streaming, without its last byte", lambda: moved_index(m4a(voice(2.0)))[:-1], "truncated")
_refused_m4a("M4A of ftyp alone", lambda: m4a(voice(2.0))[:28], "truncated")
_refused_m4a("M4A bomb of 50,000,000 packets", lambda: m4a_bomb(50_000_000), "its index lists 50000000 packets")
_refused_m4a("M4A bomb of 2**21 packets", lambda: m4a_bomb(1 << 21), "damaged or truncated")
_refused_m4a("M4A bomb of many tracks", lambda: many_tracks(1 << 20), "its index lists 3145728 packets")
_refused_m4a(
    "M4A bomb in a fragment",
    lambda: patched(fragmented(), box_at(fragmented(), b"trun") + 4, struct.pack(">I", 0x1FFF_FFFF)),
    "its index lists 536870911 packets",
)
_refused_m4a("M4A that lists 2**32 - 1 times", lambda: m4a_with(b"stts", 8, "I", 0xFFFF_FFFF), "its index lists")
_refused_m4a(
    "M4A whose chunks hold 2**32 - 1 samples", lambda: m4a_with(b"stsc", 12, "I", 0xFFFF_FFFF), "too many samples"
)
_refused_m4a(
    "M4A of which a packet lasts days", lambda: m4a_with(b"stts", 12, "I", 0x7FFF_FFFF), "longer than|truncated"
)
_refused_m4a("M4A with a compressed index", lambda: m4a(voice(2.0)).replace(b"mvhd", b"cmov"), "compressed index")
_told_m4a("ALAC in M4A", lambda: m4a(voice(2.0), codec="alac"), "ok")
_refused_m4a("AC-3 in MP4", lambda: m4a(voice(2.0), kind="mp4", codec="ac3"), "an audio track of type ac3")
_told_m4a("WebM", lambda: m4a(voice(2.0), kind="webm", codec="libopus"), "ok")
_told_m4a("WMA", lambda: m4a(voice(2.0), kind="asf", codec="wmav2"), "ok")
_refused_m4a("WebM cut in half", lambda: cut(m4a(voice(2.0), kind="webm", codec="libopus"), 0.5), "truncated")
_refused_m4a("WMA cut in half", lambda: cut(m4a(voice(2.0), kind="asf", codec="wmav2"), 0.5), "truncated")
_refused_m4a("bare AAC, cut", lambda: m4a(voice(2.0), kind="adts")[:-50], "truncated")
_refused_m4a("M4A with noise amid its frames", lambda: _noisy(m4a(voice(2.0))), "damaged or truncated")
