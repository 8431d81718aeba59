"""Options that come as text: from the environment, a catalog's properties, a store's options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frazil.errors import FrazilError

# The longest time-out taken (seconds).
SECONDS_MAX = 3600


def flag_of(value: object, option: str, error: type[FrazilError]) -> bool | None:
    """True or false; None if it is not given."""
    if value is None:
        return None
    text = str(value).lower()
    if text not in ("true", "false"):
        raise error(f"{option}: expected true or false, got {value!r}")
    return text == "true"


def seconds_of(value: str | None, option: str, default: float, error: type[FrazilError]) -> float:
    """A time-out; `default` if it is not given."""
    if value is None:
        return default
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= SECONDS_MAX:
        raise error(f"{option}: expected seconds up to {SECONDS_MAX}, got {value!r}")
    return seconds
