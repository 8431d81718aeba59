"""`Expr.str`: functions of strings."""

from __future__ import annotations

from typing import Any

from frazil.expr import Expr, Value, call
from frazil.expr_literal import type_option


class StringMethods:
    """What can be done with strings; lengths and positions count characters."""

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def len_chars(self) -> Expr:
        """Number of characters."""
        return call("str_length", self._expr)

    def len_bytes(self) -> Expr:
        """Number of bytes in UTF-8."""
        return call("str_bytes", self._expr)

    def to_lowercase(self) -> Expr:
        """All characters in lower case."""
        return call("str_lower", self._expr)

    def to_uppercase(self) -> Expr:
        """All characters in upper case."""
        return call("str_upper", self._expr)

    def to_titlecase(self) -> Expr:
        """The first letter of each word in upper case, the others in lower case."""
        return call("str_title", self._expr)

    def reverse(self) -> Expr:
        """Characters in reverse order."""
        return call("str_reverse", self._expr)

    def strip_chars(self, characters: str | None = None) -> Expr:
        """Without white space, or without these characters, at both ends."""
        return self._strip("str_strip", characters)

    def strip_chars_start(self, characters: str | None = None) -> Expr:
        """Without white space, or without these characters, at the start."""
        return self._strip("str_strip_start", characters)

    def strip_chars_end(self, characters: str | None = None) -> Expr:
        """Without white space, or without these characters, at the end."""
        return self._strip("str_strip_end", characters)

    def _strip(self, function: str, characters: str | None) -> Expr:
        return call(function, self._expr, *([] if characters is None else [characters]))

    def starts_with(self, prefix: str) -> Expr:
        """True where the string begins with `prefix`."""
        return call("str_starts_with", self._expr, prefix)

    def ends_with(self, suffix: str) -> Expr:
        """True where the string ends with `suffix`."""
        return call("str_ends_with", self._expr, suffix)

    def contains(self, pattern: str, *, literal: bool = False, ignore_case: bool = False) -> Expr:
        """True where the pattern is found.

        Parameters
        ----------
        pattern
            A regular expression (RE2), or a plain string with ``literal=True``.
        literal
            Take the pattern as it is.
        ignore_case
            Do not distinguish upper and lower case.
        """
        return call(
            "str_contains" if literal else "str_matches",
            self._expr,
            pattern,
            options={"ignore_case": True} if ignore_case else None,
        )

    def count_matches(self, pattern: str, *, literal: bool = False) -> Expr:
        """How often the pattern is found, without overlaps."""
        return call("str_count" if literal else "str_count_matches", self._expr, pattern)

    def replace(self, pattern: str, value: str, *, literal: bool = False, n: int = 1) -> Expr:
        r"""Put `value` in the place of the first `n` matches; ``\1`` is the first group."""
        function = "str_replace" if literal else "str_replace_matches"
        return call(function, self._expr, pattern, value, options={"n": n})

    def replace_all(self, pattern: str, value: str, *, literal: bool = False) -> Expr:
        r"""Put `value` in the place of all matches; ``\1`` is the first group."""
        return self.replace(pattern, value, literal=literal, n=-1)

    def extract(self, pattern: str, group_index: int = 1) -> Expr:
        """Give a group of the first match of a regular expression; null without a match.

        Parameters
        ----------
        pattern
            A regular expression (RE2).
        group_index
            Which group, from 1; 0 is the whole match. A group that took no part is "".
        """
        return call("str_extract", self._expr, pattern, options={"group": group_index})

    def slice(self, offset: int, length: int | None = None) -> Expr:
        """Part from character `offset` (from the end if negative), `length` characters long."""
        return call("str_slice", self._expr, options={"offset": offset, "length": length})

    def head(self, n: int) -> Expr:
        """Give the first `n` characters."""
        return self.slice(0, n)

    def tail(self, n: int) -> Expr:
        """Give the last `n` characters."""
        return self.slice(-n) if n else self.slice(0, 0)

    def split(self, by: str) -> Expr:
        """List of the parts between the places where `by` stands."""
        return call("str_split", self._expr, by)

    def pad_start(self, length: int, fill_char: str = " ") -> Expr:
        """At least `length` characters, filled at the start."""
        return call("str_pad_start", self._expr, fill_char, options={"length": length})

    def pad_end(self, length: int, fill_char: str = " ") -> Expr:
        """At least `length` characters, filled at the end."""
        return call("str_pad_end", self._expr, fill_char, options={"length": length})

    def concat(self, *others: Value, separator: str = "") -> Expr:
        """Join with other strings; null where one of them is null."""
        return call("concat", self._expr, *others, options={"separator": separator})

    def to_datetime(self, format: str | None = None, *, strict: bool = True) -> Expr:
        """Read a timestamp[us, UTC].

        Parameters
        ----------
        format
            As of ``strptime``, without fractions of seconds. Without a format ISO 8601 is read. A
            string without an offset from UTC is taken as UTC.
        strict
            End the run at a string that is no time; else it becomes null.
        """
        return call("str_to_datetime", self._expr, options={"format": format, "strict": strict})

    def to_date(self, format: str | None = None, *, strict: bool = True) -> Expr:
        """Read a date; see `to_datetime`."""
        return call("str_to_date", self._expr, options={"format": format, "strict": strict})

    def encode_utf8(self) -> Expr:
        """Bytes of the string."""
        return call("cast", self._expr, options=type_option(bytes))

    def json_get(self, path: str, dtype: Any = str, *, strict: bool = True) -> Expr:
        """Take a value out of a string of JSON; the same as ``.json.get``."""
        return self._expr.json.get(path, dtype, strict=strict)
