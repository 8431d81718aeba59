"""Rows of a key that follow one another within a time: what `Grouped.pattern` makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from frazil.duration import duration_text
from frazil.errors import ColumnExists, PlanError, TypeMismatch
from frazil.event_time import EventTime, bounded, require_event_time
from frazil.expr import Expr, bind
from frazil.gate import columns_text, in_event_time_order
from frazil.node import Json, Port, Step
from frazil.schema import checked
from frazil.types import type_name
from frazil.udf import as_written, call_texts, compute_calls

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.stream import Stream

PATTERN_STEPS_MAX = 16
"""Steps of a `pattern`."""
PATTERN_WITHOUT_MAX = 64
"""What a `pattern` may say by `without`, in all."""
PATTERN_OPEN_MAX = 10_000
"""Matches of one key that a `pattern` has open at a time; one more ends the run with an error."""

MATCH_COLUMNS = (
    pa.field("match_start", pa.timestamp("us", "UTC"), nullable=False),
    pa.field("match_end", pa.timestamp("us", "UTC"), nullable=False),
)
"""What stands between the keys and the columns of the steps."""


@dataclass(frozen=True)
class PatternStep:
    """A row that a pattern has; made by `step`."""

    name: str
    when: Expr
    columns: tuple[str, ...] | None

    def __repr__(self) -> str:
        """As it is written."""
        chosen = "" if self.columns is None else f", columns={list(self.columns)!r}"
        return f"step({self.name!r}, {self.when!r}{chosen})"


@dataclass(frozen=True)
class Without:
    """A row that a pattern may not have at that place; made by `without`."""

    when: Expr

    def __repr__(self) -> str:
        """As it is written."""
        return f"without({self.when!r})"


def step(name: str, when: Expr, *, columns: Sequence[str] | None = None) -> PatternStep:
    """Say what a row of a `pattern` is.

    Parameters
    ----------
    name
        Of the step; the columns of its row are called ``name_column``.
    when
        A predicate: the step is the next row for which it is true.
    columns
        Which columns of the row are wanted; all but the keys, if it is not said.

    Returns
    -------
    PatternStep
        For `Grouped.pattern`.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.step("paid", fz.col("kind") == "payment", columns=["amount"])
    step('paid', (kind == 'payment'), columns=['amount'])
    """
    if not isinstance(name, str) or not name:
        raise PlanError(f"step got {name!r} as its name", 'write step("paid", col("amount") > 0)')
    if isinstance(columns, str):
        raise PlanError(f"step {name!r} got columns={columns!r}", f"a list: columns=[{columns!r}]")
    return PatternStep(
        name, _predicate(when, f"step {name!r}"), None if columns is None else tuple(columns)
    )


def without(when: Expr) -> Without:
    """Say which rows may not come at a place of a `pattern`.

    Between two steps: no such row behind the first and before the second. Behind the last step:
    none until the time of the pattern is over.

    Parameters
    ----------
    when
        A predicate.

    Returns
    -------
    Without
        For `Grouped.pattern`.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.without(fz.col("kind") == "refund")
    without((kind == 'refund'))
    """
    return Without(_predicate(when, "without"))


def _predicate(when: object, what: str) -> Expr:
    if not isinstance(when, Expr):
        raise TypeMismatch(
            f"{what} got {when!r}, a {type(when).__name__}",
            'a predicate is an expression: col("amount") > 0',
        )
    return when


@dataclass(frozen=True)
class Part:
    """A step, with what may not come behind it and before the next one.

    `columns` are pairs: that of the row, and what it is called in the result.
    """

    name: str
    when: Expr
    columns: tuple[tuple[str, str], ...]
    without: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class PatternNode(Step):
    """Gives the rows of a key that follow one another as the steps say, within a time."""

    KIND: ClassVar[str] = "pattern"
    STATEFUL: ClassVar[bool] = True

    keys: tuple[str, ...]
    time_column: str
    time_minus_us: int
    parts: tuple[Part, ...]
    within_ms: int

    def definition(self) -> Any:
        """What tells it from other steps of its kind behind the same inputs; JSON."""
        return [self.keys, self.time_column, self.time_minus_us, [part.name for part in self.parts]]

    def reads(self, wanted: set[str]) -> list[set[str]]:
        """Columns it needs of each input, if `wanted` is what is wanted of it."""
        read = {self.time_column, *self.keys}
        for part in self.parts:
            read |= {column for column, made in part.columns if made in wanted}
            for predicate in (part.when, *part.without):
                read.update(predicate._columns())
        return [read]

    def gives(self, given: Sequence[list[str]], wanted: set[str]) -> list[str]:
        """Columns it gives, if it is given these by each input."""
        made = [made for part in self.parts for _, made in part.columns if made in wanted]
        return [*self.keys, *(column.name for column in MATCH_COLUMNS), *made]

    def spec(self, given: Sequence[list[str]], gives: list[str]) -> Json:
        """What the engine has to know, beside kind, id and inputs."""
        return {
            "keys": list(self.keys),
            "time": {"column": self.time_column, "minus_us": self.time_minus_us},
            "within_us": self.within_ms * 1_000,
            "open_max": PATTERN_OPEN_MAX,
            "steps": [
                {
                    "name": part.name,
                    "when": part.when._to_json(),
                    "without": [each._to_json() for each in part.without],
                    "columns": [[column, made] for column, made in part.columns if made in gives],
                }
                for part in self.parts
            ],
        }

    def state(self, given: Sequence[list[str]]) -> dict[str, str] | None:
        """What it keeps, in words: a checkpoint fits only a step that says the same."""
        read = {column for part in self.parts for column, _ in part.columns}
        rows = [name for name in given[0] if name in read]
        return {
            "keys": columns_text(self.streams[0].schema, self.keys),
            "steps": self._steps(),
            "within": duration_text(self.within_ms),
            "rows": columns_text(self.streams[0].schema, rows),
        }

    def explained(self) -> tuple[str, str]:
        """A line of `explain`: what it does, and what is to be said about it."""
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        within = duration_text(self.within_ms)
        return (
            f"pattern {self._steps()} within {within}{by}",
            f"state: matches that began in the last {within}, up to {PATTERN_OPEN_MAX} per key",
        )

    def event_time(self, of: Callable[[Port], Any]) -> Any:
        """Its event time: when the match is complete."""
        return EventTime("match_end", 0)

    def _steps(self) -> str:
        calls = call_texts(self._before())
        said = []
        for part in self.parts:
            said.append(f"{part.name}: {as_written(repr(part.when), calls)}")
            said += [f"without {as_written(repr(each), calls)}" for each in part.without]
        return ", ".join(said)

    def _before(self) -> Any:
        """The step whose rows are put in order."""
        node = self.streams[0].node
        while node.inputs and node.inputs[0].schema.names == node.schema.names:
            node = node.inputs[0].node
        return node


def make_pattern(
    stream: Stream,
    keys: tuple[str, ...],
    steps: Sequence[PatternStep | Without],
    within: Duration,
) -> Stream:
    """Check what `Grouped.pattern` got, and make its steps."""
    from frazil.stream import Stream

    asked = _asked(steps)
    within_ms = bounded(within, "within", least=1)
    origin = stream._origin()
    predicates = [each for first, withouts in asked for each in (first.when, *withouts)]
    port, computed = compute_calls(stream._port, predicates, origin)
    for predicate, written in zip(computed, predicates, strict=True):
        bound = bind(predicate, port.schema, origin)
        if not pa.types.is_boolean(bound.type):
            raise TypeMismatch(
                f"pattern got {written!r}, which is {type_name(bound.type)}",
                "a predicate is boolean: compare it with something",
            )
    time = require_event_time(port, origin, "pattern")
    left = iter(computed)
    parts = []
    fields = [*(port.schema.field(key) for key in keys), *MATCH_COLUMNS]
    for first, withouts in asked:
        chosen = first.columns
        if chosen is None:
            chosen = tuple(name for name in stream.schema.names if name not in keys)
        pairs = tuple((stream._require(name), f"{first.name}_{name}") for name in chosen)
        when = next(left)
        parts.append(Part(first.name, when, pairs, tuple(next(left) for _ in withouts)))
        fields += [port.schema.field(name).with_name(made) for name, made in pairs]
    _refuse_twice([field.name for field in fields])
    before = in_event_time_order(port, origin, keys, "pattern")
    schema = checked(pa.schema([field.remove_metadata() for field in fields]))
    node = PatternNode(schema, (before,), keys, time.column, time.minus_us, tuple(parts), within_ms)
    return Stream(Port(node))


def _asked(steps: Sequence[PatternStep | Without]) -> list[tuple[PatternStep, list[Expr]]]:
    """Steps, each with what may not come behind it."""
    if isinstance(steps, PatternStep | Without):
        steps = [steps]
    asked: list[tuple[PatternStep, list[Expr]]] = []
    for each in steps:
        match each:
            case PatternStep():
                asked.append((each, []))
            case Without() if asked:
                asked[-1][1].append(each.when)
            case Without():
                raise PlanError(
                    f"pattern begins with {each!r}",
                    "a match begins with a row: write a step before it",
                )
            case _:
                raise TypeMismatch(
                    f"pattern got {each!r}, a {type(each).__name__}",
                    'write fz.step("paid", col("amount") > 0) or fz.without(col("amount") < 0)',
                )
    if not 1 <= len(asked) <= PATTERN_STEPS_MAX:
        raise PlanError(f"pattern of {len(asked)} steps", f"1 to {PATTERN_STEPS_MAX}")
    if len(asked) == 1 and not asked[0][1]:
        raise PlanError(
            f"pattern of {asked[0][0]!r} alone",
            "that is a filter; a pattern has a further step, or fz.without(...) behind this one",
        )
    refused = sum(len(withouts) for _, withouts in asked)
    if refused > PATTERN_WITHOUT_MAX:
        raise PlanError(f"pattern with {refused} without", f"up to {PATTERN_WITHOUT_MAX}")
    names = [first.name for first, _ in asked]
    for name in names:
        if names.count(name) > 1:
            raise PlanError(f"pattern has two steps {name!r}", "give each a name of its own")
    return asked


def _refuse_twice(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ColumnExists(
                f"pattern: column {name!r} would be there twice",
                "give the step another name, or choose its columns: step(..., columns=[...])",
            )
