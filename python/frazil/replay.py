"""Sends dead letters through a pipeline again: once each, and only where that cannot do harm.

A replay is a pipeline of its own for each sink, with a log of its own: its source are the letters
in their table, its position the last letter that was sent. So it may be killed and asked again at
any moment. What is rejected again is a dead letter of the replay, and is read by the next one.
Into a table by key letters go in a run of the pipeline itself: `frazil.replay_by_key`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.dead_letters import dead_letter_sink, walk
from frazil.errors import ConfigError, PlanError
from frazil.node import (
    EventTimeNode,
    ExchangeNode,
    FilterNode,
    LookupNode,
    MapBatchesNode,
    ProjectNode,
    SourceNode,
    Step,
    UdfNode,
    UnionNode,
)
from frazil.pipeline import Pipeline
from frazil.replay_by_key import (
    LETTERS_OF,
    is_by_key,
    require_order,
    source_name,
    to_letters,
    with_letters,
)
from frazil.replay_letters import Letters
from frazil.replay_places import places, rejecting, with_places

if TYPE_CHECKING:
    from frazil.replay_places import Files, Place
    from frazil.report import RunReport
    from frazil.write import Sink

_NAME_MAX = 100

# Steps that give of a row what they would have given of it then.
_STATELESS = (
    SourceNode,
    FilterNode,
    ProjectNode,
    UdfNode,
    MapBatchesNode,
    ExchangeNode,
    LookupNode,
    EventTimeNode,
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did for a sink."""

    sink: str
    sent: int  # rows of letters that are good now
    rejected: int  # that were set aside again
    without: int  # letters whose row is not there, or not whole, or that no step takes
    why_without: str = ""

    def __str__(self) -> str:
        """One line for people."""
        text = f"{self.sink}: {self.sent} sent, {self.rejected} rejected again"
        if self.without:
            text += f", {self.without} cannot be sent ({self.why_without})"
        return text


def replay(
    pipeline: Pipeline,
    *,
    sinks: Sequence[str] = (),
    takeover: bool = False,
) -> list[Replayed]:
    """Send the dead letters of a pipeline through it again.

    Parameters
    ----------
    pipeline
        As it is now, with ``dead_letters=``.
    sinks
        Names of the sinks that are to have the rows; default all.
    takeover
        End another process that does the same.

    Returns
    -------
    list of Replayed
        What was done, by sink.

    Raises
    ------
    PlanError
        A sink cannot be sent old rows.
    ConfigError
        There is no table of dead letters, or no such sink.

    Examples
    --------
    >>> import frazil as fz
    >>> orders = fz.read_files("orders.jsonl", format="json", schema={"id": int})
    >>> sink = orders.write_iceberg("shop.replayed")
    >>> pipeline = fz.Pipeline("doc_replay", sink, dead_letters="ops.letters")
    >>> print(fz.replay(pipeline)[0])
    shop.replayed: 0 sent, 0 rejected again
    """
    letters = pipeline.letters
    if letters is None:
        raise ConfigError(
            f"pipeline {pipeline.name} has no table of dead letters",
            'write Pipeline(..., dead_letters="ops.dead_letters")',
        )
    chosen = _chosen(pipeline, letters, sinks)
    for sink in chosen:
        _require_replayable(sink)
    return [_replay_into(pipeline, letters, sink, takeover) for sink in chosen]


def replay_name(pipeline: str, sink: str) -> str:
    """Name of the pipeline that replays into a sink."""
    name = f"{pipeline}.replay." + re.sub(r"[^A-Za-z0-9_.-]+", "_", sink)
    if len(name) <= _NAME_MAX:
        return name
    return f"{name[: _NAME_MAX - 13]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _chosen(pipeline: Pipeline, letters: Sink, names: Sequence[str]) -> list[Sink]:
    """The sinks that rows of readers go to."""
    mine = [
        sink
        for sink in pipeline.sinks
        if sink is not letters
        and all(p.output == "rows" for node in walk([sink._node]) for p in node.inputs)
    ]
    for name in names:
        if name not in [sink.name for sink in mine]:
            raise ConfigError(
                f"pipeline {pipeline.name} has no sink {name!r} to replay into",
                "have: " + ", ".join(sink.name for sink in mine),
            )
    return [sink for sink in mine if not names or sink.name in names]


def _require_replayable(sink: Sink) -> None:
    node = sink._node
    what = f"replaying dead letters into {sink.name}"
    only = "choose the others by --sink (sinks=), or write the rows there by a program of your own"
    if is_by_key(sink):
        require_order(sink)
    if node.connector == "kafka" and node.options["key"]:
        raise PlanError(
            f"{what}: its messages have the key {', '.join(node.options['key'])}",
            "an old row would come behind newer ones of its key",
            only,
        )
    for step in walk([node]):
        plain = type(step) in (*_STATELESS, UnionNode) or step is node
        if not plain and not (isinstance(step, Step) and not step.STATEFUL and not step.REFUSES):
            raise PlanError(
                f"{what}: it is behind a step that keeps state ({step.line})",
                "what came around an old row then is not there any more",
                only,
            )


def _replay_into(pipeline: Pipeline, letters: Sink, sink: Sink, takeover: bool) -> Replayed:
    with tempfile.TemporaryDirectory(prefix="frazil-replay-") as folder:
        made, found = replay_pipeline(pipeline, letters, sink, Path(folder))
        if found is None:
            return Replayed(sink.name, 0, 0, 0)
        if made is None:
            return Replayed(sink.name, 0, 0, found.without, found.why_without)
        report = made.run(until="now", quiet=True, takeover=takeover)
    return _replayed(sink, report, found)


def replay_pipeline(
    pipeline: Pipeline, letters: Sink, sink: Sink, folder: Path
) -> tuple[Pipeline | None, Letters | None]:
    """Make the pipeline that sends letters into a sink; None if there are none.

    Of a table by key it is the pipeline itself, with letters beside the rows of its readers.

    Parameters
    ----------
    pipeline, sink
        Whose letters, and where to.
    letters
        The sink whose table they are in.
    folder
        For files of letters, which the run reads.
    """
    from frazil.iceberg.catalog import open_catalog
    from frazil.iceberg.table import find_table
    from frazil.secret import resolve_secrets

    sources = _readers(sink)
    options = resolve_secrets(letters._node.options)
    catalog = open_catalog(letters._node.objects.get("catalog") or options.get("catalog"))
    table = find_table(catalog, options["table"])
    if table is None:
        return None, None
    name = replay_name(pipeline.name, sink.name)
    known = places(pipeline.plan, sink.name)
    every = [each.name for each in pipeline.sinks]
    found = Letters(table, (pipeline.name, name), sources, known, every)
    if not found.count:
        return None, found
    if is_by_key(sink):
        if found.of_readers:
            _require_no_metadata(pipeline, sources)
        taken = list(known.known.values())
        files = found.write(folder)
        return with_letters(pipeline, letters, sink, name, files, taken), found
    made = _pipeline(pipeline, letters, sink, name)
    if found.of_readers:
        _require_no_metadata(made, sources)
    mine = places(made.plan, sink.name).known
    taken = [place for key, place in mine.items() if key in known.known]
    return _with_letters(made, found.write(folder), taken), found


def _readers(sink: Sink) -> list[str]:
    return [node.name or "" for node in walk([sink._node]) if isinstance(node, SourceNode)]


def _replayed(sink: Sink, report: RunReport, found: Letters) -> Replayed:
    by_key = is_by_key(sink)
    names = [source_name(each) if by_key else each for each in _readers(sink)]
    names += [place.source for place in found.places.known.values()]
    sources = [report.sources[name] for name in names if name in report.sources]
    again = sum(
        rows for name, rows in report.failed.items() if not by_key or name.startswith(LETTERS_OF)
    )
    return Replayed(
        sink.name,
        max(sum(source.good for source in sources) - again, 0),
        sum(source.rejected for source in sources) + again,
        found.without,
        found.why_without,
    )


def _require_no_metadata(pipeline: Pipeline, sources: Sequence[str]) -> None:
    for node in pipeline.plan.json["nodes"]:
        metadata = node["options"].get("metadata", []) if node["kind"] == "source" else []
        if metadata and node["name"] in sources:
            raise PlanError(
                f"replaying dead letters of {node['name']}: the pipeline uses "
                f"{', '.join('_' + each for each in metadata)} of its messages",
                "dead letters have the bytes of a row only; leave these columns out for the replay",
            )


def _pipeline(pipeline: Pipeline, letters: Sink, sink: Sink, name: str) -> Pipeline:
    return Pipeline(
        name,
        sink,
        dead_letter_sink(letters._node.options["table"], [sink], like=letters),
        checkpoint=pipeline.checkpoint,
        memory_limit=pipeline.memory_bytes,
        workers=pipeline.workers,
    )


def _with_letters(pipeline: Pipeline, files: Files, taken: Sequence[Place]) -> Pipeline:
    """The pipeline with letters in the place of what its readers read, and beside steps."""
    nodes: list[dict[str, Any]] = []
    for node in pipeline.plan.json["nodes"]:
        if node["kind"] == "source":
            given = {"partitions": files.get(node["name"], []), "metadata": []}
            node = {**node, "connector": "dead_letter", "options": given}
            if node["format"] is None:
                node["format"] = {"kind": "json"}  # it has no letters with bytes
        nodes.append(node)
    nodes = with_places(nodes, taken, pipeline.name, files)
    nodes = to_letters(nodes, pipeline.sinks[-1].name, rejecting(nodes), pipeline.name)
    plan = dataclasses.replace(pipeline.plan, json={**pipeline.plan.json, "nodes": nodes})
    pipeline._plan = plan
    return pipeline
