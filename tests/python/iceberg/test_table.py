"""Tables are made as asked, or checked; partition specs; what the writer is told."""

import base64
import json
from pathlib import Path

import pyarrow as pa
import pytest
from frazil.errors import ColumnNotFound, ConfigError, ConnectError, PlanError, SchemaMismatch
from frazil.iceberg.catalog import embedded_catalog
from frazil.iceberg.partition import spec_text, to_spec
from frazil.iceberg.schema import to_iceberg
from frazil.iceberg.table import prepare_table, writer_options, writer_s3
from pyiceberg.catalog import Catalog

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("ts", pa.timestamp("us", tz="UTC")),
        pa.field("user", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("place", pa.struct([("city", pa.string())])),
    ]
)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return embedded_catalog(tmp_path / "warehouse")


def test_table_is_made(catalog: Catalog, tmp_path: Path) -> None:
    table = prepare_table(
        catalog,
        "lake.shop.orders",
        SCHEMA,
        partition_by=["day(ts)", "bucket(16, user)", " truncate( 4 , user ) ", "identity(id)"],
        properties={"owner": "me", "write.metadata.previous-versions-max": "7"},
    )
    assert table.metadata.format_version == 2
    assert spec_text(table.spec(), table.schema()) == [
        "day(ts)",
        "bucket(16, user)",
        "truncate(4, user)",
        "identity(id)",
    ]
    assert [field.name for field in table.spec().fields] == [
        "ts_day",
        "user_bucket",
        "user_trunc",
        "id",
    ]
    properties = table.metadata.properties
    assert properties["owner"] == "me"
    assert properties["write.metadata.previous-versions-max"] == "7"
    assert properties["write.metadata.delete-after-commit.enabled"] == "true"
    options = writer_options(table)
    assert json.loads(json.dumps(options)) == options
    assert options["location"] == f"file://{tmp_path}/warehouse/lake.shop/orders/data"
    assert options["partition"][1] == {
        "source": "user",
        "field_id": 3,
        "name": "user_bucket",
        "transform": "bucket",
        "param": 16,
        "result_type": "int",
    }
    assert (options["compression"], options["compression_level"]) == ("zstd", 1)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(options["schema"])))
    assert schema.names == SCHEMA.names
    assert writer_s3(table) is None


def test_table_is_loaded_and_checked(catalog: Catalog) -> None:
    made = prepare_table(catalog, "shop.orders", SCHEMA, partition_by=["day(ts)"])
    again = prepare_table(catalog, "shop.orders", SCHEMA)
    assert again.metadata.table_uuid == made.metadata.table_uuid
    prepare_table(catalog, "shop.orders", SCHEMA, partition_by=["day(ts)"])
    prepare_table(catalog, "shop.orders", SCHEMA, partition_by=[])
    with pytest.raises(SchemaMismatch, match=r"by day\(ts\), not by hour\(ts\)"):
        prepare_table(catalog, "shop.orders", SCHEMA, partition_by=["hour(ts)"])
    with pytest.raises(SchemaMismatch, match="no column 'extra'"):
        prepare_table(catalog, "shop.orders", SCHEMA.append(pa.field("extra", pa.int8())))


def test_writer_follows_the_table(catalog: Catalog) -> None:
    prepare_table(
        catalog,
        "shop.orders",
        SCHEMA,
        properties={
            "write.data.path": "file:///elsewhere/",
            "write.parquet.compression-codec": "gzip",
            "write.parquet.compression-level": "4",
            "write.target-file-size-bytes": "1000000",
            "write.parquet.row-group-size-bytes": "2000000",
            "write.metadata.metrics.default": "counts",
            "write.metadata.metrics.column.place.city": "truncate(8)",
        },
    )
    options = writer_options(catalog.load_table("shop.orders"))
    assert options["location"] == "file:///elsewhere"
    assert (options["compression"], options["compression_level"]) == ("gzip", 4)
    assert (options["target_file_bytes"], options["row_group_bytes"]) == (1_000_000, 2_000_000)
    assert options["metrics"] == {"*": "counts", "place.city": "truncate(8)"}


def test_properties_that_are_no_numbers(catalog: Catalog) -> None:
    table = prepare_table(
        catalog, "shop.orders", SCHEMA, properties={"write.target-file-size-bytes": "big"}
    )
    with pytest.raises(ConfigError, match=r"write.target-file-size-bytes.*'big'"):
        writer_options(table)


def test_branches(catalog: Catalog) -> None:
    with pytest.raises(PlanError, match="has no branch 'audit'"):
        prepare_table(catalog, "shop.orders", SCHEMA, branch="audit")
    assert not catalog.namespace_exists("shop")
    table = prepare_table(catalog, "shop.orders", SCHEMA)
    with pytest.raises(PlanError, match="has no branch 'audit'"):
        prepare_table(catalog, "shop.orders", SCHEMA, branch="audit")
    table.append(pa.Table.from_pylist([], schema=SCHEMA))
    snapshot = catalog.load_table("shop.orders").current_snapshot()
    assert snapshot is not None
    table.manage_snapshots().create_tag(snapshot.snapshot_id, "audit").commit()
    with pytest.raises(PlanError, match="is a tag of table"):
        prepare_table(catalog, "shop.orders", SCHEMA, branch="audit")


def test_format_version_one_is_refused(catalog: Catalog) -> None:
    catalog.create_namespace("shop")
    catalog.create_table("shop.orders", SCHEMA, properties={"format-version": "1"})
    with pytest.raises(PlanError, match="format version 1, Frazil writes versions 2 and 3"):
        prepare_table(catalog, "shop.orders", SCHEMA)


@pytest.mark.parametrize("name", ["orders", "", ".orders", "shop.", "shop..orders"])
def test_names(catalog: Catalog, name: str) -> None:
    with pytest.raises(PlanError, match=r"namespace\.table"):
        prepare_table(catalog, name, SCHEMA)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", PlanError, "is not a transform"),
        ("days(ts)", PlanError, "did you mean 'day'"),
        ("frob(ts)", PlanError, "bucket(n, c)"),
        ("bucket(user)", PlanError, "for example bucket(16, user)"),
        ("bucket(0, user)", PlanError, "from 1 to"),
        ("day(4, ts)", PlanError, "no transform 'day'"),
        ("day(usr)", ColumnNotFound, "did you mean 'user'"),
        ("nothing", ColumnNotFound, "columns: id"),
        ("day(user)", PlanError, "does not work for string"),
        ("bucket(4, price)", PlanError, "does not work for double"),
        ("place.city", PlanError, "inside a struct"),
        ("place", PlanError, "does not work for struct"),
    ],
)
def test_specs_that_are_refused(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        to_spec([text], to_iceberg(SCHEMA))
    assert message in str(caught.value)
    assert repr(text) in str(caught.value)


def test_same_field_twice() -> None:
    with pytest.raises(PlanError, match="'user_bucket' is there already"):
        to_spec(["bucket(4, user)", "bucket(8, user)"], to_iceberg(SCHEMA))


def test_catalog_away() -> None:
    class Away:
        def load_table(self, name: object) -> None:
            raise OSError("connection refused")

    with pytest.raises(ConnectError, match="connection refused"):
        prepare_table(Away(), "shop.orders", SCHEMA)  # type: ignore[arg-type]
