"""`frazil state ls|show|rm|rewind`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from frazil.checkpoint.inspect import (
    SlotInfo,
    list_state,
    remove_state,
    rewind_state,
    show_state,
)
from frazil.checkpoint.log import PATIENCE_S
from frazil.checkpoint.manifest import Entry, Landed, Manifest
from frazil.checkpoint.state_files import state_by_operator
from frazil.checkpoint.store import Store, open_store
from frazil.errors import CheckpointError
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Positions longer than this are cut in tables (characters); `show` prints them whole.
_CELL_MAX = 60

watch_option = click.option(
    "--watch",
    "patience_s",
    type=click.FloatRange(0, 3600),
    default=PATIENCE_S,
    show_default=True,
    help="Seconds to look whether a process is writing to the log.",
)


def _open(url: str) -> Store:
    return open_store(url)


@click.group()
def state() -> None:
    """Look at a checkpoint log, remove it, or go back in it."""


@state.command("ls")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line per slot.")
def list_command(url: str, as_json: bool) -> None:
    """List the slots of the log at URL, oldest first."""
    slots = list_state(_open(url))
    if as_json:
        for info in slots:
            click.echo(json.dumps({"slot": info.slot, "status": info.status, **_brief(info)}))
        return
    if not slots:
        click.echo(f"{url}: there is no checkpoint log")
        return
    Console().print(slots_table(slots))


@state.command("show")
@click.argument("url")
@click.argument("slot", type=click.IntRange(0), required=False)
def show_command(url: str, slot: int | None) -> None:
    """Print one slot of the log at URL as JSON, the newest by default.

    `state` in it is what a start there would read of each step: files and bytes that hold
    everything, and those that hold changes since.
    """
    entry = show_state(_open(url), slot)
    click.echo(json.dumps(describe(entry), indent=2))


@state.command("rm")
@click.argument("url")
@click.option("--yes", is_flag=True, help="Really remove it.")
@watch_option
def remove_command(url: str, yes: bool, patience_s: float) -> None:
    """Remove the log at URL. Tables keep their rows, and refuse a new log of the same pipeline."""
    store = _open(url)
    slots = list_state(store)
    if not yes:
        raise click.UsageError(
            f"{url}: {len(slots)} slots would be removed and the pipeline could not be resumed: "
            "say --yes to do it"
        )
    removed = remove_state(store, patience_s=patience_s)
    click.echo(f"{url}: removed {len(removed)} objects")


@state.command("rewind")
@click.argument("url")
@click.argument("slot", type=click.IntRange(0))
@click.option(
    "--proof",
    "proofs",
    multiple=True,
    metavar="SINK=SLOT:DIGEST",
    help="What the table of a sink shows, as printed by `frazil audit`; SINK=none if nothing.",
)
@click.option("--takeover", is_flag=True, help="End a process that is running.")
@watch_option
def rewind_command(
    url: str, slot: int, proofs: tuple[str, ...], takeover: bool, patience_s: float
) -> None:
    """Go back to SLOT in the log at URL; the next run begins there.

    Allowed only if every table is at that slot exactly: put the tables back first.
    """
    entry = rewind_state(
        _open(url), slot, given_proofs(proofs), takeover=takeover, patience_s=patience_s
    )
    click.echo(f"{url}: slot {entry.slot} goes back to slot {slot}; the next run begins there")


def given_proofs(texts: tuple[str, ...]) -> Callable[[str], Landed | None]:
    """Proofs from SINK=SLOT:DIGEST."""
    given: dict[str, Landed | None] = {}
    for text in texts:
        sink, _, value = text.rpartition("=")
        slot, _, digest = value.partition(":")
        if not sink or not (value == "none" or (slot.isdecimal() and len(digest) == 64)):
            raise click.BadParameter(f"{text!r}: expected SINK=SLOT:DIGEST or SINK=none")
        given[sink] = None if value == "none" else Landed(int(slot), digest)

    def proof(sink: str) -> Landed | None:
        if sink not in given:
            raise CheckpointError(
                f"the proof of sink {sink!r} is needed: what its table shows was committed last",
                f"say --proof '{sink}=SLOT:DIGEST', or --proof '{sink}=none'; `frazil audit` "
                "prints it",
            )
        return given[sink]

    return proof


def slots_table(slots: list[SlotInfo]) -> Table:
    """The table of `frazil state ls`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("slot", "kind", "attempt", "written", "positions", "tokens", "landed", "status"):
        table.add_column(name, justify="right" if name in ("slot", "attempt") else "left")
    for info in slots:
        if info.entry is None:
            table.add_row(str(info.slot), "", "", "", _cut(info.error), "", "", info.status)
            continue
        brief = _brief(info)
        table.add_row(
            str(info.slot),
            brief["kind"],
            str(brief["attempt"]),
            brief["written"],
            _cut(_words(brief["positions"])),
            _cut(", ".join(brief["tokens"])),
            _cut(_words(brief["landed"])),
            info.status,
        )
    return table


def describe(entry: Entry) -> dict[str, Any]:
    """A manifest with the names of its fields, for people and scripts."""
    manifest = entry.manifest
    out: dict[str, Any] = {"digest": entry.digest, "written": _written(manifest)}
    for field in dataclasses.fields(manifest):
        value = getattr(manifest, field.name)
        if isinstance(value, dict):
            value = {key: _plain(item) for key, item in value.items()}
        elif isinstance(value, tuple):
            value = [_plain(item) for item in value]
        out[field.name] = _plain(value)
    out["state"] = state_by_operator(manifest.state_files)
    return out


def _brief(info: SlotInfo) -> dict[str, Any]:
    if info.entry is None:
        return {"error": info.error}
    manifest = info.entry.manifest
    kind = manifest.kind
    return {
        "kind": kind if manifest.rewind_to is None else f"{kind} to {manifest.rewind_to}",
        "attempt": manifest.attempt,
        "written": _written(manifest),
        "digest": info.entry.digest,
        "positions": {
            f"{source}/{partition.name}": partition.position
            for source, state in manifest.sources.items()
            for partition in state.partitions
        },
        "tokens": sorted(manifest.tokens),
        "landed": {sink: landed.slot for sink, landed in manifest.landed.items()},
    }


def _written(manifest: Manifest) -> str:
    if not manifest.created_us:
        return ""
    try:
        return datetime.fromtimestamp(manifest.created_us / 1e6, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return f"{manifest.created_us} us"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _cut(text: str) -> Text:
    """Text for a cell: bounded, and never taken for markup."""
    return Text(text if len(text) <= _CELL_MAX else text[: _CELL_MAX - 1] + "…")
