"""A pipeline is put back to an earlier epoch by its command, and goes on from there."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from frazil.cli import main
from frazil.iceberg.catalog import embedded_catalog
from pyiceberg.catalog import load_catalog

PROGRAM = """
import frazil as fz

class Row(fz.Schema):
    id: int

rows = fz.read_files("in/*.jsonl", format="json", schema=Row)
pipeline = fz.Pipeline(
    "numbers",
    rows.write_iceberg("t.all"),
    rows.filter(fz.col("id") % 2 == 0).write_iceberg("t.even"),
    rows.rejected.write_iceberg("t.bad"),
    retain=100,
)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that has run three times, each time over one file more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    path = tmp_path / "rollback_program.py"
    path.write_text(PROGRAM)
    (tmp_path / "in").mkdir()
    for number in range(3):
        add_file(number)
        run(path)
    return path


def add_file(number: int) -> None:
    """Rows 10*number to 10*number+9; one that cannot be read from the second file on."""
    lines = [json.dumps({"id": number * 10 + i}) for i in range(10)]
    if number:
        lines.append('{"id": "x"}')
    Path("in", f"{number}.jsonl").write_text("".join(line + "\n" for line in lines))


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def run(program: Path) -> None:
    done = invoke("run", "--until", "now", program)
    assert done.exit_code == 0, done.output


def ids(table: str) -> list[int]:
    loaded = embedded_catalog().load_table(table)
    return sorted(loaded.scan().to_arrow()["id"].to_pylist())


def bad() -> int:
    return int(embedded_catalog().load_table("t.bad").scan().count())


def epochs() -> list[int]:
    """Slots that brought rows."""
    listed = invoke("state", "ls", "--json", "checkpoints/numbers").output.splitlines()
    return [
        slot["slot"]
        for slot in map(json.loads, listed)
        if slot["kind"] == "epoch" and slot["tokens"] and slot["status"] != "cancelled"
    ]


def test_each_row_is_there_once_after_it(program: Path) -> None:
    first, second, _ = epochs()
    for slot, left in ((second, 20), (first, 10)):
        said = invoke("rollback", program, str(slot))
        assert said.exit_code == 2
        assert "nothing was changed" in said.output
        assert len(ids("t.all")) > left
        done = invoke("rollback", program, str(slot), "--yes")
        assert done.exit_code == 0, done.output
        assert f"t.all: epoch {slot}, " in done.output
        assert ids("t.all") == list(range(left))
        assert ids("t.even") == list(range(0, left, 2))
        assert bad() == left // 10 - 1
    assert invoke("audit", "t.all").exit_code == 0
    for _ in range(2):
        run(program)
        assert ids("t.all") == list(range(30))
        assert ids("t.even") == list(range(0, 30, 2))
        assert bad() == 2
    add_file(3)
    run(program)
    assert ids("t.all") == list(range(40))
    for table in ("t.all", "t.even", "t.bad"):
        assert invoke("audit", table).exit_code == 0, invoke("audit", table).output


@pytest.mark.parametrize(("tables", "text"), [(1, "has no proof of it"), (2, "went back from")])
def test_stopped_between_tables_and_log(
    program: Path, monkeypatch: pytest.MonkeyPatch, tables: int, text: str
) -> None:
    """A run is refused then, and asking again ends it."""
    from frazil.iceberg.restate import PutBack

    first, _, _ = epochs()
    commit = PutBack.commit
    done: list[PutBack] = []

    def once(self: PutBack) -> None:
        if len(done) == tables:
            raise KeyboardInterrupt
        done.append(self)
        commit(self)

    with monkeypatch.context() as patch:
        patch.setattr(PutBack, "commit", once)
        assert invoke("rollback", program, str(first), "--yes").exit_code == 1
    assert (bad(), len(ids("t.all")), len(ids("t.even"))) == (0, 30 if tables == 1 else 10, 15)
    add_file(3)
    refused = invoke("run", "--until", "now", program)
    assert refused.exit_code == 1
    assert text in refused.output
    assert "frazil rollback" in refused.output
    assert invoke("rollback", program, str(first), "--yes").exit_code == 0
    run(program)
    assert (bad(), ids("t.all"), len(ids("t.even"))) == (3, list(range(40)), 20)


def test_what_cannot_be_gone_back_to(program: Path) -> None:
    before = ids("t.all")
    refused = invoke("rollback", program, "99", "--yes")
    assert refused.exit_code == 1
    assert "going back needs slot 99" in refused.output
    uri = "sqlite:///warehouse/catalog.db"
    table = load_catalog("embedded", type="sql", uri=uri).load_table("t.even")
    table.append(table.scan().to_arrow())
    refused = invoke("rollback", program, str(epochs()[0]), "--yes")
    assert refused.exit_code == 1
    assert "sink 't.even'" in refused.output
    assert "others have committed since" in refused.output
    assert ids("t.all") == before, "no table was touched"


def test_without_retained_slots(program: Path) -> None:
    first = epochs()[0]
    program.write_text(PROGRAM.replace("retain=100", "retain=0"))
    add_file(3)
    run(program)
    refused = invoke("rollback", program, str(first), "--yes")
    assert refused.exit_code == 1
    assert "unless the pipeline retains some" in refused.output


def test_retained_by_the_command(program: Path) -> None:
    program.write_text(PROGRAM.replace("retain=100", "retain=0"))
    first = epochs()[0]
    add_file(3)
    assert invoke("run", "--until", "now", "--retain", "100", program).exit_code == 0
    assert invoke("rollback", program, str(first), "--yes").exit_code == 0
    assert ids("t.all") == list(range(10))


def test_files_are_not_taken_back(program: Path) -> None:
    text = PROGRAM.replace("    retain", '    rows.write_files("out", format="json"),\n    retain')
    program.write_text(text.replace('"numbers"', '"again"').replace('"t.', '"u.'))
    run(program)
    [slot] = [
        json.loads(line)["slot"]
        for line in invoke("state", "ls", "--json", "checkpoints/again").output.splitlines()
        if json.loads(line)["tokens"]
    ]
    refused = invoke("rollback", program, str(slot - 1), "--yes")
    assert refused.exit_code == 1
    assert "is not a table" in refused.output


def test_dropped_table_is_not_made_anew(program: Path) -> None:
    embedded_catalog().drop_table("t.even")
    for command in (("run", "--until", "now"), ("doctor",), ("rollback", "--yes")):
        words = [*command, str(program), *(["1"] if command[0] == "rollback" else [])]
        refused = invoke(*words)
        assert refused.exit_code == 1
        assert "table t.even is not there any more, the log has landed epoch" in refused.output
        assert not embedded_catalog().table_exists("t.even")
    assert len(ids("t.all")) == 30


def test_accept_and_forget(program: Path) -> None:
    accepted = invoke("state", "accept", "t.all", "numbers", "t.all")
    assert accepted.exit_code == 0
    assert "nothing to accept" in accepted.output
    asked = invoke("state", "forget", "t.all", "numbers", "t.all")
    assert asked.exit_code == 2
    assert "--yes" in asked.output
    assert invoke("state", "forget", "t.all", "numbers", "t.all", "--yes").exit_code == 0
    assert ids("t.all") == list(range(30))
    missing = invoke("state", "forget", "t.all", "numbers", "t.all", "--yes")
    assert missing.exit_code == 1
    assert "has no proof of pipeline 'numbers'" in missing.output
    assert "there is no table t.none" in invoke("state", "accept", "t.none", "a", "b").output
    add_file(3)
    refused = invoke("run", "--until", "now", program)
    assert refused.exit_code == 1
    assert "has no proof of it" in refused.output


BY_KEY = """
import frazil as fz

class Row(fz.Schema):
    id: int

rows = fz.read_files("in/*.jsonl", format="json", schema=Row, on_bad_row="drop")
keyed = rows.with_columns(k=fz.col("id") % 7)
pipeline = fz.Pipeline(
    "numbers",
    keyed.group_by("k").agg(rows=fz.count()).write_iceberg("t.counts", mode="upsert", key="k"),
    keyed.write_iceberg("t.newest", mode="upsert", key="k"),
    retain=100,
)
"""


def test_rows_by_key_go_back_with_their_index(program: Path) -> None:
    """What was replaced since is there again, and the next run replaces the right rows."""
    shutil.rmtree("checkpoints")
    program.write_text(BY_KEY)
    for number in (1, 2):
        Path("in", f"{number}.jsonl").unlink()
    for number in range(3):
        if number:
            add_file(number)
        run(program)
    catalog = embedded_catalog()

    def found(name: str, value: str) -> dict[int, int]:
        rows = catalog.load_table(name).scan().to_arrow().to_pylist()
        assert len({row["k"] for row in rows}) == len(rows)
        return {row["k"]: row[value] for row in rows}

    def check(ids: range) -> None:
        assert found("t.counts", "rows") == Counter(i % 7 for i in ids)
        assert found("t.newest", "id") == {i % 7: i for i in ids}

    check(range(30))
    first, second, _ = epochs()
    for slot, left in ((second, 20), (first, 10)):
        done = invoke("rollback", program, str(slot), "--yes")
        assert done.exit_code == 0, done.output
        check(range(left))
        run(program)
        check(range(30))
