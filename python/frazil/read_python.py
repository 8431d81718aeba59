"""Reading a source that is written in Python."""

from __future__ import annotations

from frazil.duration import duration_ms, duration_text
from frazil.errors import PlanError, TypeMismatch, on_user_line
from frazil.node import Port, SourceNode
from frazil.python_source import PartitionedSource, PollingSource
from frazil.schema import SchemaLike, checked, resolve
from frazil.stream import Stream


@on_user_line
def read_python(
    source: PartitionedSource | PollingSource,
    *,
    schema: SchemaLike,
    name: str | None = None,
) -> Stream:
    """Read a source that is written in Python.

    Parameters
    ----------
    source
        A `PartitionedSource` or a `PollingSource`.
    schema
        What its rows hold. Fields of dicts that are not in it are left out, those that are missing
        are null; Arrow data needs each column, of the very type.
    name
        Name of the source, under which its positions are kept; default "python:" and its class.

    Returns
    -------
    Stream
        The schema's columns.

    Examples
    --------
    >>> import frazil as fz
    >>> class Ticks(fz.PollingSource):
    ...     every = "5s"
    ...     def poll(self, cursor):
    ...         return [{"n": (cursor or 0) + 1}], (cursor or 0) + 1
    >>> fz.read_python(Ticks(), schema={"n": int})
    Stream(append) <- python:Ticks
      n: int64 not null
    """
    match source:
        case PollingSource():
            every = duration_text(duration_ms(source.every, f"{_class_of(source)}.every"))
            detail = f"in Python, polled every {every}"
        case PartitionedSource():
            detail = "in Python, a thread for each partition"
        case _:
            raise TypeMismatch(
                f"read_python got a {type(source).__name__}",
                "give an object of a class of yours that derives from fz.PartitionedSource or "
                "fz.PollingSource",
            )
    columns = checked(resolve(schema))
    for column in columns:
        if column.metadata:
            raise PlanError(
                f"read_python: column {column.name!r} has options of fz.field, which are for text",
                "let the source give the value under the name of the column",
            )
    return Stream(
        Port(
            SourceNode(
                columns,
                "python",
                {"class": _class_of(source)},
                None,
                None,
                detail=detail,
                objects={"source": source},
                name=name or f"python:{type(source).__name__}",
            )
        )
    )


def _class_of(source: object) -> str:
    """Without its module, which is another one if the program is imported."""
    return type(source).__qualname__
