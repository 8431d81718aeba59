"""Calls models of `Stream.embed` with the texts that have no vector yet; what the engine calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from frazil.errors import FrazilError, UdfError
from frazil.udf_call import _cut, _short
from frazil.vector_cache import KEY_BYTES, VectorCache

if TYPE_CHECKING:
    from frazil import _engine
    from frazil.embed import EmbedOptions
    from frazil.node import Function

# Kinds of rows of changes that are new: insert, update_after.
_NEW = (0, 2)
_ENTRIES = pa.schema(
    [pa.field("key", pa.binary(), nullable=False), pa.field("value", pa.binary(), nullable=False)]
)


class EmbedCall:
    """A model as a run has it: one cache for each step, for all workers.

    The engine says in the metadata of a batch what is asked: ``engine/operator/cached_udf.h``.
    """

    def __init__(self, function: Function) -> None:
        self._reference = function.reference
        self._options: EmbedOptions = function.options
        self._schema = function.returns
        self._seed = self._options.cache_seed(function.source_hash)
        self._caches: dict[str, VectorCache] = {}
        self._lock = threading.Lock()
        # Models need not know of threads; of those that do, calls are made in some of their own.
        calls = self._options.concurrency
        self._turn = nullcontext() if calls > 1 else threading.Lock()
        self._pool = ThreadPoolExecutor(calls, "frazil-embed") if calls > 1 else None

    def __call__(self, batch: _engine.ArrowBatch) -> pa.RecordBatch:
        """Make one call of the engine; of any worker's thread."""
        given = pa.record_batch(batch)
        asked = {key.decode(): value.decode() for key, value in given.schema.metadata.items()}
        with self._lock:
            options = self._options
            cache = self._caches.setdefault(
                asked["node"], VectorCache(self._seed, options.cache, options.cache_bytes)
            )
        match asked["what"]:
            case "save":
                with self._lock:
                    entries = cache.take_new(asked["instance"], full=asked["full"] == "1")
                return _of_entries(entries)
            case "restore":
                self._restore(given, cache)
                return _of_entries([])
        return self._embedded(given, cache, asked["instance"])

    def close(self) -> None:
        """Let threads end; workers have. A call that is under way ends by itself, for nobody."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _restore(self, entries: pa.RecordBatch, cache: VectorCache) -> None:
        wide = 4 * self._options.dimension
        columns = entries.column("key").to_pylist(), entries.column("value").to_pylist()
        with self._lock:
            for key, value in zip(*columns, strict=True):
                if len(key) != KEY_BYTES or len(value) != wide:
                    raise UdfError(
                        f"{self._reference}: a vector of a checkpoint has {len(value)} bytes, "
                        f"and one of {self._options.dimension} numbers {wide}"
                    )
                cache.put(key, value)

    def _embedded(self, given: pa.RecordBatch, cache: VectorCache, user: str) -> pa.RecordBatch:
        texts: list[str | None] = given.column(0).to_pylist()
        if not self._options.whole and "kind" in given.schema.names:
            kinds = given.column("kind").to_pylist()
            texts = [
                text if kind in _NEW else None for text, kind in zip(texts, kinds, strict=True)
            ]
        keys = [None if text is None else cache.key(text) for text in texts]
        with self._turn:  # so what another worker makes meanwhile is not made again
            found = self._look_up(keys, cache, user)
            rows: dict[bytes, int] = {}  # of texts that have no vector, the first with each
            for row, key in enumerate(keys):
                if key is not None and key not in found:
                    rows.setdefault(key, row)
            wanted = sorted(rows.items(), key=lambda each: len(texts[each[1]] or ""))
            for some, vectors in self._made(list(_batches(wanted, texts, self._options)), texts):
                made = {key: vectors[i].tobytes() for i, (key, _) in enumerate(some)}
                with self._lock:
                    for key, vector in made.items():
                        found[key] = cache.put(key, vector, user)
        none = bytes(4 * self._options.dimension)
        data = b"".join([none if key is None else found[key] for key in keys])
        return self._column(keys, data)

    def _made(
        self, batches: Sequence[Sequence[tuple[bytes, int]]], texts: Sequence[str | None]
    ) -> Iterator[tuple[Sequence[tuple[bytes, int]], npt.NDArray[np.float32]]]:
        """Texts and their vectors, a call after the other, or some at a time."""

        def ask(some: Sequence[tuple[bytes, int]]) -> npt.NDArray[np.float32]:
            return self._vectors([texts[row] or "" for _, row in some], some, len(texts))

        if self._pool is None:
            yield from ((some, ask(some)) for some in batches)
            return
        asked = [self._pool.submit(ask, some) for some in batches]
        try:
            for some, answer in zip(batches, asked, strict=True):
                yield some, answer.result()
        finally:
            for answer in asked:  # behind one that failed
                answer.cancel()

    def _look_up(
        self, keys: Sequence[bytes | None], cache: VectorCache, user: str
    ) -> dict[bytes, bytes]:
        found = {}
        with self._lock:
            for key in keys:
                if key is not None and key not in found:
                    vector = cache.get(key, user)
                    if vector is not None:
                        found[key] = vector
        return found

    def _vectors(
        self, texts: list[str], some: Sequence[tuple[bytes, int]], rows: int
    ) -> npt.NDArray[np.float32]:
        """One call of the model, and its answer checked."""
        said = f"row {some[0][1] + 1} of {rows}: {_short(texts[0])}"
        if len(texts) > 1:
            said = f"{len(texts)} texts, of which the first is {said}"
        try:
            given = self._options.encode(texts)
        except FrazilError:
            raise  # it says what is to be said
        except Exception as error:
            text = " ".join(str(error).split())
            raise UdfError(
                f"{self._reference} raised {type(error).__name__}: {_cut(text, 200)}", said
            ) from error
        return self._checked(given, [row for _, row in some], texts, rows)

    def _checked(
        self, given: Any, rows: Sequence[int], texts: Sequence[str], of: int
    ) -> npt.NDArray[np.float32]:
        dimension = self._options.dimension
        try:
            count = len(given)
        except TypeError:
            raise UdfError(
                f"{self._reference} returned {_short(given)}",
                "a model gives a vector for each text: a NumPy array of two dimensions, or lists",
            ) from None
        if count != len(texts):
            raise UdfError(
                f"{self._reference} returned {count} vectors for {len(texts)} texts",
                "a model gives one for each text, in their order",
            )
        try:
            with np.errstate(over="ignore"):  # what is too large for a float32 is refused below
                vectors = np.ascontiguousarray(given, dtype="<f4")
        except (ValueError, TypeError):
            vectors = np.empty(0, np.float32)
        if vectors.shape == (count, dimension) and np.isfinite(vectors).all():
            return vectors
        for number, row in enumerate(rows):
            where = f"row {row + 1} of {of}: {_short(texts[number])}"
            vector = _numbers(given[number])
            if vector is None or vector.shape != (dimension,):
                shown = _short(given[number]) if vector is None else f"{vector.size} numbers"
                raise UdfError(
                    f"{self._reference} returned a vector of {shown}, and the column has the "
                    f"dimension {dimension}",
                    where,
                    "say dimension=, if the model has another; a new column is a new table",
                )
            if not np.isfinite(vector).all():
                raise UdfError(f"{self._reference} returned a vector with NaN or infinity", where)
        raise UdfError(f"{self._reference} returned no vectors of numbers: {_short(given)}")

    def _column(self, keys: Sequence[bytes | None], data: bytes) -> pa.RecordBatch:
        field = self._schema.field(0)
        numbers = pa.Array.from_buffers(
            pa.float32(), len(keys) * self._options.dimension, [None, pa.py_buffer(data)]
        )
        mask = None
        if field.nullable and None in keys:
            mask = pa.array([key is None for key in keys], pa.bool_())
        column = pa.FixedSizeListArray.from_arrays(numbers, type=field.type, mask=mask)
        return pa.RecordBatch.from_arrays([column], schema=self._schema)


def _of_entries(entries: Sequence[tuple[bytes, bytes]]) -> pa.RecordBatch:
    columns = [pa.array([entry[i] for entry in entries], pa.binary()) for i in range(2)]
    return pa.RecordBatch.from_arrays(columns, schema=_ENTRIES)


def _batches(
    wanted: Sequence[tuple[bytes, int]], texts: Sequence[str | None], options: EmbedOptions
) -> Iterator[Sequence[tuple[bytes, int]]]:
    """Texts of similar length together: what a model that pads them works on is bounded."""
    first = 0
    for end, (_, row) in enumerate(wanted):
        longest = len(texts[row] or "")  # they ascend
        full = end - first >= options.batch_rows
        if end > first and (full or (end - first + 1) * longest > options.batch_chars):
            yield wanted[first:end]
            first = end
    if first < len(wanted):
        yield wanted[first:]


def _numbers(vector: Any) -> npt.NDArray[np.float32] | None:
    try:
        with np.errstate(over="ignore"):
            return np.asarray(vector, dtype="<f4")
    except (ValueError, TypeError):
        return None
