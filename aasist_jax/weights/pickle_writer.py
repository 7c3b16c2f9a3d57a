"""Writes the pickle of a PyTorch checkpoint, with the opcodes that `torch.save` writes for the same tensors."""

from __future__ import annotations

import struct

from aasist_jax.errors import CheckpointError
from aasist_jax.weights.pickle_values import ORDERED_DICT, REBUILD_TENSOR, STORAGE_DTYPES, Global, Opcode, Tensor


def dump_pickle(tensors: dict[str, Tensor]) -> bytes:
    """The pickle (protocol 2) of an OrderedDict of `tensors`, in the form of `torch.save`.

    Raises `CheckpointError` for a name that is not Unicode text and for a number of 2**31 or more.
    """
    ordered_dict = _global_bytes(ORDERED_DICT) + bytes([Opcode.EMPTY_TUPLE, Opcode.REDUCE])
    chunks = [bytes([Opcode.PROTO, 2]), ordered_dict]
    for name, tensor in tensors.items():
        storage = tensor.storage
        storage_name = next(cls for cls, dtype in STORAGE_DTYPES.items() if dtype == storage.dtype)
        chunks += [
            _text_bytes(name),
            _global_bytes(REBUILD_TENSOR),
            bytes([Opcode.MARK, Opcode.MARK]),
            _text_bytes("storage"),
            _global_bytes(Global("torch", storage_name)),
            _text_bytes(storage.key),
            _text_bytes("cpu"),
            _int_bytes(storage.elements),
            bytes([Opcode.TUPLE, Opcode.BINPERSID]),
            _int_bytes(tensor.offset),
            *(_tuple_bytes(numbers) for numbers in (tensor.shape, tensor.strides)),
            bytes([Opcode.NEWFALSE]),
            ordered_dict,
            bytes([Opcode.TUPLE, Opcode.REDUCE, Opcode.SETITEM]),
        ]
    return b"".join([*chunks, bytes([Opcode.STOP])])


def _global_bytes(named: Global) -> bytes:
    return bytes([Opcode.GLOBAL]) + f"{named.module}\n{named.name}\n".encode()


def _text_bytes(text: str) -> bytes:
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        raise CheckpointError(f"the tensor name {text[:80]!a} is not Unicode text: rename it") from None
    return bytes([Opcode.BINUNICODE]) + struct.pack("<I", len(encoded)) + encoded


def _int_bytes(number: int) -> bytes:
    if number >= 2**31:
        raise CheckpointError(f"a tensor with a size of {number} is too large for a checkpoint: split it")
    return bytes([Opcode.BININT]) + struct.pack("<i", number)


def _tuple_bytes(numbers: tuple[int, ...]) -> bytes:
    return bytes([Opcode.MARK]) + b"".join(map(_int_bytes, numbers)) + bytes([Opcode.TUPLE])
