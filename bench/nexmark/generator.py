"""The events of Nexmark, by the rules of its Flink suite: people, their auctions, and the bids.

Of 50 events one is a person, three are auctions, 46 are bids. Half of the bids are for the hot
auction, three quarters by the hot bidder; three quarters of auctions are by the hot seller: the
first auction, second and first person of the last hundred. Everything else goes to one of the last
100 auctions or 1,000 people, or one of the next ten, who are yet to come.

An event is a function of the seed and its number: the same in every run, in chunks of any size.
Two things differ from the suite: its texts are drawn anew by each process, and its bidders are
numbered from 2000 where people are from 1000, which seems to be a slip; here both are from 1000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bench.nexmark.draws import Draws, Ints
from bench.nexmark.texts import Texts

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
PEOPLE, AUCTIONS, BIDS = 1, 3, 46  # of so many events:
CYCLE = PEOPLE + AUCTIONS + BIDS
FIRST_ID = 1000  # of people and of auctions
FIRST_CATEGORY, CATEGORIES = 10, 5
HOT_AUCTIONS, HOT_BIDDERS, HOT_SELLERS, HOT_CHANNELS = 2, 4, 4, 2  # one of so many is not hot
HOT_OF = 100  # who is hot changes after so many
IN_FLIGHT, ACTIVE, LEAD = 100, 1000, 10
PERSON_BYTES, AUCTION_BYTES, BID_BYTES = 200, 500, 100  # of an average event
LONGEST = 2 * (IN_FLIGHT * CYCLE // AUCTIONS)  # events that come while an auction is open, at most
SHUFFLE = 953  # by which the numbers of a group are multiplied

FIRST_NAMES = "Peter Paul Luke John Saul Vicky Kate Julie Sarah Deiter Walter".split()
LAST_NAMES = "Shultz Abrams Spencer White Bartels Walton Smith Jones Noris".split()
CITIES = "Phoenix,Los Angeles,San Francisco,Boise,Portland,Bend,Redmond,Seattle,Kent,Cheyenne"
STATES = "AZ CA ID OR WA WY".split()
CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
OTHER_CHANNELS = 10_000

TIME = pa.timestamp("us", "UTC")
KINDS = ("person", "auction", "bid")


def _schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, type_, nullable=False) for name, type_ in types.items()])


_INT, _TEXT = pa.int64(), pa.string()
SCHEMAS = {
    "person": _schema(
        id=_INT,
        name=_TEXT,
        email_address=_TEXT,
        credit_card=_TEXT,
        city=_TEXT,
        state=_TEXT,
        date_time=TIME,
        extra=_TEXT,
    ),
    "auction": _schema(
        id=_INT,
        item_name=_TEXT,
        description=_TEXT,
        initial_bid=_INT,
        reserve=_INT,
        date_time=TIME,
        expires=TIME,
        seller=_INT,
        category=_INT,
        extra=_TEXT,
    ),
    "bid": _schema(
        auction=_INT,
        bidder=_INT,
        price=_INT,
        channel=_TEXT,
        url=_TEXT,
        date_time=TIME,
        extra=_TEXT,
    ),
}


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes
    ----------
    seed
        Of all that is random.
    events_per_second
        Of event time; the first event is at midnight, 2026-01-01 UTC.
    out_of_order_group
        So many events come in mixed order, then the next so many; 1 is none. No multiple of 953.
    """

    seed: int = 42
    events_per_second: int = 10_000
    out_of_order_group: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.out_of_order_group or self.out_of_order_group % SHUFFLE == 0:
            raise ValueError(f"groups of {self.out_of_order_group} events cannot be mixed")
        if self.events_per_second < 1:
            raise ValueError(f"{self.events_per_second} events per second")

    @property
    def disorder_ms(self) -> int:
        """How far an event may be behind one that comes before it."""
        return self.out_of_order_group * 1000 // self.events_per_second


class Generator:
    """The events of a seed."""

    def __init__(self, config: Config) -> None:
        self.config = config
        seed = config.seed
        self._letters = Texts(seed, "letters")
        self._words = Texts(seed, "words", " ")
        channels = np.arange(OTHER_CHANNELS + len(CHANNELS), dtype=np.int64)
        self._channels, self._urls = _channels(seed, channels)
        # A price is the product of two: so it needs no power per event, and is the same anywhere.
        steps = range(1 << 16)
        self._coarse = np.array([100 * 10 ** (6 * step / (1 << 16)) for step in steps])
        self._fine = np.array([10 ** (6 * step / (1 << 32)) for step in steps])

    def rows(self, first: int, count: int) -> dict[str, pa.RecordBatch]:
        """Events number `first` and so on in the order in which they come, by kind."""
        group = self.config.out_of_order_group
        number = np.arange(first, first + count, dtype=np.int64)
        number = number // group * group + number * SHUFFLE % group
        place = number % CYCLE
        return {
            "person": self._people(number[place < PEOPLE]),
            "auction": self._auctions(number[(place >= PEOPLE) & (place < PEOPLE + AUCTIONS)]),
            "bid": self._bids(number[place >= PEOPLE + AUCTIONS]),
        }

    def _people(self, number: Ints) -> pa.RecordBatch:
        draws = Draws(self.config.seed, number)
        names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
        name = _one_of(names, draws.below("name", len(names)))
        email = pc.binary_join_element_wise(
            self._trimmed(draws, "email name", 7),
            "@",
            self._trimmed(draws, "email host", 5),
            ".com",
            "",
        )
        fours = [f"{four:04d}" for four in range(10_000)]
        cards = [_one_of(fours, draws.below(f"card {part}", len(fours))) for part in range(4)]
        card = pc.binary_join_element_wise(*cards, " ")
        cities = CITIES.split(",")
        city = _one_of(cities, draws.below("city", len(cities)))
        state = _one_of(STATES, draws.below("state", len(STATES)))
        size = 8 + _lengths(name, email, card, city, state)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(last_person(number) + FIRST_ID),
                name,
                email,
                card,
                city,
                state,
                self._times(number),
                self._extra(draws, size, PERSON_BYTES),
            ],
            schema=SCHEMAS["person"],
        )

    def _auctions(self, number: Ints) -> pa.RecordBatch:
        draws = Draws(self.config.seed, number)
        item = self._trimmed(draws, "item", 20)
        description = self._trimmed(draws, "description", 100)
        first_bid = self._price(draws, "first bid")
        reserve = first_bid + self._price(draws, "reserve")
        hot = last_person(number) // HOT_OF * HOT_OF
        seller = np.where(draws.hot("hot seller", HOT_SELLERS), hot, self._person(draws, number))
        horizon = self._ms(number + IN_FLIGHT * CYCLE // AUCTIONS) - self._ms(number)
        length = 1 + draws.below("length", np.maximum(2 * horizon, 1))
        size = 8 + _lengths(item, description) + 8 * 5
        return pa.RecordBatch.from_arrays(
            [
                pa.array(last_auction(number) + FIRST_ID),
                item,
                description,
                pa.array(first_bid),
                pa.array(reserve),
                self._times(number),
                _time_array(self._ms(number) + length),
                pa.array(seller + FIRST_ID),
                pa.array(FIRST_CATEGORY + draws.below("category", CATEGORIES)),
                self._extra(draws, size, AUCTION_BYTES),
            ],
            schema=SCHEMAS["auction"],
        )

    def _bids(self, number: Ints) -> pa.RecordBatch:
        draws = Draws(self.config.seed, number)
        newest = last_auction(number)
        oldest = np.maximum(newest - IN_FLIGHT, 0)
        cold = oldest + draws.below("auction", newest - oldest + 1 + LEAD)
        hot = newest // HOT_OF * HOT_OF
        auction = np.where(draws.hot("hot auction", HOT_AUCTIONS), hot, cold)
        hot = last_person(number) // HOT_OF * HOT_OF + 1
        bidder = np.where(draws.hot("hot bidder", HOT_BIDDERS), hot, self._person(draws, number))
        channel = np.where(
            draws.hot("hot channel", HOT_CHANNELS),
            OTHER_CHANNELS + draws.below("channel of few", len(CHANNELS)),
            draws.below("channel", OTHER_CHANNELS),
        )
        size = np.full(len(number), 8 * 4)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(auction + FIRST_ID),
                pa.array(bidder + FIRST_ID),
                pa.array(self._price(draws, "price")),
                self._channels.take(pa.array(channel)),
                self._urls.take(pa.array(channel)),
                self._times(number),
                self._extra(draws, size, BID_BYTES),
            ],
            schema=SCHEMAS["bid"],
        )

    def _person(self, draws: Draws, number: Ints) -> Ints:
        """One of those who are active, or will be soon."""
        people = last_person(number) + 1
        active = np.minimum(people, ACTIVE)
        return people - active + draws.below("person", active + LEAD)

    def _price(self, draws: Draws, what: str) -> Ints:
        """From 100 to 100,000,000; each power of ten as often as the others."""
        bits = draws.bits(what)
        low, high = (bits & np.uint64(0xFFFF)), bits >> np.uint64(48)
        return np.floor(self._coarse[high] * self._fine[low] + 0.5).astype(np.int64)

    def _extra(self, draws: Draws, size: Ints, average: int) -> pa.StringArray:
        """Letters that make the event, on average, as large as it should be: up to 20 % off."""
        wanted = np.maximum(average - size, 0)
        off = (wanted * 2 + 5) // 10
        length = wanted - off + draws.below("extra length", np.maximum(2 * off, 1))
        return self._letters.pieces(draws, "extra", length)

    def _trimmed(self, draws: Draws, what: str, limit: int) -> pa.StringArray:
        return pc.utf8_trim_whitespace(self._words.short(draws, what, limit))

    def _ms(self, number: Ints) -> Ints:
        return START_MS + number * 1000 // self.config.events_per_second

    def _times(self, number: Ints) -> pa.TimestampArray:
        return _time_array(self._ms(number))


def last_person(number: Ints) -> Ints:
    """The person made last when an event is made, itself included, counted from 0."""
    return number // CYCLE * PEOPLE + np.minimum(number % CYCLE, PEOPLE - 1)


def last_auction(number: Ints) -> Ints:
    """The auction made last, counted from 0; before the first it is -1."""
    return number // CYCLE * AUCTIONS + np.minimum(number % CYCLE - PEOPLE, AUCTIONS - 1)


def _channels(seed: int, number: Ints) -> tuple[pa.StringArray, pa.StringArray]:
    """Names and URLs; the hot ones are the last, and have no id in their URL."""
    draws = Draws(seed, number)
    words = Texts(seed, "directories", "_")
    parts = [words.short(draws, f"directory {part}", 5).to_pylist() for part in range(3)]
    tagged = draws.hot("tagged", 10).tolist()
    names, urls = [], []
    for i, directories in enumerate(zip(*parts, strict=True)):
        url = f"https://www.nexmark.com/{'/'.join(directories)}/item.htm?query=1"
        other = i < OTHER_CHANNELS
        names.append(f"channel-{i}" if other else CHANNELS[i - OTHER_CHANNELS])
        urls.append(f"{url}&channel_id={_reversed(i)}" if other and tagged[i] else url)
    return pa.array(names), pa.array(urls)


def _reversed(number: int) -> int:
    """The 32 bits of a number in reverse order, as a signed number without its sign."""
    turned = int(f"{number:032b}"[::-1], 2)
    return turned if turned < 1 << 31 else (1 << 32) - turned


def _one_of(values: Sequence[str], which: Ints) -> pa.StringArray:
    return pa.array(values).take(pa.array(which))


def _lengths(*texts: pa.StringArray) -> Ints:
    lengths: npt.NDArray[np.int64] = np.zeros(len(texts[0]), dtype=np.int64)
    for text in texts:
        lengths += pc.binary_length(text).to_numpy(zero_copy_only=False)
    return lengths


def _time_array(milliseconds: Ints) -> pa.TimestampArray:
    return pa.array(milliseconds * 1000).cast(TIME)
