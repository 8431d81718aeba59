"""Tables as text, for a look."""

from __future__ import annotations

import pyarrow as pa

CELL_CHARS = 40
"""Characters of a cell that are shown."""


def table_text(table: pa.Table) -> str:
    """Lay a table out in columns; numbers to the right, null as an empty cell.

    Examples
    --------
    >>> print(table_text(pa.table({"id": [1, 20], "user": ["ada", None]})))
    id  user
     1  ada
    20
    """
    columns = []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        cells = [name, *(_cell(value) for value in column.to_pylist())]
        width = max(map(len, cells))
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        number = number or pa.types.is_decimal(column.type)
        columns.append([cell.rjust(width) if number else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _cell(value: object) -> str:
    text = "" if value is None else str(value).replace("\n", "\\n")
    return text if len(text) <= CELL_CHARS else text[: CELL_CHARS - 3] + "..."
