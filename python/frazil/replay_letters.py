"""The dead letters that a replay sends: read from their table, sorted into files for the engine."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from frazil.errors import ConfigError
from frazil.replay_places import PLACE_SOURCE, Places

REPLAY_BYTES_MAX = 1 << 30
"""Bytes of letters that one replay takes in; they are sorted in memory."""
LETTERS_IN_BATCH = 4_096
"""Rows of one batch in the files that the engine reads."""
TIE_BYTES = 8
"""Of the digest by which letters of one position are told apart."""

_COLUMNS = (
    *("pipeline", "log", "source", "partition", "epoch", "position"),
    *("kind", "reason", "column", "raw_bytes"),
)
_LETTER = pa.schema(
    [("epoch", pa.int64()), ("position", pa.int64()), ("tie", pa.string()), ("raw", pa.binary())]
)
_OF_READERS = ("decode", "value")
"""Kinds that have the bytes of a row, as a reader was given it."""
_OF_STEPS = ("function", "constraint")
"""Kinds that have the row as JSON, as a step was given it."""
_CUT = "cut to 64 KiB"


class Letters:
    """Dead letters that belong to a sink, of one state of their table.

    Parameters
    ----------
    pipelines
        Whose letters.
    sources
        The readers before the sink.
    places
        Where letters of steps go in.
    sinks
        All of the pipeline: letters of kind "constraint" begin with one.

    Attributes
    ----------
    count
        How many can be sent.
    of_readers
        Whether some of them are for a reader.
    without, why_without
        How many cannot, and why.
    """

    def __init__(
        self,
        table: Any,
        pipelines: Sequence[str],
        sources: Sequence[str],
        places: Places,
        sinks: Sequence[str],
    ) -> None:
        from pyiceberg.expressions import And, In, Or, StartsWith

        self.places = places
        self._sources = frozenset(sources)
        self._sinks = sorted(sinks, key=len, reverse=True)
        here: Any = Or(
            In("source", sources),  # type: ignore[call-arg,arg-type]
            Or(
                In("kind", _OF_STEPS),  # type: ignore[call-arg,arg-type]
                StartsWith("source", PLACE_SOURCE),  # type: ignore[call-arg,arg-type]
            ),
        )
        where = And(In("pipeline", pipelines), here)  # type: ignore[call-arg,arg-type]
        known = table.scan(row_filter=where, selected_fields=_COLUMNS).to_arrow()
        size = pc.sum(known["raw_bytes"]).as_py() or 0
        if size > REPLAY_BYTES_MAX:
            raise ConfigError(
                f"the dead letters are {size >> 20} MiB, one replay takes "
                f"{REPLAY_BYTES_MAX >> 20} MiB",
                "delete from their table what was replayed before, or is not wanted",
            )
        rows = table.scan(row_filter=where, selected_fields=(*_COLUMNS, "raw")).to_arrow()
        whole = pc.fill_null(pc.equal(pc.binary_length(rows["raw"]), rows["raw_bytes"]), False)
        said = [rows[each].to_pylist() for each in ("kind", "source", "column", "reason")]
        found = [self._reader(*each) for each in zip(*said, whole.to_pylist(), strict=True)]
        why = [reason for _, reason in found if reason]
        self.without = len(why)
        self.why_without = ", ".join(sorted(set(why)))
        readers = pa.array([reader for reader, _ in found], pa.string())
        self.table: pa.Table = rows.append_column("reader", readers).filter(readers.is_valid())

    @property
    def count(self) -> int:
        """How many letters can be sent."""
        return int(self.table.num_rows)

    @property
    def of_readers(self) -> bool:
        """Whether some of them go to a reader of the pipeline."""
        return not self._sources.isdisjoint(self.table["reader"].unique().to_pylist())

    def _reader(
        self, kind: str, source: str, column: str | None, reason: str, whole: bool
    ) -> tuple[str | None, str]:
        """Who reads a letter; or why nobody does, which is empty if it is not of this sink."""
        if kind in _OF_READERS:
            if not source.startswith(PLACE_SOURCE):
                return (source, "") if whole else (None, _CUT)
            place = next((p for p in self.places.known.values() if p.source == source), None)
            if place is None:
                return None, f"{source}, which are taken nowhere"
            return (source, "") if whole else (None, _CUT)
        if kind not in _OF_STEPS:
            return None, kind
        name = (column or "") if kind == "function" else self._sink(reason)
        if (kind, name) in self.places.elsewhere:
            return None, ""
        place = self.places.known.get((kind, name))
        if place is None:
            return None, self.places.why_not(kind, name)
        return (place.source, "") if whole else (None, _CUT)

    def _sink(self, reason: str) -> str:
        return next((sink for sink in self._sinks if reason.startswith(f"{sink}: ")), "")

    def write(self, folder: Path) -> dict[str, list[dict[str, str]]]:
        """Put them into files that the engine reads, one for each partition; by who reads them."""
        keys = ["reader", "log", "source", "partition"]
        rows = self.table.append_column("tie", pa.array(self._ties(), pa.string()))
        order = [(each, "ascending") for each in (*keys, "epoch", "position", "tie")]
        rows = rows.sort_by(order)
        found: dict[str, list[dict[str, str]]] = {}
        begin = 0
        for number, key in enumerate(_runs(rows, keys)):
            *values, count = key
            reader, log, source, partition = values
            path = folder / f"{number}.arrow"
            with pa.ipc.new_stream(path, _LETTER) as writer:
                some = rows.slice(begin, count).select(_LETTER.names).cast(_LETTER)
                writer.write_table(some, LETTERS_IN_BATCH)
            begin += count
            parts = (log, partition) if reader == source else (log, source, partition)
            found.setdefault(reader, []).append(
                {"name": "/".join(parts), "place": partition, "file": str(path)}
            )
        return found

    def _ties(self) -> list[str]:
        """What tells letters of one position apart, whichever of them are still in the table.

        A reader rejects a row once. Of steps several letters may have one position, or none.
        """
        seen: Counter[tuple[Any, ...]] = Counter()
        ties = []
        names = ("log", "source", "partition", "epoch", "position", "reader", "raw")
        for *where, reader, raw in zip(*(self.table[n].to_pylist() for n in names), strict=True):
            if not reader.startswith(PLACE_SOURCE):
                ties.append("")
                continue
            digest = hashlib.blake2b(raw, digest_size=TIE_BYTES).hexdigest()
            same = (*where, reader, digest)
            ties.append(f"{digest}-{seen[same]:09}")
            seen[same] += 1
        return ties


def _runs(rows: pa.Table, keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """The values of keys in sorted rows, and how many rows have them."""
    counted = Counter(zip(*(rows[key].to_pylist() for key in keys), strict=True))
    return [(*key, count) for key, count in counted.items()]  # in the order of the rows
