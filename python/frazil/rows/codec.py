"""Python objects as bytes, and back: what moves between workers, or is kept in a checkpoint.

Bytes are those of `pickle`, read by an unpickler that makes objects of a few plain classes and of
those that the program has named, and calls nothing else: who can write to a checkpoint cannot make
the process run code.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import io
import pickle
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from typing import Any, ClassVar

from frazil.errors import DataError, PlanError
from frazil.udf import _module_name

OBJECT_BYTES_MAX = 16 << 20
"""Bytes of one object, as it is moved or kept."""

PROTOCOL = 5

_PLAIN: tuple[type, ...] = (
    bytearray,
    complex,
    frozenset,
    range,
    set,
    slice,
    Counter,
    OrderedDict,
    defaultdict,
    deque,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    zoneinfo.ZoneInfo,
)
"""Classes of which objects may be, beside those that `pickle` knows without a name."""

# What a defaultdict makes values by; harmless, as they are called without arguments.
_FACTORIES: tuple[type, ...] = (int, float, str, bytes, bool, list, dict, tuple)


class ObjectCodec:
    """Makes bytes of objects, and objects of bytes.

    Parameters
    ----------
    classes
        Classes of objects beside plain ones (numbers, texts, times, containers): dataclasses,
        named tuples, enums, or any that `pickle` knows how to take apart.

    Raises
    ------
    PlanError
        What is named is no class.
    """

    def __init__(self, classes: Sequence[type] = ()) -> None:
        for cls in classes:
            if not isinstance(cls, type):
                raise PlanError(f"{cls!r} in classes= is no class", "give classes: [Account]")
        known = frozenset((*_PLAIN, *_FACTORIES, *classes))
        self._classes = known
        # Classes of their own have what they need without a Python call for each object.
        self._pickler = type("_KnownPickler", (_Pickler,), {"known": known})
        by_name = {(cls.__module__, cls.__qualname__): cls for cls in known}
        # A program that is run as a script is __main__, and else goes by the name of its file.
        for cls in classes:
            for module in ("__main__", _module_name(cls)):
                by_name.setdefault((module, cls.__qualname__), cls)
        self._unpickler = type("_KnownUnpickler", (_Unpickler,), {"by_name": by_name})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectCodec) and self._classes == other._classes

    def __hash__(self) -> int:
        return hash(self._classes)

    def encode(self, value: Any, *, sharing: bool = False) -> bytes:
        """Make bytes of an object.

        Parameters
        ----------
        value
            The object.
        sharing
            A part that is in it twice is one object again when it is read: for what is kept. If
            not, equal objects are equal bytes, which put objects of one time in order; what is
            shared depends on where batches and checkpoints are.

        Raises
        ------
        DataError
            It has an object of a class that is not named, cannot be taken apart, or is too large;
            or contains itself, and is not for what is kept.
        """
        out = io.BytesIO()
        # What is flat has nothing of another class in it, and needs no look at each object.
        pickler = (pickle.Pickler if _is_flat(value) else self._pickler)(out, PROTOCOL)
        pickler.fast = not sharing
        try:
            pickler.dump(value)
        except (
            pickle.PicklingError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ) as error:
            raise DataError(f"keeping {_short(value)}: {error}") from None
        made = out.getvalue()
        if len(made) > OBJECT_BYTES_MAX:
            raise DataError(
                f"keeping {_short(value)}: it has {len(made)} bytes",
                f"one object has up to {OBJECT_BYTES_MAX}",
            )
        return made

    def decode(self, data: bytes) -> Any:
        """Make the object of bytes.

        Raises
        ------
        DataError
            They are none that `encode` made, or have an object of a class that is not named.
        """
        try:
            return self._unpickler(io.BytesIO(data)).load()
        except DataError:
            raise
        except Exception as error:  # what pickle raises of bad bytes is anything
            raise DataError(
                f"reading a kept object of {len(data)} bytes: {type(error).__name__}: {error}"
            ) from None


_SCALARS = frozenset({int, float, str, bytes, bool, type(None)})


def _is_flat(value: Any) -> bool:
    """Whether an object is a scalar, or a dict, list or tuple of scalars."""
    cls = value.__class__
    if cls is dict:
        return all(
            key.__class__ is str and each.__class__ in _SCALARS for key, each in value.items()
        )
    if cls is tuple or cls is list:
        return all(each.__class__ in _SCALARS for each in value)
    return cls in _SCALARS


class _Pickler(pickle.Pickler):
    """Refuses what the unpickler would not make, when it is kept and not at the next start."""

    known: ClassVar[frozenset[type]]

    def reducer_override(self, value: Any) -> Any:
        cls = value if isinstance(value, type) else value.__class__
        if cls not in self.known:
            raise pickle.PicklingError(_unnamed(f"{cls.__module__}.{cls.__qualname__}"))
        if cls is zoneinfo.ZoneInfo and value is not cls:
            return cls, (value.key,)  # its own way goes by getattr, which reaches everything
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    by_name: ClassVar[dict[tuple[str, str], type]]

    def find_class(self, module: str, name: str) -> Any:
        found = self.by_name.get((module, name))
        if found is None:
            raise DataError(f"reading a kept object: {_unnamed(f'{module}.{name}')}")
        return found


def _unnamed(name: str) -> str:
    return (
        f"it has an object of {name}, which is not named: say classes=[{name.rpartition('.')[2]}]"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
