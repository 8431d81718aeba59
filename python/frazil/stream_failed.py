"""`Stream.failed`: the rows for which a Python function raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frazil.errors import PlanError, on_user_line
from frazil.node import FilterNode, MapBatchesNode, Node, Port, ProjectNode, UdfNode

if TYPE_CHECKING:
    from frazil.stream import Stream


class FailedMethods:
    """What a stream has of Python functions."""

    __slots__ = ()

    @property
    @on_user_line
    def failed(self: Any) -> Stream:
        """The rows for which a Python function with ``on_error="divert"`` raised.

        Each has the row as JSON, the reason, the function, and where the row stands in its source
        if that is known. They are in the same checkpoint as the rows around them. What
        `with_columns`, `select`, `filter` and `map_batches` gave has them, if they call such a
        function.

        Returns
        -------
        Stream
            The columns of `rejected`; see docs/dead-letters.md.

        Examples
        --------
        >>> import frazil as fz
        >>> @fz.udf(on_error="divert")
        ... def number(text: str) -> int:
        ...     return int(text)
        >>> texts = fz.read_memory([{"text": "1"}, {"text": "one"}], schema={"text": str})
        >>> numbers = texts.with_columns(n=number(fz.col("text")))
        >>> numbers.failed.head().select(["raw", "kind"]).to_pylist()
        [{'raw': b'{"text":"one"}', 'kind': 'function'}]
        """
        from frazil.stream import Stream

        port = self._port
        found = failing(port.node) if port.output == "rows" else []
        if not found:
            raise PlanError(
                "failed rows belong to a step that calls a Python function with "
                f'on_error="divert", and this stream of {self._origin()} is not of one',
                'write x.failed of the stream that with_columns(a=f("b")) or map_batches(f) gave',
            )
        streams = [Stream(Port(node, "failed")) for node in found]
        return streams[0] if len(streams) == 1 else streams[0].union(*streams[1:])


def failing(node: Node) -> list[Node]:
    """Calls of one step of the program whose failed rows are a stream, in their order."""
    if isinstance(node, MapBatchesNode):
        return [node] if node.function.on_error == "divert" else []
    if isinstance(node, ProjectNode):
        node = node.input.node
    found: list[Node] = []
    while isinstance(node, UdfNode | FilterNode):
        if isinstance(node, UdfNode) and node.function.on_error == "divert":
            found.append(node)
        node = node.input.node
    return found[::-1]
