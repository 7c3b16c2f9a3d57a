"""Structs of msgspec with abstract methods: what derives one of them must define all of these to be made."""

from abc import ABCMeta

from msgspec import StructMeta


class AbstractStruct(StructMeta, ABCMeta):
    """The metaclass of such a struct."""
