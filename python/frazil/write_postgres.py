"""Writing to a table of PostgreSQL: the method of a stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from frazil.changes import KIND_COLUMN, changes_of, make_log, refuse_changes
from frazil.errors import ConfigError, PlanError, TypeMismatch, on_user_line
from frazil.postgres_sink import PostgresSink
from frazil.postgres_text import column_type
from frazil.secret import Secret
from frazil.upsert import by_key, upsert_key
from frazil.write import Sink
from frazil.write_python import python_sink_node

if TYPE_CHECKING:
    from frazil.duration import Duration
    from frazil.node import Port

_PASSWORD = re.compile(r"\bpassword\s*=|://[^/@\s]*:[^/@\s]*@", re.IGNORECASE)


class PostgresWriters:
    """The writer of a stream to PostgreSQL."""

    __slots__ = ()

    _port: Port

    @on_user_line
    def write_postgres(
        self,
        table: str,
        *,
        dsn: str | Secret,
        mode: Literal["append", "upsert"] = "append",
        key: str | Sequence[str] = (),
        create: bool = True,
        commit_every: Duration | None = None,
        name: str | None = None,
    ) -> Sink:
        """Write the rows to a table of PostgreSQL, each exactly once.

        The rows of a checkpoint and its number are one transaction. Needs the extra "postgres".

        Parameters
        ----------
        table
            "name" (in the schema public) or "schema.name".
        dsn
            How the server is reached, as libpq understands it: "host=db dbname=shop" or
            "postgresql://..."; one with a password by `secret`.
        mode
            "append" adds rows. "upsert" has one row for each key: a row takes the place of the one
            before it, and a stream of changes also takes rows away.
        key
            With mode="upsert": columns that tell which row is replaced. The table needs a unique
            index on them.
        create
            Whether to make the table if it is not there.
        commit_every
            A multiple of the pipeline's `checkpoint_every`; default each checkpoint.
        name
            Name of the sink; default from the table.

        Returns
        -------
        Sink
            For a `Pipeline`.

        Examples
        --------
        >>> import frazil as fz
        >>> orders = fz.read_memory([{"id": 1, "country": "DE"}])
        >>> orders.write_postgres("orders", dsn=fz.secret("ORDERS_DB"), mode="upsert", key="id")
        Sink(python postgres:orders)
        """
        parts = table.split(".") if isinstance(table, str) else []
        if not 1 <= len(parts) <= 2 or not all(parts):
            raise PlanError(f"{table!r} is no table", 'write "name" or "schema.name"')
        what = f"write_postgres of {table}"
        if mode not in ("append", "upsert"):
            raise ConfigError(f"mode={mode!r} is not offered", '"append" or "upsert"')
        if not isinstance(dsn, str | Secret) or not dsn:
            raise TypeMismatch(f"{what}: dsn={dsn!r}", 'write dsn="host=..." or fz.secret(...)')
        if isinstance(dsn, str) and _PASSWORD.search(dsn):
            raise PlanError(
                f"{what}: dsn has a password, and secrets are not written into programs",
                'put it into an environment variable and write fz.secret("NAME_OF_THE_VARIABLE")',
            )
        for field in self._port.schema:
            if field.name == KIND_COLUMN.name:
                raise PlanError(f"{what}: column {field.name!r}", "give it another name: rename")
            column_type(field.type)
        keys = self._keys_for(mode, key, what)
        port = self._port
        if keys:
            stream = self if changes_of(port) is None else make_log(self)
            port = by_key(stream._port, keys)
        place = ("public", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
        sink = PostgresSink(place, dsn, keys, create)
        how = f"PostgreSQL, upsert by {', '.join(keys)}" if keys else "PostgreSQL, append"
        options = {"table": ".".join(place)}
        return Sink(
            python_sink_node(
                port, sink, options, commit_every, name or f"postgres:{table}", detail=how
            )
        )

    def _keys_for(self, mode: str, key: str | Sequence[str], what: str) -> tuple[str, ...]:
        if mode == "upsert":
            return upsert_key(self._port, key, what)
        if key:
            raise PlanError(f"{what}: key={key!r} is of another mode", 'write mode="upsert" too')
        refuse_changes(
            self._port,
            what,
            'mode="upsert", key=[...] keeps the table as the changes say; .as_log() keeps every '
            "change as a row of its own",
        )
        return ()
