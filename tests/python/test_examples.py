"""Each example is short, and runs; those that need a broker or a bucket are planned."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import sys
from pathlib import Path

import frazil as fz
import pytest

FOLDER = Path(__file__).parents[2] / "examples"
PLANNED = {"backfill_then_live", "kafka_to_iceberg", "kafka_to_lakehouse", "kafka_to_s3"}
RUN = {
    "clickstream_sessions": "web.long_visits: 12544 rows",
    "iot_edge": "silent: 100 rows",
    "files_to_iceberg": "orders_from_files: epochs",
    "documents_embedded": "found: [{'path': 'ice.md', ",
    "fraud_rule": "risk.alerts: 1614 rows",
    "generator_to_iceberg": "shop.sales: ",
    "in_the_background": "background: epochs",
    "orders_and_payments": "sales.unpaid_by_minute: ",
    "lookup_tables": "shop.priced: ",
    "python_functions": "shop.words: ",
    "revenue_by_minute": "sales.late_orders: ",
    "scheduled": "shop.flagged: ",
    "several_sinks": "file:large: ",
}
"""Examples and a text of what they print."""
LINES_MAX = 60


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_every_example_is_tried_and_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == PLANNED | RUN.keys()
    listed = (FOLDER / "README.md").read_text()
    for name in PLANNED | RUN.keys():
        text = (FOLDER / f"{name}.py").read_text()
        assert f"({name}.py)" in listed
        assert text.count("\n") < LINES_MAX
        assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("name", sorted(PLANNED))
def test_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    assert isinstance(module.pipeline, fz.Pipeline)
    assert "exactly once, exact" in module.pipeline.explain()


@pytest.mark.parametrize("name", sorted(RUN))
def test_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert RUN[name] in capsys.readouterr().out
