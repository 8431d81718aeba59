"""The Iceberg data writer against an object store."""

import base64
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frazil import _engine
from frazil.errors import FrazilError

from tests.python.iceberg_writer import with_ids

if TYPE_CHECKING:
    from tests.services.s3 import S3

SCHEMA = with_ids(pa.schema([("id", pa.int64()), ("part", pa.string())]))


def options(s3: "S3", bucket: str, **more: Any) -> str:
    given = {
        "location": f"s3://{bucket}/wh/t/data",
        "schema": base64.b64encode(SCHEMA.serialize().to_pybytes()).decode(),
        "partition": [{"source": "part", "name": "part", "transform": "identity"}],
        "s3": {
            "endpoint": s3.endpoint,
            "region": s3.region,
            "access_key_id": s3.access_key,
            "secret_access_key": s3.secret_key,
        },
        **more,
    }
    return json.dumps(given)


@pytest.mark.service
def test_files_are_uploaded(s3: "S3") -> None:
    bucket = s3.create_bucket("writer")
    table = pa.table({"id": range(1000), "part": ["a/b" if i % 2 else "c" for i in range(1000)]})
    token = json.loads(
        _engine.write_sink("iceberg", options(s3, bucket), table, epoch=3, io_threads=2)
    )
    client = s3.client()
    rows = []
    for file in token["files"]:
        assert file["path"].startswith(f"s3://{bucket}/wh/t/data/part=")
        key = file["path"].removeprefix(f"s3://{bucket}/")
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert len(body) == file["bytes"]
        rows += pq.read_table(io.BytesIO(body))["id"].to_pylist()
    assert sorted(rows) == list(range(1000))
    listed = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert len(listed) == len(token["files"]) == 2
    client.close()


@pytest.mark.service
def test_a_refused_upload_names_the_file_and_no_secret(s3: "S3") -> None:
    table = pa.table({"id": [1], "part": ["a"]})
    with pytest.raises(FrazilError, match=re.escape("writing s3://no-such-bucket/")) as caught:
        _engine.write_sink("iceberg", options(s3, "no-such-bucket"), table)
    assert s3.secret_key not in str(caught.value)
