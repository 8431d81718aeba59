"""Data files of the Iceberg sink: what is in them, what the token says of them."""

import gc
import re
import struct
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil.errors import FrazilError

from tests.python.iceberg_writer import path_of, read, value_of, with_ids, write

EVENTS = with_ids(
    pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("at", pa.timestamp("us", tz="UTC")),
            pa.field("user", pa.string()),
            pa.field("amount", pa.float64()),
        ]
    )
)


def events(begin: int, end: int) -> pa.RecordBatch:
    ids = range(begin, end)
    return pa.record_batch(
        [
            pa.array(ids, pa.int64()),
            pa.array([datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6 + i for i in ids])
            .cast(pa.int64())
            .cast(pa.timestamp("us", tz="UTC")),
            pa.array([f"user-{i % 50}" for i in ids]),
            pa.array([i / 4 for i in ids]),
        ],
        schema=EVENTS.remove_metadata(),
    )


def test_one_file_with_all_rows(tmp_path: Path) -> None:
    batches = [events(i * 1000, (i + 1) * 1000) for i in range(20)]
    [file] = write(tmp_path, EVENTS, batches, epoch=7, attempt=3)
    assert file["rows"] == 20_000
    assert file["bytes"] == path_of(file).stat().st_size
    assert file["spec_id"] == 0
    assert file["partition"] == []
    assert re.fullmatch(r"3-000000000007-0-[0-9a-f-]{36}\.parquet", path_of(file).name)
    assert (
        read([file])
        .combine_chunks()
        .equals(pa.Table.from_batches(batches).cast(read([file]).schema).combine_chunks())
    )
    count, total = duckdb.sql(
        f"select count(*), sum(id) from read_parquet('{path_of(file)}')"
    ).fetchone() or (None, None)
    assert (count, total) == (20_000, sum(range(20_000)))
    assert file["lower"] == {
        "1": (0).to_bytes(8, "little").hex(),
        "2": (1767225600000000).to_bytes(8, "little").hex(),
    }
    assert file["upper"]["1"] == (19_999).to_bytes(8, "little").hex()
    assert file["null_counts"] == {"1": 0, "2": 0, "3": 0, "4": 0}
    assert file["value_counts"] == dict.fromkeys("1234", 20_000)
    assert sum(file["column_sizes"].values()) < file["bytes"]


def test_files_hold_field_ids_and_encodings(tmp_path: Path) -> None:
    [file] = write(tmp_path, EVENTS, [events(0, 10_000)])
    parquet = pq.ParquetFile(path_of(file))
    assert [f.metadata[b"PARQUET:field_id"] for f in parquet.schema_arrow] == [
        b"1",
        b"2",
        b"3",
        b"4",
    ]
    group = parquet.metadata.row_group(0)
    encodings = [set(group.column(i).encodings) - {"RLE"} for i in range(4)]
    assert encodings == [
        {"DELTA_BINARY_PACKED"},
        {"DELTA_BINARY_PACKED"},
        {"PLAIN", "RLE_DICTIONARY"},
        {"PLAIN"},
    ]
    assert group.column(0).compression == "ZSTD"
    assert group.column(2).statistics is None
    [plain] = write(tmp_path, EVENTS, [events(0, 10_000)], delta_encoding=False, compression="none")
    group = pq.ParquetFile(path_of(plain)).metadata.row_group(0)
    assert "PLAIN" in group.column(0).encodings
    assert group.column(0).compression == "UNCOMPRESSED"


def test_no_rows_no_token(tmp_path: Path) -> None:
    assert write(tmp_path, EVENTS, [events(0, 0)]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_full_file_is_followed_by_another(tmp_path: Path) -> None:
    batches = [events(i * 5000, (i + 1) * 5000) for i in range(40)]
    files = write(
        tmp_path, EVENTS, batches, target_file_bytes=100_000, row_group_bytes=50_000, io_threads=2
    )
    assert len(files) > 2
    assert all(file["bytes"] < 200_000 for file in files)
    assert sorted(read(files)["id"].to_pylist()) == list(range(200_000))
    for file in files:
        groups = pq.ParquetFile(path_of(file)).metadata
        assert groups.num_row_groups == len(file["split_offsets"])
        assert file["split_offsets"][0] == 4
        assert file["split_offsets"] == sorted(set(file["split_offsets"]))
    assert max(len(file["split_offsets"]) for file in files) > 1


def test_columns_are_matched_by_name_and_widened(tmp_path: Path) -> None:
    batch = pa.record_batch(
        {
            "user": pa.array(["a", None], pa.large_string()).dictionary_encode(),
            "at": pa.array([1_000, None], pa.timestamp("ms", tz="Europe/Berlin")),
            "__fz_rw": pa.array([None, 5], pa.int64()),
            "id": pa.array([1, 2], pa.int16()),
        }
    )
    [file] = write(tmp_path, EVENTS, [batch])
    assert read([file]).to_pylist() == [
        {"id": 1, "at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "user": "a", "amount": None},
        {"id": 2, "at": None, "user": None, "amount": None},
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1, None]}, 'column "id": 1 values of a batch are null and the table requires one'),
        ({"user": ["a"]}, 'column "id": the table requires it and the stream does not have it'),
        ({"id": [1], "usr": ["a"]}, 'column "usr": the table has no such column'),
        ({"id": [1.0]}, 'column "id": the table has int64, the stream has double'),
        (
            {"id": [1], "at": pa.array([1], pa.timestamp("us"))},
            'column "at": the table has timestamp[us, tz=UTC], the stream has timestamp[us]',
        ),
        (
            {"id": [1], "at": pa.array([1], pa.timestamp("ns", tz="UTC"))},
            "the table has timestamp[us, tz=UTC], the stream has timestamp[ns, tz=UTC]",
        ),
        (
            {"id": [1], "__fz_kind": pa.array([3], pa.uint8())},
            "writing a change (update or delete) to a table that is only appended to",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, columns: dict, message: str) -> None:
    with pytest.raises(FrazilError, match=re.escape(message)):
        write(tmp_path, EVENTS, pa.table(columns))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "zip"}, 'unknown compression "zip"'),
        ({"metrics": {"id": "truncate(0)"}}, "expected none, counts, full or truncate(<length>)"),
        ({"target_file_bytes": "x"}, '"target_file_bytes": expected an integer, got "x"'),
        (
            {"partition": [{"source": "x", "name": "x", "transform": "identity"}]},
            'source column "x" is not a top-level column',
        ),
        (
            {"partition": [{"source": "amount", "name": "x", "transform": "hour"}]},
            "partitioning by hour: Iceberg does not define it for double",
        ),
    ],
)
def test_bad_options(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(FrazilError, match=re.escape(message)):
        write(tmp_path, EVENTS, [events(0, 1)], **options)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(FrazilError, match=re.escape(f"writing file://{tmp_path}/data/")):
        write(tmp_path / "data", EVENTS, [events(0, 10)])


def test_metrics_modes(tmp_path: Path) -> None:
    schema = with_ids(
        pa.schema([("a", pa.string()), ("b", pa.string()), ("c", pa.string()), ("d", pa.string())])
    )
    values = ["x" * 20, "y" * 20, None]
    [file] = write(
        tmp_path,
        schema,
        pa.table(
            dict.fromkeys("abcd", values), schema=pa.schema([(n, pa.string()) for n in "abcd"])
        ),
        metrics={"a": "none", "b": "counts", "c": "truncate(3)", "d": "full"},
    )
    assert file["value_counts"] == {"2": 3, "3": 3, "4": 3}
    assert file["null_counts"] == {"2": 1, "3": 1, "4": 1}
    assert {k: bytes.fromhex(v).decode() for k, v in file["lower"].items()} == {
        "3": "xxx",
        "4": "x" * 20,
    }
    assert {k: bytes.fromhex(v).decode() for k, v in file["upper"].items()} == {
        "3": "yyz",
        "4": "y" * 20,
    }


def test_bounds_of_special_values(tmp_path: Path) -> None:
    nan = float("nan")
    schema = with_ids(
        pa.schema(
            [
                ("nans", pa.float64()),
                ("some", pa.float32()),
                ("zero", pa.float64()),
                ("price", pa.decimal128(38, 2)),
                ("small", pa.decimal128(9, 3)),
                ("text", pa.string()),
                ("raw", pa.binary()),
            ]
        )
    )
    table = pa.table(
        {
            "nans": [nan, nan],
            "some": [nan, 1.5],
            "zero": [0.0, -0.0],
            "price": [Decimal("-1.28"), Decimal("12345678901234567890.12")],
            "small": [Decimal("-0.001"), Decimal("0.128")],
            "text": ["\U0010ffff" * 17, "a" * 15 + "\ud7ff" + "b"],
            "raw": [b"\xff" * 17, b"\x01"],
        },
        schema=schema.remove_metadata(),
    )
    [file] = write(tmp_path, schema, table, metrics={"*": "truncate(16)"})
    lower = {schema.field(int(k) - 1).name: v for k, v in file["lower"].items()}
    upper = {schema.field(int(k) - 1).name: v for k, v in file["upper"].items()}
    assert file["nan_counts"] == {"1": 2, "2": 1, "3": 0}
    assert "nans" not in lower
    assert "nans" not in upper
    assert value_of(pa.float32(), lower["some"]) == 1.5
    assert lower["zero"] == "0000000000000080"
    assert upper["zero"] == "0000000000000000"
    assert lower["price"] == "80"
    assert value_of(pa.decimal128(38, 2), upper["price"]) == Decimal("12345678901234567890.12")
    assert lower["small"] == "ff"
    assert upper["small"] == "0080"
    assert bytes.fromhex(lower["text"]).decode() == "a" * 15 + "\ud7ff"
    assert "text" not in upper  # nothing of 16 characters is greater
    assert "raw" not in upper
    assert lower["raw"] == "01"


def test_partition_paths_are_readable(tmp_path: Path) -> None:
    schema = with_ids(
        pa.schema(
            [
                ("at", pa.timestamp("us", tz="UTC")),
                ("name", pa.string()),
                ("price", pa.decimal128(9, 2)),
            ]
        )
    )
    row = {"at": datetime(2026, 1, 2, 3, tzinfo=UTC), "name": "a/b =ü", "price": Decimal("-1.50")}
    spec = [
        {"source": "at", "name": f"at_{unit}", "transform": unit}
        for unit in ["year", "month", "day", "hour"]
    ]
    spec += [{"source": c, "name": c, "transform": "identity"} for c in ["name", "price"]]
    spec += [{"source": "name", "name": "b", "transform": "bucket", "param": 8}]
    [file] = write(tmp_path, schema, pa.Table.from_pylist([row], schema=schema), partition=spec)
    parts = path_of(file).relative_to(tmp_path).parts[:-1]
    assert parts[:6] == (
        "at_year=2026",
        "at_month=2026-01",
        "at_day=2026-01-02",
        "at_hour=2026-01-02-03",
        "name=a%2Fb+%3D%C3%BC",
        "price=-1.50",
    )
    assert struct.unpack("<i", bytes.fromhex(file["partition"][3]))[0] == 20_455 * 24 + 3
    assert file["partition"][4] == "a/b =ü".encode().hex()
    assert file["partition"][5] == "ff6a"


@pytest.mark.slow
def test_many_partitions_are_written_in_bounded_memory(tmp_path: Path) -> None:
    schema = with_ids(pa.schema([("k", pa.int64()), ("text", pa.string())]))
    spec = [{"source": "k", "name": "k", "transform": "identity"}]
    batches = [
        pa.record_batch(
            {
                "k": pa.array([(i * 7 + j * 13) % 2000 for j in range(4000)], pa.int64()),
                "text": [f"{i}-{j}" * 20 for j in range(4000)],
            }
        )
        for i in range(30)
    ]
    gc.collect()  # what tests before this one left in cycles, and the interpreter frees at any time
    before = pa.total_allocated_bytes()
    files = write(tmp_path, schema, batches, partition=spec, io_threads=2)
    gc.collect()
    assert pa.total_allocated_bytes() == before
    assert len({file["partition"][0] for file in files}) == 2000
    assert sum(file["rows"] for file in files) == 120_000
    counts: dict[int, int] = {}
    for file in files:
        table = pq.read_table(path_of(file), partitioning=None)
        [key] = table["k"].unique().to_pylist()
        assert key.to_bytes(8, "little").hex() == file["partition"][0]
        counts[key] = counts.get(key, 0) + table.num_rows
    assert counts == dict.fromkeys(range(2000), 60)


def test_few_rows_in_each_of_many_partitions_make_a_file_each(tmp_path: Path) -> None:
    """More pieces of batches wait than may: they are put side by side, not written early."""
    schema = with_ids(pa.schema([("k", pa.int32()), ("n", pa.int64()), ("text", pa.string())]))
    spec = [{"source": "k", "name": "k", "transform": "identity"}]
    partitions, rounds = 1000, 70
    batches = [
        pa.record_batch(
            {
                "k": pa.array(
                    [(i * 7 + j * 13) % partitions for j in range(partitions)], pa.int32()
                ),
                "n": pa.array(range(i * partitions, (i + 1) * partitions), pa.int64()),
                "text": [None if j % 5 == 0 else f"{i}-{j}" for j in range(partitions)],
            }
        )
        for i in range(rounds)
    ]
    files = write(tmp_path, schema, batches, partition=spec, io_threads=2)
    assert len(files) == partitions
    written = []
    for file in files:
        table = pq.ParquetFile(path_of(file)).read()
        assert file["rows"] == table.num_rows == rounds
        numbers = table["n"].to_pylist()
        assert numbers == sorted(numbers)
        written.append(table)
    everything = pa.concat_tables(written).cast(pa.schema(list(batches[0].schema)))
    assert everything.sort_by("n").equals(pa.Table.from_batches(batches))
