"""Models of other libraries: a static one of model2vec, a graph of ONNX, and their like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import frazil as fz
import numpy as np
import onnx
import pytest
from frazil.errors import ConfigError, PlanError, UdfError
from frazil.testing import run_to_end
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = ["[PAD]", "[UNK]", "ice", "frazil", "pack", "ship", "light", "keeper", "salt", "bread"]
DIMENSION = 6
WEIGHTS = np.random.default_rng(5).normal(size=(len(WORDS), DIMENSION)).astype(np.float32)
DOCUMENTS = ["frazil ice", "light keeper ship ship ship", "salt bread", "pack ice ice"]


def tokenizer() -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    made = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    return made


def mean_of(text: str) -> np.ndarray:
    mean = WEIGHTS[[WORDS.index(word) for word in text.split()]].mean(0)
    return mean / np.linalg.norm(mean)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A model as a folder of files: its vector of a token does not depend on the others."""
    graph(tmp_path / "model.onnx")
    made = tokenizer()
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=50)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def graph(path: Path, *inputs: str) -> None:
    helper = onnx.helper
    shape = ["texts", "tokens"]
    given = [
        helper.make_tensor_value_info(name, onnx.TensorProto.INT64, shape)
        for name in ("input_ids", *(inputs or ("attention_mask",)))
    ]
    gives = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [*shape, DIMENSION])
    steps = [helper.make_node("Gather", ["weights", "input_ids"], ["out"])]
    weights = onnx.numpy_helper.from_array(WEIGHTS, "weights")
    made = helper.make_graph(steps, "model", given, [gives], [weights])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=9), str(path))


def onnx_model(files: Path, **options: Any) -> fz.OnnxModel:
    return fz.OnnxModel(
        files / "model.onnx", tokenizer=files / "tokenizer.json", name="toy", threads=1, **options
    )


def embedded(model: Any, **options: Any) -> dict[str, list[float]]:
    pages = fz.read_memory([{"text": text} for text in DOCUMENTS])
    rows = run_to_end(pages.embed("text", into="vector", model=model, **options))
    return {row["text"]: row["vector"] for row in rows}


def nearest(vectors: dict[str, list[float]], query: np.ndarray) -> str:
    return max(vectors, key=lambda text: float(np.dot(vectors[text], query)))


def test_onnx_finds_the_document(files: Path) -> None:
    model = onnx_model(files)
    assert model.dimension == DIMENSION
    vectors = embedded(model)
    for text, vector in vectors.items():  # whatever was beside it, and however it was padded
        np.testing.assert_allclose(vector, mean_of(text), atol=1e-6)
    assert nearest(vectors, model.encode(["bread salt"])[0]) == "salt bread"
    assert nearest(vectors, model.encode(["ship keeper"])[0]) == "light keeper ship ship ship"


def test_onnx_options(files: Path) -> None:
    first = onnx_model(files, pooling="cls", normalize=False).encode(["ice bread", "salt"])
    np.testing.assert_allclose(first, WEIGHTS[[2, 8]])
    short = onnx_model(files, max_tokens=1).encode(["ice bread"])
    np.testing.assert_allclose(short[0], mean_of("ice"), atol=1e-6)


def test_onnx_files_that_are_none(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ConfigError, match=r"model\.onnx cannot be opened"):
        onnx_model(files).encode(["ice"])
    graph(files / "model.onnx", "pixels")
    with pytest.raises(ConfigError, match="takes input_ids, pixels"):
        onnx_model(files).encode(["ice"])
    with pytest.raises(UdfError, match=r"(?s)embed:toy.*ConfigError: .*takes input_ids, pixels"):
        embedded(onnx_model(files, dimension=DIMENSION))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"needs onnxruntime.*\n.*pip install frazil\[onnx\]"):
        onnx_model(files).encode(["ice"])
    (files / "model.onnx").unlink()
    with pytest.raises(ConfigError, match=r"there is no file .*model\.onnx"):
        onnx_model(files).encode(["ice"])
    with pytest.raises(PlanError, match="pooling='max'"):
        onnx_model(files, pooling="max")
    with pytest.raises(PlanError, match="max_tokens=0"):
        onnx_model(files, max_tokens=0)


def test_model2vec_finds_the_document() -> None:
    model = StaticModel(WEIGHTS, tokenizer(), normalize=True, base_model_name="toy-static")
    vectors = embedded(model, pure=True)
    for text, vector in vectors.items():
        np.testing.assert_allclose(vector, mean_of(text), atol=1e-5)
    assert nearest(vectors, model.encode(["bread salt"])[0]) == "salt bread"


class SentenceTransformer:
    """As that of sentence-transformers: its card has the name, a method the dimension."""

    def __init__(self, base_model: str | None) -> None:
        self.model_card_data = type("Card", (), {"base_model": base_model})()
        self.calls = 0

    def get_sentence_embedding_dimension(self) -> int:
        return DIMENSION

    def encode(self, sentences: list[str], batch_size: int = 32) -> np.ndarray:
        self.calls += 1
        return np.stack([mean_of(text) for text in sentences])


def test_sentence_transformers_by_its_shape() -> None:
    model = SentenceTransformer("all-MiniLM-L6-v2")
    stream = fz.read_memory([{"text": "ice"}]).embed("text", into="vector", model=model)
    states = [
        node.get("state") for node in fz.Pipeline("p", stream.write_memory()).plan.json["nodes"]
    ]
    kept = {"model": "all-MiniLM-L6-v2", "dimension": str(DIMENSION)}
    assert {**kept, "keeps": "vectors by text"} in states
    assert model.calls == 0
    assert embedded(model)["salt bread"] == pytest.approx(mean_of("salt bread"))
    assert model.calls == 1
    with pytest.raises(PlanError, match="say model_name="):
        embedded(SentenceTransformer(None))
