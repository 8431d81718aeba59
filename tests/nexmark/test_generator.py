"""The events of Nexmark: what they are a function of, and how often they are what."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench.nexmark.generator import KINDS, SCHEMAS, Config, Generator, last_auction, last_person

EVENTS = 50_000


def made(config: Config, sizes: list[int]) -> dict[str, pa.Table]:
    """All events, in chunks of these sizes."""
    generator = Generator(config)
    chunks: dict[str, list[pa.RecordBatch]] = {kind: [] for kind in KINDS}
    first = 0
    for size in sizes:
        for kind, rows in generator.rows(first, size).items():
            chunks[kind].append(rows)
        first += size
    return {
        kind: pa.Table.from_batches(rows, SCHEMAS[kind]).combine_chunks()
        for kind, rows in chunks.items()
    }


@pytest.fixture(scope="module")
def events() -> dict[str, pa.Table]:
    return made(Config(), [EVENTS])


@pytest.mark.parametrize("group", [1, 7, 100])
def test_chunks_do_not_matter(group: int) -> None:
    config = Config(out_of_order_group=group)
    whole = made(config, [3_000])
    rng = Random(group)
    sizes = [1, 2, 49, 50, 51]
    while sum(sizes) < 2_900:
        sizes.append(rng.randrange(200))
    sizes.append(3_000 - sum(sizes))
    assert made(config, sizes) == whole
    assert made(Config(seed=7, out_of_order_group=group), [3_000])["bid"] != whole["bid"]


def test_a_longer_stream_begins_with_a_shorter_one(events: dict[str, pa.Table]) -> None:
    shorter = made(Config(), [1_234])
    for kind in KINDS:
        assert events[kind].slice(0, shorter[kind].num_rows) == shorter[kind]


def test_the_first_events_stay_what_they_are(events: dict[str, pa.Table]) -> None:
    """Figures of other days are of the same events."""
    bid = events["bid"].slice(0, 1).to_pylist()[0]
    assert (bid["auction"], bid["bidder"], bid["price"]) == (1000, 1000, 32646)
    assert bid["channel"] == "channel-7090"
    assert events["person"]["name"][0].as_py() == "Peter Walton"
    assert events["auction"]["item_name"][0].as_py() == "lyzriytrcv"
    assert sum(events["bid"]["price"].to_pylist()) == 327_976_108_295


def test_numbers_and_times(events: dict[str, pa.Table]) -> None:
    assert [events[kind].num_rows for kind in KINDS] == [1_000, 3_000, 46_000]
    assert events["person"]["id"].to_pylist() == list(range(1000, 2000))
    assert events["auction"]["id"].to_pylist() == list(range(1000, 4000))
    for kind in KINDS:
        times = pc.cast(events[kind]["date_time"], pa.int64()).to_numpy()
        assert (np.diff(times) >= 0).all()
        assert times[-1] - times[0] <= 5_000_000  # 10,000 a second
    ends, begins = (
        pc.cast(events["auction"][name], pa.int64()).to_numpy() for name in ("expires", "date_time")
    )
    assert (ends > begins).all()
    assert (ends - begins).mean() / 1e6 == pytest.approx(
        100 * 50 / 3 / 10_000, rel=0.05
    )  # till a hundred more auctions


def test_who_is_hot(events: dict[str, pa.Table]) -> None:
    number = np.arange(EVENTS, dtype=np.int64)
    bids, auctions = number[number % 50 >= 4], number[(number % 50 > 0) & (number % 50 < 4)]
    auction = events["bid"]["auction"].to_numpy() - 1000
    bidder = events["bid"]["bidder"].to_numpy() - 1000
    seller = events["auction"]["seller"].to_numpy() - 1000

    def hot(found: np.ndarray, of: np.ndarray) -> float:
        return float((found == of).mean())

    assert hot(auction, last_auction(bids) // 100 * 100) == pytest.approx(0.5, abs=0.02)
    assert hot(bidder, last_person(bids) // 100 * 100 + 1) == pytest.approx(0.75, abs=0.01)
    assert hot(seller, last_person(auctions) // 100 * 100) == pytest.approx(0.75, abs=0.02)
    newest = last_auction(bids)
    assert (auction >= np.maximum(newest - 100, 0)).all()
    assert (auction <= newest + 10).all()
    assert (auction > newest).any()  # some are yet to come
    assert (bidder <= last_person(bids) + 10).all()
    assert (seller >= 0).all()


def test_values(events: dict[str, pa.Table]) -> None:
    price = events["bid"]["price"].to_numpy()
    assert price.min() >= 100
    assert price.max() <= 100_000_000
    for power in range(3, 8):  # each power of ten as often as the others
        assert (price < 10**power).mean() == pytest.approx((power - 2) / 6, abs=0.01)
    channel = events["bid"]["channel"].to_pylist()
    few = [name for name in channel if not name.startswith("channel-")]
    assert set(few) == {"Google", "Facebook", "Baidu", "Apple"}
    assert len(few) / len(channel) == pytest.approx(0.5, abs=0.01)
    urls = events["bid"]["url"].to_pylist()
    tagged = ["channel_id=" in url for url in urls]
    assert sum(tagged) / len(urls) == pytest.approx(0.45, abs=0.01)
    assert all(url.startswith("https://www.nexmark.com/") for url in urls)
    assert set(events["auction"]["category"].to_pylist()) == {10, 11, 12, 13, 14}
    assert pc.all(
        pc.greater(events["auction"]["reserve"], events["auction"]["initial_bid"])
    ).as_py()


@pytest.mark.parametrize(("kind", "size"), [("person", 200), ("auction", 500), ("bid", 100)])
def test_sizes(events: dict[str, pa.Table], kind: str, size: int) -> None:
    """As the suite counts: eight bytes a number, and of a bid neither channel nor URL."""
    counted = 0.0
    for field in SCHEMAS[kind]:
        if field.name in ("channel", "url") or (kind, field.name) == ("person", "date_time"):
            continue
        text = pa.types.is_string(field.type)
        column = events[kind][field.name]
        counted += pc.mean(pc.binary_length(column)).as_py() if text else 8
    assert counted == pytest.approx(size, rel=0.02)


def test_out_of_order() -> None:
    """The same events, each no further back than it may be; without, none is."""
    group = 100
    config = Config(out_of_order_group=group)
    ordered, mixed = made(Config(), [5_000]), made(config, [5_000])
    behind = 0
    for kind in KINDS:
        order = [("date_time", "ascending"), (SCHEMAS[kind].names[0], "ascending")]
        order += [("extra", "ascending")]
        assert mixed[kind].sort_by(order) == ordered[kind].sort_by(order)
        times = pc.cast(mixed[kind]["date_time"], pa.int64()).to_numpy()
        disorder = (np.maximum.accumulate(times) - times).max()
        assert disorder <= config.disorder_ms * 1000
        behind = max(behind, disorder)
    assert behind > 0


@pytest.mark.parametrize("group", [0, 953, 1906])
def test_groups_that_cannot_be_mixed(group: int) -> None:
    with pytest.raises(ValueError, match="cannot be mixed"):
        Config(out_of_order_group=group)
