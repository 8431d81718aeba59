"""JSON with numbered fields: the codec of everything in the checkpoint log.

A record is an object whose keys are field numbers ("1", "2", ...), each with one type for ever.
Readers keep the numbers they do not know, so that a newer writer may add fields. Reading checks
types, sizes and ranges and raises ManifestError with the path of the value; nothing else comes out
of it, whatever the bytes are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from frazil.errors import ManifestError

T = TypeVar("T")

# Deeper JSON than this is not ours (levels).
DEPTH_MAX = 16
INT_MAX = 2**63 - 1


@dataclass(frozen=True)
class Codec(Generic[T]):
    """How a value is read from JSON (with the path to it, for errors) and written to it."""

    read: Callable[[object, str], T]
    write: Callable[[T], object]


class _Required:
    """Stands for "this field must be there"."""


REQUIRED = _Required()


@dataclass(frozen=True)
class Field:
    """A field of a record: its number in the file, its name in the class, its type."""

    number: int
    name: str
    codec: Codec[Any]
    default: object = REQUIRED  # absent in the file = this; and this is not written


def wrong(path: str, expected: str, found: object) -> ManifestError:
    """The error for a value that is not what it should be."""
    text = json.dumps(found, default=repr)
    return ManifestError(
        f"field {path}: expected {expected}, got {text if len(text) <= 80 else text[:77] + '...'}"
    )


def text(bytes_max: int, *, empty: bool = False) -> Codec[str]:
    """Text of at most `bytes_max` bytes in UTF-8."""

    def read(value: object, path: str) -> str:
        if not isinstance(value, str):
            raise wrong(path, "text", value)
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise wrong(path, "text that is UTF-8", value) from None
        if size > bytes_max:
            raise wrong(path, f"at most {bytes_max} bytes", f"{size} bytes")
        if not value and not empty:
            raise wrong(path, "text that is not empty", value)
        return value

    return Codec(read, lambda value: value)


def integer(low: int = 0, high: int = INT_MAX) -> Codec[int]:
    """A whole number from `low` to `high`."""

    def read(value: object, path: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise wrong(path, f"a whole number from {low} to {high}", value)
        return value

    return Codec(read, lambda value: value)


def flag() -> Codec[bool]:
    """True or false."""

    def read(value: object, path: str) -> bool:
        if not isinstance(value, bool):
            raise wrong(path, "true or false", value)
        return value

    return Codec(read, lambda value: value)


def choice(*values: str) -> Codec[str]:
    """One of some words."""

    def read(value: object, path: str) -> str:
        if not isinstance(value, str) or value not in values:
            raise wrong(path, f"one of {', '.join(values)}", value)
        return value

    return Codec(read, lambda value: value)


def list_of(item: Codec[T], count_max: int) -> Codec[tuple[T, ...]]:
    """A list of at most `count_max` items."""

    def read(value: object, path: str) -> tuple[T, ...]:
        if not isinstance(value, list) or len(value) > count_max:
            raise wrong(path, f"a list of at most {count_max}", value)
        return tuple(item.read(entry, f"{path}[{i}]") for i, entry in enumerate(value))

    return Codec(read, lambda value: [item.write(entry) for entry in value])


def map_of(item: Codec[T], count_max: int, key_bytes_max: int = 1024) -> Codec[dict[str, T]]:
    """An object with names as keys."""
    key_codec = text(key_bytes_max)

    def read(value: object, path: str) -> dict[str, T]:
        if not isinstance(value, dict) or len(value) > count_max:
            raise wrong(path, f"an object of at most {count_max} names", value)
        return {
            key_codec.read(key, f"{path}.key"): item.read(entry, f"{path}[{key!r}]")
            for key, entry in value.items()
        }

    return Codec(read, lambda value: {key: item.write(entry) for key, entry in value.items()})


def record(make: Callable[..., T], *fields: Field, unknown: str | None = None) -> Codec[T]:
    """An object with numbered fields. Numbers that are not known go to the attribute `unknown`, or
    away.
    """
    by_number = {str(field.number): field for field in fields}

    def read(value: object, path: str) -> T:
        if not isinstance(value, dict):
            raise wrong(path, "an object with numbered fields", value)
        found: dict[str, object] = {}
        for number, field in by_number.items():
            place = f"{path}.{number} ({field.name})" if path else f"{number} ({field.name})"
            if number in value:
                found[field.name] = field.codec.read(value[number], place)
            elif field.default is REQUIRED:
                raise ManifestError(f"field {place} is missing")
        rest = {key: entry for key, entry in value.items() if key not in by_number}
        for key in rest:
            if not (key.isascii() and key.isdigit()):
                raise wrong(path or "of the manifest", "numbers as field names", key)
        if unknown and rest:
            found[unknown] = rest
        return make(**found)

    def write(value: T) -> object:
        out: dict[str, object] = {}
        for number, field in by_number.items():
            item = getattr(value, field.name)
            if field.default is REQUIRED or item != field.default:
                out[number] = field.codec.write(item)
        if unknown:
            out.update(getattr(value, unknown))
        return out

    return Codec(read, write)


def dump(value: object) -> bytes:
    """JSON bytes, the same for the same value."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def load(data: bytes, bytes_max: int) -> object:
    """Parse JSON strictly: UTF-8, no double keys, no fractions, no NaN, bounded size and depth."""
    if len(data) > bytes_max:
        raise ManifestError(f"{len(data)} bytes are more than the limit of {bytes_max}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except UnicodeDecodeError as error:
        raise ManifestError(f"byte {error.start} is not UTF-8") from error
    except RecursionError:
        raise ManifestError(f"it is nested deeper than {DEPTH_MAX} levels") from None
    except ValueError as error:
        raise ManifestError(f"it is not JSON: {error}") from error
    _check_depth(value, DEPTH_MAX)
    return value


def _object(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    out = dict(pairs)
    if len(out) < len(pairs):
        raise ManifestError("an object has the same key twice")
    return out


def _no_fraction(literal: str) -> object:
    raise ManifestError(f"{literal[:40]} is not a whole number")


def _check_depth(value: object, left: int) -> None:
    if left < 0:
        raise ManifestError(f"it is nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        for entry in value.values():
            _check_depth(entry, left - 1)
    elif isinstance(value, list):
        for entry in value:
            _check_depth(entry, left - 1)
