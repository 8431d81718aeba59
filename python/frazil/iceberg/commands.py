"""`frazil state accept|forget`: what an operator says of the proof that a table carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from frazil.errors import ConfigError

if TYPE_CHECKING:
    from pyiceberg.table import Table

_table = click.argument("table", metavar="NAMESPACE.TABLE")
_branch = click.option("--branch", default="main", show_default=True, help="Where it writes to.")
_catalog = click.option(
    "--catalog", help="Name in PyIceberg's configuration; default as in a program."
)


def open_table(name: str, catalog: str | None) -> Table:
    """Load a table that is named on the command line."""
    from frazil.iceberg.catalog import open_catalog
    from frazil.iceberg.table import find_table

    table = find_table(open_catalog(catalog), name)
    if table is None:
        raise ConfigError(f"there is no table {name} in the catalog")
    return table


@click.command("accept")
@_table
@click.argument("pipeline")
@click.argument("sink")
@_branch
@_catalog
def accept_command(table: str, pipeline: str, sink: str, branch: str, catalog: str | None) -> None:
    """Take a table as it is, whose history is too short to prove that nothing was rolled back.

    Only if you know that it was compacted and its snapshots expired. A table that was rolled back
    is refused as before.
    """
    from frazil.iceberg.restate import accept

    if accept(open_table(table, catalog), pipeline, sink, branch):
        click.echo(f"{table}: accepted; the next run of {pipeline!r} goes on")
    else:
        click.echo(f"{table}: nothing to accept, it has what {pipeline!r} committed")


@click.command("forget")
@_table
@click.argument("pipeline")
@click.argument("sink")
@click.option("--yes", is_flag=True, help="Really do it.")
@_branch
@_catalog
def forget_command(
    table: str, pipeline: str, sink: str, yes: bool, branch: str, catalog: str | None
) -> None:
    """Remove the proof of a pipeline that is gone for good from a table. Its rows stay."""
    from frazil.iceberg.forget import forget

    if not yes:
        raise click.UsageError(
            f"{table}: pipeline {pipeline!r} could not go on writing to it: say --yes to do it"
        )
    forget(open_table(table, catalog), pipeline, sink, branch)
    click.echo(f"{table}: the proof of {pipeline!r}, sink {sink!r}, is gone; the rows are there")
