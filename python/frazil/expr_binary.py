"""`Expr.bin`: functions of binary values."""

from __future__ import annotations

from typing import Literal

from frazil.expr import Expr, call

Encoding = Literal["hex", "base64"]


class BinaryMethods:
    """What can be done with binary values."""

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def size(self) -> Expr:
        """Number of bytes."""
        return call("str_bytes", self._expr)

    def encode(self, encoding: Encoding) -> Expr:
        """Write the bytes as text."""
        return call("encode", self._expr, options={"encoding": encoding})

    def decode(self, encoding: Encoding, *, strict: bool = True) -> Expr:
        """Read bytes that were written as text.

        Parameters
        ----------
        encoding
            How.
        strict
            End the run at a text that cannot be read; else it becomes null.
        """
        return call("decode", self._expr, options={"encoding": encoding, "strict": strict})

    def sha256(self) -> Expr:
        """SHA-256 of the bytes, as 64 hexadecimal digits."""
        return call("sha256", self._expr)
