"""Timers by the machine's clock: as a loop in any order of work; no row is lost or doubled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import frazil as fz
import pytest
from frazil import testing
from frazil.errors import PlanChanged, PlanError, UdfError
from frazil.testing.run_to_end import Case

SEEDS = range(int(os.environ.get("FRAZIL_SEEDS", "6")))
START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PAUSE = 5  # seconds

clicks = fz.read_files(
    "clicks.jsonl", format="json", schema={"user": str, "id": int}, name="clicks"
)
timed = fz.read_files(
    "timed.jsonl", format="json", schema={"user": str, "id": int, "at": datetime}, name="timed"
).event_time("at", out_of_order="1s")


class Together(fz.KeyedFunction):
    """Clicks of a user until there is none for a while; a heartbeat besides."""

    ids: fz.State[list[int]]
    alarm: fz.State[datetime | None]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        if self.alarm.value is not None:
            out.cancel_clock_timer(self.alarm.value)
        self.ids.value.extend(row.id for row in rows)
        self.alarm.value = out.clock_timer(out.now + PAUSE * SECOND)
        out.clock_timer(out.now + 3 * PAUSE * SECOND)

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        assert time <= out.now
        ids = ",".join(map(str, sorted(self.ids.value)))
        out.emit(user=key, ids=ids, at=time, alarm=time == self.alarm.value)
        if time == self.alarm.value:
            self.ids.clear()
            self.alarm.clear()


GROUP = {"user": str, "ids": str, "at": datetime, "alarm": bool}


def together() -> fz.Stream:
    return clicks.group_by("user").process(Together, schema=GROUP)


def drawn(rng: Random) -> list[list[Any]]:
    """Partitions with rows and waits; both sum up to more than there are timers for."""
    numbers = iter(range(10_000))
    parts = []
    for _ in range(rng.randint(1, 3)):
        part: list[Any] = []
        for _ in range(rng.randint(0, 12)):
            for _ in range(rng.randint(1, 3)):
                part.append({"user": rng.choice("ab"), "id": next(numbers)})
            part.append(testing.wait(f"{rng.randint(1, 9)}s"))
        part.append(testing.wait("20s"))
        parts.append(part)
    return parts


def model(given: list[list[Any]]) -> Iterator[dict[str, Any]]:
    """The same as a loop over the seconds at which something comes."""
    arrivals: dict[tuple[str, int], list[int]] = {}
    for part in given:
        second = 0
        for row in part:
            if isinstance(row, testing.Wait):
                second += row.us // 1_000_000
            else:
                arrivals.setdefault((row["user"], second), []).append(row["id"])
    for user in sorted({user for user, _ in arrivals}):
        ids: list[int] = []
        alarm: int | None = None
        timers: set[int] = set()
        comes = sorted(second for each, second in arrivals if each == user)
        for second in [*comes, 10_000]:
            while timers and min(timers) <= second:
                at = min(timers)
                timers.remove(at)
                text = ",".join(map(str, sorted(ids)))
                yield {
                    "user": user,
                    "ids": text,
                    "at": START + at * SECOND,
                    "alarm": at == alarm,
                }
                if at == alarm:
                    ids, alarm = [], None
            if second != 10_000:
                timers.discard(-1 if alarm is None else alarm)
                ids += arrivals[user, second]
                alarm = second + PAUSE
                timers |= {alarm, second + 3 * PAUSE}


@pytest.mark.parametrize("seed", SEEDS)
def test_as_a_loop_in_any_order_of_work(seed: int) -> None:
    given = drawn(Random(seed))
    found = testing.check_any_order(
        together(),
        clicks=testing.partitions(*given),
        cases=4,
        seed=seed,
        crashes=False,
        clock=testing.Clock(START),
    )
    testing.assert_rows(found["rows"], list(model(given)))


class Flushed(fz.KeyedFunction):
    """Gives what has come with the next timer, row by row: when that is cannot be seen."""

    ids: fz.State[list[int]]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        if not self.ids.value:
            out.clock_timer(out.now + 2 * SECOND)
        self.ids.value.extend(row.id for row in rows)

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        for id in self.ids.value:
            out.emit(user=key, id=id)
        self.ids.clear()


ROW = {"user": str, "id": int}


@pytest.mark.parametrize("seed", SEEDS)
def test_crashes_lose_no_row_and_double_none(seed: int) -> None:
    given = drawn(Random(seed))
    found = testing.check_any_order(
        clicks.group_by("user").process(Flushed, schema=ROW),
        clicks=testing.partitions(*given),
        cases=6,
        seed=seed,
    )
    rows = [row for part in given for row in part if not isinstance(row, testing.Wait)]
    testing.assert_rows(found["rows"], rows)


def test_timers_stay_in_the_checkpoint() -> None:
    """Over the end of a run, also of one that closes windows: there is no event time."""
    clock = testing.Clock(START)
    stream = clicks.group_by("user").process(Flushed, schema=ROW)
    case = Case({"rows": stream}, {"clicks": [{"user": "a", "id": 1}]}, {}, clock)
    case.run(close_windows=False)
    case.run(close_windows=False)
    assert case.rows()["rows"] == []
    clock._machine.us += 1_999_999
    case.run(close_windows=False)
    assert case.rows()["rows"] == []
    clock._machine.us += 1
    case.run(workers=2)
    assert case.rows()["rows"] == [{"user": "a", "id": 1}]


class AtTheEnd(fz.KeyedFunction):
    """Says what is called, and when."""

    calls: fz.State[int]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        out.timer(rows[-1].at + SECOND)
        out.clock_timer(out.now + 50 * SECOND)
        out.clock_timer(out.now + 40 * SECOND)

    def say(self, what: str, out: fz.Out) -> None:
        self.calls.value += 1
        out.emit(number=self.calls.value, what=what)

    def on_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        self.say(f"timer {(time - START) // SECOND}", out)
        out.clock_timer(out.now + SECOND)  # nobody waits for it

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        assert out.now == START
        self.say(f"clock {(time - START) // SECOND}", out)
        out.clock_timer(out.now + SECOND)
        if time == START + 50 * SECOND:
            out.timer(START + 7 * SECOND)

    def on_end(self, key: str, out: fz.Out) -> None:
        with pytest.raises(UdfError, match="over in on_end"):
            out.clock_timer(START)
        self.say("end", out)


def test_the_end_of_event_time() -> None:
    stream = timed.group_by("user").process(AtTheEnd, schema={"number": int, "what": str})
    given = [{"user": "a", "id": 1, "at": START}]
    found = testing.run_to_end(stream, timed=given, clock=testing.Clock(START))
    said = [row["what"] for row in sorted(found, key=lambda row: row["number"])]
    assert said == ["clock 40", "clock 50", "timer 1", "timer 7", "end"]


class Again(fz.KeyedFunction):
    """Sets the next timer with each, for a time that has passed."""

    fired: fz.State[int]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        assert out.clock_timer(START - SECOND) == out.now + timedelta(microseconds=1)

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        self.fired.value += 1
        out.emit(number=self.fired.value)
        if self.fired.value < 3:
            out.clock_timer(time)


def test_a_time_that_has_passed_comes_next() -> None:
    stream = clicks.group_by("user").process(Again, schema={"number": int})
    clock = testing.Clock(START)
    given = [{"user": "a", "id": 1}, testing.wait("1s")]
    found = testing.run_to_end(stream, clicks=given, clock=clock)
    assert [row["number"] for row in found] == [1, 2, 3]
    assert clock.now == START + SECOND


def test_a_timer_of_the_clock_before_later_rows() -> None:
    """Rows that wait for the watermark come when it passes them; what is due then is before."""
    stream = timed.group_by("user").process(Stamped, schema={"id": int, "fired": int})
    given = [
        {"user": "a", "id": 1, "at": START},
        {"user": "a", "id": 2, "at": START + 5 * SECOND},  # brings the first forward
        testing.wait("10s"),
        {"user": "a", "id": 3, "at": START + 10 * SECOND},  # and the second
    ]
    for seed in range(4):
        found = testing.run_to_end(stream, timed=given, seed=seed, clock=testing.Clock(START))
        testing.assert_rows(
            found, [{"id": 1, "fired": 0}, {"id": 2, "fired": 1}, {"id": 3, "fired": 1}]
        )


class Stamped(fz.KeyedFunction):
    """Gives rows with the number of timers that were fired before."""

    fired: fz.State[int]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        for row in rows:
            out.emit(id=row.id, fired=self.fired.value)
        if not self.fired.value:
            out.clock_timer(out.now + 10 * SECOND)

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        self.fired.value += 1


def test_a_partition_rests_by_the_clock() -> None:
    """What else goes by the clock is driven by it too."""
    idle = fz.read_files(
        "idle.jsonl", format="json", schema={"user": str, "at": datetime}, name="idle"
    ).event_time("at", out_of_order="0s", idle_after="1m")
    minutes = idle.group_by("user").window(fz.tumbling("1m")).agg(rows=fz.count())
    silent = [{"user": "a", "at": START}, testing.wait("1h")]

    def found(waits: str) -> list[dict[str, Any]]:
        ahead = [{"user": "a", "at": START + n * 60 * SECOND} for n in range(5)]
        other = [*ahead, testing.wait(waits), {"user": "a", "at": START + 600 * SECOND}]
        given = testing.partitions(silent, [*other, testing.wait("1s")])
        return testing.run_to_end(minutes, idle=given, close_windows=False)

    assert found("10s") == []
    assert [row["rows"] for row in found("2m")] == [2, 1, 1, 1, 1]


def test_coroutines_do_not_pause() -> None:
    """These would take an hour."""
    tries = 0

    @fz.async_udf(retries=50, delay="30s", per_second=0.1)
    async def asked(id: int) -> int:
        nonlocal tries
        tries += 1
        if tries < 40:
            raise ConnectionError
        return id

    given = [{"user": "a", "id": number} for number in range(100)]
    found = testing.run_to_end(clicks.select(id=asked(fz.col("id"))), clicks=given)
    assert sorted(row["id"] for row in found) == list(range(100))


def test_explain_says_so() -> None:
    explained = fz.Pipeline("p", together().write_memory()).explain()
    assert "consistent: timers by the machine's clock" in explained
    at_end = timed.group_by("user").process(AtTheEnd, schema={"number": int, "what": str})
    explained = fz.Pipeline("p", at_end.write_memory()).explain()
    assert "consistent: timers by the machine's clock" in explained


class Sets(fz.KeyedFunction):
    """Has no timers."""

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        out.clock_timer(START)


class AtOnce(fz.KeyedFunction):
    """Has them where there can be none."""

    def on_groups(self, batch: Any, offsets: Any, state: Any, out: fz.Out) -> None: ...

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None: ...


class Fails(fz.KeyedFunction):
    """Fails in a timer."""

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None:
        out.clock_timer(out.now + SECOND)

    def on_clock_timer(self, key: str, time: datetime, out: fz.Out) -> None:
        raise ValueError("no")


def test_errors() -> None:
    given = [{"user": "a", "id": 1}, testing.wait("1m")]
    with pytest.raises(UdfError, match=r"on_rows: out\.clock_timer of a function that has no"):
        testing.run_to_end(clicks.group_by("user").process(Sets, schema=ROW), clicks=given)
    with pytest.raises(UdfError, match=r"on_clock_timer: raised ValueError: no.*\n.*user='a'"):
        testing.run_to_end(clicks.group_by("user").process(Fails, schema=ROW), clicks=given)
    with pytest.raises(PlanError, match="has on_groups and on_clock_timer"):
        clicks.group_by("user").process(AtOnce, schema=ROW)
    with pytest.raises(PlanError, match="has on_clock_timer, and event_time='at'"):
        timed.group_by("user").process(Stamped, schema={"id": int, "at": datetime}, event_time="at")
    with pytest.raises(fz.ConfigError, match="time zone"):
        testing.Clock(datetime(2026, 1, 1))


class Counted(fz.KeyedFunction):
    """Has the state of Flushed, and no timers."""

    ids: fz.State[list[int]]

    def on_rows(self, key: str, rows: list[Any], out: fz.Out) -> None: ...


def test_a_checkpoint_without_clock_timers_is_another() -> None:
    def case(function: type[fz.KeyedFunction]) -> Case:
        stream = clicks.group_by("user").process(function, schema=ROW).named("p")
        return Case({"rows": stream}, {"clicks": [{"user": "a", "id": 1}]}, {})

    first, second = case(Counted), case(Flushed)
    first.run(close_windows=False)
    second._store = first._store
    with pytest.raises(PlanChanged, match="clock timers: was none, is now some"):
        second.run(close_windows=False)
