"""What is raised where a connector does not do what a run relies on."""

from __future__ import annotations

import json
from typing import Any


class NotConforming(AssertionError):
    """A connector does not do what a run relies on; says what, where, and what would happen."""


def through_json(value: Any, whose: str) -> Any:
    """A position or token as a checkpoint gives it back."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NotConforming(f"{whose} gave {value!r}, which is no JSON: {error}") from None
