"""What the next start of a pipeline would change in the schemas of its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frazil.drift import Drift
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.drift import changes_of
from frazil.iceberg.table import find_table
from frazil.run.runner import plan_schema
from frazil.secret import resolve_secrets
from frazil.upsert import table_schema

if TYPE_CHECKING:
    from frazil.pipeline import Pipeline


def drift_report(pipeline: Pipeline) -> list[str]:
    """Say it line by line, for each sink of an Iceberg table; nothing is changed.

    Raises
    ------
    SchemaMismatch
        The next start would be refused.
    ConnectError
        A catalog does not answer.
    """
    lines = []
    for node in resolve_secrets(pipeline.plan.json)["nodes"]:
        if node["kind"] != "sink" or node["connector"] != "iceberg":
            continue
        options = node["options"]
        objects = pipeline.plan.objects.get(node["id"], {})
        catalog = open_catalog(objects.get("catalog") or options.get("catalog"))
        name = options["table"]
        if "route" in options:
            lines.append(f"tables {name}: each is looked at when its first row comes")
            continue
        table = find_table(catalog, name)
        if table is None:
            lines.append(f"table {name}: would be made")
            continue
        drift = Drift._from_json(options.get("drift"))
        found = changes_of(table, table_schema(plan_schema(node["schema"]), options), drift)
        lines += [f"table {name}: would {change}" for change in found]
        if not found:
            lines.append(f"table {name}: nothing to change")
    return lines
