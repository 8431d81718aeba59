"""Objects as bytes: plain ones and named ones come back as they were, nothing else is made."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import os
import pickle
import sys
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from frazil.errors import DataError, PlanError
from frazil.rows import codec
from frazil.rows.codec import ObjectCodec
from hypothesis import given
from hypothesis import strategies as st


@dataclasses.dataclass
class Account:
    owner: str
    entries: list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: int


class Pair(NamedTuple):
    a: int
    b: str


class Color(enum.Enum):
    RED = 1


class Text(str):
    __slots__ = ()


PLAIN: list[Any] = [
    None,
    True,
    2**80,
    -0.0,
    float("inf"),
    "ä",
    b"\x00",
    1j,
    (1, (2,)),
    [1, [2]],
    {"a": {(1, 2): None}},
    {1, 2},
    frozenset({1}),
    range(3),
    slice(1, 2),
    bytearray(b"x"),
    Counter("aab"),
    OrderedDict(b=1, a=2),
    deque([1, 2], maxlen=3),
    defaultdict(list, a=[1]),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime.date(2026, 1, 1),
    datetime.time(1, 2, 3),
    datetime.timedelta(days=-1),
    Decimal("1.50"),
    Fraction(1, 3),
    UUID(int=5),
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_plain_objects_come_back(value: Any) -> None:
    kept = ObjectCodec()
    found = kept.decode(kept.encode(value))
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    "value", [Account("ada", [1]), Slotted(1), Pair(1, "b"), Color.RED, Text("x"), int], ids=repr
)
def test_named_classes_come_back(value: Any) -> None:
    named = ObjectCodec([Account, Slotted, Pair, Color, Text])
    assert named.decode(named.encode([value])) == [value]


def test_what_is_not_named_is_refused_when_it_is_kept() -> None:
    with pytest.raises(DataError, match=r"Account, which is not named: say classes=\[Account\]"):
        ObjectCodec().encode({"a": Account("ada", [])})
    with pytest.raises(DataError, match="not named"):
        ObjectCodec().encode([test_what_is_not_named_is_refused_when_it_is_kept])
    with pytest.raises(DataError, match="not named"):
        ObjectCodec().encode([os.system])


def test_what_is_not_named_is_not_made() -> None:
    ran: list[str] = []

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, ("true",)

    for bad in (Evil(), Account("ada", []), getattr, zoneinfo.ZoneInfo("UTC")):
        with pytest.raises(DataError, match="not named"):
            ObjectCodec().decode(pickle.dumps(bad, 5))
    assert not ran


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_or_an_object(data: bytes) -> None:
    try:
        ObjectCodec([Account]).decode(data)
    except DataError:
        pass


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_containers_come_back(value: Any) -> None:
    kept = ObjectCodec()
    assert kept.decode(kept.encode(value)) == value


@dataclasses.dataclass
class Twice:
    a: Any
    b: Any


@pytest.mark.parametrize("make", [dict, list, lambda a, b: (a, b), Twice], ids=str)
def test_bytes_do_not_tell_what_is_shared(make: Any) -> None:
    """It depends on where a batch ends, and bytes put objects of one time in order."""
    kept = ObjectCodec([Twice])
    one, other = "".join(["a", "b"]), "".join(["a", "b"])
    assert one is not other
    if make is dict:
        shared, apart = {"x": one, "y": one}, {"x": one, "y": other}
    elif make is list:
        shared, apart = [[one], [one]], [[one], [other]]
    else:
        part = [one]
        shared, apart = make(part, part), make(part, [other])
    assert kept.encode(shared) == kept.encode(apart)
    assert kept.decode(kept.encode(shared)) == apart


def test_what_is_kept_keeps_what_it_shares() -> None:
    part = [1]
    found = ObjectCodec().decode(ObjectCodec().encode({"a": part, "b": part}, sharing=True))
    assert found["a"] is found["b"]


def test_what_contains_itself_is_refused() -> None:
    own: list[Any] = []
    own.append(own)
    with pytest.raises(DataError, match="keeping"):
        ObjectCodec().encode(own)


def test_large_objects_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "OBJECT_BYTES_MAX", 1_000)
    ObjectCodec().encode(["x" * 900])
    with pytest.raises(DataError, match="one object has up to 1000"):
        ObjectCodec().encode(["x" * 1_000])
    with pytest.raises(DataError, match="one object has up to 1000"):
        ObjectCodec().encode("x" * 1_000)


def test_a_script_and_its_module_are_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run as a script has kept, one of the module can read, and the other way round."""
    kept = {}
    monkeypatch.setattr(sys.modules["__main__"], "Account", Account, raising=False)
    for module in ("__main__", Account.__module__):
        monkeypatch.setattr(Account, "__module__", module)
        kept[module] = ObjectCodec([Account]).encode(Account("ada", [1]))
    monkeypatch.setattr(Account, "__module__", "tests.python.rows.test_codec")
    for data in kept.values():
        assert ObjectCodec([Account]).decode(data) == Account("ada", [1])


def test_classes_are_classes() -> None:
    with pytest.raises(PlanError, match="no class"):
        ObjectCodec([3])  # type: ignore[list-item]
