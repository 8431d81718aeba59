"""S3 for metadata files: PyIceberg's properties, obstore's client."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from frazil.errors import ConfigError
from frazil.text_option import flag_of, seconds_of
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

# Clients kept open, by bucket and properties. Each holds connections.
CLIENTS_MAX = 16
# A request that gets no answer, or "slow down", is sent again this often and this long (seconds).
# Safe: names are never used twice, so a put that landed twice holds the same bytes.
RETRIES_MAX = 5
RETRY_S = 60
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0

# Properties that say how a bucket is reached; PyIceberg's names, s3.* before client.*.
_NAMES = (
    "endpoint",
    "access-key-id",
    "secret-access-key",
    "session-token",
    "region",
    "force-virtual-addressing",
    "anonymous",
    "connect-timeout",
    "request-timeout",
    "proxy-uri",
)


class Bucket:
    """Whole objects of one bucket. Errors are OSErrors, as PyIceberg expects of a FileIO."""

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        self._name = name
        self._store = _open(name, options)

    def get(self, key: str) -> bytes:
        """Read an object; FileNotFoundError if it is not there."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except BaseError as error:
            raise self._error("reading", key, error) from error

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        try:
            obstore.put(self._store, key, data, use_multipart=False)
        except BaseError as error:
            raise self._error("writing", key, error) from error

    def size(self, key: str) -> int | None:
        """Bytes of an object, None if it is not there."""
        try:
            return int(obstore.head(self._store, key)["size"])
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise self._error("looking for", key, error) from error

    def delete(self, key: str) -> None:
        """Remove an object."""
        try:
            obstore.delete(self._store, key)
        except BaseError as error:
            raise self._error("removing", key, error) from error

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that begin with a prefix, page by page."""
        try:
            for page in obstore.list(self._store, prefix):
                yield from (entry["path"] for entry in page)
        except BaseError as error:
            raise self._error("listing", prefix, error) from error

    def _error(self, doing: str, key: str, error: Exception) -> OSError:
        # Further lines are the client's dump of the request.
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        denied = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
        kind = PermissionError if denied else OSError
        return kind(f"{doing} s3://{self._name}/{key}: {text}")


def bucket_of(name: str, properties: Mapping[str, object]) -> Bucket:
    """The bucket, with an open client if there is one for the same properties."""
    given = {}
    for option in _NAMES:
        value = properties.get(f"s3.{option}", properties.get(f"client.{option}"))
        if value is not None and value != "":
            given[option] = str(value)
    return _bucket(name, tuple(given.items()))


@functools.lru_cache(CLIENTS_MAX)
def _bucket(name: str, options: tuple[tuple[str, str], ...]) -> Bucket:
    return Bucket(name, dict(options))


def _open(name: str, options: Mapping[str, str]) -> S3Store:
    get = options.get
    config: S3Config = {}
    if (region := get("region")) is not None:
        config["region"] = region
    endpoint = get("endpoint")
    if endpoint is not None:
        config["endpoint"] = endpoint
        config.setdefault("region", "us-east-1")  # a server of its own does not care
    if (key := get("access-key-id")) is not None:
        config["access_key_id"] = key
    if (secret := get("secret-access-key")) is not None:
        config["secret_access_key"] = secret
    if (token := get("session-token")) is not None:
        config["session_token"] = token
    if _flag(options, "anonymous"):
        config["skip_signature"] = True
    config["virtual_hosted_style_request"] = _flag(options, "force-virtual-addressing") or (
        endpoint is None
    )
    client: ClientConfig = {
        "allow_http": endpoint is not None and endpoint.startswith("http://"),
        "timeout": timedelta(seconds=_seconds(options, "request-timeout", TIMEOUT_S)),
        "connect_timeout": timedelta(
            seconds=_seconds(options, "connect-timeout", CONNECT_TIMEOUT_S)
        ),
    }
    if (proxy := get("proxy-uri")) is not None:
        client["proxy_url"] = proxy
    retry: RetryConfig = {
        "max_retries": RETRIES_MAX,
        "retry_timeout": timedelta(seconds=RETRY_S),
    }
    try:
        return S3Store(name, config=config, client_options=client, retry_config=retry)
    except BaseError as error:
        raise ConfigError(f"opening the bucket s3://{name}: {str(error).splitlines()[0]}") from None


def _flag(options: Mapping[str, str], name: str) -> bool:
    return bool(flag_of(options.get(name), f"catalog property s3.{name}", ConfigError))


def _seconds(options: Mapping[str, str], name: str, default: float) -> float:
    return seconds_of(options.get(name), f"catalog property s3.{name}", default, ConfigError)
