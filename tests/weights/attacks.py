"""Hostile and damaged checkpoints, made by hand with tools that share no code with the package.

`ATTACKS` maps a name to the file's bytes and a piece of the reason for which it must be refused, so that a file
refused for some other fault is noticed. `HARMLESS` is what most of them start from; it must be read.
"""

import pickle
import struct

from tests.weights.checkpoint_bytes import (
    FLOATS,
    ORDERED_DICT,
    REBUILD,
    SOUND,
    Member,
    around,
    build_zip,
    checkpoint,
    document,
    entries,
    get,
    group,
    integer,
    integers,
    laughs,
    members,
    named,
    persistent,
    put,
    storage,
    tensor,
    text,
)
from tests.weights.zip_attacks import ZIP_ATTACKS

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

ATTACKS |= ZIP_ATTACKS

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
