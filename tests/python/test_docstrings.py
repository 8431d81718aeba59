"""What is public says what it does, with an example, and the examples are right."""

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import frazil as fz
import pytest

MODULES = [
    "async_udf",
    "avro_format",
    "checkpoint_folder",
    "chunk",
    "concat",
    "debezium",
    "drift",
    "duration",
    "expr_aggregate",
    "fill_gaps",
    "grouped",
    "grouped_ordered",
    "http_ingest",
    "infer",
    "keyed",
    "keyed_out",
    "installed_connectors",
    "lookup",
    "onnx_model",
    "openai_embeddings",
    "partition",
    "pattern",
    "pipeline",
    "protobuf",
    "python_sink",
    "python_source",
    "read",
    "object_notifications",
    "read_python",
    "read_sql",
    "replay",
    "report",
    "route",
    "rows.keyed",
    "rows.row_stream",
    "schema",
    "schema_registry",
    "secret",
    "security",
    "show",
    "stream",
    "stream_embed",
    "stream_failed",
    "stream_join",
    "stream_joined",
    "stream_ordered",
    "stream_rows",
    "stream_time",
    "testing.any_order",
    "testing.given",
    "testing.rows",
    "testing.run_to_end",
    "types",
    "udf",
    "user_aggregate",
    "window",
    "write",
    "write_kafka",
    "write_lancedb",
    "write_postgres",
    "write_python",
]


def public() -> Iterator[tuple[str, Any]]:
    """Functions and methods that users call, but for those of expressions."""
    for name in fz.__all__:
        thing = getattr(fz, name)
        if getattr(thing, "__module__", "").startswith("frazil.expr"):
            continue
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing) and not issubclass(thing, Exception):
            yield name, thing
            for method, function in inspect.getmembers(thing):
                own = inspect.isfunction(function) or inspect.ismethod(function)
                if own and not method.startswith("_"):
                    yield f"{name}.{method}", function


@pytest.mark.parametrize(("name", "thing"), list(public()), ids=lambda value: str(value)[:40])
def test_docstring(name: str, thing: Any) -> None:
    text = inspect.getdoc(thing) or ""
    assert text, f"{name} has no docstring"
    assert text.splitlines()[0].endswith("."), name
    if not inspect.isfunction(thing) and not inspect.ismethod(thing):
        return
    if "to_json" in name and not name.startswith("RunReport"):
        return  # for the plan, not for people
    assert "Examples\n--------" in text, f"{name} has no example"
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name in ("self", "cls") or name.startswith("Pipeline.run"):
            continue
        assert f"{parameter.name}" in text, f"{name}: {parameter.name} is not described"


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = importlib.import_module(f"frazil.{module}")
    failed, tried = doctest.testmod(found, optionflags=doctest.ELLIPSIS)
    assert failed == 0
    assert tried > 0


def test_every_module_of_the_surface_is_checked() -> None:
    with_examples = {
        path.stem
        for path in Path(fz.__file__).parent.glob("*.py")
        if not path.name.startswith("expr") and ">>>" in path.read_text()
    }
    assert with_examples <= set(MODULES)


def test_errors_have_a_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    headings = {line[3:] for line in page.splitlines() if line.startswith("## ")}
    from frazil import errors

    classes = {
        name
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, errors.FrazilError)
    }
    assert classes <= headings
    assert headings <= classes
