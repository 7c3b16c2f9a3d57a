"""Reads configurations. Whatever is not understood is an error of one line, which names the file and the key.

msgspec builds the types and checks the values. Before it, `_Check` does what msgspec cannot: it refuses unknown keys,
names the key that was probably meant, and reads the strings "True" and "False" of the official files as booleans.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, NoReturn

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
        overrides: changes to the file, each `key=value`; dots separate a section from its key, such as
            `optim_config.base_lr=5e-5`. A value is read as JSON; if it is not valid JSON, it is taken as a string.

    Raises:
        ConfigError: one line that names the file, the key and what was expected.
    """
    raw = read_json(configuration_file(path_or_name))
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, str(path_or_name))


def parse_config(raw: Mapping[str, Any], origin: str) -> ExperimentConfig:
    """Turn a parsed JSON object into a configuration; errors begin with `origin`, such as the name of the file."""
    config_type, fields = _model_type(raw.get("model_config", {}), origin)
    raw, chain = {**raw, "model_config": fields}, ()
    data = raw.get("data_config")
    if isinstance(data, Mapping) and "augmentation" in data:
        chain = parse_augmentation(data["augmentation"], origin, "data_config.augmentation")
        raw["data_config"] = {key: value for key, value in data.items() if key != "augmentation"}
    generic: Any = ExperimentConfig
    config: ExperimentConfig = parse_dataclass(generic[config_type], raw, origin)
    return dataclasses.replace(config, data_config=dataclasses.replace(config.data_config, augmentation=chain))


def parse_augmentation(raw: Any, origin: str, key: str) -> tuple[Any, ...]:
    """Turn a JSON list into a chain of `aasist_jax.augmentation`; only the files of its kinds are imported.

    Args:
        raw: the JSON value; each item has a `kind`, or `one_of` with a list of such items.
        origin: name of the JSON document in errors.
        key: path of the list within the document.

    Raises:
        ConfigError: one line that names the origin, the key and what was expected, or the nearest kind.
    """
    if not isinstance(raw, list | tuple):
        _refuse(origin, key, "a list of objects", raw)
    return tuple(_augmentation_step(item, origin, f"{key}[{number}]") for number, item in enumerate(raw))


def _augmentation_step(raw: Any, origin: str, key: str) -> Any:
    from aasist_jax.augmentation import Augmentation, OneOf, find_kind, kind_names

    if not isinstance(raw, Mapping):
        _refuse(origin, key, "an object", raw)
    if "one_of" in raw:
        choices = parse_augmentation(raw["one_of"], origin, f"{key}.one_of")
        for number, choice in enumerate(choices):
            if not isinstance(choice, Augmentation):
                raise ConfigError(f"{origin}: {key}.one_of[{number}]: expected a kind, got another one_of")
        rest = parse_dataclass(_OneOfSettings, {name: raw[name] for name in raw if name != "one_of"}, origin, key)
        try:
            return OneOf(choices, rest.probability)
        except ValueError as error:
            raise ConfigError(f"{origin}: {key}.{error}") from None
    name = raw.get("kind")
    if name is None:
        _refuse(origin, f"{key}.kind", f"one of {', '.join(kind_names())}")
    if not isinstance(name, str):
        _refuse(origin, f"{key}.kind", "a string", name)
    try:
        kind = find_kind(name)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {key}.kind: {error}") from None
    return parse_dataclass(kind, raw, origin, key)


def parse_model_config(raw: Any, origin: str) -> Any:
    """Turn a `model_config` object into the `config_type` of the family that its `architecture` names."""
    config_type, fields = _model_type(raw, origin)
    return parse_dataclass(config_type, fields, origin, "model_config")


def parse_dataclass(cls: Any, raw: Any, origin: str, key: str = "") -> Any:
    """Build an instance of a frozen type from a JSON object, after checking every key and value.

    Args:
        cls: a frozen dataclass or `msgspec.Struct`; its fields may be of such types, too (sections). If a section can
            be of several types, the type of its field is a union of Structs that have the same `tag_field` and
            different `tag`s.
        raw: the JSON object.
        origin: name of the JSON document in errors, such as its path.
        key: path of the object within the document, separated by dots; empty for the top.

    Raises:
        ConfigError: one line that names the origin, the key and what was expected.
    """
    check = _Check(inspect.type_info(cls), raw, origin, key)
    try:
        return msgspec.convert(check.prepared, cls)
    except msgspec.ValidationError as error:
        # The message ends with the path of the value at fault: "... - at `$.betas[1]`".
        place = (key + str(error).partition(" - at `$")[2].removesuffix("`")).removeprefix(".")
        if error.__cause__ is not None:
            raise ConfigError(f"{origin}: {_join(place, str(error.__cause__))}") from None
        if place not in check.seen:
            # Within a list, a dictionary or an optional tuple, which `_Check` does not enter: msgspec's own message.
            raise ConfigError(f"{origin}: {place}: {str(error).partition(' - at `$')[0]}") from None
        node, value = check.seen[place]
        _refuse(origin, place, _describe(node), value)


def to_json(config: Any) -> Any:
    """Turn a configuration into JSON values; `parse_config` turns an experiment's back into an equal configuration."""
    from aasist_jax.models.family import family_of

    raw = _plain(config)
    if isinstance(config, ExperimentConfig):
        raw["model_config"] = {"architecture": family_of(config.model_config).name} | raw["model_config"]
    return raw


def _plain(value: Any) -> Any:
    """Turn frozen types into dictionaries of all their fields, and tuples into lists.

    `msgspec.to_builtins` cannot be used: it omits dataclass fields that were missing in the JSON.
    """
    if isinstance(value, msgspec.Struct):
        settings = value.__struct_config__
        tag = {settings.tag_field: settings.tag} if settings.tag_field else {}
        return tag | {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that holds one object. A repeated key, NaN and infinity are errors."""
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
    """Return the `config_type` of the family that a `model_config` object names, and the object's other keys."""
    from aasist_jax.models.family import family, family_names

    if not isinstance(raw, Mapping):
        _refuse(origin, "model_config", "an object", raw)
    name = _tag(raw, "architecture", family_names(), origin, "model_config")
    return family(name).config_type, {key: value for key, value in raw.items() if key != "architecture"}


@dataclasses.dataclass(frozen=True)
class _OneOfSettings:
    """What stands beside `one_of`."""

    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0


class _Check:
    """Checks keys before msgspec checks values.

    Attributes:
        origin: name of the JSON document in errors.
        keys: the full names of all keys that the type has, such as `optim_config.base_lr`.
        seen: the type and the value at each key, for messages about values that msgspec refuses.
        prepared: the JSON object as msgspec is to convert it.
    """

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
        """Suggest a key: first one of the same name in another section, then a similar one here, then elsewhere."""
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
    """Return the tag of a section, the value that says which of its types it has; it must be one of `tags`."""
    if raw.get(tag_field) not in [*tags]:
        _refuse(origin, _join(key, tag_field), _either(tags), *(raw[k] for k in raw if k == tag_field))
    return raw[tag_field]


def _refuse(origin: str, key: str, expected: str, *value: Any) -> NoReturn:
    """Raise the error for the value at a key; without a value, the error that it is missing."""
    fault = f"expected {expected}, got {_show(*value)}" if value else f"missing; expected {expected}"
    raise ConfigError(f"{origin}: {key or 'top'}: {fault}")


def _sections(node: inspect.Type) -> list[Any]:
    """The dataclasses and Structs among the types that `node` allows."""
    types = node.types if isinstance(node, inspect.UnionType) else [node]
    return [each for each in types if isinstance(each, inspect.DataclassType | inspect.StructType)]


def _keys(node: inspect.Type, prefix: str) -> Iterator[str]:
    """The full names of all keys below `node`, separated by dots."""
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
