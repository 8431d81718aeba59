"""The models whose vectors a table has: properties of the table, which the next start compares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from frazil.errors import CommitRefused, SchemaMismatch
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.update import AssertTableUUID, SetPropertiesUpdate

if TYPE_CHECKING:
    from collections.abc import Callable

    from frazil.embedded import Embedding
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

PROPERTY_PREFIX = "frazil.embedding."
"""Before the name of a column. The value is JSON: {"dimension": "384", "model": "..."}."""
TRIES_MAX = 10
"""How often properties are set while others change the table."""

_SAME = "vectors of different models cannot be compared, so one table has those of one"


def properties_of(embeddings: Mapping[str, Embedding]) -> dict[str, str]:
    """What a table of these columns of vectors says."""
    return {
        f"{PROPERTY_PREFIX}{column}": json.dumps(embedding, sort_keys=True)
        for column, embedding in embeddings.items()
    }


def unsaid(table: Table, name: str, embeddings: Mapping[str, Embedding]) -> dict[str, str]:
    """Compare a table with a stream; the properties that the table lacks.

    Raises
    ------
    SchemaMismatch
        It has vectors of another model or dimension, or does not say of which its rows have.
    """
    lacking = {}
    columns = table.schema().column_names
    for column, embedding in embeddings.items():
        key = f"{PROPERTY_PREFIX}{column}"
        said = table.metadata.properties.get(key)
        wanted = json.dumps(embedding, sort_keys=True)
        if said is None:
            if table.current_snapshot() is not None and column in columns:
                raise SchemaMismatch(
                    f"table {name} has rows with column {column!r}, and does not say of which "
                    "model",
                    f"if they are of {embedding['model']} with dimension {embedding['dimension']}, "
                    f"set its property {key} to {wanted}",
                    f"else write another table or column: {_SAME}",
                )
            lacking[key] = wanted
        elif _read(said) != embedding:
            raise SchemaMismatch(
                f"column {column!r} is of {_text(embedding)} in the stream, and of "
                f"{_text(_read(said))} in table {name}",
                "embed with the table's model; or write another table, or column, with all rows: "
                "read them anew by a pipeline of another name",
                _SAME,
            )
    return lacking


def say(catalog: Catalog, load: Callable[[], Table], properties: Mapping[str, str]) -> None:
    """Give a table properties, in a commit of its own.

    Raises
    ------
    CommitRefused
        Others changed the table each time.
    """
    for _ in range(TRIES_MAX):
        table = load()
        same = AssertTableUUID(uuid=table.metadata.table_uuid)
        update = SetPropertiesUpdate(updates=dict(properties))
        try:
            catalog.commit_table(table, (same,), (update,))
            return
        except CommitFailedException:
            continue
    raise CommitRefused(
        f"table {'.'.join(load().name())}: it was changed by others {TRIES_MAX} times while this "
        f"process wanted to set {', '.join(properties)}",
        "look who changes it, then start again",
        kind="schema_contended",
    )


def _read(said: str) -> dict[str, str]:
    try:
        found = json.loads(said)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"model": said}


def _text(embedding: Mapping[str, str]) -> str:
    return f"{embedding.get('model')!r} with dimension {embedding.get('dimension', 'unknown')}"
