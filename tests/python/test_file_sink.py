"""File, console and memory sinks: what the engine writes, and the commits."""

import base64
import io
import json
import math
import os
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import _engine
from frazil.connectors import console_commit, file_commit, memory_commit
from frazil.errors import CommitError, FrazilError
from hypothesis import given, settings
from hypothesis import strategies as st

TABLE = pa.table({"id": [1, 2, 3], "name": ["a", None, 'q"\n'], "__fz_rw": [None, 5, None]})
ROWS = TABLE.drop_columns(["__fz_rw"]).to_pylist()


def write(
    connector: str, data: pa.Table, *, epoch: int = 1, worker: int = 0, **options: Any
) -> str:
    return _engine.write_sink(
        connector, json.dumps(options), data, epoch=epoch, worker=worker, io_threads=1
    )


def stage(folder: Path, *, kind: str = "json", epoch: int = 1, attempt: int = 1) -> str:
    return write(
        "file", TABLE, epoch=epoch, folder=str(folder), format=kind, prefix="out", attempt=attempt
    )


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "_frazil")


def test_nothing_is_visible_before_the_commit(tmp_path: Path) -> None:
    token = stage(tmp_path, epoch=5)
    assert visible(tmp_path) == []
    assert json.loads(token)["rows"] == 3
    assert file_commit.commit(tmp_path, [token]) == 3
    assert visible(tmp_path) == ["out-000000000005-0-0.jsonl"]
    text = (tmp_path / "out-000000000005-0-0.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == ROWS
    assert list((tmp_path / file_commit.STAGING).iterdir()) == []


def test_parquet(tmp_path: Path) -> None:
    token = stage(tmp_path, kind="parquet")
    file_commit.commit(tmp_path, [token])
    [name] = visible(tmp_path)
    assert pq.read_table(tmp_path / name).to_pylist() == ROWS
    counted = duckdb.sql(f"select count(*) from read_parquet('{tmp_path / name}')").fetchone()
    assert counted == (3,)


def test_a_commit_can_be_repeated_at_any_point(tmp_path: Path) -> None:
    token = stage(tmp_path)
    [file] = json.loads(token)["files"]
    os.link(tmp_path / file["staged"], tmp_path / file["name"])  # a crash before the second step
    for _ in range(2):
        assert file_commit.commit(tmp_path, [token]) == 3
        assert visible(tmp_path) == [file["name"]]
        assert list((tmp_path / file_commit.STAGING).iterdir()) == []


def test_a_lost_file_is_an_error(tmp_path: Path) -> None:
    token = stage(tmp_path)
    [file] = json.loads(token)["files"]
    (tmp_path / file["staged"]).unlink()
    with pytest.raises(CommitError, match=r"both _frazil/staging/.* and out-.* are gone"):
        file_commit.commit(tmp_path, [token])


def test_a_foreign_file_is_not_overwritten(tmp_path: Path) -> None:
    token = stage(tmp_path)
    [file] = json.loads(token)["files"]
    (tmp_path / file["name"]).write_text("mine")
    with pytest.raises(CommitError, match="is there already and is another file"):
        file_commit.commit(tmp_path, [token])
    assert (tmp_path / file["name"]).read_text() == "mine"
    assert (tmp_path / file["staged"]).exists()


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    token = stage(tmp_path)
    for _ in range(2):
        file_commit.commit(tmp_path, [token])
        assert visible(tmp_path) == ["out-000000000001-0-0.jsonl"]


def test_files_of_dead_attempts_are_removed(tmp_path: Path) -> None:
    stage(tmp_path, attempt=1)
    needed = stage(tmp_path, attempt=1, epoch=2)
    stage(tmp_path, attempt=3, epoch=3)
    write("file", TABLE, folder=str(tmp_path), format="json", prefix="other", attempt=1)
    write("file", TABLE, folder=str(tmp_path), format="json", prefix="out-2", attempt=1)
    staging = tmp_path / file_commit.STAGING
    (staging / "notes.txt").write_text("not ours")
    names = file_commit.staged_files([needed])

    def remove(folder: Path) -> int:
        return file_commit.remove_abandoned(folder, prefix="out", before_attempt=3, needed=names)

    assert remove(tmp_path) == 1
    assert len(list(staging.iterdir())) == 5
    assert file_commit.commit(tmp_path, [needed]) == 3
    assert remove(tmp_path / "new") == 0


def test_prefixes_are_file_names() -> None:
    assert file_commit.file_prefix("file:/tmp/out put/ü", "0123abcd") == "tmp_out_put-0123abcd"
    assert file_commit.file_prefix("../..", "0123abcd") == "rows-0123abcd"
    assert len(file_commit.file_prefix("x" * 500, "0123abcd")) == 69


def test_no_rows_no_token(tmp_path: Path) -> None:
    assert write("file", TABLE.slice(0, 0), folder=str(tmp_path), format="json") == ""
    assert write("console", TABLE.slice(0, 0)) == ""
    assert write("memory", TABLE.slice(0, 0)) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folder": "x", "format": "json"}, "expected an absolute path"),
        ({"folder": "/x", "format": "csv"}, 'expected json or parquet, got "csv"'),
        ({"folder": "/x", "format": "json", "prefix": "a/b"}, "no file name"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FrazilError, match=message):
        write("file", TABLE, **options)


def test_console(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    token = write("console", TABLE)
    assert console_commit.commit([token], out) == 3
    assert out.getvalue().splitlines()[0] == '{"id":1,"name":"a"}'
    many = pa.table({"n": range(5000)})
    out = io.StringIO()
    assert console_commit.commit([write("console", many)], out) == 5000
    assert out.getvalue().splitlines()[-1] == "... and 4000 more rows"
    assert len(out.getvalue().splitlines()) == 1001
    long = pa.table({"s": ["x" * 400_000] * 50})
    assert len(write("console", long)) < 2_000_000


def test_memory() -> None:
    batches: list[pa.RecordBatch] = []
    assert memory_commit.commit([write("memory", TABLE)], batches.append) == 3
    assert pa.Table.from_batches(batches).to_pylist() == ROWS
    with pytest.raises(FrazilError, match="take more than 67108864 bytes"):
        write("memory", pa.table({"s": ["x" * 1_000_000] * 70}))


def test_tokens_of_the_future_are_refused() -> None:
    with pytest.raises(CommitError, match="version 2"):
        file_commit.read_token('{"v":2}')


ANY = pa.schema(
    [
        ("b", pa.bool_()),
        ("i8", pa.int8()),
        ("u64", pa.uint64()),
        ("f32", pa.float32()),
        ("f64", pa.float64()),
        ("dec", pa.decimal128(38, 10)),
        ("day", pa.date32()),
        ("time", pa.time64("us")),
        ("ts", pa.timestamp("us")),
        ("tz", pa.timestamp("ms", tz="UTC")),
        ("text", pa.string()),
        ("raw", pa.binary()),
        ("list", pa.list_(pa.struct([("x", pa.int32()), ("y", pa.string())]))),
        ("map", pa.map_(pa.string(), pa.float64())),
        ("pairs", pa.map_(pa.int32(), pa.string())),
    ]
)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "b": st.booleans(),
    "i8": st.integers(-128, 127),
    "u64": st.integers(0, 2**64 - 1),
    "f32": st.floats(width=32),
    "f64": st.floats(),
    "dec": st.decimals(-(10**27), 10**27, places=10),
    "day": st.dates(),
    "time": st.times(),
    "ts": TIMES,
    "tz": TIMES.map(
        lambda t: t.replace(tzinfo=UTC, microsecond=t.microsecond // 1000 * 1000),
    ),
    "text": st.text(),
    "raw": st.binary(),
    "list": st.lists(
        st.none()
        | st.fixed_dictionaries({"x": st.none() | st.integers(-9, 9), "y": st.none() | st.text()})
    ),
    "map": st.dictionaries(st.text(), st.floats(allow_nan=False)).map(lambda d: list(d.items())),
    "pairs": st.dictionaries(st.integers(0, 9), st.text()).map(lambda d: list(d.items())),
}


def restored(name: str, value: Any) -> Any:
    """What a value of JSON was."""
    if value is None:
        return None
    match name:
        case "f32":
            return float(np.float32(value))
        case "f64":
            return float(value)
        case "day":
            return date.fromisoformat(value)
        case "time":
            return time.fromisoformat(value)
        case "ts" | "tz":
            return datetime.fromisoformat(value)
        case "raw":
            return base64.b64decode(value)
        case "map":
            return [(k, float(v)) for k, v in value.items()]
        case "pairs":
            return [(p["key"], p["value"]) for p in value]
    return value


def close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return bool(a == b)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}),
        min_size=1,
        max_size=4,
    )
)
def test_json_lines_hold_every_value(rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, ANY)
    token = json.loads(write("console", table))
    lines = token["lines"].split("\n")
    assert lines.pop() == ""
    for line, row in zip(lines, table.to_pylist(), strict=True):
        parsed = json.loads(line, parse_float=Decimal, parse_int=Decimal)
        assert list(parsed) == ANY.names
        for name, value in row.items():
            assert close(restored(name, parsed[name]), value), name


def test_json_of_the_rest() -> None:
    unit = UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7")
    table = pa.table(
        {
            "uuid": pa.array([unit.bytes], pa.uuid()),
            "code": pa.array(["x"]).dictionary_encode(),
            "wait": pa.array([5], pa.duration("ms")),
            "none": pa.nulls(1),
            "half": pa.array([1.5], pa.float16()),
            "late": pa.array([123], pa.timestamp("ns", tz="Europe/Berlin")),
            "nan": [float("nan")],
            "inf": [float("-inf")],
            'na"me': ["\u2028\x01"],
        }
    )
    [line] = json.loads(write("console", table))["lines"].splitlines()[:1]
    assert (
        line
        == (
            f'{{"uuid":"{unit}","code":"x","wait":5,"none":null,"half":1.5,'
            '"late":"1970-01-01T00:00:00.000000123Z","nan":"NaN","inf":"-Infinity",'
            '"na\\"me":"\u2028\\u0001"}'
        ).splitlines()[0]
    )
    odd = pa.table({"x": pa.array([None, (1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(FrazilError, match='column "x": writing JSON: a value of type'):
        write("console", odd)
