"""libsndfile: WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF and more."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soundfile
from jaxtyping import Float32

from aasist_jax.audio.source import BLOCK_VALUES, AudioStream, BinaryFile
from aasist_jax.errors import AudioError

NO_LENGTH = (1 << 63) - 1
"""What libsndfile gives as the length where a FLAC states none."""

MP3_TAG_BYTES = 8192
"""What may follow the last MP3 frame unread."""

OGG_PAGE_HEADER = 27
OGG_PAGE_BYTES = OGG_PAGE_HEADER + 255 + 255 * 255
"""Largest page of an Ogg file (RFC 3533)."""


class _SequentialFile(soundfile.SoundFile):
    """A file that is read from start to end and says that it cannot seek.

    Otherwise soundfile would seek to the place where it is after every block. In an MP3 the decoder then loses the bits
    that frames share, and the next samples come out slightly different.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def open_sound_file(raw: BinaryFile, name: str) -> Iterator[AudioStream]:
    """Open with libsndfile, in blocks.

    Raises:
        AudioError: libsndfile cannot read it; truncated.
    """
    try:
        # With a descriptor libsndfile reads the file itself, and takes its format from the content, not the suffix.
        with _SequentialFile(raw.fileno() if isinstance(raw, io.FileIO) else raw, closefd=False) as file:
            if file.frames == NO_LENGTH:
                raise AudioError(f"{name}: states no length, as a FLAC written to a pipe; write it anew, to a file")
            yield AudioStream(file.samplerate, file.channels, file.frames, _blocks(raw, file, name))
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise AudioError(
            f"{name}: not audio that can be decoded, damaged, or of a wrong stated length ({reason}); "
            "convert it, for example to FLAC"
        ) from error


def _blocks(raw: BinaryFile, file: soundfile.SoundFile, name: str) -> Iterator[Float32[np.ndarray, "frames channels"]]:
    read, most = 0, BLOCK_VALUES // file.channels
    # Never ask for more frames than the file states: libsndfile would read an MP3 to its end and drop what is beyond,
    # and `_is_complete` could not see that there was more.
    while len(block := file.read(min(most, max(file.frames - read, 0)), dtype="float32", always_2d=True)):
        read += len(block)
        yield block
    if not _is_complete(raw, file, read):
        raise AudioError(
            f"{name}: {read / file.samplerate:.2f} s can be decoded, which is not what its header states: "
            "truncated, or an MP3 without a length tag; get the whole file or convert it, for example to FLAC"
        )


def _is_complete(raw: BinaryFile, file: soundfile.SoundFile, read: int) -> bool:
    """Whether `read` frames, all that libsndfile gave, are all that the header states and the file holds."""
    if file.format == "MP3":
        # Without a Xing or Info tag the length is libsndfile's estimate from the first frame; where that is
        # too low, decoding stops early. Only tags, of a few kilobytes, may rightly follow the last frame.
        position = raw.tell()
        unread = raw.seek(0, io.SEEK_END) - position
        return read >= 0.99 * file.frames and unread <= MP3_TAG_BYTES
    if file.format == "OGG":
        return read >= file.frames and _ends_with_a_page(raw)
    # In a truncated WAV or AIFF libsndfile corrects the length and notes so in its log. Lengths near 2 and 4
    # GiB are placeholders of programs that wrote to a pipe.
    corrected = re.search(r"^ ?(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    cut = corrected is not None and int(corrected[2]) + 1 < int(corrected[1]) < 0x7FFF_0000
    return read >= file.frames and not cut


def _ends_with_a_page(raw: BinaryFile) -> bool:
    """Whether the last page of an Ogg file is whole.

    An Ogg file states no length: libsndfile takes that of the last page it finds. The mark of the last page is not
    asked for, since recordings of live streams lack it.
    """
    size = raw.seek(0, io.SEEK_END)
    raw.seek(max(0, size - OGG_PAGE_BYTES))
    tail = raw.read(OGG_PAGE_BYTES)
    page = tail[tail.rfind(b"OggS") :]
    if not page.startswith(b"OggS") or len(page) < OGG_PAGE_HEADER:
        return False
    segments = page[OGG_PAGE_HEADER - 1]
    lacing = page[OGG_PAGE_HEADER : OGG_PAGE_HEADER + segments]
    return len(lacing) == segments and len(page) >= OGG_PAGE_HEADER + segments + sum(lacing)
