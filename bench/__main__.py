"""python -m bench w1|w2|w3|udf|nexmark|cdc|state|freshness; see bench/README.md."""

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

OWN = {
    "w1": ["frazil", "frazil @udf", "frazil @batch_udf", "frazil rows()"],
    "w2": ["frazil", "frazil rows()"],
    "w3": ["frazil", "frazil rows()"],
    "totals": ["frazil on_rows", "frazil on_groups", "frazil rows()"],
}
"""The ways to write a workload that `udf` measures beside one another."""


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
        one.add_argument("--peers", default="", help="bare,duckdb,bytewax,flink")
        one.add_argument("--runs", type=_positive, default=3)
        one.add_argument("--json", type=Path, metavar="OUT")
    udf = commands.add_parser("udf", help="with functions of Python, beside without")
    udf.add_argument("--workload", choices=tuple(OWN), default="w1")
    udf.add_argument("--events", type=_positive, default=1_000_000, help="N; also 3 N are read")
    udf.add_argument("--source", choices=("file", "kafka"), default="file")
    udf.add_argument("--peers", default="", help="bytewax")
    udf.add_argument("--runs", type=_positive, default=3)
    udf.add_argument("--json", type=Path, metavar="OUT")
    suite = commands.add_parser("nexmark", help="CPU, speed and memory of the Nexmark queries")
    suite.add_argument("--events", type=_positive, default=1_000_000, help="of all kinds")
    suite.add_argument("--queries", default="", help="q0,q5; default: all that are written")
    suite.add_argument("--peers", default="", help="flink")
    suite.add_argument("--runs", type=_positive, default=3)
    suite.add_argument("--json", type=Path, metavar="OUT")
    cdc = commands.add_parser("cdc", help="CPU, speed and memory: a table by its log of changes")
    cdc.add_argument("--events", type=_positive, default=1_000_000, help="inserts; and changes")
    cdc.add_argument("--source", choices=("file", "kafka"), default="kafka")
    cdc.add_argument("--peers", default="", help="flink")
    cdc.add_argument("--runs", type=_positive, default=3)
    cdc.add_argument(
        "--scans",
        default="",
        metavar="EPOCHS",
        help="how long a table of so many epochs is read, instead",
    )
    cdc.add_argument("--json", type=Path, metavar="OUT")
    state = commands.add_parser("state", help="CPU by number of keys, and of windows that overlap")
    state.add_argument("--events", type=_positive, default=4_000_000, help="N; also 3 N are read")
    state.add_argument("--runs", type=_positive, default=3)
    state.add_argument(
        "--snapshots",
        default="",
        metavar="KEYS",
        help="checkpoints of so many keys, instead",
    )
    state.add_argument("--json", type=Path, metavar="OUT")
    fresh = commands.add_parser("freshness", help="seconds from an event to its commit, from Kafka")
    fresh.add_argument("--rates", default="1000,10000,100000", help="events per second")
    fresh.add_argument("--seconds", type=_positive, default=20, help="for each rate")
    fresh.add_argument("--json", type=Path, metavar="OUT")
    return parser.parse_args()


Rows = list[dict[str, object]]


def _workload(given: argparse.Namespace) -> tuple[str, Rows]:
    from bench import comparison

    peers = [peer for peer in given.peers.split(",") if peer]
    workload, own = given.command, ["frazil"]
    if workload == "udf":
        workload = given.workload
        own = OWN[workload]
    results = comparison.measure_workload(
        workload, given.events, given.source, peers, own=own, runs=given.runs
    )
    return comparison.table(results), comparison.as_json(results)


def _nexmark(given: argparse.Namespace) -> tuple[str, Rows]:
    from bench.nexmark import measurement

    names = measurement.chosen(given.queries)
    peers = [peer for peer in given.peers.split(",") if peer]
    results = measurement.measure_queries(names, given.events, runs=given.runs, peers=peers)
    return measurement.table(results), measurement.as_json(results)


def _cdc(given: argparse.Namespace) -> tuple[str, Rows]:
    from bench.cdc import measurement, scans

    if given.scans:
        epochs = [_positive(number) for number in given.scans.split(",")]
        read = scans.measure_scans(given.events, epochs)
        return scans.table(read), scans.as_json(read)
    peers = [peer for peer in given.peers.split(",") if peer]
    results = measurement.measure_cdc(given.events, given.source, peers, runs=given.runs)
    return measurement.table(results), measurement.as_json(results)


def _state(given: argparse.Namespace) -> tuple[str, Rows]:
    from bench import snapshots, state

    if given.snapshots:
        counts = [_positive(keys) for keys in given.snapshots.split(",")]
        steps = [
            snapshots.measure_snapshots(keys, workers=workers)
            for keys in counts
            for workers in (1, 2)
        ]
        return snapshots.table(steps), snapshots.as_json(steps)
    costs = state.measure_state(given.events, runs=given.runs)
    return state.table(costs), state.as_json(costs)


def _freshness(given: argparse.Namespace) -> tuple[str, Rows]:
    from bench import freshness

    rates = [_positive(rate) for rate in given.rates.split(",")]
    delays = freshness.measure_freshness(rates, given.seconds)
    return freshness.table(delays), freshness.as_json(delays)


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    commands = {
        **dict.fromkeys((*WORKLOADS, "udf"), _workload),
        "nexmark": _nexmark,
        "cdc": _cdc,
        "state": _state,
    }
    try:
        text, plain = commands.get(given.command, _freshness)(given)
    except (ValueError, FileNotFoundError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(text)
    if given.json is not None:
        given.json.write_text(json.dumps(plain, indent=1) + "\n")
    return 0 if all(row["rows_ok"] for row in plain) else 1


if __name__ == "__main__":
    sys.exit(main())
