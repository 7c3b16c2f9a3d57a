"""Reads the pickle inside a PyTorch checkpoint as data, with an interpreter that cannot call any function.

`pickle.Unpickler` runs any code that a file asks for. This interpreter only knows the opcodes that `torch.save` needs
for a state dict, and turns them into records (`Storage`, `Tensor`, `Sequence`, `Dictionary`). A global name is looked
up in a fixed table and never imported. It is safe for any file because:

- every opcode reads at least one byte and takes time in proportion to the bytes and stack items it consumes;
- size, number of opcodes, stack, memo and nesting are limited (the constants below);
- a container inside another one is sealed: it cannot change any more, so there are no cycles;
- keys are strings or integers, so hashing and comparing never traverse a malicious structure;
- messages show short quoted names and types, never whole structures.

The format is that of Python's pickle, protocol 2, and of `torch.save` since PyTorch 1.6.
"""

from __future__ import annotations

import struct

from aasist_jax.errors import CheckpointError
from aasist_jax.weights.pickle_values import (
    ALLOWED_GLOBALS,
    MAX_DEPTH,
    ORDERED_DICT,
    REBUILD_TENSOR,
    STORAGE_DTYPES,
    Dictionary,
    Global,
    Opcode,
    Sequence,
    Storage,
    Tensor,
    Value,
    kind_of,
)

MAX_PICKLE_BYTES = 8 * 2**20
MAX_OPCODES = 1_000_000
MAX_STACK = 10_000
MAX_DIMENSIONS = 16


def load_pickle(data: memoryview) -> tuple[Value, dict[str, Storage]]:
    """Return the object that a checkpoint's `data.pkl` describes, and the storages that it declares, by key.

    Raises `CheckpointError` for an opcode, a global, or a structure that a state dict does not need.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise CheckpointError(f"its pickle has {len(data)} bytes, more than the limit of {MAX_PICKLE_BYTES}")
    interpreter = _Interpreter(bytes(data))
    return interpreter.run(), interpreter.storages


class _Interpreter:
    """The pickle machine: a stack, the marks on it, and the memo."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.cursor = 0
        self.stack: list[Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, Value] = {}
        self.storages: dict[str, Storage] = {}

    def run(self) -> Value:
        if self.data[:1] != b"\x80":
            raise CheckpointError("its pickle does not begin with a protocol number")
        if self.data[1:2] != b"\x02":
            raise CheckpointError("its pickle is not of protocol 2, the one that torch.save uses by default")
        self.cursor = 2
        for _ in range(MAX_OPCODES):
            code = self.take(1)[0]
            if code == Opcode.STOP:
                return self.stop()
            self.step(code)
        raise CheckpointError(f"its pickle has more than {MAX_OPCODES} opcodes")

    def step(self, code: int) -> None:
        # The most frequent opcodes come first because the cases are tried in order.
        match code:
            case Opcode.LONG_BINPUT:
                self.memorise(self.unsigned(4))
            case Opcode.BININT1:
                self.push(self.unsigned(1))
            case Opcode.BINGET:
                self.recall(self.unsigned(1))
            case Opcode.BINUNICODE:
                self.push(self.text())
            case Opcode.MARK:
                self.mark()
            case Opcode.TUPLE:
                self.push_tuple(self.pop_to_mark())
            case Opcode.REDUCE:
                self.reduce()
            case Opcode.EMPTY_TUPLE:
                self.push_tuple([])
            case Opcode.TUPLE1 | Opcode.TUPLE2 | Opcode.TUPLE3:
                self.push_tuple([self.pop() for _ in range(code - Opcode.TUPLE1 + 1)][::-1])
            case Opcode.BINPUT:
                self.memorise(self.unsigned(1))
            case Opcode.BINPERSID:
                self.push(self.storage(self.pop()))
            case Opcode.NEWFALSE:
                self.push(False)
            case Opcode.EMPTY_DICT:
                self.push(Dictionary("dict"))
            case Opcode.SETITEM:
                value, key = self.pop(), self.pop()
                self.set_items([key, value])
            case Opcode.LONG_BINGET:
                self.recall(self.unsigned(4))
            case Opcode.BININT2:
                self.push(self.unsigned(2))
            case Opcode.BININT:
                self.push(int.from_bytes(self.take(4), "little", signed=True))
            case Opcode.GLOBAL:
                self.push(self.allowed_global())
            case Opcode.SETITEMS:
                self.set_items(self.pop_to_mark())
            case Opcode.BUILD:
                self.build()
            case Opcode.NEWTRUE:
                self.push(True)
            case Opcode.NONE:
                self.push(None)
            case Opcode.BINFLOAT:
                self.push(struct.unpack(">d", self.take(8))[0])
            case Opcode.EMPTY_LIST:
                self.push(Sequence("list"))
            case Opcode.APPEND:
                self.append([self.pop()])
            case Opcode.APPENDS:
                self.append(self.pop_to_mark())
            case _:
                raise CheckpointError(
                    f"its pickle uses opcode 0x{code:02x} at byte {self.cursor - 1}, which a state dict does not need"
                )

    def take(self, count: int) -> bytes:
        taken = self.data[self.cursor : self.cursor + count]
        if len(taken) < count:
            raise CheckpointError("its pickle is cut short")
        self.cursor += count
        return taken

    def unsigned(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def text(self) -> str:
        try:
            return self.take(self.unsigned(4)).decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError("its pickle holds text that is not UTF-8") from None

    def allowed_global(self) -> Global:
        names = []
        for _ in range(2):
            end = self.data.find(b"\n", self.cursor)
            if end < 0:
                raise CheckpointError("its pickle is cut short")
            names.append(self.data[self.cursor : end][:80].decode("latin-1"))
            self.cursor = end + 1
        named = Global(*names)
        if named == Global("torch", "BFloat16Storage"):
            raise CheckpointError("it holds bfloat16 tensors, which NumPy lacks: convert them with .float() first")
        if named not in ALLOWED_GLOBALS:
            full_name = f"{named.module}.{named.name}"
            raise CheckpointError(f"its pickle asks for {full_name!a}, which is not needed to read tensors")
        return named

    def push(self, value: Value) -> None:
        if len(self.stack) >= MAX_STACK:
            raise CheckpointError(f"its pickle puts more than {MAX_STACK} objects on the stack")
        self.stack.append(value)

    def push_tuple(self, items: list[Value]) -> None:
        made = Sequence("tuple", items=items)
        for item in items:
            made.admit(item)
        self.push(made)

    def pop(self) -> Value:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise CheckpointError("its pickle takes an object from an empty stack")
        return self.stack.pop()

    def top(self) -> Value:
        value = self.pop()
        self.stack.append(value)
        return value

    def mark(self) -> None:
        if len(self.marks) >= MAX_DEPTH:
            raise CheckpointError(f"its pickle nests deeper than {MAX_DEPTH} levels")
        self.marks.append(len(self.stack))

    def pop_to_mark(self) -> list[Value]:
        if not self.marks:
            raise CheckpointError("its pickle closes a group that it never opened")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def memorise(self, index: int) -> None:
        # A pickler numbers its objects one by one, so an index is never set twice.
        if index in self.memo:
            raise CheckpointError(f"its pickle stores two objects under memo number {index}")
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError(f"its pickle recalls memo number {index}, which it never stored")
        self.push(self.memo[index])

    def append(self, items: list[Value]) -> None:
        target = self.top()
        if not isinstance(target, Sequence) or target.kind != "list":
            raise CheckpointError(f"its pickle appends to a {kind_of(target)}")
        for item in items:
            target.admit(item)
            target.items.append(item)

    def set_items(self, items: list[Value]) -> None:
        target = self.top()
        if not isinstance(target, Dictionary):
            raise CheckpointError(f"its pickle sets entries of a {kind_of(target)}")
        if len(items) % 2:
            raise CheckpointError("its pickle sets a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise CheckpointError(f"its pickle has a {kind_of(key)} for a key")
            if key in target.entries:
                raise CheckpointError(f"its pickle sets the key {str(key)[:80]!a} twice")
            target.admit(value)
            target.entries[key] = value

    def storage(self, persistent_id: Value) -> Storage:
        match persistent_id:
            case Sequence(
                kind="tuple",
                items=["storage", Global("torch", name), str(key), str(), int(elements)],
            ) if not isinstance(elements, bool):
                pass
            case _:
                raise CheckpointError("its pickle has a persistent id that describes no storage")
        # A key becomes part of a member's name: PyTorch writes decimal numbers.
        if not (key.isascii() and key.isdigit() and len(key) <= 20):
            raise CheckpointError(f"its pickle has {key[:80]!a} for a storage key, which is not a number")
        if elements < 0:
            raise CheckpointError(f"storage {key} has a negative number of elements")
        declared = Storage(STORAGE_DTYPES[name], key, elements)
        if self.storages.setdefault(key, declared) != declared:
            raise CheckpointError(f"storage {key} is declared twice, with different types or sizes")
        return self.storages[key]

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, Sequence) or arguments.kind != "tuple":
            raise CheckpointError(f"its pickle calls with a {kind_of(arguments)} instead of arguments")
        if function == ORDERED_DICT:
            if arguments.items:
                raise CheckpointError("its pickle makes an OrderedDict with arguments")
            self.push(Dictionary("OrderedDict"))
        elif function == REBUILD_TENSOR:
            self.push(_tensor(arguments.items))
        else:
            raise CheckpointError(f"its pickle calls a {kind_of(function)}")

    def build(self) -> None:
        # `Module.state_dict` adds the version numbers of modules to its OrderedDict; they are ignored.
        state, target = self.pop(), self.top()
        if not isinstance(target, Dictionary) or target.kind != "OrderedDict":
            raise CheckpointError(f"its pickle sets attributes of a {kind_of(target)}")
        if not isinstance(state, Dictionary) or list(state.entries) != ["_metadata"]:
            raise CheckpointError("its pickle sets attributes other than _metadata")
        target.admit(state)

    def stop(self) -> Value:
        if self.cursor != len(self.data):
            raise CheckpointError("its pickle goes on after its end")
        if len(self.stack) != 1 or self.marks:
            raise CheckpointError("its pickle ends with objects left over, or with none")
        return self.stack[0]


def _tensor(arguments: list[Value]) -> Tensor:
    """The tensor that `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)` describes."""
    if len(arguments) != 6:
        raise CheckpointError(f"its pickle rebuilds a tensor from {len(arguments)} arguments, not 6")
    storage, offset, shape, strides, requires_grad, hooks = arguments
    if not isinstance(storage, Storage):
        raise CheckpointError(f"its pickle rebuilds a tensor from a {kind_of(storage)}, not a storage")
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise CheckpointError("its pickle gives a tensor an offset that is no whole number of zero or more")
    if not isinstance(requires_grad, bool):
        raise CheckpointError("its pickle gives a tensor a gradient flag that is not true or false")
    if not isinstance(hooks, Dictionary) or hooks.entries:
        raise CheckpointError("its pickle gives a tensor backward hooks")
    tensor = Tensor(storage, offset, _whole_numbers(shape, "size"), _whole_numbers(strides, "stride"))
    if len(tensor.shape) != len(tensor.strides):
        raise CheckpointError(f"its pickle gives a tensor {len(tensor.shape)} sizes and {len(tensor.strides)} strides")
    return tensor


def _whole_numbers(value: Value, what: str) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or value.kind != "tuple":
        raise CheckpointError(f"its pickle gives a tensor a {kind_of(value)} for its {what}")
    if len(value.items) > MAX_DIMENSIONS:
        raise CheckpointError(f"its pickle gives a tensor more than {MAX_DIMENSIONS} dimensions")
    numbers = []
    for item in value.items:
        if isinstance(item, bool) or not isinstance(item, int) or item < 0:
            raise CheckpointError(f"its pickle gives a tensor a {what} that is no whole number of zero or more")
        numbers.append(item)
    return tuple(numbers)
