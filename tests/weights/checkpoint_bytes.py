"""Checkpoints byte by byte: pickles and the zip archives around them, sound or with lies in them."""

import pickle
import struct
from dataclasses import dataclass
from zlib import crc32

FOUR_FLOATS = struct.pack("<4f", 1, 2, 3, 4)


@dataclass
class Member:
    """A zip member; the fields after `data` tell lies about it."""

    name: str
    data: bytes
    flags: int = 0
    method: int = 0
    crc: int | None = None
    size: int | None = None
    stored_size: int | None = None
    offset: int | None = None
    disk: int = 0
    extra: bytes = b""
    comment: bytes = b""
    local_name: str | None = None
    local_size: int | None = None
    local_flags: int | None = None
    local_signature: bytes = b"PK\x03\x04"
    local_extra: bytes = b""
    trailing: bytes = b""


def build_zip(
    members: list[Member],
    *,
    before_directory: bytes = b"",
    before_end: bytes = b"",
    comment: bytes = b"",
    entries: int | None = None,
    directory_size: int | None = None,
    disks: int = 0,
) -> bytes:
    """A stored zip archive of `members`, lies included."""
    body, directory = b"", b""
    for member in members:
        name = member.name.encode("utf-8", "surrogateescape")
        local_name = name if member.local_name is None else member.local_name.encode()
        crc = crc32(member.data) if member.crc is None else member.crc
        size = len(member.data) if member.size is None else member.size
        stored_size = size if member.stored_size is None else member.stored_size
        local_size = size if member.local_size is None else member.local_size
        local_flags = member.flags if member.local_flags is None else member.local_flags
        directory += struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02",
            *(20, 20, member.flags, member.method, 0, 0x21, crc, stored_size, size),
            *(len(name), len(member.extra), len(member.comment), member.disk, 0, 0),
            len(body) if member.offset is None else member.offset,
        )
        directory += name + member.extra + member.comment
        body += struct.pack(
            "<4s5H3I2H",
            member.local_signature,
            *(20, local_flags, member.method, 0, 0x21, crc, stored_size, local_size),
            *(len(local_name), len(member.local_extra)),
        )
        body += local_name + member.local_extra + member.data + member.trailing
    body += before_directory
    count = len(members) if entries is None else entries
    end = struct.pack(
        "<4s4H2IH",
        b"PK\x05\x06",
        *(disks, disks, count, count),
        len(directory) if directory_size is None else directory_size,
        *(len(body), len(comment)),
    )
    return body + directory + before_end + end + comment


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def group(*parts: bytes) -> bytes:
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def integers(*values: int) -> bytes:
    return group(*map(integer, values))


def named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


ORDERED_DICT = named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE


FLOATS = named("torch", "FloatStorage")


REBUILD = named("torch._utils", "_rebuild_tensor_v2")


def persistent(*parts: bytes) -> bytes:
    return group(*parts) + pickle.BINPERSID


def storage(elements: bytes = integer(4), key: bytes = text("0"), kind: bytes = FLOATS) -> bytes:
    return persistent(text("storage"), kind, key, text("cpu"), elements)


def tensor(
    store: bytes | None = None,
    offset: bytes = pickle.BININT1 + b"\x00",
    shape: bytes = integers(4),
    strides: bytes = integers(1),
    grad: bytes = pickle.NEWFALSE,
    hooks: bytes = ORDERED_DICT,
) -> bytes:
    arguments = group(storage() if store is None else store, offset, shape, strides, grad, hooks)
    return REBUILD + arguments + pickle.REDUCE


def entries(**values: bytes) -> bytes:
    pairs = b"".join(text(key) + value for key, value in values.items())
    return ORDERED_DICT + pickle.MARK + pairs + pickle.SETITEMS


def document(body: bytes) -> bytes:
    return pickle.PROTO + b"\x02" + body + pickle.STOP


def members(pickled: bytes, *more: Member, weights: bytes = FOUR_FLOATS) -> list[Member]:
    data = [Member("archive/data.pkl", pickled), Member("archive/data/0", weights)]
    return [*data, *more, Member("archive/version", b"3\n")]


def checkpoint(body: bytes, *more: Member, weights: bytes = FOUR_FLOATS) -> bytes:
    """A sound archive around a pickle with a hostile body."""
    return build_zip(members(document(body), *more, weights=weights))


def around(value: bytes) -> bytes:
    """A checkpoint with a hostile value for its only entry."""
    return checkpoint(entries(w=value))


SOUND = document(entries(w=tensor()))


HARMLESS = checkpoint(entries(w=tensor()))


def harmless_zip(index: int, member: Member, **lies: object) -> bytes:
    """The harmless archive with member `index` replaced."""
    changed = members(SOUND)
    changed[index] = member
    return build_zip(changed, **lies)


def zip64(
    entries_: int = 3, locator_shift: int = 0, size: int | None = None, *, record: bytes = b"PK\x06\x06"
) -> bytes:
    """The harmless archive with zip64 records in front of its end record."""
    true_size, offset = struct.unpack_from("<2I", HARMLESS, len(HARMLESS) - 10)
    end = struct.pack("<4sQ2H2I4Q", record, 44, 45, 45, 0, 0, entries_, 3, size or true_size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, offset + true_size + locator_shift, 1)
    return build_zip(members(SOUND), before_end=end + locator)


ZIP64_HARMLESS = zip64()


def put(index: int) -> bytes:
    return pickle.LONG_BINPUT + struct.pack("<I", index)


def get(index: int) -> bytes:
    return pickle.LONG_BINGET + struct.pack("<I", index)


def laughs(levels: int, opening: bytes, closing: bytes) -> bytes:
    """Ten references to ten references to ...: 10**levels leaves, if anyone walks them."""
    value = opening + text("ha") * 10 + closing + put(0)
    for level in range(1, levels):
        value = opening + value + get(level - 1) * 9 + closing + put(level)
    return value
