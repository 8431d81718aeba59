"""Search without the limits of the test suite: `python -m tests.model [--limit N] [--scenario
NAME]`.
"""

from __future__ import annotations

import argparse
import time

from tests.model.bugs import BUGS
from tests.model.protocol import Protocol
from tests.model.scenarios import SCENARIOS
from tests.model.search import Search


def show(protocol: Protocol, scenario: str, limit: int) -> bool:
    """Search and print; whether something wrong was found."""
    began = time.process_time()
    result = Search(protocol).run(limit)
    took = time.process_time() - began
    end = result.wrong or ("holds" if result.complete else "holds as far as searched")
    name = type(protocol).__name__
    print(f"{scenario:20} {name:18} {result.states:8} states {took:6.1f} s  {end}", flush=True)
    for number, label in enumerate(result.trace, 1):
        print(f"    {number:2}. {' '.join(map(str, label))}")
    return bool(result.wrong)


def main() -> None:
    """Every scenario with the correct protocol, then every bug where it must show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=100_000, help="states per scenario")
    parser.add_argument("--scenario", choices=SCENARIOS)
    args = parser.parse_args()
    names = [args.scenario] if args.scenario else list(SCENARIOS)
    unexpected = [n for n in names if show(Protocol(SCENARIOS[n]), n, args.limit)]
    for bug, _, scenarios in BUGS:
        unexpected += [
            f"{bug.__name__} in {name}"
            for name in scenarios
            if name in names and not show(bug(SCENARIOS[name]), name, args.limit)
        ]
    raise SystemExit(f"unexpected: {unexpected}" if unexpected else 0)


if __name__ == "__main__":
    main()
