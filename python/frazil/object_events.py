"""What an object store says about its objects: notifications as S3 and MinIO write them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

IDENTITY_CHARS = 12
"""Characters of `CreatedObject.identity`."""

_CREATED = "ObjectCreated:"


class BadEvent(ValueError):
    """A notification is not what a store writes; says what is wrong."""


@dataclass(frozen=True)
class CreatedObject:
    """An object that a notification says was created.

    Attributes
    ----------
    bucket, key
        Where it is.
    etag
        Of its content, without quotes; "" if the notification has a version only.
    version
        Its version, in a bucket that keeps them; "" else.
    """

    bucket: str
    key: str
    etag: str
    version: str

    @property
    def url(self) -> str:
        """s3://bucket/key."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def identity(self) -> str:
        """Short text, the same for each notification of this content of this object."""
        parts = [self.bucket, self.key, self.version or self.etag]
        digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=9).digest()
        return base64.b64encode(digest).decode()


def records_of(message: bytes | None) -> list[Any]:
    """The records of a notification, as JSON has them; none of what a store sends as a test.

    Raises
    ------
    BadEvent
        It is no notification.
    """
    try:
        event = json.loads(message or b"")
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadEvent(f"a notification is expected, and this is no JSON: {error}") from None
    if isinstance(event, dict) and event.get("Event") == "s3:TestEvent":
        return []
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise BadEvent('a notification is expected, and this has no list "Records"')
    return records


def created_object(record: Any, *, encoded: bool = True) -> CreatedObject | None:
    """The object that a record says was created; None of one about something else, or about the
    mark of a folder, which is empty and has a name that ends with a slash. `encoded`: keys are
    written as in URLs.

    Raises
    ------
    BadEvent
        The record does not say which object.
    """
    name = _text(record, "eventName")
    if not name.removeprefix("s3:").startswith(_CREATED):
        return None
    stored = _member(record, "s3")
    described = _member(stored, "object")
    try:
        key = _text(described, "key")
        key = unquote_plus(key, errors="strict") if encoded else key
    except UnicodeDecodeError:
        raise BadEvent(f"s3.object.key is no UTF-8: {described['key']!r}") from None
    if key.endswith("/") and not described.get("size"):
        return None
    etag = described.get("eTag") or ""
    version = described.get("versionId") or ""
    if not isinstance(etag, str) or not isinstance(version, str) or not (etag or version):
        raise BadEvent("s3.object has neither eTag nor versionId: contents cannot be told apart")
    return CreatedObject(_text(_member(stored, "bucket"), "name"), key, etag.strip('"'), version)


def _member(record: Any, name: str) -> Mapping[str, Any]:
    found = record.get(name) if isinstance(record, dict) else None
    if not isinstance(found, dict):
        raise BadEvent(f'a record of a notification is expected, and there is no object "{name}"')
    return found


def _text(record: Any, name: str) -> str:
    found = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(found, str) or not found:
        raise BadEvent(f'a record of a notification is expected, and there is no text "{name}"')
    return found
