"""Hostile and damaged zip archives around a sound pickle: the part of `ATTACKS` that is about the container."""

import struct
from zlib import compress, crc32

from tests.weights.checkpoint_bytes import FOUR_FLOATS, HARMLESS, SOUND, Member, build_zip, harmless_zip, members, zip64

# The zip archive around a sound pickle.
FIRST = members(SOUND)[0]
WEIGHTS = members(SOUND)[1]
PLAIN = "does not lie in a plain top folder"
CONTRADICT = "contradict"
ZIP_ATTACKS: dict[str, tuple[bytes, str]] = {
    f"zip: {name}": (data, reason)
    for name, data, reason in [
        ("empty file", b"", "it is empty"),
        ("text", b"version https://git-lfs.github.com/spec/v1\n" * 3, "no zip archive"),
        ("a bare pickle", SOUND, "bare pickle"),
        ("cut after the first header", HARMLESS[:30], "cut short"),
        ("cut in the middle", HARMLESS[: len(HARMLESS) // 2], "cut short"),
        ("cut before the end record", HARMLESS[:-22], "cut short"),
        ("cut by one byte", HARMLESS[:-1], "cut short"),
        ("one byte more", HARMLESS + b"\x00", "bytes after its end record"),
        ("script in front", b"#!/bin/sh\ntouch pwned\n" + HARMLESS, "does not lie where"),
        ("twice in a row", HARMLESS + HARMLESS, "does not lie where"),
        ("comment", build_zip(members(SOUND), comment=b"hello"), "bytes after its end record"),
        (
            "comment that is an end record",
            build_zip(members(SOUND), comment=HARMLESS[-22:]),
            "does not lie where",
        ),
        ("comment length that lies", HARMLESS[:-2] + b"\x01\x00", "of a comment"),
        ("several disks", build_zip(members(SOUND), disks=1), "several disks"),
        ("end record alone", HARMLESS[-22:], "does not lie where"),
        ("no members", build_zip([]), "no data.pkl"),
        ("more entries than members", build_zip(members(SOUND), entries=4), "directory is damaged"),
        ("fewer entries than members", build_zip(members(SOUND), entries=2), "another length"),
        ("entries in the thousands", build_zip(members(SOUND), entries=30_000), "more than the limit of 20000"),
        ("20,001 members", build_zip([Member(f"a/.{i}", b"") for i in range(20_001)]), "20001 members"),
        ("directory size that lies", build_zip(members(SOUND), directory_size=10), "does not lie where"),
        ("payload before the directory", build_zip(members(SOUND), before_directory=b"MZ"), "between its last"),
        ("payload after the directory", build_zip(members(SOUND), before_end=b"MZ"), "does not lie where"),
        (
            "payload between members",
            harmless_zip(0, Member("archive/data.pkl", SOUND, trailing=b"MZ")),
            "does not start where",
        ),
        (
            "overlapping members",
            harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, offset=0)),
            "does not start where",
        ),
        (
            "member outside the file",
            harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, offset=2**32 - 2)),
            "does not start where",
        ),
        (
            "no local header",
            harmless_zip(0, Member("archive/data.pkl", SOUND, local_signature=b"PK\x03\x05")),
            "no local",
        ),
        (
            "two names for one member",
            harmless_zip(0, Member("archive/data.pkl", SOUND, local_name="archive/evil.pkl")),
            CONTRADICT,
        ),
        ("two sizes for one member", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, local_size=1)), CONTRADICT),
        ("local flag of encryption", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, local_flags=1)), CONTRADICT),
        ("encrypted", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, flags=1)), "encrypted"),
        ("strongly encrypted", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, flags=0x41)), "encrypted"),
        ("masked headers", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, flags=1 << 13)), "encrypted"),
        ("method deflate", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, method=8)), "compressed"),
        (
            "deflate bomb",
            harmless_zip(
                1, Member("archive/data/0", compress(bytes(10**7))[2:-4], method=8, size=10**7, stored_size=9723)
            ),
            "compressed",
        ),
        ("stored, with two sizes", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, stored_size=8)), "compressed"),
        ("size of 4 GiB", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, size=2**32 - 1)), "larger than"),
        (
            "size that swallows the next member",
            harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, size=40)),
            "damaged",
        ),
        ("CRC of another content", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, crc=1)), "checksum"),
        ("CRC of the pickle", harmless_zip(0, Member("archive/data.pkl", SOUND, crc=1)), "checksum"),
        ("CRC of the version", harmless_zip(2, Member("archive/version", b"3\n", crc=1)), "checksum"),
        (
            "missing data descriptor",
            harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, flags=8)),
            "data descriptor",
        ),
        (
            "data descriptor that lies",
            harmless_zip(
                1,
                Member(
                    "archive/data/0",
                    FOUR_FLOATS,
                    flags=8,
                    trailing=struct.pack("<4s3I", b"PK\x07\x08", crc32(FOUR_FLOATS), 16, 17),
                ),
            ),
            "data descriptor",
        ),
        (
            "zip64 size in an extra field",
            harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, extra=struct.pack("<2H2Q", 1, 16, 2**40, 2**40))),
            "an extra field",
        ),
        ("member comment", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, comment=b"x")), "a comment"),
        ("member on another disk", harmless_zip(1, Member("archive/data/0", FOUR_FLOATS, disk=1)), "disk number"),
        ("zip64 with other entries", zip64(2), "contradicts its plain one"),
        ("zip64 with 2**64 - 1 entries", zip64(2**64 - 1), "contradicts its plain one"),
        ("zip64 with another size", zip64(size=2**63), "contradicts its plain one"),
        ("zip64 locator that points elsewhere", zip64(locator_shift=1), "does not point to the record"),
        ("zip64 locator without a record", zip64(record=b"PK\x06\x05"), "contradicts its plain one"),
        ("two data.pkl", build_zip([FIRST, *members(SOUND)]), "two members named 'data.pkl'"),
        ("two storages of one name", build_zip([*members(SOUND), WEIGHTS]), "two members named 'data/0'"),
        ("two top folders", build_zip([Member("other/data.pkl", SOUND), *members(SOUND)[1:]]), "more than one top"),
        (
            "two top folders with data.pkl",
            build_zip([Member("other/data.pkl", SOUND), *members(SOUND)]),
            "two members named",
        ),
        ("no data.pkl", build_zip(members(SOUND)[1:]), "no data.pkl"),
        ("no storage", build_zip([FIRST, members(SOUND)[2]]), "storage 0 is missing"),
        ("no version", build_zip(members(SOUND)[:2]), "format version"),
        ("another version", harmless_zip(2, Member("archive/version", b"10\n")), "format version"),
        ("a version of a megabyte", harmless_zip(2, Member("archive/version", b"3" * 2**20)), "format version"),
        ("big-endian", build_zip(members(SOUND, Member("archive/byteorder", b"big"))), "little-endian"),
        ("byte order unknown", build_zip(members(SOUND, Member("archive/byteorder", b"?"))), "little-endian"),
        ("TorchScript", build_zip(members(SOUND, Member("archive/code/m.py", b"import os"))), "TorchScript"),
        ("executable beside", build_zip(members(SOUND, Member("archive/run.sh", b"#!"))), "not part of a checkpoint"),
    ]
}
ZIP_ATTACKS |= {
    f"zip name: {name!a}": (harmless_zip(1, Member(name, FOUR_FLOATS)), reason)
    for name, reason in [
        ("../data/0", PLAIN),
        ("archive/../data/0", PLAIN),
        ("archive/./data/0", PLAIN),
        ("archive//data/0", PLAIN),
        ("/archive/data/0", PLAIN),
        ("archive/data/", PLAIN),
        ("data", PLAIN),
        ("", PLAIN),
        ("archive\\data\\0", PLAIN),
        ("archive/data\\0", PLAIN),
        ("C:/data/0", PLAIN),
        ("archive/data/0\x00.txt", PLAIN),
        ("archive/data/0\n", PLAIN),
        ("archive/data/\u202e0", PLAIN),
        ("archive/data/\udcff", "not UTF-8"),
        ("archive/DATA/0", "not part of a checkpoint"),
        ("archive/data/00", "storage 0 is missing"),
    ]
}
