"""What a test gives in place of topics and files: rows as they are decoded, or messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
from frazil.errors import ConfigError
from frazil.memory_rows import encoded_rows, memory_table
from frazil.testing.clock import Wait

if TYPE_CHECKING:
    from frazil.node import Json, SourceNode

_RAW = pa.field("raw", pa.binary())


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message as a broker has it.

    Parameters
    ----------
    value
        What is decoded; None is a message without a value.
    key, timestamp, headers
        What `metadata=` of the reader asks for.

    Examples
    --------
    >>> from frazil import testing
    >>> testing.Message(value='{"id": 1}', key=b"1").key
    b'1'
    """

    value: bytes | str | None
    key: bytes | None = None
    timestamp: datetime | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


Rows: TypeAlias = (
    pa.Table | Sequence[Mapping[str, Any] | Wait] | Sequence[bytes | str | Message | Wait | None]
)
"""Rows as the reader would have decoded them; or messages that it is to decode. With waits."""


@dataclass(frozen=True)
class Partitions:
    """Rows of a source by partition; made by `partitions`."""

    parts: tuple[Rows, ...]


def partitions(*parts: Rows) -> Partitions:
    """Say which rows are in which partition of a source; each is read in order.

    Parameters
    ----------
    parts
        The rows of each.

    Returns
    -------
    Partitions
        To be given in place of rows.

    Examples
    --------
    >>> from frazil import testing
    >>> len(testing.partitions([{"id": 1}], [{"id": 2}, {"id": 3}]).parts)
    2
    """
    if not parts:
        raise ConfigError("partitions() got no rows", "give the rows of each partition")
    return Partitions(parts)


def change(
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    *,
    op: str | None = None,
    source: Mapping[str, Any] | None = None,
) -> bytes:
    """Make a change event as Debezium writes it in JSON, without a schema.

    Parameters
    ----------
    before, after
        The row before and after the change, with values as they stand in JSON. A decimal is
        written as text, times as ISO 8601.
    op
        "c", "u", "d", "r" or "t"; default by which of the two rows is there.
    source
        Where the database had it: {"lsn": 42}.

    Returns
    -------
    bytes
        A message for a reader with ``format="debezium-json"``.

    Examples
    --------
    >>> from frazil import testing
    >>> testing.change(after={"id": 1})
    b'{"op": "c", "before": null, "after": {"id": 1}, "source": {}}'
    """
    if op is None:
        if before is None and after is None:
            raise ConfigError("change() got no row", "before= for a delete, after= for an insert")
        op = "c" if before is None else "d" if after is None else "u"
    event = {"op": op, "before": before, "after": after, "source": source or {}}
    return json.dumps(event, default=_json_value).encode()


def given_source(
    node: SourceNode,
    spec: Json,
    given: Rows | Partitions,
    batch_rows: int | None,
    start_us: int,
) -> Json:
    """Put rows in place of what a source of a plan would read.

    Parameters
    ----------
    node
        The source, with all of its columns.
    spec
        The same as it stands in the plan.
    start_us
        From when on waits are counted, by the machine's clock.

    Returns
    -------
    Json
        For the plan: a source that reads memory.
    """
    listed = given.parts if isinstance(given, Partitions) else (given,)
    apart = [_without_waits(node, part, start_us) for part in listed]
    parts = tuple(rows for rows, _ in apart)
    name = str(node.name)
    empty = node.key is not None and not any(len(part) for part in parts)
    if empty or _are_messages(parts, name):
        tables = [_messages(node, part, number) for number, part in enumerate(parts)]
        options = {"messages": True, "metadata": spec["options"].get("metadata", [])}
        new = {**spec, "connector": "memory", "options": options}
    else:
        if node.key is not None:
            raise ConfigError(
                f"{name}: its rows are changes, and rows as dicts do not say which",
                "give messages: testing.change(before, after)",
            )
        tables = [_decoded(node, part, number) for number, part in enumerate(parts)]
        new = {**spec, "connector": "memory", "options": {}, "format": None}
        new.pop("registry", None)
    new["options"]["partitions"] = [encoded_rows(table, 1)[0] for table in tables]
    new["options"]["waits"] = [waits for _, waits in apart]
    if batch_rows is not None:
        new["options"]["batch_rows"] = batch_rows
    return new


def _without_waits(node: SourceNode, part: Rows, us: int) -> tuple[Any, list[tuple[int, int]]]:
    """The rows; and before which of them the clock has to have come to which time."""
    if isinstance(part, pa.Table):
        return part, []
    rows: list[Any] = []
    waits = []
    skipped = 0
    for row in part:
        if isinstance(row, Wait):
            us += row.us
            waits.append((len(rows) - skipped, us))
            continue
        rows.append(row)
        skipped += _is_skipped(node, row)
    return rows, waits


def _is_skipped(node: SourceNode, row: Any) -> bool:
    """Whether a message is none of the rows that are read."""
    value = row.value if isinstance(row, Message) else row
    return value is None and node.options.get("tombstones") == "skip"


def _are_messages(parts: Sequence[Rows], name: str) -> bool:
    kinds = {
        "rows" if isinstance(row, Mapping) else "messages"
        for part in parts
        if not isinstance(part, pa.Table)
        for row in part
    }
    kinds |= {"rows" for part in parts if isinstance(part, pa.Table)}
    if len(kinds) > 1:
        raise ConfigError(
            f"{name}: some of what is given are rows, some messages", "give one of them"
        )
    return kinds == {"messages"}


def _decoded(node: SourceNode, part: Rows, number: int) -> pa.Table:
    """Rows with all columns of the source; of metadata what is not given is made up."""
    if not isinstance(part, pa.Table) and node.metadata:
        made = [_metadata(node, number, offset) for offset in range(len(part))]
        part = [{**own, **row} for own, row in zip(made, part, strict=True)]
    return memory_table(part if isinstance(part, pa.Table) else list(part), node.schema)


def _messages(node: SourceNode, part: Rows, number: int) -> pa.Table:
    if node.format is None:
        raise ConfigError(
            f"{node.name}: it reads columns, and messages were given", "give rows as dicts"
        )
    if node.registry is not None:
        raise ConfigError(
            f"{node.name}: its messages need the registry to be read", "give rows as dicts"
        )
    rows = []
    for offset, given in enumerate(part):
        message = given if isinstance(given, Message) else Message(value=given)
        value = message.value
        if _is_skipped(node, given):
            continue
        rows.append(
            {
                **_metadata(node, number, offset),
                "_key": message.key,
                "_timestamp": message.timestamp,
                "_headers": [{"key": k, "value": v} for k, v in message.headers],
                "raw": value.encode() if isinstance(value, str) else value,
            }
        )
    return pa.Table.from_pylist(rows, pa.schema([_RAW, *_METADATA.values()]))


def _metadata(node: SourceNode, number: int, offset: int) -> dict[str, Any]:
    """What a broker would say of a row, by column."""
    name = str(node.name)
    place = {"_topic": name, "_path": name, "_partition": number, "_offset": offset}
    return {column: place.get(column) for column in (*node.metadata, *place)}


def _json_value(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime | date | clock_time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    raise ConfigError(f"{value!r} has no form in JSON", "give it as it stands in the event")


def _metadata_fields() -> dict[str, pa.Field]:
    from frazil.read import METADATA_TYPES

    return {field.name: field for field in METADATA_TYPES.values()}


_METADATA = _metadata_fields()
