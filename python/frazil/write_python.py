"""Writing to a sink that is written in Python: the method of a stream."""

from __future__ import annotations

from frazil.changes import refuse_changes
from frazil.duration import Duration, duration_ms
from frazil.errors import TypeMismatch, on_user_line
from frazil.node import Json, Port, SinkNode
from frazil.python_sink import PythonSink, SimpleSink, TransactionalSink, TwoPhaseSink
from frazil.write import Sink


class PythonWriters:
    """The writer of a stream to a sink in Python."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def write_python(
        self,
        sink: SimpleSink | TwoPhaseSink | TransactionalSink,
        *,
        commit_every: Duration | None = None,
        name: str | None = None,
    ) -> Sink:
        """Write the rows to a sink that is written in Python.

        Parameters
        ----------
        sink
            A `TwoPhaseSink` or a `TransactionalSink`, each row exactly once; or a `SimpleSink`, at
            least once.
        commit_every
            A multiple of the pipeline's `checkpoint_every`; default each checkpoint. A `SimpleSink`
            is flushed at each.
        name
            Name of the sink; default "python:" and its class.

        Returns
        -------
        Sink
            For a `Pipeline`.

        Examples
        --------
        >>> import frazil as fz
        >>> class Lines(fz.SimpleSink):
        ...     def write(self, rows):
        ...         print(rows.to_pylist())
        ...     def flush(self):
        ...         pass
        >>> fz.read_memory([{"id": 1}]).write_python(Lines())
        Sink(python python:Lines)
        """
        if not isinstance(sink, SimpleSink | TwoPhaseSink | TransactionalSink):
            raise TypeMismatch(
                f"write_python got a {type(sink).__name__}",
                "give an object of a class of yours that derives from fz.SimpleSink, "
                "fz.TwoPhaseSink or fz.TransactionalSink",
            )
        refuse_changes(
            self._port, "write_python", ".as_log() keeps every change as a row of its own"
        )
        default = f"python:{type(sink).__name__}"
        return Sink(python_sink_node(self._port, sink, {}, commit_every, name or default))


def python_sink_node(
    port: Port,
    sink: PythonSink,
    options: Json,
    commit_every: Duration | None,
    name: str,
    *,
    detail: str = "",
) -> SinkNode:
    """The node of a sink in Python."""
    options = {"class": type(sink).__qualname__, **options}
    if commit_every is not None:
        options["commit_every_ms"] = duration_ms(commit_every, "commit_every")
    simple = isinstance(sink, SimpleSink)
    return SinkNode(
        port.schema,
        port,
        "python",
        options,
        {"sink": sink},
        "at least once (flushed before each checkpoint)" if simple else "exactly once",
        detail or f"by {type(sink).__qualname__} in Python",
        name=name,
    )
