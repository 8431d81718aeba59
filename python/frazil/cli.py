"""The command line: run, check and explain pipelines, look into checkpoints and tables."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import click
from frazil.checkpoint import EXIT_FENCED
from frazil.checkpoint.commands import state, watch_option
from frazil.errors import ConfigError, Fenced, FrazilError
from frazil.iceberg.commands import accept_command, forget_command, open_table
from frazil.pipeline import Pipeline
from frazil.run.logs import log_to_stderr

# Codes a supervisor can tell apart; 2 is click's for a wrong command line.
EXIT_FAILED = 1


class _Group(click.Group):
    """Prints errors of frazil as their few lines, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        log_to_stderr()
        try:
            return super().invoke(ctx)
        except FrazilError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            sys.exit(EXIT_FENCED if isinstance(error, Fenced) else EXIT_FAILED)


@click.group(cls=_Group)
@click.version_option(package_name="frazil")
def main() -> None:
    """Streams into Apache Iceberg tables, exactly once."""


main.add_command(state)
state.add_command(accept_command)
state.add_command(forget_command)

_program = click.argument("program", metavar="FILE.py[:NAME]")


@main.command()
@_program
@click.option("--until", type=click.Choice(["now"]), help="Read what is there now, commit, end.")
@click.option("--workers", type=click.IntRange(1, 256), help="Threads, instead of the program's.")
@click.option("--checkpoint", help="Folder or s3:// of checkpoints, instead of the program's.")
@click.option("--retain", type=click.IntRange(0), help="Slots kept to go back to.")
@click.option("--takeover", is_flag=True, help="End another process that runs this pipeline.")
@click.option("--close-windows", is_flag=True, help="The end of the sources closes all windows.")
@click.option("--reopen", is_flag=True, help="Go on after a run that closed all windows.")
@click.option("--metrics-port", type=int, help="Serve Prometheus metrics on 127.0.0.1.")
@click.option("--report", is_flag=True, help="Print the run's report as JSON.")
def run(
    program: str,
    until: str | None,
    workers: int | None,
    checkpoint: str | None,
    retain: int | None,
    takeover: bool,
    close_windows: bool,
    reopen: bool,
    metrics_port: int | None,
    report: bool,
) -> None:
    """Run the pipeline of a program."""
    pipeline = load(program)
    if workers is not None:
        pipeline.workers = workers
    if checkpoint is not None:
        pipeline.checkpoint = checkpoint
    if retain is not None:
        pipeline.retain = retain
    done = pipeline.run(
        until="now" if until else None,
        takeover=takeover,
        close_windows=close_windows,
        reopen=reopen,
        metrics_port=metrics_port,
    )
    click.echo(done.to_json() if report else str(done))


@main.command()
@_program
@click.argument("slot", type=click.IntRange(0))
@click.option("--yes", is_flag=True, help="Really do it.")
@click.option("--checkpoint", help="Folder or s3:// of checkpoints, instead of the program's.")
@click.option("--takeover", is_flag=True, help="End a process that is running.")
@watch_option
def rollback(
    program: str,
    slot: int,
    yes: bool,
    checkpoint: str | None,
    takeover: bool,
    patience_s: float,
) -> None:
    """Put the tables of a pipeline and its log back to SLOT; the next run goes on from there."""
    from frazil.run.rollback import plan_rollback, roll_back

    pipeline = load(program)
    if checkpoint is not None:
        pipeline.checkpoint = checkpoint
    if yes:
        done = roll_back(pipeline, slot, takeover=takeover, patience_s=patience_s)
    else:
        done = plan_rollback(pipeline, slot)
    for each in done:
        where = "nothing" if each.epoch is None else f"epoch {each.epoch}"
        commits = "1 commit" if each.undone == 1 else f"{each.undone} commits"
        what = f"{commits} with {each.rows} rows undone" if each.undone else "as it is"
        click.echo(f"{each.sink}: {where}, {what}")
    if not yes:
        raise click.UsageError("nothing was changed: say --yes to do it")
    click.echo(f"{pipeline.name} is back at slot {slot}; the next run goes on from there")


@main.command()
@_program
@click.option("--sink", "sinks", multiple=True, help="Only into this one; may be said again.")
@click.option("--checkpoint", help="Folder or s3:// of checkpoints, instead of the program's.")
@click.option("--takeover", is_flag=True, help="End another process that does the same.")
def replay(program: str, sinks: tuple[str, ...], checkpoint: str | None, takeover: bool) -> None:
    """Send the dead letters of a pipeline through it again, each once."""
    from frazil.replay import replay as send_again

    pipeline = load(program)
    if checkpoint is not None:
        pipeline.checkpoint = checkpoint
    for done in send_again(pipeline, sinks=sinks, takeover=takeover):
        click.echo(str(done))


@main.command()
@_program
@click.option("--against", metavar="URL", help="A pipeline's checkpoints: what would be restored?")
@click.option("--drift", is_flag=True, help="What would be changed in the schemas of its tables?")
def check(program: str, against: str | None, drift: bool) -> None:
    """Check a program without running it: its plan, and whether checkpoint and tables fit it."""
    pipeline = load(program)
    click.echo(f"{pipeline!r}: the plan is sound")
    if drift:
        from frazil.run.drift import drift_report

        for line in drift_report(pipeline):
            click.echo(line)
    if against is None:
        return
    from frazil.checkpoint import open_store, plan_of
    from frazil.checkpoint.inspect import show_state
    from frazil.checkpoint.plan_fit import compare

    entry = show_state(open_store(against))
    plan = plan_of(pipeline.plan.json, pipeline.plan.function_hashes)
    fit = compare(entry.manifest.plan, plan)
    for note in fit.notes:
        click.echo(f"  {note}")
    for name, known in entry.manifest.lookups.items():
        if known.next is not None:
            click.echo(f"  lookup {name} goes on with {known.next.version}")
    fit.require(against, entry.slot)
    click.echo(f"checkpoint {entry.slot} of {against} fits it")


@main.command()
@_program
def explain(program: str) -> None:
    """Say what a pipeline does, from its sinks back to its sources."""
    click.echo(load(program).explain())


@main.command()
@click.argument("table", metavar="NAMESPACE.TABLE")
@click.option("--catalog", help="Name in PyIceberg's configuration; default as in a program.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(table: str, catalog: str | None, as_json: bool) -> None:
    """List what pipelines committed to a table, and find holes and overlaps."""
    from frazil.iceberg.audit import audit as audit_table
    from frazil.iceberg.audit import render
    from rich.console import Console

    report = audit_table(open_table(table, catalog))
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        Console().print(render(report))
    if report.problems:
        sys.exit(EXIT_FAILED)


@main.command()
@click.argument("program", metavar="[FILE.py[:NAME]]", required=False)
def doctor(program: str | None) -> None:
    """Check versions and features; with a program, also its tables and checkpoint store."""
    from frazil.doctor import examine

    findings = examine(load(program) if program else None)
    for finding in findings:
        mark = click.style("ok  ", fg="green") if finding.good else click.style("bad ", fg="red")
        click.echo(f"{mark} {finding.what}: {finding.detail}")
    if not all(finding.good for finding in findings):
        sys.exit(EXIT_FAILED)


def load(program: str) -> Pipeline:
    """Import a program and find its pipeline.

    Parameters
    ----------
    program
        "orders.py", or "orders.py:pipeline" if it has several.

    Raises
    ------
    ConfigError
        There is no such file, or not exactly one pipeline in it.
    """
    path_text, _, name = program.partition(":")
    path = Path(path_text)
    if not path.is_file():
        raise ConfigError(f"{path_text}: no such file", "give a Python file: orders.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path_text}: not a Python file", "its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Pipeline)}
    if name:
        if name not in found:
            raise ConfigError(
                f"{path_text}: no pipeline {name!r}", f"have: {', '.join(found) or 'none'}"
            )
        return found[name]
    if len(found) != 1:
        raise ConfigError(
            f"{path_text}: {len(found)} pipelines at the top level ({', '.join(found) or 'none'})",
            "name one: FILE.py:NAME" if found else "make one: pipeline = fz.Pipeline(...)",
        )
    return next(iter(found.values()))
