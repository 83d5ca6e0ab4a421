"""Dataclasses and strictly valid JSON: no NaN, no infinity, no half-written file, and nothing unknown is read.

An undefined number is NaN in a record and null in a file. A field whose default is None is optional: the file lacks it
where it is None. Every other field is always in the file. A field's metadata may name its `key` where that is no
identifier.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from dsmt_nnunet import files

Record = TypeVar("Record")
_PLAIN = {str: "a text", int: "a whole number", bool: "true or false"}


class RecordError(ValueError):
    """What a file holds is not what the record declares; the message names the key."""


def jsonable(value: Any) -> Any:
    """Plain lists, dicts, numbers and strings; NaN and infinite numbers become None."""
    if is_dataclass(value) and not isinstance(value, type):
        held = [(item, getattr(value, item.name)) for item in fields(value)]
        return {_key(item): jsonable(content) for item, content in held if content is not None or not _optional(item)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def write_json(content: object, path: str | Path) -> None:
    """Writes a record or a mapping as a whole file of strictly valid JSON."""
    files.write_json(path, jsonable(content))


def read_object(path: Path) -> dict[str, object]:
    """The object in a JSON file.

    Raises:
        ValueError: it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold an object, got {type(content).__name__}.")
    return content


def from_json(kind: type[Record], content: object) -> Record:
    """A record from what JSON holds of it.

    Raises:
        RecordError: a key is missing or not known, or a value has another type than its field.
    """
    record: Record = _record(kind, content, "")
    return record


def field_from_json(kind: Any, name: str, content: object) -> Any:
    """The value of one field of a record from what JSON holds of it.

    Raises:
        RecordError: it has another type than the field.
    """
    return _value(_hints(kind)[name], content, name)


def widened(kind: type[Record], *parts: object, **more: object) -> Record:
    """A record that holds the fields of several others side by side, and more."""
    held = {item.name: getattr(part, item.name) for part in parts if is_dataclass(part) for item in fields(part)}
    return kind(**{**held, **more})


def _key(item: Field[Any]) -> str:
    return str(item.metadata.get("key", item.name))


def _optional(item: Field[Any]) -> bool:
    return item.default is None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _record(kind: Any, value: object, key: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(key, "an object", value)
    hints, known = _hints(kind), {_key(item): item for item in fields(kind)}
    unknown = [name for name in value if name not in known]
    if unknown:
        raise RecordError(f"key '{_below(key, unknown[0])}' is not known")
    held = {}
    for name, item in known.items():
        if name in value:
            hint = _without_none(hints[item.name]) if _optional(item) else hints[item.name]
            held[item.name] = _value(hint, value[name], _below(key, name))
        elif not _optional(item):
            raise RecordError(f"key '{_below(key, name)}' is missing")
    return kind(**held)


def _value(kind: Any, value: object, key: str) -> Any:
    origin = get_origin(kind)
    if kind is float:
        return _number(value, key)
    if kind in _PLAIN:
        if type(value) is not kind:
            raise _wrong(key, _PLAIN[kind], value)
        return value
    if kind is type(None):
        if value is not None:
            raise _wrong(key, "null", value)
        return None
    if origin in (Union, types.UnionType):
        return _one_of(get_args(kind), value, key)
    if origin is Literal:
        if value not in get_args(kind):
            raise _wrong(key, f"one of {list(get_args(kind))}", value)
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, value, key)
    return _collection(kind, value, key)


def _number(value: object, key: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, "a number or null", value)
    return float(value)


def _collection(kind: Any, value: object, key: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(key, "an object", value)
        return {name: _value(arguments[1], item, _below(key, name)) for name, item in value.items()}
    if origin not in (tuple, np.ndarray):
        raise TypeError(f"Key '{key}': a record cannot hold {kind}.")
    if not isinstance(value, list):
        raise _wrong(key, "a list", value)
    if origin is np.ndarray:
        return np.array([_number(item, f"{key}[{index}]") for index, item in enumerate(value)], dtype=np.float64)
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(value):
        raise _wrong(key, f"a list of {len(kinds)}", value)
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_value(one, item, f"{key}[{index}]") for index, (one, item) in pairs)


def _one_of(kinds: Sequence[Any], value: object, key: str) -> Any:
    """The record of several whose first `Literal` field says what the value is; or the one kind beside None."""
    if value is None and type(None) in kinds:
        return None
    left = [kind for kind in kinds if kind is not type(None)]
    if len(left) == 1:
        return _value(left[0], value, key)
    allowed: list[object] = []
    for kind in left:
        tag = next(name for name, hint in _hints(kind).items() if get_origin(hint) is Literal)
        allowed += [f"{tag} {name!r}" for name in get_args(_hints(kind)[tag])]
        if isinstance(value, dict) and value.get(tag) in get_args(_hints(kind)[tag]):
            return _record(kind, value, key)
    raise _wrong(key, f"an object of {' or '.join(map(str, allowed))}", value)


def _without_none(kind: Any) -> Any:
    left = tuple(item for item in get_args(kind) if item is not type(None))
    return left[0] if len(left) == 1 else Union[left]  # noqa: UP007


def _below(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _wrong(key: str, rule: str, value: object) -> RecordError:
    text = json.dumps(value)
    return RecordError(f"key '{key}' must be {rule}, got {text if len(text) <= 60 else text[:60] + ' ...'}")
