"""From JSON values to frozen dataclasses, strictly: every key known, every type right.

Knows type annotations; refuses to know what the values mean, and reads no file. A float field
takes an integer (JSON writers drop the ``.0``), nothing else is converted, and NaN and infinity
are refused (they are not JSON).
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from imagesieve_server.core.errors import BundleError

T = TypeVar("T")


def decode(kind: type[T], value: object, *, where: str) -> T:
    """Build the dataclass ``kind`` from a JSON object.

    ``where`` names the place in error messages. Raises BundleError, naming the field, for an
    unknown key, a missing key without default, or a value of another type.
    """
    return typing.cast(T, _decode(kind, value, where))


def encode(value: object) -> Any:
    """The JSON value of a dataclass made of what ``decode`` understands."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def canonical(value: object) -> bytes:
    """One byte string per JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(
        encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _decode(kind: Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(kind):
        return _decode_object(kind, value, where)
    origin = typing.get_origin(kind)
    if origin is types.UnionType or origin is typing.Union:
        return None if value is None else _decode(_only_member(kind), value, where)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), value, where)
    if origin is not None and issubclass(origin, Mapping):
        return _decode_mapping(typing.get_args(kind)[1], value, where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _decode_enum(kind, value, where)
    return _decode_scalar(kind, value, where)


def _only_member(union: Any) -> Any:
    (member,) = (arg for arg in typing.get_args(union) if arg is not type(None))
    return member


def _decode_object(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise BundleError(f"{where}: expected an object")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise BundleError(
            f"{where}: unknown key {unknown[0]!r}; this release knows {', '.join(fields)}. "
            "A newer release may have written it"
        )
    hints = typing.get_type_hints(kind)
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _decode(hints[name], value[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING:
            raise BundleError(f"{where}: key {name!r} is missing")
    try:
        return kind(**arguments)
    except ValueError as problem:
        raise BundleError(f"{where}: {problem}") from problem


def _decode_tuple(members: tuple[Any, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise BundleError(f"{where}: expected a list")
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise BundleError(f"{where}: expected {len(members)} values, found {len(value)}")
    return tuple(
        _decode(member, item, f"{where}[{i}]")
        for i, (member, item) in enumerate(zip(members, value, strict=True))
    )


def _decode_mapping(member: Any, value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BundleError(f"{where}: expected an object")
    return {key: _decode(member, item, f"{where}.{key}") for key, item in value.items()}


def _decode_enum(kind: type[enum.Enum], value: object, where: str) -> enum.Enum:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(str(member.value) for member in kind)
        raise BundleError(f"{where}: {value!r} is not one of {allowed}") from None


def _decode_scalar(kind: type, value: object, where: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int: `True` must not pass for a size.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BundleError(f"{where}: expected {kind.__name__}, found {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise BundleError(f"{where}: must be a finite number")
    return value
