"""Models in ONNX files, run by ONNX Runtime: `OnnxModel`."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from frazil.errors import ConfigError, PlanError, on_user_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TOKENS_MAX = 32_768
"""Tokens of one text that are looked at."""


class OnnxModel:
    """A model of sentences in an ONNX file, with its tokenizer; for `Stream.embed`.

    Needs ``pip install frazil[onnx]``. The files are what ``optimum-cli export onnx`` writes, and
    what most models of sentence-transformers have in their folder ``onnx``. They are opened when
    the first text is embedded, or when the dimension is asked for.

    Parameters
    ----------
    path
        The graph. It takes ``input_ids`` and, if it has them, ``attention_mask`` and
        ``token_type_ids``; its first output is a vector of each token, or of each text.
    tokenizer
        ``tokenizer.json`` of the model.
    name
        What a table keeps: the same name for the same numbers.
    dimension
        Numbers of a vector; default what the graph says.
    pooling
        How vectors of tokens become that of a text: their "mean", or the first one ("cls").
    normalize
        Make vectors one long, so that a dot product is the cosine.
    max_tokens
        Of one text; the rest is not looked at.
    providers
        Where ONNX Runtime computes, the best first: ``["CUDAExecutionProvider",
        "CPUExecutionProvider"]``, with onnxruntime-gpu.
    threads
        Of ONNX Runtime; default as many as there are cores.

    Examples
    --------
    >>> import frazil as fz
    >>> model = fz.OnnxModel(
    ...     "minilm/model.onnx", tokenizer="minilm/tokenizer.json", name="MiniLM-L6", dimension=384
    ... )
    >>> model
    OnnxModel('minilm/model.onnx', name='MiniLM-L6')
    """

    @on_user_line
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tokenizer: str | os.PathLike[str],
        name: str,
        dimension: int | None = None,
        pooling: Literal["mean", "cls"] = "mean",
        normalize: bool = True,
        max_tokens: int = 256,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int | None = None,
    ) -> None:
        if pooling not in ("mean", "cls"):
            raise PlanError(f"OnnxModel got pooling={pooling!r}", '"mean" or "cls"')
        if not isinstance(max_tokens, int) or not 1 <= max_tokens <= TOKENS_MAX:
            raise PlanError(f"OnnxModel got max_tokens={max_tokens!r}", f"1 to {TOKENS_MAX:,}")
        self.name = name
        self._path = os.fspath(path)
        self._tokenizer_path = os.fspath(tokenizer)
        self._dimension = dimension
        self._pooling = pooling
        self._normalize = normalize
        self._max_tokens = max_tokens
        self._providers = list(providers)
        self._threads = threads
        self._opened: tuple[Any, Any, list[str]] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OnnxModel({self._path!r}, name={self.name!r})"

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        if self._dimension is None:
            last = self._open()[0].get_outputs()[0].shape[-1]
            self._dimension = last if isinstance(last, int) else self.encode(["a"]).shape[1]
        return self._dimension

    def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Compute the vectors of texts, in their order.

        Parameters
        ----------
        texts
            One or more; they are padded to the longest.

        Returns
        -------
        numpy.ndarray
            A row for each.

        Raises
        ------
        ConfigError
            A file cannot be read, or is none of a model.

        Examples
        --------
        >>> import frazil as fz
        >>> model = fz.OnnxModel("none.onnx", tokenizer="none.json", name="none")
        >>> model.encode(["drift ice"])
        Traceback (most recent call last):
            ...
        frazil.errors.ConfigError: OnnxModel: there is no file none.json
        """
        import numpy as np

        session, tokenizer, wanted = self._open()
        tokens = tokenizer.encode_batch(texts)
        columns = {
            "input_ids": np.array([each.ids for each in tokens], np.int64),
            "attention_mask": np.array([each.attention_mask for each in tokens], np.int64),
            "token_type_ids": np.array([each.type_ids for each in tokens], np.int64),
        }
        found = session.run(None, {name: columns[name] for name in wanted})[0]
        vectors: npt.NDArray[np.float32] = np.asarray(found, np.float32)
        if vectors.ndim == 3 and self._pooling == "cls":
            vectors = vectors[:, 0]
        elif vectors.ndim == 3:
            mask = columns["attention_mask"][:, :, None].astype(np.float32)
            vectors = (vectors * mask).sum(1) / np.maximum(mask.sum(1), 1)
        if self._normalize:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.maximum(lengths, 1e-12)
        return vectors

    def _open(self) -> tuple[Any, Any, list[str]]:
        with self._lock:
            if self._opened is None:
                self._opened = self._read()
            return self._opened

    def _read(self) -> tuple[Any, Any, list[str]]:
        for path in (self._tokenizer_path, self._path):
            if not os.path.isfile(path):
                raise ConfigError(f"OnnxModel: there is no file {path}")
        runtime, tokenizers = (_module(each) for each in ("onnxruntime", "tokenizers"))
        try:
            tokenizer = tokenizers.Tokenizer.from_file(self._tokenizer_path)
            padding = tokenizer.padding or {}
            tokenizer.enable_padding(**{**padding, "length": None})
            tokenizer.enable_truncation(self._max_tokens)
            options = runtime.SessionOptions()
            if self._threads is not None:
                options.intra_op_num_threads = self._threads
            session = runtime.InferenceSession(self._path, options, providers=self._providers)
        except Exception as error:  # of either library: they have no class of their own
            said = " ".join(str(error).split())[:200]
            raise ConfigError(f"OnnxModel {self._path} cannot be opened: {said}") from error
        wanted = [each.name for each in session.get_inputs()]
        unknown = set(wanted) - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown or "input_ids" not in wanted:
            raise ConfigError(
                f"OnnxModel {self._path} takes {', '.join(wanted)}",
                "a model of texts takes input_ids, attention_mask and token_type_ids",
            )
        return session, tokenizer, wanted


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"OnnxModel needs {name}, which is not there", "pip install frazil[onnx]"
        ) from None
