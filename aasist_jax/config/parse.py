"""Reading configurations, strictly: whatever is not understood is refused in one line that names file and key.

msgspec builds the types and checks them. A pass before it does what msgspec does not: it refuses unknown keys and
says which key was probably meant, and takes the "True" and "False" of the official files for truth values.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from msgspec import inspect

from aasist_jax.config.experiment import ExperimentConfig
from aasist_jax.config.shipped import configuration_file
from aasist_jax.errors import ConfigError
from aasist_jax.runtime.files import read_text

_WORDS = {inspect.IntType: "an integer", inspect.FloatType: "a number", inspect.StrType: "a string"}
_WORDS |= {inspect.BoolType: "true or false", inspect.NoneType: "null"}
_LIMITS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}


def load_config(path_or_name: str | PathLike[str], overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment configuration, ours or an official `.conf` file.

    Args:
        path_or_name: a JSON file, or the name of a configuration that comes with the package.
        overrides: changes on top, each `key=value` with dots into the sections, such as
            `optim_config.base_lr=5e-5`. A value is read as JSON, and as a plain string where it is none.

    Raises:
        ConfigError: one line that names the file, the key and what was expected.
    """
    raw = read_json(configuration_file(path_or_name))
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, str(path_or_name))


def parse_config(raw: Mapping[str, Any], origin: str) -> ExperimentConfig:
    """Turn a parsed JSON object into a configuration; `origin` names it in errors."""
    config_type, fields = _model_type(raw.get("model_config", {}), origin)
    generic: Any = ExperimentConfig
    config: ExperimentConfig = parse_dataclass(generic[config_type], {**raw, "model_config": fields}, origin)
    return config


def parse_model_config(raw: Any, origin: str) -> Any:
    """Turn a `model_config` object into the frozen type of its architecture."""
    config_type, fields = _model_type(raw, origin)
    return parse_dataclass(config_type, fields, origin, "model_config")


def parse_dataclass(cls: Any, raw: Any, origin: str, key: str = "") -> Any:
    """Build a frozen type from a JSON object, every key and value checked.

    Args:
        cls: a frozen dataclass or `msgspec.Struct`, and so may be the types of its fields. A section that may be of
            several types is a field whose type is a union of Structs, with one `tag_field` and each a `tag`.
        raw: the JSON object.
        origin: what the whole JSON is called in errors.
        key: where in it the object stands, in dots; empty for the top.

    Raises:
        ConfigError: one line that names the origin, the key and what was expected.
    """
    check = _Check(inspect.type_info(cls), raw, origin, key)
    try:
        return msgspec.convert(check.prepared, cls)
    except msgspec.ValidationError as error:
        # The message ends in the place of the fault: "... - at `$.betas[1]`".
        place = (key + str(error).partition(" - at `$")[2].removesuffix("`")).removeprefix(".")
        if error.__cause__ is not None:
            raise ConfigError(f"{origin}: {_join(place, str(error.__cause__))}") from None
        if place not in check.seen:
            # Inside a list, a dictionary or an optional tuple: the library's own words.
            raise ConfigError(f"{origin}: {place}: {str(error).partition(' - at `$')[0]}") from None
        node, value = check.seen[place]
        _refuse(origin, place, _describe(node), value)


def to_json(config: Any) -> Any:
    """Turn a configuration back into what JSON can hold; `parse_config` reads it again to an equal one."""
    from aasist_jax.models.family import family_of

    raw = _plain(config)
    if isinstance(config, ExperimentConfig):
        raw["model_config"] = {"architecture": family_of(config.model_config).name} | raw["model_config"]
    return raw


def _plain(value: Any) -> Any:
    """Turn frozen types into dictionaries of all their fields, and tuples into lists.

    msgspec's own `to_builtins` leaves out the fields of a dataclass that it gave their default.
    """
    if isinstance(value, msgspec.Struct):
        settings = value.__struct_config__
        tag = {settings.tag_field: settings.tag} if settings.tag_field else {}
        return tag | {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a JSON file whose top is an object; a repeated key, NaN and infinity are errors."""
    try:
        text = read_text(Path(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); expected a JSON file") from None
    try:
        raw = _parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a JSON object at the top, got {_show(raw)}")
    return raw


def _model_type(raw: Any, origin: str) -> tuple[Any, dict[str, Any]]:
    """Return the type that the architecture of a `model_config` object registered, and the object's other keys."""
    from aasist_jax.models.family import family, family_names

    if not isinstance(raw, Mapping):
        _refuse(origin, "model_config", "an object", raw)
    name = _tag(raw, "architecture", family_names(), origin, "model_config")
    return family(name).config_type, {key: value for key, value in raw.items() if key != "architecture"}


class _Check:
    """The pass before msgspec: `prepared` is what msgspec converts, `seen` the type and the value at each key."""

    def __init__(self, root: inspect.Type, raw: Any, origin: str, key: str) -> None:
        self.origin, self.keys = origin, [*_keys(root, key)]
        self.seen: dict[str, tuple[inspect.Type, Any]] = {}
        self.prepared = self._prepare(root, raw, key)

    def _prepare(self, node: inspect.Type, raw: Any, key: str) -> Any:
        self.seen[key] = node, raw
        if isinstance(raw, float) and not math.isfinite(raw):
            _refuse(self.origin, key, _describe(node), raw)
        if isinstance(node, inspect.BoolType) and raw in ("True", "False"):
            return raw == "True"
        if isinstance(node, inspect.VarTupleType) and isinstance(raw, list):
            node = inspect.TupleType((node.item_type,) * len(raw))
        if isinstance(node, inspect.TupleType) and isinstance(raw, list) and len(raw) == len(node.item_types):
            return [self._prepare(node.item_types[i], item, f"{key}[{i}]") for i, item in enumerate(raw)]
        sections = _sections(node)
        if not sections or not isinstance(raw, Mapping):
            return raw
        section, types = sections[0], dict[str, inspect.Type]()
        if (tag_field := getattr(section, "tag_field", None)) is not None:
            by_tag = {each.tag: each for each in sections}
            section, types = by_tag[_tag(raw, tag_field, by_tag, self.origin, key)], {tag_field: inspect.AnyType()}
        types |= {field.encode_name: field.type for field in section.fields}
        for name, value in raw.items():
            if name not in types:
                raise ConfigError(
                    f"{self.origin}: {_join(key, name)}: unknown key; {self._hint(key, name, value, types)}"
                )
        for field in section.fields:
            if field.required and field.encode_name not in raw:
                _refuse(self.origin, _join(key, field.encode_name), _describe(field.type))
        return {name: self._prepare(types[name], value, _join(key, name)) for name, value in raw.items()}

    def _hint(self, section: str, name: str, value: Any, siblings: Iterable[str]) -> str:
        """Name the key that was probably meant: one of that name elsewhere, a similar one here, one elsewhere."""
        everywhere = {key.rpartition(".")[2]: key for key in self.keys if key != _join(section, name)}
        leaf = name
        while isinstance(value, Mapping) and len(value) == 1:
            leaf, value = next(iter(value.items()))
        here = {sibling: _join(section, sibling) for sibling in siblings}
        same = {leaf: everywhere[leaf]} if leaf in everywhere else {}
        for wanted, names in ((leaf, same), (name, here), (leaf, everywhere)):
            if close := difflib.get_close_matches(wanted, names, n=1):
                return f"did you mean {names[close[0]]!r}?"
        return f"expected one of {sorted(here)}"


def _tag(raw: Mapping[str, Any], tag_field: str, tags: Iterable[str], origin: str, key: str) -> str:
    """Return the tag of a section, which must be one of `tags`."""
    if raw.get(tag_field) not in [*tags]:
        _refuse(origin, _join(key, tag_field), _either(tags), *(raw[k] for k in raw if k == tag_field))
    return raw[tag_field]


def _refuse(origin: str, key: str, expected: str, *value: Any) -> NoReturn:
    """Complain about the value at a key; without one, that it is missing."""
    fault = f"expected {expected}, got {_show(*value)}" if value else f"missing; expected {expected}"
    raise ConfigError(f"{origin}: {key or 'top'}: {fault}")


def _sections(node: inspect.Type) -> list[Any]:
    """The types of section that may stand where `node` does."""
    types = node.types if isinstance(node, inspect.UnionType) else [node]
    return [each for each in types if isinstance(each, inspect.DataclassType | inspect.StructType)]


def _keys(node: inspect.Type, prefix: str) -> Iterator[str]:
    """Every key beneath `node`, in dots."""
    for field in (field for section in _sections(node) for field in section.fields):
        yield _join(prefix, field.encode_name)
        yield from _keys(field.type, _join(prefix, field.encode_name))


def _describe(node: inspect.Type) -> str:
    if isinstance(node, inspect.LiteralType):
        return _either(node.values)
    if isinstance(node, inspect.UnionType):
        return " or ".join(dict.fromkeys(map(_describe, node.types)))
    if isinstance(node, inspect.VarTupleType):
        return f"a list, each item {_describe(node.item_type)}"
    if isinstance(node, inspect.TupleType):
        return f"a list of {len(node.item_types)} ({', '.join(map(_describe, node.item_types))})"
    limits = [f"{word} {limit}" for name, word in _LIMITS.items() if (limit := getattr(node, name, None)) is not None]
    return f"{_WORDS.get(type(node), 'an object')} {' and '.join(limits)}".rstrip()


def _either(values: Iterable[Any]) -> str:
    return " or ".join(map(repr, values))


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} stands twice")
        result[key] = value
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as optim_config.base_lr=5e-5")
    try:
        value = _parse_json(text)
    except (ValueError, RecursionError):
        value = text
    *sections, last = key.split(".")
    target = raw
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {section} is no section of the configuration")
    target[last] = value
