"""python -m bench w1|w2|w3|freshness; see bench/README.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

WORKLOADS = {
    "w1": "events -> filter -> project -> table",
    "w2": "events -> count and sum of each page and minute -> table",
    "w3": "events -> sessions of each user -> table",
}


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in WORKLOADS.items():
        one = commands.add_parser(name, help=f"CPU, speed and memory: {does}")
        one.add_argument("--events", type=_positive, default=1_000_000, help="N; also 3 N are read")
        one.add_argument("--source", choices=("file", "kafka"), default="file")
        one.add_argument("--peers", default="", help="bare,duckdb,bytewax")
        one.add_argument("--runs", type=_positive, default=3)
        one.add_argument("--json", type=Path, metavar="OUT")
    fresh = commands.add_parser("freshness", help="seconds from an event to its commit, from Kafka")
    fresh.add_argument("--rates", default="1000,10000,100000", help="events per second")
    fresh.add_argument("--seconds", type=_positive, default=20, help="for each rate")
    fresh.add_argument("--json", type=Path, metavar="OUT")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    if given.command in WORKLOADS:
        from bench import comparison

        peers = [peer for peer in given.peers.split(",") if peer]
        try:
            results = comparison.measure_workload(
                given.command, given.events, given.source, peers, runs=given.runs
            )
        except (ValueError, FileNotFoundError) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2
        text, plain = comparison.table(results), comparison.as_json(results)
        right = all(each.rows_ok for each in results)
    else:
        from bench import freshness

        rates = [_positive(rate) for rate in given.rates.split(",")]
        delays = freshness.measure_freshness(rates, given.seconds)
        text, plain = freshness.table(delays), freshness.as_json(delays)
        right = all(each.rows_ok for each in delays)
    print(text)
    if given.json is not None:
        given.json.write_text(json.dumps(plain, indent=1) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
