"""The manifest format: what was written once is read for ever, and any bytes give a manifest or an
error.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from frazil.checkpoint import manifest as m
from frazil.errors import CheckpointError, ManifestError
from hypothesis import given, settings
from hypothesis import strategies as st

COMPAT = Path(__file__).parents[2] / "compat/checkpoint-v1"
FILES = sorted(COMPAT.glob("*.json"))

# Digests of the golden files: they must never change, because the next slot and the tables name
# them.
DIGESTS = {
    "epoch.json": "355b655a12b8f9287bc9902b9a02d0ac763f200e8fc83eb571b60468f2e5b704",
    "fence.json": "7abb599f6c523bbfa560a971197665185b7f073912db118b0de6ce98d01d942b",
    "lookups.json": "1f049bcc5e24354cb8e97101ee889a9c9829164583d4a79ad30d0b58aa5597d3",
    "newer-fields.json": "79fc2c39470eceb866a741118067a484b0f97d9fb32b4dac5a47fe0c064a0945",
    "rewind.json": "96f8803560fc90a7bfe1d28bc057d597422bf51c4227fd3f9f09469597f10469",
    "steps.json": "4e080480e238da886188b8efc7b4de956ec35adf7284e5974af6cae58fa9c0c6",
}


def full() -> m.Manifest:
    """A manifest in which every field is set."""
    return m.Manifest(
        incarnation="0123456789abcdef0123456789abcdef",
        slot=7,
        attempt=3,
        nonce="fedcba9876543210fedcba9876543210",
        prev="a" * 64,
        kind="epoch",
        sources={
            "kafka:orders": m.SourceState(
                (m.Partition("orders-0", '{"v":1,"offset":10}'), m.Partition("größe", "{}")),
                m.Rows(10, 7, 2, 1),
            )
        },
        tokens={
            "sales.revenue": m.SinkToken(('{"v":1}', "{}")),
            "big": m.SinkToken(
                stored=m.TokenObject("tokens/3/000000000007/x.json", "b" * 64, 70_000)
            ),
        },
        landed={"sales.revenue": m.Landed(6, "c" * 64)},
        heads={"sales.revenue": 8_000_000_000_000_000_001},
        owners=(m.Owner(1, 0), m.Owner(3, 5)),
        floor=6,
        state_files=(m.StateFile("w1", "state/3/7/x", 12, "d" * 64),),
        key_groups=m.KeyGroups((0, 1, 0, 1), 1, 1),
        plan=m.Plan("e" * 64, (m.OperatorPlan("s1", "source", "orders", "kafka", "", "f"),)),
        created_us=1_700_000_000_000_000,
        writer=m.Writer("host", 42),
        last=True,
    )


def test_round_trip() -> None:
    manifest = full()
    data = m.encode(manifest)
    assert m.decode(data) == manifest
    assert m.encode(m.decode(data)) == data


def test_every_field_is_in_the_golden_file() -> None:
    assert m.decode((COMPAT / "epoch.json").read_bytes()) == full()
    numbers = set(json.loads((COMPAT / "epoch.json").read_bytes()))
    assert numbers == {str(n) for n in range(1, 21)} - {"8"}
    assert "8" in json.loads((COMPAT / "rewind.json").read_bytes())


def test_fields_of_time_and_lookups_are_in_their_golden_file() -> None:
    manifest = m.decode((COMPAT / "lookups.json").read_bytes())
    version = m.LookupVersion("snapshot:8000000000000000001", 1_700_000_000_000_000, 5, 4_096)
    assert manifest == replace(
        full(),
        frontiers={"event_time-1": {"orders-0": 1_700_000_000_000_000}},
        closed=True,
        lookups={
            "iceberg:crm.users": m.LookupState(version, m.LookupVersion("snapshot:7")),
            "sql:rates": m.LookupState(m.LookupVersion("rows:" + "0" * 64)),
        },
    )


def test_steps_that_set_rows_aside_are_in_their_golden_file() -> None:
    manifest = m.decode((COMPAT / "steps.json").read_bytes())
    assert manifest.steps == {"udf-1": m.StepRows(10, 7, 3), "udf-2": m.StepRows(7, 5, 0, 2)}
    wrong = replace(manifest, steps={"udf-1": m.StepRows(10, 7, 2)})
    with pytest.raises(ManifestError, match="10 rows were given to it, but 7 good, 2 failed"):
        m.encode(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_golden_files_are_read_and_written_the_same(path: Path) -> None:
    data = path.read_bytes()
    assert m.digest_of(data) == DIGESTS[path.name]
    assert m.encode(m.decode(data)) == data


def test_all_golden_files_are_there() -> None:
    assert [path.name for path in FILES] == sorted(DIGESTS)


def test_unknown_fields_are_kept_and_newer_versions_refused() -> None:
    data = json.loads(m.encode(full()))
    data["99"] = {"1": ["new"]}
    manifest = m.decode(json.dumps(data).encode())
    assert manifest.unknown == {"99": {"1": ["new"]}}
    data["1"] = 2
    with pytest.raises(ManifestError, match="format version 2, this Frazil reads up to 1"):
        m.decode(json.dumps(data).encode())


def edit(**fields: Any) -> bytes:
    data = json.loads(m.encode(full()))
    for number, value in fields.items():
        data[number.lstrip("f")] = value
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "expected an object"),
        (b"{}", r"field 1 \(version\)"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'{"1":1,"1":1}', "the same key twice"),
        (b'{"1":1.5}', "not a whole number"),
        (b'{"1":NaN}', "not a whole number"),
        (b'{"1":' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "nested deeper|not JSON"),
        (b'{"1":1,"9":' + b"[" * 30 + b"]" * 30 + b"}", "nested deeper than 16"),
        (edit(f2=""), "text that is not empty"),
        (edit(f3=-1), "whole number from 0"),
        (edit(f3=True), "whole number from 0"),
        (edit(f4=0), "whole number from 1"),
        (edit(f5="\ud800"), "text that is UTF-8"),
        (edit(f6=""), "SHA-256 in every slot"),
        (edit(f7="other"), "one of fence, epoch, rewind"),
        (edit(f7="rewind"), "go together"),
        (edit(f7="fence"), "a fence has none"),
        (edit(f8=3), "go together"),
        (
            edit(f9={"s": {"1": [{"1": "p", "2": ""}, {"1": "p", "2": ""}]}}),
            "two partitions of one name",
        ),
        (
            edit(f9={"s": {"1": [{"1": "p"}]}}),
            r"9 \(sources\)\['s'\].1 \(partitions\)\[0\].2 \(position\) is missing",
        ),
        (edit(f10={"s": {"1": ["x"], "2": {"1": "k", "2": "d", "3": 1}}}), "parts and an object"),
        (edit(f11={"s": {"1": 7, "2": "c" * 64}}), "names no earlier slot"),
        (edit(f13=[]), "the last one must be the attempt"),
        (edit(f13=[{"1": 3, "2": 9}]), "fence must not be after"),
        (edit(f13=[{"1": 3, "2": 5}, {"1": 3, "2": 6}]), "must grow"),
        (edit(f14=8), "is after slot 7"),
        (edit(name=1), "numbers as field names"),
    ],
)
def test_wrong_manifests_are_refused_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        m.decode(data)


def test_what_cannot_be_read_is_not_written() -> None:
    big = m.Partition("p", "x" * (m.TEXT_BYTES_MAX + 1))
    with pytest.raises(ManifestError, match="at most 65536 bytes"):
        m.encode(m.Manifest(**{**_kwargs(full()), "sources": {"s": m.SourceState((big,))}}))


def _kwargs(manifest: m.Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}


def decode_or_error(data: bytes) -> None:
    try:
        manifest = m.decode(data)
    except CheckpointError:
        return
    assert m.decode(m.encode(manifest)) == manifest


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    decode_or_error(data)


SEEDS = [path.read_bytes() for path in FILES]
edits = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5000), st.integers(0, 60), st.binary(max_size=6)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400)
@given(st.sampled_from(SEEDS), edits)
def test_mutated_bytes(data: bytes, changes: list[tuple[int, int, int, bytes]]) -> None:
    for kind, at, length, new in changes:
        at %= len(data) + 1
        if kind == 0:  # replace
            data = data[:at] + new + data[at + len(new) :]
        elif kind == 1:  # insert
            data = data[:at] + new + data[at:]
        elif kind == 2:  # remove
            data = data[:at] + data[at + length :]
        else:  # repeat
            data = data[:at] + data[at : at + length] + data[at:]
    decode_or_error(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from("1234569") | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=400)
@given(st.sampled_from(SEEDS), st.integers(1, 21), json_values)
def test_mutated_fields(data: bytes, number: int, value: object) -> None:
    fields = json.loads(data)
    fields[str(number)] = value
    decode_or_error(json.dumps(fields).encode())
