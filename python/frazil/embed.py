"""What a step of `Stream.embed` has to know: the model, its dimension, how it is called."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from frazil.errors import PlanError, TypeMismatch
from frazil.node import Function
from frazil.udf import _module_name, _source_hash

BATCH_ROWS_MAX = 4_096
"""Texts of one call of a model."""
BATCH_CHARS_MAX = 16_000_000
"""Characters of one call of a model: rows by the longest text."""
CACHE_MAX = 10_000_000
"""Vectors that a step keeps."""
CACHE_BYTES_MAX = 1 << 30
"""Bytes of them; a checkpoint takes them in one piece."""
CONCURRENCY_MAX = 256
"""Calls of one model at a time."""
DIMENSION_MAX = 65_536
"""Numbers of a vector."""

EMBEDDING_PREFIX = "embed:"
"""How references of models begin in a plan."""

# Where models of other libraries have their name, and the numbers of a vector.
_NAMES = ("name", "model_name", "base_model_name")
_DIMENSIONS = ("dimension", "dim", "get_sentence_embedding_dimension")


@dataclass(frozen=True)
class EmbedOptions:
    """How a model is called, and what is kept of it.

    Attributes
    ----------
    name
        Of the model: what vectors of a table have to have in common.
    concurrency
        Calls at a time, of all workers. More than one only of models that say so.
    whole
        Whether every row has its text. If not, rows that go may have none.
    step
        Name of the step, under which a checkpoint knows it.
    """

    name: str
    dimension: int
    encode: Callable[[list[str]], Any] = field(repr=False, compare=False)
    batch_rows: int
    batch_chars: int
    cache: int
    cache_bytes: int
    concurrency: int
    whole: bool
    step: str | None = None

    def cache_seed(self, source_hash: str) -> str:
        """What a vector depends on besides its text."""
        return f"{self.name}\0{self.dimension}\0{source_hash}\0"

    def state(self) -> dict[str, str]:
        """What the step keeps, in words: a checkpoint fits only a step that says the same."""
        return {**self.embedding(), "keeps": "vectors by text"}

    def embedding(self) -> dict[str, str]:
        """What a table says of a column of its vectors."""
        return {"model": self.name, "dimension": str(self.dimension)}

    def __str__(self) -> str:
        """Say it to people: ``up to 64 texts a call, 100,000 vectors kept``."""
        return f"up to {self.batch_rows} texts a call, {self.cache:,} vectors kept"


def make_embedding(
    model: Any,
    *,
    nullable: bool,
    model_name: str | None,
    dimension: int | None,
    batch_rows: int,
    batch_chars: int,
    cache: int,
    cache_bytes: int,
    pure: bool,
    whole: bool,
    step: str | None,
) -> Function:
    """Check what `Stream.embed` was told of a model, and describe it for the plan."""
    if importlib.util.find_spec("numpy") is None:
        raise PlanError("embed needs NumPy, which is not there", "pip install frazil[embeddings]")
    encode = _encoder(model)
    name = _name_of(model) if model_name is None else model_name
    if not isinstance(name, str) or not name:
        raise PlanError(
            f"embed does not know what {model!r} is called",
            'say model_name="...": a table keeps it, and refuses vectors of another model',
        )
    if step is not None and (not isinstance(step, str) or not step):
        raise PlanError(f"embed got name={step!r}", "a name is a text that is not empty")
    found = _dimension_of(model, encode, name) if dimension is None else dimension
    options = EmbedOptions(
        name=name,
        dimension=_whole(found, "dimension", 1, DIMENSION_MAX),
        encode=encode,
        batch_rows=_whole(batch_rows, "batch_rows", 1, BATCH_ROWS_MAX),
        batch_chars=_whole(batch_chars, "batch_chars", 1, BATCH_CHARS_MAX),
        cache=_whole(cache, "cache", 0, CACHE_MAX),
        cache_bytes=_whole(cache_bytes, "cache_bytes", 1, CACHE_BYTES_MAX),
        concurrency=_whole(getattr(model, "concurrency", 1), "concurrency", 1, CONCURRENCY_MAX),
        whole=whole,
        step=step,
    )
    digest = _source_hash(model) if inspect.isroutine(model) else ""
    number = pa.field("element", pa.float32(), nullable=False)
    returns = pa.schema([pa.field("result", pa.list_(number, options.dimension), nullable)])
    reference = f"{EMBEDDING_PREFIX}{name}"
    return Function(reference, model, "embed", returns, pure, "fail", digest, options)


def _encoder(model: Any) -> Callable[[list[str]], Any]:
    encode = getattr(model, "encode", None)
    no_model = isinstance(model, type | str | bytes)  # a text has an encode of another kind
    if no_model or (not callable(encode) and not callable(model)):
        raise TypeMismatch(
            f"embed got model={model!r}",
            "give a function of a list of texts, or an object with encode(texts)",
        )
    found: Callable[[list[str]], Any] = encode if callable(encode) else model
    if inspect.iscoroutinefunction(found):
        raise PlanError(f"{model!r} is asynchronous", "a model is a plain function")
    return found


def _name_of(model: Any) -> str | None:
    if inspect.isroutine(model):
        if "<" in model.__qualname__:  # a lambda or a function in one: there may be several
            return None
        return f"{_module_name(model)}:{model.__qualname__}"
    card = getattr(model, "model_card_data", None)  # of sentence-transformers
    found = [getattr(model, each, None) for each in _NAMES] + [getattr(card, "base_model", None)]
    return next((each for each in found if isinstance(each, str) and each), None)


def _dimension_of(model: Any, encode: Callable[[list[str]], Any], name: str) -> Any:
    for each in _DIMENSIONS:
        found = getattr(model, each, None)
        found = found() if callable(found) else found
        if isinstance(found, int):
            return found
    try:
        return len(encode(["dimension"])[0])
    except Exception as error:  # the user's own
        raise PlanError(
            f"embed asked {name} for a vector, to know its dimension: "
            f"{type(error).__name__}: {error}",
            "say dimension=, or give a model that takes a list of texts",
        ) from error


def _whole(value: Any, what: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise PlanError(f"embed got {what}={value!r}", f"{least:,} to {most:,}")
    return value
