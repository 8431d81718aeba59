"""Reads one object of a store from a position on, as it was when a notification spoke of it."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import obstore
import pyarrow as pa
from frazil.checkpoint.s3_store import S3Options
from frazil.errors import ConnectError, SourceError
from frazil.row_batch import RowsDoNotFit, batch_of
from obstore.exceptions import (
    BaseError,
    GenericError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

if TYPE_CHECKING:
    from frazil.object_events import CreatedObject
    from obstore import GetOptions
    from obstore.store import ClientConfig, S3Config

CHUNK_BYTES = 1 << 20
"""Bytes of lines that are looked at together."""
REQUEST_BYTES = 4 << 20
"""Bytes of an object that are asked for at once."""
LINE_BYTES_MAX = 16 << 20
"""Bytes of a line."""
ROWS_MAX = 16_384
"""Rows of a Parquet file that are given at once."""
TRIES = 5
"""Times that a request is tried, with growing pauses."""
TRY_S = 30
"""How long a request is tried (seconds)."""
TIMEOUT_S = 20
"""How long one try may take (seconds)."""
STORES_MAX = 64
"""Buckets of which a client is kept."""

_ENDINGS = {".gz": "gzip", ".zst": "zstd"}


class BadObject(ValueError):
    """An object cannot be read, or not any more; says why."""


class EmptyObject(BadObject):
    """An object has no byte."""


@dataclass(frozen=True)
class Lines:
    """Lines of an object, and the (uncompressed) byte at which each begins; or one that is bad."""

    rows: list[bytes]
    at: list[int]
    reason: str | None = None


@dataclass(frozen=True)
class Rows:
    """Rows of an object of columns, and the number of the first."""

    columns: pa.RecordBatch
    first: int


class ObjectReader(ABC):
    """Reads one object; `at` is where to read next: an (uncompressed) byte, or a row of Parquet."""

    at: int

    @property
    @abstractmethod
    def ended(self) -> bool:
        """True if nothing is left, as far as known."""

    @abstractmethod
    def read(self) -> Lines | Rows | None:
        """Give what follows, or None at the end.

        Raises
        ------
        BadObject
            The object is not there any more, is another one, or is broken.
        ConnectError
            The store is away.
        """


class Stores:
    """Clients of the buckets that notifications name.

    Parameters
    ----------
    options
        `fz.S3` as JSON, without secrets by reference; what is missing comes from the environment.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = dict(options)
        self._anonymous = bool(given.pop("anonymous", False))
        self._options = S3Options.resolve(given)
        self._stores: dict[str, S3Store] = {}

    def get(self, created: CreatedObject, start: int, end: int) -> Any:
        """Ask for bytes of an object, as many as there are, if it is still the one that was
        created.

        Raises
        ------
        BadObject, ConnectError, SourceError
        """
        if any(part in ("", ".", "..") for part in created.key.split("/")):
            raise BadObject("a key with an empty part, or . or .., cannot be asked for")
        options: GetOptions = {"range": (start, end)}
        if created.version:
            options["version"] = created.version
        else:
            options["if_match"] = f'"{created.etag}"'
        with _errors(created):
            return obstore.get(self._store(created.bucket), created.key, options=options)

    def _store(self, bucket: str) -> S3Store:
        found = self._stores.get(bucket)
        if found is None:
            if len(self._stores) >= STORES_MAX:
                self._stores.pop(next(iter(self._stores)))
            found = self._stores[bucket] = self._open(bucket)
        return found

    def _open(self, bucket: str) -> S3Store:
        options = self._options
        config: S3Config = {
            "region": options.region or "us-east-1",
            "skip_signature": self._anonymous,
            "virtual_hosted_style_request": not options.endpoint,
        }
        if options.endpoint:
            config["endpoint"] = options.endpoint
        if options.access_key_id:
            config["access_key_id"] = options.access_key_id
        if options.secret_access_key:
            config["secret_access_key"] = options.secret_access_key
        if options.session_token:
            config["session_token"] = options.session_token
        client: ClientConfig = {
            "allow_http": str(options.endpoint).startswith("http://"),
            "timeout": timedelta(seconds=TIMEOUT_S),
        }
        return S3Store(
            bucket,
            config=config,
            client_options=client,
            retry_config={"max_retries": TRIES, "retry_timeout": timedelta(seconds=TRY_S)},
        )


class _errors:
    """Turns errors of the client into ours."""

    def __init__(self, created: CreatedObject) -> None:
        self._created = created

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        url = self._created.url
        match error:
            case FileNotFoundError():
                raise BadObject("the object is not there any more") from error
            case PreconditionError():
                raise BadObject("the object was overwritten before it was read") from error
            case PermissionDeniedError() | UnauthenticatedError():
                raise SourceError(
                    f"reading {url}: the store refuses: {_said(error)}",
                    "allow s3:GetObject, and s3:ListBucket: without it, objects that are gone are "
                    "refused too",
                ) from error
            case GenericError() if " 416 " in _said(error):  # there is no byte in the range
                raise EmptyObject("the object is empty") from error
            case GenericError() | BaseError() | OSError():
                raise ConnectError(f"reading {url}: {_said(error)}") from error


def open_object(
    stores: Stores,
    created: CreatedObject,
    at: int,
    format: str,
    compression: str,
    schema: pa.Schema,
) -> ObjectReader:
    """Open an object where it was left.

    Raises
    ------
    BadObject, ConnectError, SourceError
    """
    if format == "parquet":
        return _ParquetReader(_ObjectFile(stores, created), at, schema)
    ending = created.key[created.key.rfind(".") :] if "." in created.key else ""
    codec = _ENDINGS.get(ending, "none") if compression == "auto" else compression
    if codec == "none":
        return _LineReader(_Chunks(stores, created, at), at)
    packed = pa.CompressedInputStream(pa.PythonFile(_Chunks(stores, created, 0), "r"), codec)
    reader = _LineReader(packed, 0)
    reader.skip(at)
    return reader


class _Chunks(io.RawIOBase):
    """The bytes of an object from a place on, by one request after the other: an answer must not
    have to wait for whoever reads.
    """

    def __init__(self, stores: Stores, created: CreatedObject, at: int) -> None:
        self._stores = stores
        self._created = created
        self._at = at
        self._rest = memoryview(b"")
        self.size = 0
        try:
            self._fill()
        except EmptyObject:
            return

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._rest and self._at < self.size:
            self._fill()
        given = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(given) :]
        return bytes(given)

    def _fill(self) -> None:
        got = self._stores.get(self._created, self._at, self._at + REQUEST_BYTES)
        self.size = int(got.meta["size"])
        with _errors(self._created):
            data = bytes(got.bytes())
        if len(data) != min(REQUEST_BYTES, self.size - self._at):
            raise ConnectError(f"reading {self._created.url}: an answer was cut")
        self._at += len(data)
        self._rest = memoryview(data)


class _LineReader(ObjectReader):
    def __init__(self, file: Any, at: int) -> None:
        self.at = at
        self._file = file
        self._read = at  # bytes that were taken from the file
        self._left = b""
        self._over = isinstance(file, _Chunks) and at >= file.size

    @property
    def ended(self) -> bool:
        return self._over and not self._left

    def skip(self, count: int) -> None:
        """Go on behind so many bytes."""
        while self._read < count:
            some = self._chunk(min(CHUNK_BYTES, count - self._read))
            if not some:
                break
        self.at = self._read

    def read(self) -> Lines | None:
        while not self._over or self._left:
            data = self._left + self._chunk(CHUNK_BYTES)
            first = data.find(b"\n")
            if (first if first >= 0 else len(data)) > LINE_BYTES_MAX:
                return self._too_long(data, first)
            cut = len(data) if self._over else data.rfind(b"\n") + 1
            self._left = data[cut:]
            if cut:
                return self._lines(data[:cut])
        return None

    def _chunk(self, size: int) -> bytes:
        try:
            some: bytes = self._file.read(size)
        except (pa.ArrowException, OSError) as error:
            raise BadObject(f"the object is broken: {_said(error)}") from error
        self._read += len(some)
        self._over = not some or (isinstance(self._file, _Chunks) and self._read >= self._file.size)
        return some

    def _lines(self, data: bytes) -> Lines:
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        begins = accumulate((len(line) + 1 for line in lines), initial=self.at)
        self.at += len(data)
        kept = [(line, at) for line, at in zip(lines, begins, strict=False) if line.strip()]
        return Lines([line.removesuffix(b"\r") for line, _ in kept], [at for _, at in kept])

    def _too_long(self, data: bytes, end: int) -> Lines:
        """The begin of a line; the rest of it is passed over."""
        begin, line = self.at, data[: end if end >= 0 else len(data)]
        self._left = data[end + 1 :] if end >= 0 else b""
        while end < 0 and not self._over:
            some = self._chunk(CHUNK_BYTES)
            end = some.find(b"\n")
            self._left = some[end + 1 :] if end >= 0 else b""
        self.at = self._read - len(self._left)
        return Lines([line], [begin], f"line longer than {LINE_BYTES_MAX} bytes")


class _ObjectFile(io.RawIOBase):
    """An object whose bytes are read anywhere, a request each."""

    def __init__(self, stores: Stores, created: CreatedObject) -> None:
        self._stores = stores
        self._created = created
        self._at = 0
        got = stores.get(created, 0, 1)
        self._size: int = got.meta["size"]
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if self._at >= end:
            return b""
        try:
            got = self._stores.get(self._created, self._at, end)
            with _errors(self._created):
                data = bytes(got.bytes())
            if len(data) != end - self._at:
                raise ConnectError(f"reading {self._created.url}: an answer was cut")
        except Exception as error:
            self.error = error
            raise
        self._at += len(data)
        return data


class _ParquetReader(ObjectReader):
    def __init__(self, file: _ObjectFile, at: int, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.at = at
        self._file = file
        self._schema = schema
        self._batches: Iterator[pa.RecordBatch] = iter(())
        with _broken(file):
            self._parquet = pq.ParquetFile(pa.PythonFile(file, "r"), pre_buffer=True)
            self._check()
            self._batches = self._from(at)

    @property
    def ended(self) -> bool:
        return bool(self.at >= self._parquet.metadata.num_rows)

    def read(self) -> Rows | None:
        with _broken(self._file):
            batch = next(self._batches, None)
        if batch is None:
            return None
        first = self.at
        self.at += batch.num_rows
        return Rows(batch, first)

    def _check(self) -> None:
        found = self._parquet.schema_arrow
        for field in self._schema:
            if field.name not in found.names:
                raise BadObject(f'there is no column "{field.name}"')
            stored = found.field(field.name).type
            if stored != field.type:
                raise BadObject(
                    f'column "{field.name}" is {stored}, and declared is {field.type}: declare the '
                    "type of the file and cast in the pipeline"
                )

    def _from(self, at: int) -> Iterator[pa.RecordBatch]:
        begin = 0
        for group in range(self._parquet.num_row_groups):
            rows = self._parquet.metadata.row_group(group).num_rows
            if at < begin + rows:
                yield from self._group(group, max(0, at - begin))
            begin += rows

    def _group(self, group: int, skip: int) -> Iterator[pa.RecordBatch]:
        batches = self._parquet.iter_batches(
            batch_size=ROWS_MAX, row_groups=[group], columns=self._schema.names
        )
        for batch in batches:
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            rows, skip = batch.slice(skip), 0
            if rows.num_rows:
                yield batch_of(rows, self._schema)


class _broken:
    """Tells a store that is away from a file that is broken: Arrow may say the same of both."""

    def __init__(self, file: _ObjectFile) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, BadObject):
            return
        if self._file.error is not None:
            raise self._file.error
        if isinstance(error, RowsDoNotFit):
            raise BadObject(f"the object {error}") from error
        if isinstance(error, pa.ArrowException | OSError):
            raise BadObject(f"the object is broken: {_said(error)}") from error


def _said(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
