"""Frozen dataclasses with fields changed by name, and as JSON: every value checked against the type of its field."""

import dataclasses
import json
import sys
import types
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from .errors import ConfigError

T = TypeVar("T")


def override(experiment: T, changes: Iterable[str]) -> T:
    """``experiment`` with fields changed, each written ``part.field=value``; lists as ``1,2,3``.

    Raises:
        ConfigError: For an unknown field (the known ones are named) or a value of the wrong type.
    """
    tree = to_dict(experiment)
    for change in changes:
        path, separator, text = change.partition("=")
        if not separator:
            raise ConfigError(f"'{change}': write part.field=value, for instance training.epochs=5")
        *parents, leaf = path.strip().split(".")
        node, kind = tree, type(experiment)
        for parent in parents:
            kind = _field_type(kind, parent, path)
            node = node[parent]
        node[leaf] = _parse(text.strip(), _field_type(kind, leaf, path), path)
    return from_dict(type(experiment), tree)


def to_dict(value: Any) -> Any:
    """A frozen dataclass as plain dicts, lists and scalars, ready for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_dict(v) for v in value]
    return value


def from_dict(kind: type[T], tree: Any, path: str = "") -> T:
    """The dataclass ``kind`` from `to_dict`'s output, every value checked; missing fields keep their defaults."""
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.rstrip('.') or kind.__name__}: expected fields, got {tree!r}")
    values = {
        name: _checked(value, _field_type(kind, name, f"{path}{name}"), f"{path}{name}") for name, value in tree.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{path.rstrip('.') or kind.__name__}: {error}") from None


def _field_type(kind: Any, name: str, path: str) -> Any:
    hints = get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
    names = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if name not in names:
        known = ", ".join(names) or "no fields"
        raise ConfigError(f"unknown field '{path}': {getattr(kind, '__name__', kind)} has {known}")
    return hints[name]


def _parse(text: str, kind: Any, path: str) -> Any:
    """``text`` from the command line as the JSON value of a field of type ``kind``."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return [_parse(part.strip(), item, path) for part in text.split(",") if part.strip()]
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind is str or get_origin(kind) is Literal:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # the wrong type, which `_checked` explains


def _checked(value: Any, kind: Any, path: str) -> Any:
    """``value`` as an instance of ``kind``, or a ConfigError that says what was expected."""
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_dict(kind, value, f"{path}.")
    if origin is Literal and value in args:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) == len(value):
            return tuple(_checked(v, k, f"{path}[{i}]") for i, (v, k) in enumerate(zip(value, kinds, strict=True)))
    if origin is types.UnionType:
        if value is None and type(None) in args:
            return None
        return _checked(value, next(k for k in args if k is not type(None)), path)
    if (
        kind is float
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    ):
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    expected = " | ".join(map(repr, args)) if origin is Literal else getattr(kind, "__name__", str(kind))
    raise ConfigError(f"{path}={value!r}: expected {kind if origin is tuple else expected}")
