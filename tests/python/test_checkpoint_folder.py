"""Where checkpoints are kept."""

import os

import frazil as fz
import pytest
from frazil.checkpoint_folder import checkpoint_folder


@pytest.mark.parametrize(
    ("given", "warehouses", "expected"),
    [
        ("s3://bucket/prefix/", ["/lake"], "s3://bucket/prefix/p"),
        ("file:///var/x", [], "/var/x/p"),
        (None, ["file:///lake/warehouse", "s3://b"], "/lake/checkpoints/p"),
        (None, ["/lake/warehouse/"], "/lake/checkpoints/p"),
        (None, ["gs://lake/"], "gs://lake/_frazil/p"),
        (None, [], f"{os.getcwd()}/checkpoints/p"),
    ],
)
def test_folder(given: str | None, warehouses: list[str | None], expected: str) -> None:
    assert checkpoint_folder("p", given, warehouses) == expected


def test_a_silent_catalog() -> None:
    with pytest.raises(fz.ConfigError, match="tells no warehouse"):
        checkpoint_folder("p", None, [None])
