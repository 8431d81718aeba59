"""Options of librdkafka that have no name of ours, as they stand in a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frazil.secret import references

if TYPE_CHECKING:
    from frazil.node import Json


def client_options_json(options: Mapping[str, Any]) -> Json:
    """Options of librdkafka, which are texts all."""
    return {
        key: str(value).lower()
        if isinstance(value, bool)
        else str(value)
        if isinstance(value, int | float)
        else value
        for key, value in references(options, "client_options").items()
    }
