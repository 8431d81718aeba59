"""Vectors in Iceberg tables: what readers find there, deletes, and which model they are of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import frazil as fz
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from frazil.errors import SchemaMismatch
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.types import FloatType, ListType

DOCUMENTS = [
    "frazil ice forms in cold turbulent water",
    "the lighthouse keeper notes ships that pass",
    None,
    "bread is baked from flour water and salt",
]
WORDS = sorted({word for text in DOCUMENTS if text for word in text.split()})


class Words:
    """Which of the words are in a text."""

    def __init__(self, name: str = "words", words: list[str] = WORDS) -> None:
        self.name = name
        self.words = words
        self.dimension = len(words)
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[word in text.split() for word in self.words] for text in texts], float)


class Lake:
    """A catalog in a folder, and pipelines into table docs.pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.properties = {
            "type": "sql",
            "uri": f"sqlite:///{folder / 'catalog.db'}",
            "warehouse": f"file://{folder / 'warehouse'}",
        }
        self.catalog: Catalog = load_catalog("default", **self.properties)

    def run(self, pages: fz.Stream, model: Any, *, name: str = "pages", **options: Any) -> None:
        stream = pages.embed("text", into="vector", model=model)
        sink = stream.write_iceberg("docs.pages", catalog=self.properties, **options)
        checkpoint = str(self.folder / "log" / name)
        fz.Pipeline(name, sink, checkpoint=checkpoint).run(until="now", quiet=True)

    @property
    def table(self) -> Any:
        return self.catalog.load_table("docs.pages")

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.table.scan().to_arrow().to_pylist()
        return sorted(rows, key=lambda row: row["id"])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def pages_of(texts: list[str | None]) -> fz.Stream:
    return fz.read_memory([{"id": n, "text": text} for n, text in enumerate(texts)], name="pages")


PAGES = pages_of(DOCUMENTS)


def test_the_right_document_is_found(lake: Lake) -> None:
    model = Words()
    lake.run(PAGES, model)
    field = lake.table.schema().find_field("vector")
    assert not field.required
    assert isinstance(field.field_type, ListType)
    assert isinstance(field.field_type.element_type, FloatType)
    rows = lake.rows()
    for row, text in zip(rows, DOCUMENTS, strict=True):
        wanted = None if text is None else [float(word in text.split()) for word in WORDS]
        assert row["vector"] == wanted
    for query, id in (("cold ice", 0), ("ships of the lighthouse", 1), ("salt bread", 3)):
        vector = Words().encode([query])[0]
        near = {r["id"]: np.dot(r["vector"], vector) for r in rows if r["vector"] is not None}
        assert max(near, key=near.__getitem__) == id
        found = duckdb.connect()
        found.register("pages", lake.table.scan().to_arrow())
        as_array = f"FLOAT[{model.dimension}]"
        answer = found.execute(
            "SELECT id FROM pages WHERE vector IS NOT NULL ORDER BY array_cosine_similarity("
            f"vector::{as_array}, ?::{as_array}) DESC LIMIT 1",
            [vector.tolist()],
        ).fetchone()
        assert answer == (id,)


def test_lancedb_searches_the_vectors(tmp_path: Path) -> None:
    texts = PAGES.filter(fz.col("text").is_not_null())
    stream = texts.embed("text", into="vector", model=Words())
    sink = stream.write_lancedb(str(tmp_path / "search"), "pages")
    fz.Pipeline("pages", sink, checkpoint=str(tmp_path / "log")).run(until="now", quiet=True)
    table = lancedb.connect(str(tmp_path / "search")).open_table("pages")
    assert table.count_rows() == len(DOCUMENTS) - 1
    assert table.schema.field("vector").type.list_size == len(WORDS)
    for query, id in (("cold ice", 0), ("ships of the lighthouse", 1)):
        vector = Words().encode([query])[0].tolist()
        found = table.search(vector, "vector").distance_type("cosine").limit(1).to_list()
        assert found[0]["id"] == id


def test_an_update_keeps_its_vector_and_a_delete_takes_it_away(lake: Lake) -> None:
    class Page(fz.Schema):
        id: int
        text: str | None
        views: int | None
        op: str

    def write(name: str, rows: list[tuple[int, str | None, int | None, str]]) -> None:
        lines = [json.dumps(dict(zip(Page.to_arrow().names, row, strict=True))) for row in rows]
        (lake.folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")

    files = fz.read_files(str(lake.folder / "*.jsonl"), format="json", schema=Page)
    pages = files.as_changes("op", key="id")
    model = Words()
    write("1", [(1, "cold water", 1, "c"), (2, "salt", 1, "c"), (3, "ice", 1, "c")])
    lake.run(pages, model, mode="upsert", key=["id"])
    assert len(lake.rows()) == 3
    write("2", [(1, "cold water", 2, "u"), (2, None, None, "d"), (3, "ships", 1, "u")])
    lake.run(pages, model, mode="upsert", key=["id"])
    assert [(row["id"], row["views"]) for row in lake.rows()] == [(1, 2), (3, 1)]
    expected = Words().encode(["cold water", "ships"]).tolist()
    assert [row["vector"] for row in lake.rows()] == expected
    assert model.asked == ["ice", "salt", "cold water", "ships"]


def test_the_table_says_its_model(lake: Lake) -> None:
    lake.run(PAGES, Words())
    said = json.loads(lake.table.properties["frazil.embedding.vector"])
    assert said == {"model": "words", "dimension": str(len(WORDS))}
    lake.run(PAGES, Words(), name="more")
    assert len(lake.rows()) == 2 * len(DOCUMENTS)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Words("letters"), "is of 'letters' with dimension .*, and of 'words' with dimension"),
        (Words(words=WORDS[:5]), "'words' with dimension 5 in the stream, and of 'words' with"),
    ],
)
def test_vectors_of_another_model_are_refused(model: Words, said: str, lake: Lake) -> None:
    lake.run(PAGES, Words())
    with pytest.raises(SchemaMismatch, match=f"(?s){said}.*write another table, or column"):
        lake.run(PAGES, model, name="more")
    assert len(lake.rows()) == len(DOCUMENTS)


def test_rows_that_do_not_say_their_model(lake: Lake) -> None:
    model = Words()
    vectors = model.encode(["salt"]).astype(np.float32).tolist()
    schema = pa.schema(
        [("id", pa.int64()), ("text", pa.string()), ("vector", pa.list_(pa.float32()))]
    )
    lake.catalog.create_namespace("docs")
    table = lake.catalog.create_table("docs.pages", schema)
    table.append(pa.Table.from_pylist([{"id": 9, "text": "salt", "vector": vectors[0]}], schema))
    with pytest.raises(SchemaMismatch, match=r"(?s)does not say of which model.*set its property"):
        lake.run(PAGES, model)
    said = json.dumps({"dimension": str(model.dimension), "model": "words"})
    with lake.table.transaction() as transaction:
        transaction.set_properties({"frazil.embedding.vector": said})
    lake.run(PAGES, model)
    assert len(lake.rows()) == len(DOCUMENTS) + 1


def test_a_table_gets_the_column_and_the_property(lake: Lake) -> None:
    lake.catalog.create_namespace("docs")
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    table = lake.catalog.create_table("docs.pages", schema)
    table.append(pa.Table.from_pylist([{"id": 9, "text": "salt"}], schema))
    lake.run(PAGES, Words(), drift="evolve")
    assert "words" in lake.table.properties["frazil.embedding.vector"]
    assert [row["vector"] is None for row in lake.rows()] == [False, False, True, False, True]


@pytest.mark.parametrize(
    "then",
    [
        lambda s: s.rename(vector="v"),
        lambda s: s.filter(fz.col("id") > 0).with_columns(v=fz.col("vector")).drop("vector"),
        lambda s: s.rename(vector="v").union(s.rename(vector="v")),
    ],
)
def test_columns_are_followed_through_steps(
    then: Callable[[fz.Stream], fz.Stream], lake: Lake
) -> None:
    stream = then(PAGES.embed("text", into="vector", model=Words()))
    sink = stream.write_iceberg("docs.pages", catalog=lake.properties)
    found = [
        n["options"]["embeddings"]
        for n in fz.Pipeline("p", sink).plan.json["nodes"]
        if n["kind"] == "sink"
    ]
    assert found == [{"v": {"model": "words", "dimension": str(len(WORDS))}}]


def test_other_columns_are_not() -> None:
    embedded = PAGES.embed("text", into="vector", model=Words())
    other = PAGES.embed("text", into="vector", model=Words("other"))
    for stream in (PAGES, embedded.drop("vector"), embedded.union(other)):
        plan = fz.Pipeline("p", stream.write_iceberg("docs.pages")).plan.json
        assert all("embeddings" not in node.get("options", {}) for node in plan["nodes"])
