"""Proposed schemas run, and fit the data they were made of."""

import gzip
import json
from pathlib import Path

import frazil as fz
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def classes(text: str) -> dict:
    names: dict = {}
    exec(text, names)
    return names


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            "id": 1,
            "price": 1,
            "big": 2**70,
            "at": "2026-01-01T00:00:00Z",
            "day": "2026-01-02",
            "text": "x",
            "ok": True,
            "tags": ["a"],
            "place": {"lat": 1.5, "zip.code": "1"},
            "@source.ip": "::1",
            "class": None,
            "mixed": 1,
        },
        {
            "id": 2,
            "price": 1.5,
            "big": 1,
            "at": "2026-01-01T00:00:00.5+01:00",
            "day": "2026-01-02",
            "text": "2026-01-02",
            "ok": False,
            "tags": [],
            "place": {"lat": 2.0, "zip.code": "2"},
            "@source.ip": "::2",
            "class": None,
            "mixed": "x",
            "new": 1,
        },
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    fz.infer(path, name="Event")
    text = capsys.readouterr().out
    event = classes(text)["Event"]
    place = pa.struct(
        [
            pa.field("lat", pa.float64(), False),
            pa.field("zip_code", pa.string(), False, {"fz:source": "zip.code"}),
        ]
    )
    assert event.to_arrow().remove_metadata() == pa.schema(
        [
            pa.field("id", pa.int64(), False),
            pa.field("price", pa.float64(), False),
            pa.field("big", pa.decimal128(38, 0), False),
            pa.field("at", pa.timestamp("us", "UTC"), False),
            pa.field("day", pa.date32(), False),
            pa.field("text", pa.string(), False),
            pa.field("ok", pa.bool_(), False),
            pa.field("tags", pa.list_(pa.field("element", pa.string(), False)), False),
            pa.field("place", place, False),
            pa.field("source_ip", pa.string(), False),
            pa.field("class_", pa.string(), True),
            pa.field("mixed", pa.string(), False),
            pa.field("new", pa.int64(), True),
        ]
    )
    assert event.to_arrow().field("source_ip").metadata == {b"fz:source": b'["@source.ip"]'}


def test_gzip_and_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": "text"}\n'))
    fz.infer(tmp_path / "*.gz", rows=1)
    assert "a: int\n" in capsys.readouterr().out


def test_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = pa.schema(
        [
            pa.field("id", pa.int32(), False),
            pa.field("x y", pa.float32()),
            pa.field("at", pa.timestamp("ms", "UTC")),
            pa.field("price", pa.decimal128(9, 2)),
            pa.field("ok", pa.bool_()),
            pa.field("day", pa.date32()),
            pa.field("place", pa.struct({"lat": pa.float64()})),
            pa.field("labels", pa.map_(pa.string(), pa.int64())),
            pa.field("id16", pa.binary(16)),
        ]
    )
    pq.write_table(schema.empty_table(), tmp_path / "rows.parquet")
    fz.infer(tmp_path / "rows.parquet")
    made = classes(capsys.readouterr().out)["Row"].to_arrow()
    assert made.names == ["id", "x_y", *schema.names[2:]]
    assert [field.type for field in made] == [field.type for field in schema]
    assert [field.nullable for field in made] == [field.nullable for field in schema]


@pytest.mark.parametrize(
    ("data", "text"),
    [("", "has no rows"), ("[1]\n", "line 1: no object"), ('{"a": 1}\n{"a"\n', "line 2: ")],
)
def test_mistakes(tmp_path: Path, data: str, text: str) -> None:
    (tmp_path / "rows.jsonl").write_text(data)
    with pytest.raises(fz.PlanError, match=text):
        fz.infer(tmp_path / "rows.jsonl")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(fz.ConfigError, match="there is no file"):
        fz.infer(tmp_path / "*.jsonl")
