"""Hostile and damaged checkpoints, made by hand with tools that share no code with the package.

`ATTACKS` maps a name to the file's bytes and a piece of the reason for which it must be refused, so that a file
refused for some other fault is noticed. `HARMLESS` is what most of them start from; it must be read.
"""

import pickle
import struct
from dataclasses import dataclass
from zlib import compress, crc32

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


SHELL = named("posix", "system") + group(text("touch pwned")) + pickle.REDUCE
NOT_NEEDED = "which is not needed to read tensors"
NO_OPCODE = "which a state dict does not need"

GLOBALS = {
    "os.system": ("os", "system"),
    "posix.system": ("posix", "system"),
    "nt.system": ("nt", "system"),
    "builtins.eval": ("builtins", "eval"),
    "builtins.exec": ("builtins", "exec"),
    "builtins.getattr": ("builtins", "getattr"),
    "python 2 builtin": ("__builtin__", "eval"),
    "subprocess.Popen": ("subprocess", "Popen"),
    "importlib.import_module": ("importlib", "import_module"),
    "torch.load": ("torch", "load"),
    "torch.hub.load": ("torch.hub", "load"),
    "torch jit unpickler": ("torch.jit._pickle", "build_intlist"),
    "torch nested dotted name": ("torch", "serialization.os.system"),
    "OrderedDict nested dotted name": ("collections", "OrderedDict.fromkeys"),
    "dunder walk": ("collections", "OrderedDict.__init__.__globals__"),
    "allowed name in another module": ("evil", "FloatStorage"),
    "allowed name with a space": ("torch", "FloatStorage "),
    "allowed name with a carriage return": ("torch", "FloatStorage\r"),
    "rebuild of another version": ("torch._utils", "_rebuild_tensor"),
    "rebuild from a type": ("torch._tensor", "_rebuild_from_type_v2"),
    "untyped storage": ("torch.storage", "UntypedStorage"),
    "storage loader": ("torch.storage", "_load_from_bytes"),
    "numpy reconstruct": ("numpy.core.multiarray", "_reconstruct"),
    "numpy in fortran test runner": ("numpy.testing._private.utils", "runstring"),
    "this package": ("aasist_jax.weights.torch_file", "write_torch_file"),
    "name with terminal escapes": ("os", "\x1b[2Jsystem"),
}

ATTACKS: dict[str, tuple[bytes, str]] = {
    f"global: {name}": (around(named(*full_name) + group(text("x")) + pickle.REDUCE), NOT_NEEDED)
    for name, full_name in GLOBALS.items()
}

ATTACKS |= {
    "gadget before the state dict": (checkpoint(SHELL + entries(w=tensor())), NOT_NEEDED),
    "gadget for a key": (
        checkpoint(ORDERED_DICT + pickle.MARK + SHELL + tensor() + pickle.SETITEMS),
        NOT_NEEDED,
    ),
    "gadget in the metadata": (
        checkpoint(entries(w=tensor()) + pickle.EMPTY_DICT + text("_metadata") + SHELL + b"sb"),
        NOT_NEEDED,
    ),
    "gadget for hooks": (around(tensor(hooks=SHELL)), NOT_NEEDED),
    "gadget for a storage key": (around(tensor(storage(key=SHELL))), NOT_NEEDED),
    "bfloat16": (
        around(tensor(storage(kind=named("torch", "BFloat16Storage")))),
        "convert them with .float() first",
    ),
    "global on one endless line": (checkpoint(b"c" + b"a" * 100_000), "cut short"),
    "call of a storage class": (around(FLOATS + group(integer(4)) + pickle.REDUCE), "calls a Global"),
    "call of a string": (around(text("eval") + group(text("1")) + pickle.REDUCE), "calls a str"),
    "call of a tensor": (around(tensor() + pickle.EMPTY_TUPLE + pickle.REDUCE), "calls a Tensor"),
    "call without a tuple": (
        around(named("collections", "OrderedDict") + text("x") + pickle.REDUCE),
        "calls with a str",
    ),
    "OrderedDict with arguments": (
        around(named("collections", "OrderedDict") + group(pickle.EMPTY_LIST) + pickle.REDUCE),
        "OrderedDict with arguments",
    ),
}

# BUILD
ATTACKS |= {
    f"build: {name}": (checkpoint(body), reason)
    for name, body, reason in [
        (
            "__setstate__ in the dict",
            entries(w=tensor()) + pickle.EMPTY_DICT + text("__setstate__") + text("x") + b"sb",
            "attributes other than _metadata",
        ),
        (
            "__class__ beside _metadata",
            entries(w=tensor())
            + pickle.EMPTY_DICT
            + pickle.MARK
            + text("_metadata")
            + pickle.NONE
            + text("__class__")
            + pickle.NONE
            + b"ub",
            "attributes other than _metadata",
        ),
        ("state in a tuple", entries(w=tensor()) + group(text("a"), text("b")) + b"b", "attributes other"),
        ("on a plain dict", pickle.EMPTY_DICT + pickle.EMPTY_DICT + b"b", "attributes of a dict"),
        ("on a tensor", tensor() + pickle.EMPTY_DICT + b"b", "attributes of a Tensor"),
        ("on a global", FLOATS + pickle.EMPTY_DICT + b"b", "attributes of a Global"),
        ("on nothing", pickle.EMPTY_DICT + b"b", "empty stack"),
    ]
}

# Opcodes that no state dict needs.
ATTACKS |= {
    f"opcode: {name}": (around(body), NO_OPCODE)
    for name, body in {
        "INST": b"(" + text("touch pwned") + b"ios\nsystem\n",
        "OBJ": b"(" + ORDERED_DICT + text("touch pwned") + b"o",
        "NEWOBJ": ORDERED_DICT + pickle.EMPTY_TUPLE + b"\x81",
        "NEWOBJ_EX": ORDERED_DICT + pickle.EMPTY_TUPLE + pickle.EMPTY_DICT + b"\x92",
        "EXT1": b"\x82\x01",
        "EXT2": b"\x83\x01\x00",
        "EXT4": b"\x84\x01\x00\x00\x00",
        "STACK_GLOBAL": text("os") + text("system") + b"\x93",
        "PERSID": b"Pdata/0\n",
        "LONG1": b"\x8a\xff" + b"\x7f" * 255,
        "LONG4": b"\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20,
        "LONG4 of negative length": b"\x8b" + struct.pack("<i", -1),
        "INT in text": b"I" + b"9" * 100_000 + b"\n",
        "LONG in text": b"L" + b"9" * 100_000 + b"L\n",
        "FLOAT in text": b"F1e999999\n",
        "STRING with escapes": b"S'\\x41'\n",
        "BINSTRING": b"T\x01\x00\x00\x00a",
        "BINBYTES8 of huge length": b"\x8e" + struct.pack("<Q", 2**62),
        "BYTEARRAY8 of huge length": b"\x96" + struct.pack("<Q", 2**62),
        "FRAME": b"\x95" + struct.pack("<Q", 2**62),
        "NEXT_BUFFER": b"\x97",
        "MEMOIZE": text("x") + b"\x94",
        "GET in text": b"g0\n",
        "DUP": text("x") + b"2",
        "POP": text("x") + b"0",
        "POP_MARK": b"(" + text("x") + b"1",
        "EMPTY_SET": b"\x8f",
        "a second PROTO": b"\x80\x02",
        "no opcode at all": b"\xff",
    }.items()
}

# Persistent ids.
NO_STORAGE = "persistent id that describes no storage"
ATTACKS |= {
    f"persistent id: {name}": (around(tensor(store)), reason)
    for name, store, reason in [
        ("a string", text("data/0") + b"Q", NO_STORAGE),
        ("an empty tuple", b")Q", NO_STORAGE),
        ("a list", b"]" + text("storage") + b"aQ", NO_STORAGE),
        ("another tag", persistent(text("module"), FLOATS, text("0"), text("cpu"), integer(4)), NO_STORAGE),
        (
            "six parts",
            persistent(text("storage"), FLOATS, text("0"), text("cpu"), integer(4), pickle.NONE),
            NO_STORAGE,
        ),
        ("the name of a class", storage(kind=text("FloatStorage")), NO_STORAGE),
        ("a function for a class", storage(kind=REBUILD), NO_STORAGE),
        ("a number for a key", storage(key=integer(0)), NO_STORAGE),
        ("a truth value for a count", storage(elements=pickle.NEWTRUE), NO_STORAGE),
        ("a float for a count", storage(elements=b"G" + struct.pack(">d", 4)), NO_STORAGE),
        ("a path for a key", storage(key=text("../../etc/passwd")), "not a number"),
        ("an absolute path for a key", storage(key=text("/etc/passwd")), "not a number"),
        ("another member for a key", storage(key=text("../data.pkl")), "not a number"),
        ("an empty key", storage(key=text("")), "not a number"),
        ("a key in Arabic digits", storage(key=text("٠")), "not a number"),
        ("a key of 100,000 digits", storage(key=text("0" * 100_000)), "not a number"),
        ("a key without a member", storage(key=text("7")), "storage 7 is missing"),
        ("a tensor for a count", storage(elements=tensor()), NO_STORAGE),
    ]
}

# Storages and the views of them.
REACHES = "reaches beyond its storage"
ATTACKS |= {
    f"storage: {name}": (around(value), reason)
    for name, value, reason in [
        ("negative count", tensor(storage(integer(-4))), "negative number of elements"),
        ("count beyond the member", tensor(storage(integer(5))), "16 bytes where its pickle says 20"),
        ("count of 2**31 - 1", tensor(storage(integer(2**31 - 1))), "where its pickle says 8589934588"),
        ("count below the member", tensor(storage(integer(3))), "16 bytes where its pickle says 12"),
        (
            "a wider class over the same bytes",
            tensor(storage(kind=named("torch", "DoubleStorage"))),
            "16 bytes where its pickle says 32",
        ),
        ("offset beyond the end", tensor(offset=integer(1)), REACHES),
        ("offset of 2**31 - 1", tensor(offset=integer(2**31 - 1)), REACHES),
        ("negative offset", tensor(offset=integer(-1)), "an offset that is no whole number"),
        ("truth value for an offset", tensor(offset=pickle.NEWTRUE), "an offset that is no whole number"),
        ("stride beyond the end", tensor(strides=integers(2)), REACHES),
        ("stride of 2**31 - 1", tensor(strides=integers(2**31 - 1)), REACHES),
        ("negative stride", tensor(offset=integer(3), strides=integers(-1)), "a stride that is no whole"),
        ("negative size", tensor(shape=integers(-1)), "a size that is no whole number"),
        ("two negative sizes", tensor(shape=integers(-2, -2), strides=integers(2, 1)), "a size that is no"),
        ("zero-stride bomb", tensor(shape=integers(2**31 - 1), strides=integers(0)), "more than 4 times over"),
        ("small zero-stride bomb", tensor(shape=integers(5), strides=integers(0)), "its storage only 4"),
        (
            "product of sizes beyond 64 bits",
            tensor(shape=integers(*[2**31 - 1] * 3), strides=integers(0, 0, 0)),
            "more than 4 times over",
        ),
        (
            "empty, with sizes beyond 64 bits",
            tensor(shape=integers(0, *[2**31 - 1] * 3), strides=integers(0, 0, 0, 0)),
            "sizes beyond any bound",
        ),
        ("empty, offset outside", tensor(offset=integer(5), shape=integers(0)), REACHES),
        ("17 dimensions", tensor(shape=integers(*[1] * 17), strides=integers(*[1] * 17)), "more than 16 dim"),
        ("9,000 dimensions", tensor(shape=b"(" + b"K\x01" * 9_000 + b"t"), "more than 16 dimensions"),
        ("sizes and strides of unequal number", tensor(strides=integers(1, 1)), "1 sizes and 2 strides"),
        ("sizes in a list", tensor(shape=b"](K\x04e"), "a list for its size"),
        ("a float for a size", tensor(shape=b"(G" + struct.pack(">d", 4) + b"t"), "a size that is no whole"),
        ("a truth value for a size", tensor(shape=group(pickle.NEWTRUE)), "a size that is no whole"),
        ("a tuple for a size", tensor(shape=group(integers(4))), "a size that is no whole number"),
        ("None for a storage", tensor(pickle.NONE), "from a None, not a storage"),
        ("no storage but a tensor", tensor(tensor()), "from a Tensor, not a storage"),
        ("a number for the gradient flag", tensor(grad=integer(1)), "gradient flag"),
        ("hooks", tensor(hooks=entries(hook=text("x"))), "backward hooks"),
        ("None for hooks", tensor(hooks=pickle.NONE), "backward hooks"),
        ("too few arguments", REBUILD + group(storage()) + pickle.REDUCE, "from 1 arguments"),
        (
            "a seventh argument",
            REBUILD
            + group(storage(), integer(0), integers(4), integers(1), b"\x89", ORDERED_DICT, b"}")
            + pickle.REDUCE,
            "from 7 arguments",
        ),
    ]
}
ATTACKS |= {
    "storage: declared twice with different classes": (
        checkpoint(entries(a=tensor(), b=tensor(storage(kind=named("torch", "IntStorage"))))),
        "declared twice",
    ),
    "storage: declared twice with different sizes": (
        checkpoint(entries(a=tensor(), b=tensor(storage(integer(2)), shape=integers(2)))),
        "declared twice",
    ),
    "storage: five tensors over one": (
        checkpoint(entries(**{name: tensor() for name in "abcde"})),
        "more than 4 times over",
    ),
    "storage: truth values of 2": (
        checkpoint(entries(w=tensor(storage(kind=named("torch", "BoolStorage")))), weights=b"\x00\x01\x02\x01"),
        "neither 0 nor 1",
    ),
    "storage: a member that no tensor has": (
        checkpoint(entries(w=tensor()), Member("archive/data/1", b"payload")),
        "belongs to no tensor",
    ),
}

# The shape of the pickle.
DEEP = "deeper than 32 levels"
ATTACKS |= {
    f"pickle: {name}": (build_zip(members(pickled)), reason)
    for name, pickled, reason in [
        ("empty", b"", "does not begin with a protocol"),
        ("protocol 0", b"(dp0\n.", "does not begin with a protocol"),
        ("protocol 4", pickle.dumps({"w": 1}, protocol=4), "not of protocol 2"),
        ("protocol 255", b"\x80\xff.", "not of protocol 2"),
        ("STOP alone", b"\x80\x02.", "ends with objects left over, or with none"),
        ("two objects at the end", document(text("a") + text("b")), "left over"),
        ("an open mark at the end", document(b"(" + entries(w=tensor())), "left over"),
        ("bytes after STOP", SOUND + b"cos\nsystem\n.", "goes on after its end"),
        ("no STOP", SOUND[:-1], "cut short"),
        ("cut in half", SOUND[: len(SOUND) // 2], "cut short"),
        ("cut inside a global", SOUND[:12], "cut short"),
        ("text longer than the pickle", b"\x80\x02X\xff\xff\xff\xffabc", "cut short"),
        ("text that is not UTF-8", b"\x80\x02X\x01\x00\x00\x00\xff.", "not UTF-8"),
        ("text with a lone surrogate", document(text("\ud800")), "not UTF-8"),
        ("8 MiB and a byte", document(text("x" * 8 * 2**20)), "more than the limit of 8388608"),
        ("too many objects on the stack", document(b"N" * 10_001), "more than 10000 objects on the stack"),
        ("deep tuples", document(b")" + b"\x85" * 1_000_000), DEEP),
        ("deep lists", document(b"]" * 9_000 + b"a" * 9_000), DEEP),
        ("deep dicts", document((b"}" + text("k")) * 4_000 + b"N" + b"s" * 4_000), DEEP),
        ("deep metadata", document(entries(w=tensor()) + b"}" + text("_metadata") + b")" + b"\x85" * 99), DEEP),
        ("deep marks", document(b"(" * 1_000), DEEP),
        ("marks closed without being opened", document(b"t"), "never opened"),
        ("pop below the mark", document(text("k") + b"(s"), "empty stack"),
        ("pop from nothing", document(b"\x87"), "empty stack"),
        ("memo number recalled before it is stored", document(get(0)), "never stored"),
        ("memo number of 2**32 - 1", document(get(2**32 - 1)), "never stored"),
        ("memo number stored twice", document(text("a") + put(0) + put(0)), "two objects under memo number 0"),
        ("memo of nothing", document(put(0)), "empty stack"),
        ("key set without a value", document(ORDERED_DICT + b"(" + text("w") + b"u"), "key without a value"),
        ("key set twice", document(ORDERED_DICT + b"(" + (text("w") + tensor()) * 2 + b"u"), "'w' twice"),
        ("entries of a list", document(b"](" + text("w") + tensor() + b"u"), "entries of a list"),
        ("append to a tuple", document(b")Na"), "appends to a tuple"),
        ("append to a dict", document(b"}Na"), "appends to a dict"),
        ("a tuple for a key", document(ORDERED_DICT + b")" + tensor() + b"s"), "a tuple for a key"),
        ("None for a key", document(ORDERED_DICT + b"N" + tensor() + b"s"), "a None for a key"),
        ("a truth value for a key", document(ORDERED_DICT + b"\x88" + tensor() + b"s"), "a bool for a key"),
        ("a float for a key", document(b"}G" + bytes(8) + tensor() + b"s"), "a float for a key"),
        ("a global for a key", document(b"}" + FLOATS + tensor() + b"s"), "a Global for a key"),
        ("billion laughs for a key", document(b"}" + laughs(9, b"(", b"t") + tensor() + b"s"), "tuple for a key"),
        ("billion laughs in tuples", document(entries(w=laughs(9, b"(", b"t"))), "is a tuple, not a tensor"),
        ("billion laughs in lists", document(entries(w=laughs(9, b"](", b"e"))), "is a list, not a tensor"),
        ("billion laughs alone", document(laughs(30, b"(", b"t")), "holds a tuple"),
        ("billion laughs for a size", document(entries(w=tensor(shape=laughs(9, b"(", b"t")))), "a size that"),
        ("dict that holds itself", document(b"}" + put(0) + text("w") + get(0) + b"s"), "already part of"),
        ("list that holds itself", document(b"]" + put(0) + get(0) + b"a"), "already part of"),
        (
            "list that holds itself through a tuple",
            document(b"]" + put(0) + get(0) + b"\x85a"),
            "already part of",
        ),
        (
            "metadata that holds its owner",
            document(entries(w=tensor()) + put(0) + b"}" + text("_metadata") + get(0) + b"sb"),
            "already part of",
        ),
    ]
}

# What the pickle says it holds.
ATTACKS |= {
    f"content: {name}": (checkpoint(body), reason)
    for name, body, reason in [
        ("None", b"N", "holds a None, not a state dict"),
        ("a bare tensor", tensor(), "holds a Tensor, not a state dict"),
        ("a bare storage", storage(), "holds a Storage, not a state dict"),
        ("a bare global", FLOATS, "holds a Global, not a state dict"),
        ("an empty dict", ORDERED_DICT, "holds no tensors"),
        ("a number among the tensors", entries(w=tensor(), epoch=integer(3)), "'epoch' is a int, not a tensor"),
        ("a storage among the tensors", entries(w=storage()), "is a Storage, not a tensor"),
        ("a number for a name", ORDERED_DICT + integer(0) + tensor() + b"s", "a number for a name"),
        ("two state dicts", entries(state_dict=entries(w=tensor()), model=entries(w=tensor())), "more than one"),
        ("a state dict in a state dict", entries(model=entries(model=entries(w=tensor()))), "not a tensor"),
        ("a name with line breaks", entries(**{"a\nError: b\r\x1b[31m": integer(0)}), r"a\nError: b\r\x1b"),
        ("a name of a million characters", entries(**{"a" * 10**6: integer(0)}), "not a tensor"),
    ]
}

# The zip archive around a sound pickle.
FIRST = members(SOUND)[0]
WEIGHTS = members(SOUND)[1]
PLAIN = "does not lie in a plain top folder"
CONTRADICT = "contradict"
ATTACKS |= {
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
ATTACKS |= {
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

# Too slow where every call is type-checked; run in a plain process.
LARGE_ATTACKS: dict[str, tuple[bytes, str]] = {
    f"large pickle: {name}": (build_zip(members(document(body))), reason)
    for name, body, reason in [
        ("too many opcodes", b"]" + b"Na" * 500_001, "more than 1000000 opcodes"),
        ("half a million dicts", b"]" + b"}a" * 499_990, "holds a list, not a state dict"),
        ("half a million memo numbers", b")" + b"".join(map(put, range(999_990))), "holds a tuple"),
        (
            "a tuple of 9,000 laid 50,000 times in a list",
            b"](" + b"N" * 9_000 + b"t" + put(0) + b"a" + (get(0) + b"a") * 50_000,
            "holds a list",
        ),
        ("a million names", b"}" + b"".join(text(str(i)) + b"Ns" for i in range(300_000)), "not a tensor"),
    ]
}
