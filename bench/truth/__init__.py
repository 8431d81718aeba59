"""What workloads have to give, by name."""

from __future__ import annotations

from bench.truth.totals import Totals
from bench.truth.truth import Truth
from bench.truth.w1 import W1
from bench.truth.w2 import W2
from bench.truth.w3 import W3

TRUTHS: dict[str, Truth] = {each.workload: each for each in (W1(), W2(), W3(), Totals())}

__all__ = ["TRUTHS", "Truth"]
