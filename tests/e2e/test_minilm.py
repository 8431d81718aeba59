"""A real model, all-MiniLM-L6-v2 in ONNX Runtime: documents are found by what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import frazil as fz
import numpy as np
import pytest
from pyiceberg.catalog import load_catalog

from tests.services.minilm import fetch_minilm

pytestmark = [pytest.mark.service, pytest.mark.slow]

DOCUMENTS = [
    "Flour, water and yeast are kneaded, left to rise and put into the oven.",
    "The central bank raised its interest rate by half a point on Thursday.",
    "Slush of loose crystals forms in rivers that flow fast and freeze.",
    "The goalkeeper saved a penalty in the last minute of the match.",
]
QUESTIONS = {
    "How do I make a loaf of bread?": 0,
    "Why did borrowing become more expensive?": 1,
    "What does ice look like in moving water?": 2,
    "Who stopped the shot in football?": 3,
}


class Counted:
    """The model, and how many texts it was asked."""

    name = "all-MiniLM-L6-v2"
    dimension = 384

    def __init__(self) -> None:
        folder = fetch_minilm()
        self._model = fz.OnnxModel(
            folder / "model.onnx", tokenizer=folder / "tokenizer.json", name=self.name, threads=1
        )
        assert self._model.dimension == self.dimension
        self.asked = 0

    def encode(self, texts: list[str]) -> np.ndarray:
        self.asked += len(texts)
        return self._model.encode(texts)


@pytest.fixture(scope="module")
def model() -> Counted:
    return Counted()


def test_numbers_are_those_of_the_model(model: Counted) -> None:
    """Similarities that the documentation of sentence-transformers shows for it."""
    vectors = model.encode(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    shown = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(vectors @ vectors.T, shown, atol=5e-4)


def test_documents_are_found(model: Counted, tmp_path: Path) -> None:
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path / 'catalog.db'}",
        "warehouse": f"file://{tmp_path / 'warehouse'}",
    }

    def run(rows: list[dict[str, Any]]) -> None:
        path = tmp_path / f"{rows[0]['id']}.jsonl"
        path.write_text("".join(f'{{"id": {r["id"]}, "text": "{r["text"]}"}}\n' for r in rows))
        schema = {"id": int, "text": str}
        pages = fz.read_files(str(tmp_path / "*.jsonl"), format="json", schema=schema)
        stream = pages.embed("text", into="vector", model=model)
        sink = stream.write_iceberg("docs.pages", catalog=properties)
        fz.Pipeline("pages", sink, checkpoint=str(tmp_path / "log")).run(until="now", quiet=True)

    model.asked = 0
    run([{"id": n, "text": text} for n, text in enumerate(DOCUMENTS)])
    run([{"id": 10 + n, "text": text} for n, text in enumerate(DOCUMENTS)])
    assert model.asked == len(DOCUMENTS)
    table = load_catalog("default", **properties).load_table("docs.pages").scan().to_arrow()
    assert table.num_rows == 2 * len(DOCUMENTS)
    database = duckdb.connect()
    database.register("pages", table)
    for question, number in QUESTIONS.items():
        found = database.execute(
            "SELECT id FROM pages ORDER BY array_cosine_similarity(vector::FLOAT[384], "
            "?::FLOAT[384]) DESC LIMIT 2",
            [model.encode([question])[0].tolist()],
        ).fetchall()
        assert sorted(found) == [(number,), (10 + number,)], question
