"""The documentation is right: its code runs, its links lead somewhere, its tables are complete.

How a code block is tested is said in its fence: ``python`` is run, ``python plan`` is built and
explained but not run (it needs a broker or a bucket), ``python raises NAME`` has to raise that
error (a ``text`` block behind it is its message), ``python bytewax`` is of another system and run
by tests/peers, ``python file=NAME`` is also written to a file
for the commands below it. In ``console`` blocks the lines ``$ frazil ...`` are run and their output
is compared, where any is shown. The blocks of a page share their names and an empty folder.
"""

from __future__ import annotations

import doctest
import inspect
import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import frazil as fz
import pytest
from click.testing import CliRunner
from frazil.cli import main as cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
LINKED += [ROOT / "engine" / "README.md", *sorted((ROOT / "examples").glob("*.md"))]

FENCE = re.compile(r"^```(\S.*)?$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
OUTPUT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int  # of its first line of code, from 1
    info: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    start, info, lines = 0, "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        found = FENCE.match(line)
        if found and not start:
            start, info, lines = number + 1, found[1] or "", []
        elif found:
            yield Block(page, start, info, "\n".join(lines) + "\n")
            start = 0
        elif start:
            lines.append(line)
    assert not start, f"{page}: a block is not closed"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, without a configuration of PyIceberg."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = dict(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - modules.keys():
        if not name.startswith(("frazil", "pyiceberg", "pyarrow")):
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if origin.startswith(str(tmp_path)):
                del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = list(blocks_of(page))
    names: dict[str, Any] = {"__name__": "page"}
    error = None
    for block in blocks:
        kind, _, rest = block.info.partition(" ")
        if error is not None and block.info == "text":
            same = doctest.OutputChecker().check_output(block.text, error + "\n", OUTPUT)
            assert same, f"{block.place}: the message is\n{error}"
        if kind == "console":
            run_commands(block)
        elif kind == "python":
            error = run_python(block, rest, names, folder, monkeypatch)
        else:
            assert block.info in KINDS, f"{block.place}: unknown kind of block {block.info!r}"


KINDS = {"text", "json", "ini", "toml", "yaml", "dockerfile"}


def run_python(
    block: Block, how: str, names: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> str | None:
    """Run a block as its fence says; the message of an error that it had to raise."""
    # The lines keep their numbers, so that a traceback points into the page.
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    verb, _, argument = how.partition(" ")
    if verb == "":
        exec(code, names)
    elif verb == "bytewax":
        pass  # a program of another system: tests/peers runs it
    elif verb.startswith("file="):
        (folder / verb.removeprefix("file=")).write_text(block.text)
        exec(code, names)
    elif verb == "plan":
        with monkeypatch.context() as patch:
            patch.setattr(fz.Pipeline, "run", fz.Pipeline.explain)
            exec(code, names)
        pipelines = [value for value in names.values() if isinstance(value, fz.Pipeline)]
        streams = [value for value in names.values() if isinstance(value, fz.Stream)]
        assert pipelines or streams, f"{block.place}: nothing to plan"
        for pipeline in pipelines:
            assert pipeline.explain()
    elif verb == "raises":
        with pytest.raises(fz.FrazilError) as caught:
            exec(code, names)
        assert type(caught.value).__name__ == argument, block.place
        return f"{argument}: {caught.value}"
    else:
        raise AssertionError(f"{block.place}: unknown kind of block {block.info!r}")
    return None


def run_commands(block: Block) -> None:
    """Run the `$ frazil` lines; of `$ make` see that there is such a target."""
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M)
    for command, expected in commands_of(block.text):
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            assert set(words[1:]) <= set(targets), f"{block.place}: {command}"
        elif words[0] == "frazil":
            wanted = re.search(r"exit code (\d+)", command)
            done = CliRunner().invoke(cli, words[1:])
            if done.exception and not isinstance(done.exception, SystemExit):
                raise done.exception
            assert done.exit_code == (int(wanted[1]) if wanted else 0), (
                f"{block.place}: {command}\n{done.output}"
            )
            if expected:
                same = doctest.OutputChecker().check_output(expected, done.output, OUTPUT)
                assert same, f"{block.place}: {command}\n{done.output}"


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """Commands, and the output that is shown below them."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, expected = part.partition("\n")
        while command.endswith("\\"):
            more, _, expected = expected.partition("\n")
            command = command[:-1] + more
        yield command, expected


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for link in LINK.findall(text):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link} leads nowhere"
        assert ROOT in target.parents or target == ROOT, (
            f"{name_of(page)}: {link} leaves the project"
        )
        if anchor:
            assert anchor in anchors_of(target), f"{name_of(page)}: {link} has no such heading"


def test_every_page_is_listed() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    assert set((ROOT / "docs").rglob("*.md")) - {index} <= listed


def anchors_of(page: Path) -> set[str]:
    """Anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


OPTIONS = {
    "connectors/kafka.md": [fz.read_kafka, fz.Tls, fz.Sasl],
    "connectors/kafka-sink.md": [fz.Stream.write_kafka],
    "connectors/files.md": [fz.read_files, fz.Stream.write_files, fz.S3],
    "connectors/generator.md": [fz.read_generator],
    "connectors/memory.md": [fz.read_memory, fz.Stream.write_memory],
    "connectors/iceberg.md": [fz.Stream.write_iceberg],
    "connectors/console.md": [fz.Stream.write_console],
    "connectors/http.md": [fz.HttpIngest, fz.read_http],
    "connectors/postgres-sink.md": [fz.Stream.write_postgres],
    "connectors/object-notifications.md": [fz.read_object_notifications],
    "connectors/sql.md": [fz.read_sql],
    "connectors/lancedb.md": [fz.Stream.write_lancedb],
    "connectors/python.md": [fz.read_python, fz.Stream.write_python],
    "dead-letters.md": [fz.replay],
    "running.md": [fz.Pipeline, fz.Pipeline.run],
    "windows.md": [
        fz.Stream.event_time,
        fz.Grouped.window,
        fz.tumbling,
        fz.hopping,
        fz.cumulating,
        fz.session,
        fz.Stream.fill_gaps,
    ],
    "joins.md": [
        fz.Stream.join,
        fz.Stream.join_asof,
        fz.Stream.join_lookup,
        fz.lookup_parquet,
        fz.lookup_iceberg,
        fz.lookup_sql,
    ],
    "concepts/streams-and-pipelines.md": [fz.field, fz.udf, fz.batch_udf, fz.Stream.map_batches],
}
"""Pages and the functions whose options they list."""


def option_rows(page: Path) -> dict[str, list[str]]:
    """Rows of the tables of options (their first column is called "option")."""
    rows: dict[str, list[str]] = {}
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == "option":
            inside = True
        elif inside and not set(cells[0]) <= {"-"}:
            for name in re.findall(r"`([^`]+)`", cells[0]):
                rows.setdefault(name, []).append(line)
    return rows


@pytest.mark.parametrize("page", OPTIONS)
def test_every_option_is_described(page: str) -> None:
    rows = option_rows(ROOT / "docs" / page)
    known: set[str] = set()
    for function in OPTIONS[page]:
        for name, parameter in inspect.signature(function).parameters.items():
            if name == "self":
                continue
            known.add(name)
            assert name in rows, f"{page}: {name} of {function.__qualname__} is not described"
            if isinstance(parameter.default, str | int | bool):
                shown = str(parameter.default)
                assert any(shown in row for row in rows[name]), f"{page}: {name}={shown}"
    gone = rows.keys() - known
    assert not gone, f"{page}: {gone} are no options"


def test_the_page_of_expressions_is_that_of_the_engine() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "expression_page.py"))
    again = "run scripts/expression_page.py and look at what it changed"
    assert (ROOT / "docs" / "expressions.md").read_text() == script["page"](), again


def test_the_page_of_aggregates_is_that_of_the_engine() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "aggregate_page.py"))
    again = "run scripts/aggregate_page.py and look at what it changed"
    assert (ROOT / "docs" / "aggregates.md").read_text() == script["page"](), again


def test_every_command_is_described() -> None:
    page = (ROOT / "docs" / "running.md").read_text()
    for name, command in all_commands(cli, "frazil"):
        assert f"`{name}" in page, f"{name} is not described"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and "--version" not in parameter.opts:
                assert f"`{parameter.opts[0]}" in page, f"{name} {parameter.opts[0]}"


def all_commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            yield from all_commands(sub, f"{name} {sub.name}")
    else:
        yield name, command


def test_every_metric_is_described() -> None:
    source = (ROOT / "python" / "frazil" / "run" / "prometheus.py").read_text()
    names = set(re.findall(r'MetricFamily\(\s*"(frazil_\w+)"', source))
    names |= {f"frazil_{name}" for name in re.findall(r'\(\s*"(?!frazil)([a-z_]+)",\s*"', source)}
    page = (ROOT / "docs" / "running.md").read_text()
    assert len(names) > 8
    missing = {name for name in names if f"`{name}" not in page}
    assert not missing


def test_image_has_what_the_build_needs() -> None:
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    makefile = (ROOT / "Makefile").read_text()
    needed = set(re.search(r"^APT := (.*)$", makefile, re.M)[1].split())
    not_for_a_wheel = {"ccache", "mold", "libgtest-dev"}
    build = dockerfile.rpartition("\nFROM ")[0]
    assert all(re.search(rf"\b{name}\b", build) for name in needed - not_for_a_wheel)


def test_figures_are_those_that_were_measured() -> None:
    text = (ROOT / "README.md").read_text()
    shown = text[text.index("<!-- figures -->") : text.index("<!-- /figures -->")]
    tables = {
        "from a file": ["w1-file", "w1-file-bytewax"],
        "from Kafka": ["w1-kafka"],
        "windows, from a file": ["w2-file"],
        "sessions, from a file": ["w3-file", "w3-file-bytewax"],
    }
    results = ROOT / "bench" / "results"
    for heading, files in tables.items():
        rows = [json.loads((results / f"{file}.json").read_text()) for file in files]
        measured = {row["system"]: row for file in reversed(rows) for row in file}
        table = shown[shown.index(f"| {heading}") :].split("\n\n")[0]
        lines = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
        for what, cpu, rate, memory in lines:
            row = measured[re.split(r"\W", what)[0].lower()]
            assert row["rows_ok"]
            assert float(cpu) == row["cpu_s_per_million"], what
            assert abs(float(rate.replace(",", "")) - row["events_per_s"]) < 1_000, what
            assert abs(row["peak_mb"] - int(memory)) <= 0.5, what
    freshest = json.loads((results / "freshness.json").read_text())[-1]
    for name in ("p50_s", "p99_s"):
        assert f"{freshest[name]:.2f} s" in shown


def test_figures_of_nexmark_are_those_that_were_measured() -> None:
    from bench.nexmark.queries import QUERIES

    text = (ROOT / "bench" / "nexmark" / "README.md").read_text()
    measured = json.loads((ROOT / "bench" / "results" / "nexmark.json").read_text())
    lines = [line.strip("| ").split(" | ") for line in re.findall(r"^\| q\d.* ok \|$", text, re.M)]
    assert [line[0] for line in lines] == [row["query"] for row in measured] == list(QUERIES)
    for row, shown in zip(measured, lines, strict=True):
        assert row["rows_ok"]
        speed = row["events_per_cpu_s"]
        assert shown[1:] == [
            row["title"],
            f"{row['events']:,}",
            f"{row['rows_out']:,}",
            "in the noise" if speed is None else f"{round(speed, -3):,}",
            f"{row['peak_mb']:.0f}",
            "ok",
        ], row["query"]


def test_figures_of_state_are_those_that_were_measured() -> None:
    text = (ROOT / "bench" / "README.md").read_text()
    for row in json.loads((ROOT / "bench" / "results" / "state.json").read_text()):
        assert row["rows_ok"]
        shown = f"| {row['case']} | {row['cpu_s_per_million']:.3f} | {row['peak_mb']:.0f} |"
        assert shown in text


def test_messages_are_those_of_the_program() -> None:
    """Messages in the page of troubleshooting; dots stand for what varies."""
    files = [*(ROOT / "python").rglob("*.py"), *(ROOT / "engine").rglob("*.cc")]
    text = "".join(path.read_text() for path in files)
    # Strings go on in the next line.
    text = re.sub(r"""["']\s*\n\s*(?:\+|<<)?\s*f?["']""", "", text)
    text = re.sub(r'"\s*\+\s*"', "", text).replace('\\"', '"')
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = [
        m for bold in re.findall(r"^\*\*(.*?)\*\*", page, re.M | re.S) for m in CODE.findall(bold)
    ]
    assert len(messages) > 30
    unknown = [
        part
        for message in messages
        for part in re.split(r"\s*\.\.\.\s*", message)
        if len(part) > 2 and part not in text
    ]
    assert not unknown


def test_every_public_name_is_described() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    made_by_others = {
        "Expr",
        "MemorySink",
        "Secret",
        "Sink",
        "Udf",
        "UserAggregateFunction",
    }  # nobody writes these names
    made_by_others |= {"Aggregate", "Grouped", "PatternStep", "Route"}
    made_by_others |= {"Window", "Windowed", "Without"}
    missing = {name for name in fz.__all__ if not re.search(rf"\b{name}\b", text)}
    missing -= made_by_others
    assert not missing


def test_figures_of_udf_are_those_that_were_measured() -> None:
    text = (ROOT / "bench" / "README.md").read_text()
    lines = text[text.index("## Results of UDF") :].splitlines()
    for name in ("w1", "totals"):
        for row in json.loads((ROOT / "bench" / "results" / f"udf-{name}-file.json").read_text()):
            start = f"| {row['system']} | {row['workload']} |"
            cells = next(line for line in lines if line.startswith(start)).strip("| ").split(" | ")
            assert row["rows_ok"]
            assert abs(float(cells[2]) - row["cpu_s_per_million"]) < 0.001
            assert abs(float(cells[3].replace(",", "")) - row["events_per_s"]) < 1
            assert abs(float(cells[4]) - row["peak_mb"]) < 0.1


def test_figures_of_cdc_are_those_that_were_measured() -> None:
    text = (ROOT / "bench" / "README.md").read_text()
    text = text[text.index("## Results of CDC") :]
    for row in json.loads((ROOT / "bench" / "results" / "cdc.json").read_text()):
        line = next(line for line in text.splitlines() if line.startswith(f"| {row['system']} "))
        _, inserts, changes, rate, memory, rows = line.strip("| ").split(" | ")
        assert float(inserts) == row["inserts_cpu_s_per_million"]
        assert float(changes) == row["changes_cpu_s_per_million"]
        assert abs(int(rate.replace(",", "")) - row["rows_per_cpu_s"]) < 1_000
        assert abs(int(memory) - row["peak_mb"]) <= 0.5
        assert (rows == "ok") == row["rows_ok"]
