"""A checkpoint log on S3 or a store that speaks its protocol.

Puts carry `If-None-Match: *` and are sent once: a client that retries by itself turns a landed put
into "exists". What each answer means: 200 is CREATED; 412 and 409 are EXISTS (409 is also "somebody
is writing right now", so the log always reads the slot before it believes it); 403 and 404 raise;
everything else is UNKNOWN.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING

import obstore
from frazil.checkpoint.store import PutOutcome, check_key, check_size, probe_puts
from frazil.errors import StoreError, StoreUnavailable
from frazil.text_option import flag_of, seconds_of
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store as _Client

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

# The client gives no status code but in its text. 408 and 429 ask to come again.
_REFUSED = re.compile(r"status code: 4(?!08|29)[0-9][0-9]")

# Reads, lists and deletes are tried again this often (times) and this long (seconds); puts never.
_READ_RETRIES = 5
_READ_RETRY_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """How to reach a bucket. What is not given comes from the environment variable beside it.

    Without keys, the machine's role (instance metadata, web identity) is asked.
    """

    endpoint: str | None = None  # AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
    access_key_id: str | None = dataclasses.field(default=None, repr=False)  # AWS_ACCESS_KEY_ID
    secret_access_key: str | None = dataclasses.field(
        default=None, repr=False
    )  # AWS_SECRET_ACCESS_KEY
    session_token: str | None = dataclasses.field(default=None, repr=False)  # AWS_SESSION_TOKEN
    region: str | None = None  # AWS_REGION, AWS_DEFAULT_REGION
    allow_http: bool | None = None  # default: true for an http:// endpoint
    path_style: bool | None = None  # default: true when an endpoint is given
    timeout_s: float = 20.0  # of one request

    @classmethod
    def resolve(cls, given: Mapping[str, str]) -> S3Options:
        """Read options from strings and fill the rest from the environment."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in names:
                near = get_close_matches(name, names, 1)
                hint = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
                raise StoreError(f"unknown S3 option {name!r}{hint}")
        env = os.environ.get
        return cls(
            endpoint=given.get("endpoint") or env("AWS_ENDPOINT_URL_S3") or env("AWS_ENDPOINT_URL"),
            access_key_id=given.get("access_key_id") or env("AWS_ACCESS_KEY_ID"),
            secret_access_key=given.get("secret_access_key") or env("AWS_SECRET_ACCESS_KEY"),
            session_token=given.get("session_token") or env("AWS_SESSION_TOKEN"),
            region=given.get("region") or env("AWS_REGION") or env("AWS_DEFAULT_REGION"),
            allow_http=flag_of(given.get("allow_http"), "S3 option allow_http", StoreError),
            path_style=flag_of(given.get("path_style"), "S3 option path_style", StoreError),
            timeout_s=seconds_of(given.get("timeout_s"), "S3 option timeout_s", 20.0, StoreError),
        )


class S3Store:
    """Objects under a prefix of a bucket."""

    def __init__(self, url: str, options: S3Options) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise StoreError(f"{url}: a bucket is missing: s3://bucket/prefix")
        self._url = f"s3://{bucket}/{prefix.strip('/')}".rstrip("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._once = _client(bucket, options, {"max_retries": 0})
        self._retrying = _client(
            bucket,
            options,
            {"max_retries": _READ_RETRIES, "retry_timeout": timedelta(seconds=_READ_RETRY_S)},
        )

    @property
    def url(self) -> str:
        """s3://bucket/prefix."""
        return self._url

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Put with `If-None-Match: *`, once."""
        check_size(self._url, check_key(key), len(data))
        try:
            obstore.put(self._once, self._prefix + key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return PutOutcome.EXISTS
        except (PermissionDeniedError, UnauthenticatedError, FileNotFoundError) as error:
            raise StoreError(f"{self._url}: putting {key}: {_first_line(error)}") from error
        except (BaseError, OSError):
            return PutOutcome.UNKNOWN
        return PutOutcome.CREATED

    def get(self, key: str) -> bytes | None:
        """Read an object."""
        try:
            result = obstore.get(self._retrying, self._prefix + check_key(key))
            check_size(self._url, key, result.meta["size"])
            return bytes(result.bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise self._error(f"reading {key}", error) from error

    def list(self, prefix: str, after: str = "") -> list[str]:
        """Keys under a prefix, sorted."""
        check_key(prefix.rstrip("/"))
        keys: list[str] = []
        try:
            for page in obstore.list(
                self._retrying,
                prefix=self._prefix + prefix,
                offset=self._prefix + after if after else None,
                chunk_size=1000,
            ):
                keys.extend(item["path"].removeprefix(self._prefix) for item in page)
        except FileNotFoundError as error:
            raise StoreError(f"{self._url}: listing {prefix}: {_first_line(error)}") from error
        except (BaseError, OSError) as error:
            raise self._error(f"listing {prefix}", error) from error
        return sorted(key for key in keys if key > after)

    def delete(self, key: str) -> None:
        """Remove an object."""
        try:
            obstore.delete(self._retrying, self._prefix + check_key(key))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._error(f"removing {key}", error) from error

    def probe(self) -> None:
        """Test conditional puts with two races of eight writers."""
        probe_puts(self, writers=8, rounds=2)

    def _error(self, what: str, error: Exception) -> StoreError:
        """Tell an answer that will stay the same from one that may change."""
        text = _first_line(error)
        away = isinstance(error, (GenericError, OSError)) and not _REFUSED.search(text)
        return (StoreUnavailable if away else StoreError)(f"{self._url}: {what}: {text}")


def _client(bucket: str, options: S3Options, retry: RetryConfig) -> _Client:
    config: S3Config = {"region": options.region or "us-east-1"}
    if options.endpoint:
        config["endpoint"] = options.endpoint
    if options.access_key_id:
        config["access_key_id"] = options.access_key_id
    if options.secret_access_key:
        config["secret_access_key"] = options.secret_access_key
    if options.session_token:
        config["session_token"] = options.session_token
    path_style = bool(options.endpoint) if options.path_style is None else options.path_style
    config["virtual_hosted_style_request"] = not path_style
    insecure = options.allow_http
    if insecure is None:
        insecure = bool(options.endpoint and options.endpoint.startswith("http://"))
    client: ClientConfig = {"allow_http": insecure, "timeout": timedelta(seconds=options.timeout_s)}
    try:
        return _Client(bucket, config=config, client_options=client, retry_config=retry)
    except BaseError as error:
        raise StoreError(f"s3://{bucket}: opening the bucket: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The error without the client's debug dump, which may repeat the request."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
