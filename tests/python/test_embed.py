"""Vectors of texts: what a model is asked, what is refused, what is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import frazil as fz
import numpy as np
import pyarrow as pa
import pytest
from frazil import col
from frazil.chunk import chunks_of
from frazil.errors import ColumnExists, ModeMismatch, PlanError, TypeMismatch, UdfError
from frazil.testing import run_to_end
from frazil.vector_cache import ENTRY_BYTES, VectorCache
from hypothesis import given
from hypothesis import strategies as st

TEXTS = ["drift ice", None, "frazil", "", "drift ice", "pack ice that is old", "frazil"]
PAGES = fz.read_memory([{"id": n, "text": text} for n, text in enumerate(TEXTS)], name="pages")


def vector_of(text: str) -> list[float]:
    return [float(len(text)), float(text.count("i")), float(sum(map(ord, text)) % 97)]


class Model:
    """Counts what it is asked."""

    dimension = 3

    def __init__(self, name: str = "counted") -> None:
        self.name = name
        self.calls: list[list[str]] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.calls.append(list(texts))
        return np.array([vector_of(text) for text in texts])

    @property
    def asked(self) -> list[str]:
        return [text for call in self.calls for text in call]


def embed(model: Any, pages: fz.Stream = PAGES, **options: Any) -> fz.Stream:
    return pages.embed("text", into="vector", model=model, **options)


def expected(text: str | None) -> list[float] | None:
    return None if text is None else vector_of(text)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_text_once(workers: int) -> None:
    model = Model()
    stream = embed(model)
    number = pa.field("element", pa.float32(), nullable=False)
    assert stream.schema.field("vector") == pa.field("vector", pa.list_(number, 3))
    rows = run_to_end(stream, workers=workers, batch_rows=2)
    assert sorted((row["id"], row["text"], row["vector"]) for row in rows) == [
        (n, text, expected(text)) for n, text in enumerate(TEXTS)
    ]
    assert sorted(model.asked) == sorted({text for text in TEXTS if text is not None})


def test_calls_are_of_texts_of_similar_length() -> None:
    model = Model()
    rng = Random(4)
    texts = ["x" * rng.randrange(1, 400) + str(n) for n in range(300)]
    pages = fz.read_memory([{"text": text} for text in texts])
    rows = run_to_end(embed(model, pages, batch_rows=16, batch_chars=2_000))
    assert sorted(row["vector"] for row in rows) == sorted(map(vector_of, texts))
    assert max(map(len, model.calls)) == 16
    for call in model.calls:
        assert len(call) == 1 or len(call) * max(map(len, call)) <= 2_000
    lengths = [len(text) for text in model.asked]
    assert lengths == sorted(lengths)


def test_a_text_that_is_too_long_has_a_call_of_its_own() -> None:
    model = Model()
    texts = ["a", "bb", "c" * 50]
    run_to_end(embed(model, fz.read_memory([{"text": text} for text in texts]), batch_chars=10))
    assert model.calls == [["a", "bb"], ["c" * 50]]


@pytest.mark.parametrize(
    ("model", "returns"),
    [
        (lambda texts: [vector_of(text) for text in texts], "lists"),
        (lambda texts: np.array([vector_of(text) for text in texts], np.float16), "float16"),
        (lambda texts: [np.array(vector_of(text)) for text in texts], "arrays"),
    ],
)
def test_kinds_of_answers(model: Callable[[list[str]], Any], returns: str) -> None:
    rows = run_to_end(embed(model, model_name=returns, dimension=3))
    assert [row["vector"] for row in sorted(rows, key=lambda row: row["id"])] == [
        expected(text) for text in TEXTS
    ]


def longer(texts: list[str]) -> list[list[float]]:
    return [vector_of(text) + [0.0] * (text == "frazil") for text in texts]


def broken(texts: list[str]) -> Any:
    raise ValueError("no such\nlayer")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (longer, "longer returned a vector of 4 numbers, .*dimension 3.*row 3 of 7: 'frazil'"),
        (lambda texts: np.zeros((len(texts), 5)), "a vector of 5 numbers, .*dimension 3.*row 4"),
        (lambda texts: np.zeros((1, 3)), "returned 1 vectors for 4 texts"),
        (lambda texts: [[1.0, math.nan, 2.0]] * len(texts), "with NaN or infinity.*row 4 of 7"),
        (lambda texts: [[1.0, 1e300, 2.0]] * len(texts), "with NaN or infinity"),
        (lambda texts: [["a", "b", "c"]] * len(texts), "a vector of .*'a'.*dimension 3"),
        (lambda texts: None, "returned None.*a vector for each text"),
        (broken, "broken raised ValueError: no such layer.*4 texts, of which the first is row 4"),
    ],
)
def test_a_wrong_answer_says_row_and_dimension(model: Any, said: str) -> None:
    name = {} if model in (longer, broken) else {"model_name": "m"}
    with pytest.raises(UdfError, match=f"(?s){said}"):
        run_to_end(embed(model, dimension=3, **name))


async def later(texts: list[str]) -> Any:
    return texts


CHANGES = PAGES.group_by("text").agg(n=fz.count())


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda: embed(Model(), batch_rows=0), PlanError, "batch_rows=0.*1 to 4,096"),
        (lambda: embed(Model(), cache=-1), PlanError, "cache=-1"),
        (lambda: embed(Model(), cache_bytes="2GiB"), PlanError, "cache_bytes=2147483648"),
        (lambda: embed(Model(), dimension=True), PlanError, "dimension=True"),
        (lambda: embed(Model(), name=""), PlanError, "name=''"),
        (lambda: embed(Model), TypeMismatch, "model=.*Model.*encode"),
        (lambda: embed("MiniLM"), TypeMismatch, "model='MiniLM'"),
        (lambda: embed(later), PlanError, "later.* is asynchronous"),
        (lambda: embed(lambda texts: [[1.0]]), PlanError, 'say model_name="..."'),
        (lambda: embed(broken), PlanError, "to know its dimension: ValueError.*say dimension="),
        (lambda: embed(Model(), chunk=10), PlanError, r"chunk=10.*\(size, overlap\)"),
        (lambda: embed(Model(), chunk=(10, 6)), PlanError, "overlap by half"),
        (lambda: embed(Model(), CHANGES, chunk=(10, 2)), ModeMismatch, "embed with chunk="),
        (lambda: PAGES.embed("id", into="v", model=Model()), TypeMismatch, "'id', which is int64"),
        (lambda: PAGES.embed("text", into="id", model=Model()), ColumnExists, "'id'"),
        (lambda: PAGES.embed("txt", into="v", model=Model()), PlanError, "did you mean 'text'"),
    ],
)
def test_refused_where_it_is_written(
    write: Callable[[], object], error: type[PlanError], said: str
) -> None:
    with pytest.raises(error, match=f"(?s){said}"):
        write()


def test_one_call_finds_the_dimension() -> None:
    calls = []

    def model(texts: list[str]) -> list[list[float]]:
        calls.append(texts)
        return [vector_of(text) for text in texts]

    assert embed(model, model_name="m").schema.field("vector").type.list_size == 3
    assert calls == [["dimension"]]


def test_explained(tmp_path: Path) -> None:
    stream = embed(Model("all-MiniLM"))
    text = fz.Pipeline("p", stream.write_memory(), checkpoint=str(tmp_path)).explain()
    assert "call embed(text)" in text
    assert "in Python, all-MiniLM, up to 64 texts a call, 100,000 vectors kept; consistent" in text
    exact = embed(Model(), pure=True)
    assert "exact" in fz.Pipeline("p", exact.write_memory(), checkpoint=str(tmp_path)).explain()


def test_two_models_of_one_column() -> None:
    one, other = Model("one"), Model("other")
    both = embed(one).embed("text", into="second", model=other, cache=1)
    third = embed(one, cache=3)
    streams = {"both": both, "third": third, "other": embed(other)}
    rows = run_to_end(streams)
    for row in rows["both"]:
        assert row["vector"] == row["second"] == expected(row["text"])
    assert len(rows["third"]) == len(rows["other"]) == len(TEXTS)
    texts = {text for text in TEXTS if text is not None}
    assert set(one.asked) == set(other.asked) == texts


def test_two_models_of_one_name() -> None:
    streams = [embed(Model("m")).write_memory(name="a"), embed(Model("m")).write_memory(name="b")]
    with pytest.raises(PlanError, match="two functions are called embed:m"):
        fz.Pipeline("p", *streams).explain()


def test_changes_keep_the_vectors_of_their_texts() -> None:
    model = Model()
    rows = [
        {"id": 1, "text": "ice", "seen": 1, "op": "c"},
        {"id": 2, "text": "fog", "seen": 1, "op": "c"},
        {"id": 1, "text": "ice", "seen": 2, "op": "u"},
        {"id": 2, "text": None, "seen": None, "op": "d"},
        {"id": 3, "text": "rain", "seen": 1, "op": "c"},
        {"id": 3, "text": "snow", "seen": 2, "op": "u"},
    ]
    schema = {"id": int, "text": pa.string(), "seen": pa.int64(), "op": pa.string()}
    source = fz.read_memory(pa.Table.from_pylist(rows, schema=fz.schema.resolve(schema)))
    stream = source.as_changes("op", key="id").embed("text", into="vector", model=model)
    left = run_to_end(stream, batch_rows=1)
    assert sorted((row["id"], row["seen"], row["vector"]) for row in left) == [
        (1, 2, vector_of("ice")),
        (3, 2, vector_of("snow")),
    ]
    assert model.asked == ["ice", "fog", "rain", "snow"]


def test_deletes_without_their_row_ask_nothing() -> None:
    """A text that may not be null is empty in a delete of which only the key is known."""
    model = Model()
    rows = [{"id": n, "text": f"t{n}", "op": op} for n in (1, 2) for op in ("c", "d")]
    stream = fz.read_memory(rows).as_changes("op", key="id")
    log = stream.embed("text", into="vector", model=model).as_log()
    found = run_to_end(log)
    assert model.asked == ["t1", "t2"]
    assert [row["vector"] for row in found if row["_kind"] == "delete"] == [None, None]


def test_aggregates_that_change_take_back_what_they_gave() -> None:
    words = fz.read_memory([{"word": word, "n": 1} for word in ("ice", "fog", "ice", "ice")])
    model = Model()
    counted = words.group_by("word").agg(n=col("n").sum())
    rows = run_to_end(counted.embed("word", into="vector", model=model, pure=True), batch_rows=1)
    assert sorted((row["word"], row["n"], row["vector"]) for row in rows) == [
        ("fog", 1, vector_of("fog")),
        ("ice", 3, vector_of("ice")),
    ]
    assert sorted(model.asked) == ["fog", "ice"]


def test_chunks_are_rows() -> None:
    model = Model()
    rows = run_to_end(embed(model, chunk=(12, 4)), batch_rows=3)
    found = sorted(
        (row["id"], row["chunk"], row["text"], row["vector"])
        for row in rows
        if row["text"] is not None
    )
    pieces = [
        (n, number, piece, vector_of(piece))
        for n, text in enumerate(TEXTS)
        if text is not None
        for number, piece in enumerate(chunks_of(text, 12, 4))
    ]
    assert found == pieces
    assert [(r["id"], r["chunk"], r["vector"]) for r in rows if r["text"] is None] == [(1, 0, None)]
    assert max(number for _, number, _, _ in pieces) == 2


@given(
    text=st.text(st.sampled_from("ab \n")),
    size=st.integers(2, 9),
    data=st.data(),
)
def test_chunks_have_the_whole_text(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size // 2))
    pieces = chunks_of(text, size, overlap)
    whole = pieces[0]
    for before, piece in pairwise(pieces):
        assert piece.startswith(before[len(before) - overlap :])
        assert len(piece) > overlap
        whole += piece[overlap:]
    assert whole == text
    assert max(map(len, pieces)) <= size


def test_cache_is_bounded() -> None:
    cache = VectorCache("m", 3, 10 * (8 + ENTRY_BYTES))
    keys = [cache.key(str(n)) for n in range(5)]
    for key in keys:
        cache.put(key, b"12345678", "a")
        cache.get(keys[0], "a")  # stays, being used
    assert [cache.get(key, "b") is not None for key in keys] == [True, False, False, True, True]
    assert len(cache) == 3
    small = VectorCache("m", 100, 3 * (8 + ENTRY_BYTES))
    for key in keys:
        small.put(key, b"12345678")
    assert len(small) == 3
    assert small.size_bytes == 3 * (8 + ENTRY_BYTES)
    assert VectorCache("n", 1, 1).key("0") != keys[0]


def test_cache_gives_each_user_what_its_rows_have() -> None:
    cache = VectorCache("m", 10, 10_000)
    cache.put(b"1", b"x", "a")
    cache.put(b"2", b"y", "b")
    assert cache.get(b"1", "b") == b"x"
    assert cache.take_new("a", full=False) == [(b"1", b"x")]
    assert cache.take_new("b", full=False) == [(b"1", b"x"), (b"2", b"y")]
    assert cache.take_new("b", full=False) == []
    cache.put(b"3", b"z", "b")
    assert len(cache.take_new("a", full=True)) == 3  # one of them gives all
    assert cache.take_new("b", full=True) == [(b"3", b"z")]


def test_a_cache_that_is_too_small_only_costs_calls() -> None:
    model = Model()
    rows = run_to_end(embed(model, cache=0), batch_rows=2)
    assert sorted((r["id"], r["vector"]) for r in rows) == [
        (n, expected(text)) for n, text in enumerate(TEXTS)
    ]
    assert len(model.asked) == 6


def test_plan_says_model_and_dimension() -> None:
    plan = fz.Pipeline("p", embed(Model()).write_memory()).plan.json
    states = [node["state"] for node in plan["nodes"] if node["kind"] == "udf"]
    assert states == [{"dimension": "3", "keeps": "vectors by text", "model": "counted"}]
