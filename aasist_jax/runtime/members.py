"""Registries without a list: what belongs to one is found by lying in a folder of the package."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from aasist_jax.errors import AasistError

Member = TypeVar("Member")


@runtime_checkable
class Named(Protocol):
    """A member that is looked up by its name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


NamedMember = TypeVar("NamedMember", bound=Named)


def find_members(
    package: str, attribute: str, kind: type[Member], error: type[AasistError], *, packages_only: bool = False
) -> dict[str, Member]:
    """Import what lies in the folder of a package, and collect the attribute that each file there must set.

    Args:
        package: the full name of the package.
        attribute: the attribute, such as `LAYOUT`.
        kind: the type that it must have.
        error: what is raised otherwise.
        packages_only: whether only packages belong to the registry, and modules beside them do not.

    Returns:
        The members by file, such as `layouts/csv_table.py` or `models/NAME/__init__.py`, in the order of the names.

    Raises:
        AasistError: the given `error`, where a file does not set the attribute, or to something of another type.
    """
    members: dict[str, Member] = {}
    modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
    for module in sorted(modules, key=lambda module: module.name):
        if packages_only and not module.ispkg:
            continue
        file = f"{package.rpartition('.')[2]}/{module.name}" + ("/__init__.py" if module.ispkg else ".py")
        member = getattr(importlib.import_module(f"{package}.{module.name}"), attribute, None)
        if not isinstance(member, kind):
            raise error(f"{file}: sets no {attribute} = {kind.__name__}(...), as everything in that folder must")
        members[file] = member
    return members


def by_name(members: Mapping[str, NamedMember], error: type[AasistError]) -> dict[str, NamedMember]:
    """Order members by their own names.

    Raises:
        AasistError: the given `error`, where two of them have the same name.
    """
    named: dict[str, NamedMember] = {}
    for file, member in members.items():
        if member.name in named:
            raise error(f"{file}: another file has the name {member.name!r} already; choose a new name")
        named[member.name] = member
    return dict(sorted(named.items()))
