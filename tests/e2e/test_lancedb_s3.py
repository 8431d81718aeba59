"""Tables of LanceDB in a real object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lancedb
import pytest
from frazil.lancedb_sink import LanceDbSink
from frazil.secret import secret
from frazil.testing import sink_conformance

if TYPE_CHECKING:
    from tests.services.s3 import S3

pytestmark = pytest.mark.service


@pytest.mark.parametrize("key", [None, "id"])
def test_it_passes_the_suite(s3: S3, monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    monkeypatch.setenv("LANCE_SECRET", s3.secret_key)
    bucket = s3.create_bucket(f"lance-{key or 'rows'}".lower())
    options = {
        "endpoint": s3.endpoint,
        "region": s3.region,
        "aws_access_key_id": s3.access_key,
        "allow_http": "true",
    }
    hidden = {**options, "aws_secret_access_key": secret("LANCE_SECRET").to_json()}
    plain = {**options, "aws_secret_access_key": s3.secret_key}

    def visible() -> list[dict[str, Any]]:
        database = lancedb.connect(f"s3://{bucket}/db", storage_options=plain)
        try:
            found = database.open_table("rows").to_arrow()
        except ValueError:
            return []
        return list(found.select(["id", "text"]).to_pylist())

    sink_conformance(
        lambda: LanceDbSink(f"s3://{bucket}/db", "rows", key, {}, hidden, True), visible
    )
