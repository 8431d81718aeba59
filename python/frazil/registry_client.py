"""Asks a schema registry, and registers schemas. Control plane: a few questions in a run's life."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import urllib3
from frazil.errors import AuthError, ConfigError, ConnectError

ANSWER_BYTES_MAX = 8 << 20
"""Bytes of one answer."""
REFERENCES_MAX = 256
"""Schemas that one refers to, those of these included."""
REFERENCE_DEPTH_MAX = 32
"""Levels of schemas that refer to others."""
CONNECT_TIMEOUT_S = 5.0
"""How long a connection may take to come about."""
RETRIES = 2
"""How often one question is put again by itself, at once and then after 0.4 s."""

_SCHEMA_NOT_FOUND = 40403
_SUBJECT_NOT_FOUND = (40401, 40402)
_SCHEMA_REFUSED = (409, 422)
_SHOWN_CHARS = 200


@dataclass(frozen=True)
class Registered:
    """A schema: its kind ("AVRO", "JSON", "PROTOBUF"), and the texts it refers to before its own.

    `names` are what it calls the others by, in their order.
    """

    kind: str
    texts: tuple[str, ...]
    names: tuple[str, ...] = ()


class RegistryAway(ConnectError):
    """The registry does not answer now."""

    retryable = True


class SchemaMissing(Exception):
    """The registry answers that it has no such schema."""


class SchemaRefused(Exception):
    """The registry does not take a schema: it is wrong, or not compatible with what is there."""


class RegistryClient:
    """Questions to one registry. One thread at a time.

    Parameters
    ----------
    spec
        `SchemaRegistry.to_json` with its secrets resolved.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.name: str = spec["url"]
        headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if "token" in spec:
            headers["Authorization"] = f"Bearer {spec['token']}"
        elif "username" in spec:
            login = f"{spec['username']}:{spec['password']}"
            headers |= urllib3.make_headers(basic_auth=login)
        timeout_s = spec["timeout_ms"] / 1000
        # Answers that ask for patience are told to whoever asks; only connections are tried again.
        retries = urllib3.Retry(
            total=RETRIES,
            backoff_factor=0.2,
            status_forcelist=(502, 503, 504),
            allowed_methods=("GET", "POST"),  # registering twice is registering once
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        try:
            self._pool = urllib3.PoolManager(
                num_pools=1,
                headers=headers,
                retries=retries,
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, timeout_s), read=timeout_s),
                cert_reqs="CERT_REQUIRED",
                ca_certs=spec.get("ca"),
                cert_file=spec.get("certificate"),
                key_file=spec.get("key"),
            )
        except OSError as error:
            raise ConfigError(f"schema registry {self.name}: {error}") from None

    def schema(self, id: int) -> Registered:
        """The schema of an id.

        Raises
        ------
        SchemaMissing
            The registry has none.
        RegistryAway
            It does not answer; asking again later may help.
        AuthError, ConfigError
            It refuses to, or is none.
        """
        return self._whole(self._get(f"/schemas/ids/{id}", missing=(_SCHEMA_NOT_FOUND,)))

    def version(self, subject: str, version: int | str) -> tuple[int, Registered]:
        """A version of a subject, or the "latest": its id, and the schema. Raises as `schema`."""
        answer = self._get(
            f"/subjects/{quote(subject, safe='')}/versions/{version}", missing=_SUBJECT_NOT_FOUND
        )
        return int(answer["id"]), self._whole(answer)

    def latest(self, subject: str) -> tuple[int, Registered]:
        """The newest version of a subject. Raises as `schema`."""
        return self.version(subject, "latest")

    def register(self, subject: str, text: str, kind: str = "AVRO") -> int:
        """Have a schema under a subject, as a new version if none of its has it; its id.

        Raises
        ------
        SchemaRefused
            It is not compatible with those before it, or no schema.
        RegistryAway, AuthError, ConfigError
            As of `schema`.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        return int(self._ask(path, {"schema": text, "schemaType": kind}, wanted="id")["id"])

    def lookup(self, subject: str, text: str, kind: str = "AVRO") -> int:
        """The id of a schema that a subject has. Raises as `schema`."""
        path = f"/subjects/{quote(subject, safe='')}"
        body = {"schema": text, "schemaType": kind}
        missing = (*_SUBJECT_NOT_FOUND, _SCHEMA_NOT_FOUND)
        return int(self._ask(path, body, wanted="id", missing=missing)["id"])

    def close(self) -> None:
        """Let go of connections."""
        self._pool.clear()

    def _whole(self, answer: Mapping[str, Any]) -> Registered:
        """A schema with those that it refers to, each behind those it needs itself."""
        texts: dict[tuple[str, int], tuple[str, str]] = {}
        self._gather(answer, texts, 1)
        return Registered(
            str(answer.get("schemaType") or "AVRO"),
            (*(text for _, text in texts.values()), str(answer["schema"])),
            tuple(name for name, _ in texts.values()),
        )

    def _gather(
        self,
        answer: Mapping[str, Any],
        texts: dict[tuple[str, int], tuple[str, str]],
        depth: int,
    ) -> None:
        for reference in answer.get("references") or ():
            key = (str(reference["subject"]), int(reference["version"]))
            if key in texts:
                continue
            if depth > REFERENCE_DEPTH_MAX or len(texts) >= REFERENCES_MAX:
                raise SchemaMissing(f"it refers to more than {REFERENCES_MAX} others")
            path = f"/subjects/{quote(key[0], safe='')}/versions/{key[1]}"
            found = self._get(path, missing=_SUBJECT_NOT_FOUND)
            self._gather(found, texts, depth + 1)
            texts[key] = (str(reference["name"]), str(found["schema"]))

    def _get(self, path: str, missing: tuple[int, ...]) -> Mapping[str, Any]:
        return self._ask(path, None, wanted="schema", missing=missing)

    def _ask(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        wanted: Literal["id", "schema"],
        missing: tuple[int, ...] = (),
    ) -> Mapping[str, Any]:
        method = "GET" if body is None else "POST"
        try:
            response = self._pool.request(
                method, self.name + path, json=body, preload_content=False
            )
            try:
                data = response.read(ANSWER_BYTES_MAX + 1)
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            if isinstance(_cause(error), urllib3.exceptions.SSLError):
                raise ConfigError(
                    f"schema registry {self.name}: {_shown(_cause(error))}",
                    "SchemaRegistry(ca=) names the authorities to trust",
                ) from None
            raise RegistryAway(
                f"schema registry {self.name} does not answer: {_shown(_cause(error))}"
            ) from None
        status = response.status
        if len(data) > ANSWER_BYTES_MAX:
            raise ConfigError(
                f"schema registry {self.name}: an answer of more than {ANSWER_BYTES_MAX} bytes"
            )
        answer = _json(data)
        type_ = str if wanted == "schema" else int
        if status == 200 and isinstance(answer, dict) and isinstance(answer.get(wanted), type_):
            return answer
        said = answer if isinstance(answer, dict) else {}
        text = str(said.get("message", ""))[:_SHOWN_CHARS]
        if status == 404 and said.get("error_code") in missing:
            raise SchemaMissing(f"the registry answers that it has none: {text}")
        if body is not None and status in _SCHEMA_REFUSED:
            raise SchemaRefused(f"{status} {text}".rstrip())
        if status >= 500 or status in (408, 429):
            raise RegistryAway(f"schema registry {self.name} answers {status} {text}".rstrip())
        if status in (401, 403):
            raise AuthError(
                f"schema registry {self.name} refuses the login: {status} {text}".rstrip(),
                "SchemaRegistry(username=, password=) or (token=)",
            )
        raise ConfigError(
            f"schema registry {self.name} answers {status} {text} to {path}, "
            "which no registry does",
            "give the URL of Confluent's API (of Apicurio it ends in /apis/ccompat/v7)",
        )


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _cause(error: Exception) -> Exception:
    """What went wrong in the end, behind the retries."""
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, Exception) else error


def _shown(error: Exception) -> str:
    text = str(error)
    return text.rpartition(": ")[2][:_SHOWN_CHARS] if ">: " in text else text[:_SHOWN_CHARS]
