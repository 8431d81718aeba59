"""Documents in files become a table that can be searched by meaning; a text is embedded once."""

import json
import re
import zlib
from pathlib import Path

import frazil as fz
import numpy as np
from pyiceberg.catalog import load_catalog

DIMENSION = 512


class Document(fz.Schema):
    path: str
    title: str
    body: str | None


def words(texts: list[str]) -> np.ndarray:
    """Stands for a model: fz.OnnxModel, fz.OpenAIEmbeddings, or one of sentence-transformers."""
    vectors = np.zeros((len(texts), DIMENSION), np.float32)
    for vector, text in zip(vectors, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % DIMENSION] += 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)


# On object storage: fz.read_files("s3://bucket/documents/*.jsonl", s3=fz.S3(...), ...)
documents = fz.read_files("documents/*.jsonl", format="json", schema=Document)
pieces = documents.filter(fz.col("body").is_not_null()).embed(
    "body", into="vector", model=words, dimension=DIMENSION, chunk=(400, 80)
)
pipeline = fz.Pipeline("documents", pieces.write_iceberg("docs.pieces"))


def search(query: str, count: int = 3) -> list[dict[str, object]]:
    catalog = load_catalog("embedded", type="sql", uri="sqlite:///warehouse/catalog.db")
    table = catalog.load_table("docs.pieces").scan().to_arrow()
    nearness = np.stack(table["vector"].to_pylist()) @ words([query])[0]
    best = np.argsort(-nearness)[:count]
    return table.select(["path", "chunk", "title"]).take(best).to_pylist()


if __name__ == "__main__":
    Path("documents").mkdir(exist_ok=True)
    ice = "Frazil forms in turbulent water that is colder than freezing. " * 12
    sea = "A keeper of a lighthouse notes each ship that passes at night. " * 12
    texts = {"ice.md": ("Frazil", ice), "sea.md": ("Lighthouse", sea), "empty.md": ("Empty", None)}
    rows = [{"path": p, "title": title, "body": body} for p, (title, body) in texts.items()]
    Path("documents/1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(pipeline.run(until="now"))
    print("found:", search("how does ice form in cold water?", count=1))
