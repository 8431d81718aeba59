"""The module is linked to the libraries it was built for."""

import pyarrow as pa
from frazil import _engine


def test_versions() -> None:
    versions = _engine.versions()
    assert versions["arrow"] == pa.__version__
    assert tuple(map(int, versions["librdkafka"].split(".")[:2])) >= (2, 2)
    assert versions["simdjson"].startswith("3.")
