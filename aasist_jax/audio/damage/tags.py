"""Tags that players write before and behind the audio, in formats that have no place for them: ID3, APE, Lyrics3."""

from aasist_jax.audio.source import BinaryFile

ID3_HEADER_BYTES = 10
ID3V1_BYTES = 128
APE_FOOTER_BYTES = 32
MAX_END_TAGS = 16
"""Most tags that are looked for, one behind another: each look copies what is before it."""


def after_id3(raw: BinaryFile, at: int) -> int:
    """Where the ID3v2 tags end that begin at `at`; `at` itself where there is none."""
    while True:
        raw.seek(at)
        size = id3_bytes(raw.read(ID3_HEADER_BYTES))
        if not size:
            return at
        at += size


def id3_bytes(head: bytes) -> int:
    """The size of the ID3v2 tag that begins with these ten bytes; 0 where none does."""
    if head[:3] != b"ID3" or len(head) < ID3_HEADER_BYTES or max(head[6:10]) > 0x7F or 0xFF in head[3:5]:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return ID3_HEADER_BYTES + size + (ID3_HEADER_BYTES if head[5] & 0x10 else 0)


def without_end_tags(content: bytes) -> bytes:
    """The content without the tags at its end: ID3v1, APEv1 and APEv2, Lyrics3, ID3v2 with a footer."""
    for _ in range(MAX_END_TAGS):
        size = len(content)
        if content[-ID3V1_BYTES:].startswith(b"TAG") and size >= ID3V1_BYTES:
            content = content[:-ID3V1_BYTES]
        elif content[-APE_FOOTER_BYTES:].startswith(b"APETAGEX"):
            footer = content[-APE_FOOTER_BYTES:]
            has_header = APE_FOOTER_BYTES if footer[23] & 0x80 else 0
            content = content[: max(size - int.from_bytes(footer[12:16], "little") - has_header, 0)]
        elif content.endswith(b"LYRICS200") and content[-15:-9].isdigit():
            content = content[: max(size - int(content[-15:-9]) - 15, 0)]
        elif content[-ID3_HEADER_BYTES:].startswith(b"3DI"):
            content = content[: max(size - id3_bytes(b"ID3" + content[-7:]), 0)]
        if len(content) == size:
            break
    return content
