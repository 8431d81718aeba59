"""Values that a database did not send as they did not change: from state. `keep=`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from frazil.changes import Changes, changes_of
from frazil.errors import PlanError, TypeMismatch
from frazil.gate import columns_text
from frazil.node import ExchangeNode, Json, Port, SourceNode, Step
from frazil.types import type_name

if TYPE_CHECKING:
    from frazil.debezium import Debezium

LOG_POSITION = pa.field(
    "__fz_log_position", pa.int64(), metadata={"fz:envelope": json.dumps(["source", "lsn"])}
)
"""Hidden column of where in the database's log an event stands."""


@dataclass(frozen=True, eq=False)
class UnsentValuesNode(Step):
    """Puts the newest value of its key in the place of one that was not sent."""

    KIND: ClassVar[str] = "unsent_values"
    STATEFUL: ClassVar[bool] = True
    EXACTNESS: ClassVar[Literal["exact", "settled", "consistent"]] = "settled"

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    placeholder: str
    source: SourceNode

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return list(self.keys)

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        return [wanted | {*self.keys, *self.columns}]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        return list(given[0])

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        text = self.placeholder
        stand_ins = [text, base64.b64encode(text.encode()).decode()]
        return {"keys": list(self.keys), "columns": list(self.columns), "stand_ins": stand_ins}

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        return {
            "keys": columns_text(self.schema, self.keys),
            "columns": columns_text(self.schema, self.columns),
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        return (
            f"unsent_values by {', '.join(self.keys)}",
            f"state: the newest {', '.join(self.columns)} of every key",
        )

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: that of the events."""
        return of(self.streams[0])

    def changes(self) -> Changes | None:
        """Its rows are the changes that it is given."""
        return changes_of(self.streams[0])


def fill_unsent(source: SourceNode, format: Debezium) -> Port:
    """Check `keep` of a format, and make the steps that fill these columns in.

    Raises
    ------
    PlanError
        A column is none of the schema's, or cannot be kept.
    """
    from frazil.stream import column_not_found

    what, names, keys = source.name, tuple(format.keep), source.key
    assert what is not None
    assert keys is not None
    for name in names:
        if name not in source.schema.names:
            raise column_not_found(name, source.schema, f"the schema of {what}")
        if name in keys or names.count(name) > 1:
            raise PlanError(
                f"{what}: keep={list(names)} names column {name!r}",
                "the key is always sent" if name in keys else "once is enough",
            )
        type_ = source.schema.field(name).type
        t = pa.types
        texts = t.is_string(type_) or t.is_large_string(type_)
        if not texts and not t.is_binary(type_) and not t.is_large_binary(type_):
            raise TypeMismatch(
                f"{what}: keep={list(names)}: column {name!r} is {type_name(type_)}",
                "text and bytes are kept; for others set REPLICA IDENTITY FULL",
            )
    port = Port(source)
    exchange = ExchangeNode(port.schema, port, keys, (("identity", 0),) * len(keys))
    schema = source.schema.remove_metadata()
    return Port(
        UnsentValuesNode(schema, (Port(exchange),), keys, names, format.unavailable, source)
    )
