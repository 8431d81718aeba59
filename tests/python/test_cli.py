"""The command line, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from frazil.cli import main

PROGRAM = """
import frazil as fz
rows = fz.read_generator(rows=1000, partitions=2)
pipeline = fz.Pipeline(
    "numbers", rows.select("id").write_files("out", format="json"), checkpoint="ck"
)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "numbers_program.py"
    path.write_text(PROGRAM)
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_run_twice_reads_each_row_once(program: Path, tmp_path: Path) -> None:
    first = invoke("run", "--until", "now", "--report", str(program))
    assert first.exit_code == 0, first.output
    report = json.loads(first.stdout.splitlines()[-1])
    assert report["sources"]["generator:0"]["read"] == 1000
    assert invoke("run", "--until", "now", str(program)).exit_code == 0
    ids = [
        json.loads(line)["id"]
        for file in (tmp_path / "out").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert sorted(ids) == list(range(1000))


def test_check_explains_what_a_checkpoint_would_not_fit(program: Path) -> None:
    assert invoke("run", "--until", "now", str(program)).exit_code == 0
    fits = invoke("check", str(program), "--against", "ck/numbers")
    assert fits.exit_code == 0
    assert "fits" in fits.output
    program.write_text(PROGRAM.replace("partitions=2", 'partitions=2, name="other"'))
    changed = invoke("check", str(program), "--against", "ck/numbers")
    assert changed.exit_code == 1
    assert "was removed or renamed" in changed.output


def test_state_lists_the_slots(program: Path) -> None:
    assert invoke("run", "--until", "now", str(program)).exit_code == 0
    listed = invoke("state", "ls", "ck/numbers")
    assert listed.exit_code == 0
    assert "epoch" in listed.output


def test_explain(program: Path) -> None:
    result = invoke("explain", str(program))
    assert result.exit_code == 0
    assert "exactly once" in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "0 pipelines"),
        (PROGRAM + "again = pipeline\nother = fz.Pipeline('o', rows.write_memory())", "pipelines"),
    ],
)
def test_a_program_has_one_pipeline_or_names_it(program: Path, text: str, expected: str) -> None:
    program.write_text(text)
    result = invoke("explain", str(program))
    assert result.exit_code == 1
    assert expected in result.output


def test_named_pipeline(program: Path) -> None:
    assert invoke("explain", f"{program}:pipeline").exit_code == 0
    wrong = invoke("explain", f"{program}:pipelin")
    assert wrong.exit_code == 1
    assert "have: pipeline" in wrong.output


def test_doctor_looks_at_the_checkpoint_store(program: Path) -> None:
    result = invoke("doctor", str(program))
    assert result.exit_code == 0, result.output
    assert "puts are create-only" in result.output


def test_a_run_of_bounded_sources_ends_by_itself(program: Path) -> None:
    result = invoke("run", "--workers", "4", str(program))
    assert result.exit_code == 0, result.output
    assert "1000 rows" in result.output


def test_a_program_run_by_python_keeps_its_standard_output(program: Path) -> None:
    program.write_text(PROGRAM + "print(pipeline.run(until='now').to_json())")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    json.loads(done.stdout)
    assert json.loads(done.stderr.splitlines()[0])["event"] == "started"


def test_check_says_which_version_of_a_lookup_table_goes_on(program: Path) -> None:
    lookup = (
        "import sqlite3\n"
        "with sqlite3.connect('t.db') as db:\n"
        "    db.execute('create table if not exists t (id integer)')\n"
        "db.close()\n"
        "dim = fz.lookup_sql('select id from t', url='sqlite:///t.db', schema={'id': int}, "
        "name='dim')\n"
        "rows = rows.join_lookup(dim, on='id', how='anti')\n"
    )
    before, line, after = PROGRAM.partition("pipeline = ")
    program.write_text(before + lookup + line + after)
    assert invoke("run", "--until", "now", str(program)).exit_code == 0
    fits = invoke("check", str(program), "--against", "ck/numbers")
    assert fits.exit_code == 0
    assert "lookup dim goes on with rows:0000" in fits.output
