"""Reads and writes the zip archive of a PyTorch checkpoint. The reader is strict and accounts for every byte.

General zip readers search for the directory, tolerate data before, between and after members, and differ in which of
two contradicting headers they use. This one only accepts the layout of `torch.save`: uncompressed members one after the
other without gaps, then the directory in the same order, then the end records, then the end of the file. Values that
are stored twice must agree. Therefore members can neither overlap nor expand.

Layout and field names follow PKWARE's APPNOTE (sections 4.3.7 to 4.3.16).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import BinaryIO
from zlib import crc32

from aasist_jax.errors import CheckpointError

MAX_FILE_BYTES = 2**31 - 1
MAX_MEMBERS = 20_000
ALIGNMENT = 64

# signature, version, flags, method, time, date, CRC-32, stored size, size, name length, extra length
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
# signature, CRC-32, stored size, size
DATA_DESCRIPTOR = struct.Struct("<4s3I")
# signature, made by, version, flags, method, time, date, CRC-32, stored size, size, name length, extra
# length, comment length, disk, internal attributes, external attributes, offset of the local header
DIRECTORY_ENTRY = struct.Struct("<4s6H3I5H2I")
# signature, size of the rest, made by, version, disk, directory's disk, entries here, entries, size, offset
ZIP64_END = struct.Struct("<4sQ2H2I4Q")
# signature, disk, offset of the zip64 end record, disks
ZIP64_LOCATOR = struct.Struct("<4sIQI")
# signature, disk, directory's disk, entries here, entries, size, offset, comment length
END = struct.Struct("<4s4H2IH")

HAS_DESCRIPTOR = 1 << 3
UTF8_NAME = 1 << 11
# 1980-01-01 in DOS format; a fixed date, so that the bytes of a file depend only on its tensors.
DOS_DATE = 0x21


def read_members(archive: bytes) -> dict[str, memoryview]:
    """Return the members of a checkpoint archive by name (without the top folder), in file order.

    Their checksums are verified.

    Raises `CheckpointError` for an archive that `torch.save` would not have written.
    """
    count, directory_start, directory_end = _find_directory(archive)
    members: dict[str, memoryview] = {}
    top_folders: set[str] = set()
    entry_start, member_start = directory_start, 0
    for _ in range(count):
        entry_name, data, entry_end, member_end = _read_member(
            archive, entry_start, directory_end, member_start, directory_start
        )
        top_folder, name = _split_name(entry_name)
        if name in members:
            raise CheckpointError(f"it has two members named {name[:80]!a}")
        members[name] = data
        top_folders.add(top_folder)
        entry_start, member_start = entry_end, member_end
    if entry_start != directory_end:
        raise CheckpointError("its zip directory has another length than its end record says")
    if member_start != directory_start:
        raise CheckpointError("it has bytes between its last member and its zip directory")
    if len(top_folders) > 1:
        raise CheckpointError("its members lie in more than one top folder")
    return members


def _find_directory(archive: bytes) -> tuple[int, int, int]:
    """The number of entries, the start and the end of the zip directory."""
    end_start = len(archive) - END.size
    if end_start < 0 or archive[end_start : end_start + 4] != b"PK\x05\x06":
        raise CheckpointError("it is no zip archive, is cut short, or has bytes after its end record")
    end = END.unpack_from(archive, end_start)
    disk, directory_disk, entries_here, entries, size, offset, comment_length = end[1:]
    if disk or directory_disk or entries_here != entries or comment_length:
        raise CheckpointError("its zip end record tells of several disks or of a comment")
    directory_end = end_start
    locator_start = end_start - ZIP64_LOCATOR.size
    if locator_start >= 0 and archive[locator_start : locator_start + 4] == b"PK\x06\x07":
        # PyTorch always writes the zip64 records; below 2 GiB they only repeat the plain record.
        directory_end = locator_start - ZIP64_END.size
        if ZIP64_LOCATOR.unpack_from(archive, locator_start)[1:] != (0, directory_end, 1) or directory_end < 0:
            raise CheckpointError("its zip64 locator does not point to the record before it")
        signature, rest, _, _, *facts = ZIP64_END.unpack_from(archive, directory_end)
        if (signature, rest) != (b"PK\x06\x06", ZIP64_END.size - 12) or facts != [
            0,
            0,
            entries,
            entries,
            size,
            offset,
        ]:
            raise CheckpointError("its zip64 end record contradicts its plain one")
    if offset + size != directory_end:
        raise CheckpointError("its zip directory does not lie where its end record says")
    if entries > MAX_MEMBERS:
        raise CheckpointError(f"it has {entries} members, more than the limit of {MAX_MEMBERS}")
    return entries, offset, directory_end


def _read_member(
    archive: bytes, entry_start: int, directory_end: int, member_start: int, directory_start: int
) -> tuple[bytes, memoryview, int, int]:
    """The name and data of the member whose entry is at `entry_start`, and the ends of entry and member."""
    name_start = entry_start + DIRECTORY_ENTRY.size
    if name_start > directory_end or archive[entry_start : entry_start + 4] != b"PK\x01\x02":
        raise CheckpointError("its zip directory is damaged or cut short")
    entry = DIRECTORY_ENTRY.unpack_from(archive, entry_start)
    flags, method = entry[3:5]
    crc, stored_size, size, name_length, extra_length, comment_length, disk = entry[7:14]
    offset = entry[16]
    entry_end = name_start + name_length
    if entry_end > directory_end:
        raise CheckpointError("its zip directory is damaged or cut short")
    name = archive[name_start:entry_end]
    shown = repr(name[:80])[1:]
    if flags & ~(HAS_DESCRIPTOR | UTF8_NAME):
        raise CheckpointError(f"its member {shown} is encrypted or uses unknown zip features")
    if method != 0 or stored_size != size:
        raise CheckpointError(f"its member {shown} is compressed, which PyTorch never does")
    if extra_length or comment_length or disk:
        raise CheckpointError(f"its member {shown} has a comment, an extra field or a disk number")
    if offset != member_start:
        raise CheckpointError(f"its member {shown} does not start where the one before it ends")

    data_start = member_start + LOCAL_HEADER.size
    if data_start > directory_start or archive[member_start : member_start + 4] != b"PK\x03\x04":
        raise CheckpointError(f"its member {shown} has no local header")
    local = LOCAL_HEADER.unpack_from(archive, member_start)
    local_name = archive[data_start : data_start + local[9]]
    data_start += local[9] + local[10]
    data_end = data_start + size
    member_end = data_end + (DATA_DESCRIPTOR.size if flags & HAS_DESCRIPTOR else 0)
    if member_end > directory_start:
        raise CheckpointError(f"its member {shown} is larger than the file")
    facts = (crc, size, size)
    local_facts_allowed = {facts, (0, 0, 0)} if flags & HAS_DESCRIPTOR else {facts}
    if local_name != name or local[2:4] != (flags, method) or local[6:9] not in local_facts_allowed:
        raise CheckpointError(f"the two headers of its member {shown} contradict each other")
    if flags & HAS_DESCRIPTOR and DATA_DESCRIPTOR.unpack_from(archive, data_end) != (b"PK\x07\x08", *facts):
        raise CheckpointError(f"the data descriptor of its member {shown} contradicts the zip directory")
    data = memoryview(archive)[data_start:data_end]
    if crc32(data) != crc:
        raise CheckpointError(f"its member {shown} is damaged: the checksum does not match")
    return name, data, entry_end, member_end


def _split_name(encoded: bytes) -> tuple[str, str]:
    """The top folder and the rest of a member's name; a name that could point elsewhere is refused."""
    try:
        name = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError("it has a member whose name is not UTF-8") from None
    parts = name.split("/")
    if (
        len(parts) < 2
        or any(part in ("", ".", "..") for part in parts)
        or "\\" in name
        or not name.isprintable()
        or re.match("[A-Za-z]:", name)
    ):
        raise CheckpointError(f"its member {name[:80]!a} does not lie in a plain top folder")
    return parts[0], name.partition("/")[2]


def write_members(file: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write an archive of `members` (name without the top folder, data), stored and aligned as PyTorch does.

    Raises `CheckpointError` where it would exceed the reader's limits.
    """
    directory = []
    offset = 0
    for name, data in members:
        encoded = f"archive/{name}".encode()
        # The extra field pads the data to the alignment; "FB" is the tag PyTorch gives it.
        unpadded = offset + LOCAL_HEADER.size + len(encoded) + 4
        padding = -unpadded % ALIGNMENT
        extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        crc, size = crc32(data), len(data)
        if unpadded + padding + size > MAX_FILE_BYTES:
            raise CheckpointError(f"a checkpoint may have at most {MAX_FILE_BYTES} bytes: write fewer tensors")
        facts = (20, 0, 0, 0, DOS_DATE, crc, size, size, len(encoded))
        file.write(LOCAL_HEADER.pack(b"PK\x03\x04", *facts, len(extra)) + encoded + extra)
        file.write(data)
        directory.append(DIRECTORY_ENTRY.pack(b"PK\x01\x02", 20, *facts, 0, 0, 0, 0, 0, offset) + encoded)
        offset = unpadded + padding + size
    if len(directory) > MAX_MEMBERS:
        raise CheckpointError(f"a checkpoint may have at most {MAX_MEMBERS} members: write fewer tensors")
    packed = b"".join(directory)
    if offset + len(packed) + END.size > MAX_FILE_BYTES:
        raise CheckpointError(f"a checkpoint may have at most {MAX_FILE_BYTES} bytes: write fewer tensors")
    file.write(packed)
    file.write(END.pack(b"PK\x05\x06", 0, 0, len(directory), len(directory), len(packed), offset, 0))
