"""Vectors of an endpoint that speaks as OpenAI's does: `OpenAIEmbeddings`."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import urllib3
from frazil.duration import Duration, duration_ms
from frazil.errors import AuthError, ConnectError, PlanError, UdfError, on_user_line
from frazil.secret import Secret, require_secret, resolve_secrets

CONNECT_TIMEOUT_S = 5.0
"""How long a connection may take to come about."""
RETRIES_MAX = 100
"""Times that a call is made again."""
PAUSE_MAX_S = 60.0
"""The longest pause before a call is made again (seconds), also of what an endpoint asks for."""
ANSWER_BYTES_MAX = 256 << 20
"""Bytes of one answer."""
CONNECTIONS = 16
"""To one endpoint, kept open; more are made for a call each."""

_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_SHOWN_CHARS = 200


class OpenAIEmbeddings:
    """A model behind an endpoint ``/embeddings`` as OpenAI has it; for `Stream.embed`.

    Ollama, vLLM, llama.cpp, text-embeddings-inference and most services have one. Calls that fail
    for now (a limit of the rate, a time-out, the endpoint is away) are made again with growing
    pauses, or after the one that the endpoint asks for.

    Parameters
    ----------
    model
        Its name there, which is also what a table keeps.
    dimension
        Numbers of a vector.
    url
        What stands before ``/embeddings``.
    api_key
        A reference, `fz.secret`; read when the first text is embedded, and in no log or error.
    timeout
        Of one call.
    retries
        How often a call is made again.
    delay
        The pause before the first of them; it doubles up to 60 s, and is drawn from its upper half.
    shorten
        Send the dimension: models that can then give vectors of so many numbers.
    concurrency
        Calls at a time, of all workers of a process.

    Examples
    --------
    >>> import frazil as fz
    >>> model = fz.OpenAIEmbeddings(
    ...     model="nomic-embed-text", dimension=768, url="http://localhost:11434/v1"
    ... )
    >>> pages = fz.read_memory([{"id": 1, "text": "drift ice"}])
    >>> pages.embed("text", into="vector", model=model).schema.names
    ['id', 'text', 'vector']
    """

    @on_user_line
    def __init__(
        self,
        *,
        model: str,
        dimension: int,
        url: str = "https://api.openai.com/v1",
        api_key: Secret | None = None,
        timeout: Duration = "30s",
        retries: int = 8,
        delay: Duration = "500ms",
        shorten: bool = False,
        concurrency: int = 8,
    ) -> None:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise PlanError(f"OpenAIEmbeddings got url={url!r}", 'write "https://host/v1"')
        if urllib3.util.parse_url(url).auth:
            raise PlanError("OpenAIEmbeddings got a url with a login", "write api_key=fz.secret")
        if not isinstance(model, str) or not model:
            raise PlanError(f"OpenAIEmbeddings got model={model!r}", "name the model")
        if not isinstance(retries, int) or not 0 <= retries <= RETRIES_MAX:
            raise PlanError(f"OpenAIEmbeddings got retries={retries!r}", f"0 to {RETRIES_MAX}")
        self.name = model
        self.dimension = dimension
        self.concurrency = concurrency
        self._url = url.rstrip("/") + "/embeddings"
        self._key = None if api_key is None else require_secret(api_key, "api_key")
        self._timeout_s = duration_ms(timeout, "timeout", least=1) / 1000
        self._retries = retries
        self._delay_s = duration_ms(delay, "delay", least=1) / 1000
        self._shorten = shorten
        self._pool: urllib3.PoolManager | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OpenAIEmbeddings(model={self.name!r}, url={self._url!r})"

    def encode(self, texts: list[str]) -> list[list[float]]:
        """Ask for the vectors of texts, in their order.

        Parameters
        ----------
        texts
            Not empty: most endpoints refuse an empty text.

        Returns
        -------
        list
            A vector for each.

        Raises
        ------
        ConnectError
            The endpoint did not answer, in all of the tries.
        AuthError
            It does not take the key.
        UdfError
            It refuses the texts, or its answer is no list of vectors.

        Examples
        --------
        >>> import frazil as fz
        >>> fz.OpenAIEmbeddings(model="e", dimension=3, url="http://localhost:1/v1").encode([])
        []
        """
        if not texts:
            return []
        asked: dict[str, Any] = {"model": self.name, "input": texts, "encoding_format": "float"}
        if self._shorten:
            asked["dimensions"] = self.dimension
        body = json.dumps(asked).encode()
        pause = self._delay_s
        for tried in range(self._retries + 1):
            why, wait_s, answer = self._ask(body)
            if answer is not None:
                return self._vectors(answer, len(texts))
            if tried == self._retries:
                break
            drawn = random.uniform(pause / 2, pause)
            time.sleep(min(max(drawn, wait_s), PAUSE_MAX_S))
            pause = min(2 * pause, PAUSE_MAX_S)
        raise self._away(f"{self._retries + 1} calls were made, the last: {why}")

    def _ask(self, body: bytes) -> tuple[str, float, bytes | None]:
        """One call: the answer; or why there is none for now, and the pause that is asked for."""
        pool, headers = self._opened()
        try:
            answer = pool.request(
                "POST", self._url, body=body, headers=headers, preload_content=False
            )
            data = answer.read(ANSWER_BYTES_MAX + 1, decode_content=True)
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            return self._clean(f"{type(error).__name__}: {error}"), 0.0, None
        if len(data) > ANSWER_BYTES_MAX:
            raise UdfError(f"{self._url} answered more than {ANSWER_BYTES_MAX} bytes")
        if answer.status == 200:
            return "", 0.0, data
        said = self._clean(data[:2000].decode("utf-8", "replace"))
        what = f"HTTP {answer.status}: {said}"
        if answer.status in _AGAIN:
            return what, _seconds(answer.headers.get("Retry-After")), None
        if answer.status in (401, 403):
            key = "no api_key" if self._key is None else repr(self._key)
            raise AuthError(f"{self._url} refuses {key}: {what}", "look at api_key=")
        raise UdfError(f"{self._url} refuses the texts: {what}", "look at url= and model=")

    def _opened(self) -> tuple[urllib3.PoolManager, dict[str, str]]:
        with self._lock:
            if self._pool is None:
                timeout = urllib3.Timeout(
                    connect=min(CONNECT_TIMEOUT_S, self._timeout_s), read=self._timeout_s
                )
                self._pool = urllib3.PoolManager(
                    maxsize=CONNECTIONS, retries=False, timeout=timeout, cert_reqs="CERT_REQUIRED"
                )
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._secret()}"
        return self._pool, headers

    def _secret(self) -> str:
        assert self._key is not None
        return str(resolve_secrets(self._key.to_json()))

    def _clean(self, said: str) -> str:
        """What was said, without the key, which some endpoints repeat."""
        if self._key is not None:
            said = said.replace(self._secret(), "***")
        said = " ".join(said.split())
        return said if len(said) <= _SHOWN_CHARS else said[: _SHOWN_CHARS - 3] + "..."

    def _vectors(self, answer: bytes, count: int) -> list[list[float]]:
        try:
            found = json.loads(answer)["data"]
            by_number = {int(each["index"]): each["embedding"] for each in found}
            return [by_number[number] for number in range(count)]
        except (ValueError, KeyError, TypeError):
            said = self._clean(answer[:2000].decode("utf-8", "replace"))
            raise UdfError(
                f"{self._url} was asked for {count} vectors, and answered {said}",
                'expected {"data": [{"index": 0, "embedding": [...]}, ...]}',
            ) from None

    def _away(self, why: str) -> ConnectError:
        error = ConnectError(
            f"{self._url} gives no vectors: {why}", "raise retries=, or look there"
        )
        error.retryable = True
        return error


def _seconds(value: str | None) -> float:
    """Of a Retry-After; one that is a date is not gone by, as clocks differ."""
    try:
        return max(float(value or 0), 0.0)
    except ValueError:
        return 0.0
