"""Where the rows of lookup tables come from: Parquet files and queries. Iceberg has its own
module.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import glob
from typing import Any, Protocol

import pyarrow as pa
from frazil.errors import ConfigError, ConnectError, DataError, FrazilError
from frazil.sql_values import column_of, without_url
from frazil.types import type_name

# Rows of a query that are fetched at once.
SQL_FETCH_ROWS = 10_000
# Characters of another library's message that are shown.
_SHOWN_CHARS = 500


@dataclass(frozen=True)
class Loaded:
    """A version of a lookup table: what it is known by, and its rows."""

    version: str
    table: pa.Table


class Gone(Exception):
    """The version that is asked for is not there any more."""


class LookupSource(Protocol):
    """How the rows of a lookup table are got. One thread at a time."""

    @property
    def fixed(self) -> str | None:
        """The version that the program asks for, if it names one."""
        ...

    @property
    def keeps_versions(self) -> bool:
        """Whether older versions can be loaded."""
        ...

    def load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        """Load a version.

        Parameters
        ----------
        columns
            What is wanted of it.
        version
            The version; None is the newest.
        known
            A version that is not wanted again: if it is the newest, the answer is None.

        Raises
        ------
        FrazilError
            It cannot be loaded, or is larger than allowed.
        Gone
            There is no such version any more.
        """
        ...


class ParquetLookup:
    """Parquet files. A version is the SHA-256 of their bytes."""

    fixed = None
    keeps_versions = False

    def __init__(self, name: str, options: Mapping[str, Any], max_bytes: int) -> None:
        self._name, self._options, self._max_bytes = name, options, max_bytes

    def load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        """Read all files. There is the newest version only."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            files = list(self._files())
            digest = hashlib.sha256()
            for data in files:
                digest.update(len(data).to_bytes(8, "little"))
                digest.update(data)
            found = f"sha256:{digest.hexdigest()}"
            if found == known:
                return None
            tables = []
            left = self._max_bytes
            for data in files:
                file = ParquetFile(pa.BufferReader(data))
                there = [name for name in columns.names if name in file.schema_arrow.names]
                part = fitting(self._name, file.read(columns=there), columns)
                left -= part.nbytes
                if left < 0:
                    raise too_large(self._name, self._max_bytes)
                tables.append(part)
        except (OSError, ArrowException) as error:
            raise ConnectError(f"loading lookup {self._name}: {_shown(error)}") from None
        return Loaded(found, pa.concat_tables(tables))

    def _files(self) -> Iterator[bytes]:
        """The bytes of the files, in the order of their names."""
        path, left = self._options["path"], self._max_bytes
        if path.startswith("s3://"):
            from frazil.infer import s3_store

            store = s3_store(self._options.get("s3"))
            names = _s3_files(store, path.removeprefix("s3://"))
        else:
            store = None
            names = _local_files(path)
        if not names:
            raise ConfigError(
                f"loading lookup {self._name}: there is no Parquet file at {path}",
                "put it there, or correct the path",
            )
        for name in names:
            with open(name, "rb") if store is None else store.open_input_stream(name) as stream:
                data = stream.read(left + 1)
            left -= len(data)
            if left < 0:
                raise too_large(self._name, self._max_bytes)
            yield data


class MemoryLookup:
    """Rows that a test gives in place of a table. They have no versions."""

    fixed = None
    keeps_versions = True

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        """Give the rows."""
        return None if known == "given" else Loaded("given", self._table.select(columns.names))


class SqlLookup:
    """The result of a query. A version is the sum, modulo 2^256, of the SHA-256 of its rows, so
    that their order does not matter.
    """

    fixed = None
    keeps_versions = False

    def __init__(self, name: str, options: Mapping[str, Any], max_bytes: int) -> None:
        self._name, self._options, self._max_bytes = name, options, max_bytes

    def load(self, columns: pa.Schema, version: str | None, known: str | None) -> Loaded | None:
        """Run the query. There is the newest version only, and all of its columns are taken: what
        the version is called must not depend on which of them are used.
        """
        columns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self._options["schema"])))
        try:
            import sqlalchemy

            engine = sqlalchemy.create_engine(self._options["url"], poolclass=sqlalchemy.NullPool)
        except Exception as error:  # drivers that are missing raise what they like
            raise ConfigError(self._said(error), "a URL as SQLAlchemy has them") from None
        try:
            with engine.connect() as connection:
                streamed = connection.execution_options(
                    stream_results=True, max_row_buffer=SQL_FETCH_ROWS
                )
                return self._read(streamed.execute(sqlalchemy.text(self._query)), columns, known)
        except FrazilError:
            raise
        except Exception as error:  # SQLAlchemy's, or the driver's own
            raise ConnectError(self._said(error)) from None
        finally:
            engine.dispose()

    @property
    def _query(self) -> str:
        # A colon is a parameter to SQLAlchemy; the query has none.
        return str(self._options["query"]).replace(":", r"\:")

    def _read(self, result: Any, columns: pa.Schema, known: str | None) -> Loaded | None:
        names = list(result.keys())
        for name in columns.names:
            if name not in names:
                raise DataError(
                    f"loading lookup {self._name}: the query gives no column {name!r}",
                    f"it gives: {', '.join(names)}",
                )
        places = [names.index(name) for name in columns.names]
        total = rows = 0
        left = self._max_bytes
        parts = []
        while chunk := result.fetchmany(SQL_FETCH_ROWS):
            rows += len(chunk)
            if rows > self._options["max_rows"]:
                raise DataError(
                    f"loading lookup {self._name}: the query gives more than "
                    f"{self._options['max_rows']:,} rows (max_rows)",
                    "ask for fewer, or raise max_rows=",
                )
            values = [tuple(row[place] for place in places) for row in chunk]
            for row in values:
                total += int.from_bytes(hashlib.sha256(repr(row).encode()).digest(), "little")
            part = self._part(values, columns)
            left -= part.nbytes
            if left < 0:
                raise too_large(self._name, self._max_bytes)
            parts.append(part)
        found = f"rows:{total % 2**256:064x}"
        if found == known:
            return None
        return Loaded(found, pa.Table.from_batches(parts, columns))

    def _part(self, rows: Sequence[tuple[Any, ...]], columns: pa.Schema) -> pa.RecordBatch:
        arrays = []
        for field, values in zip(columns, zip(*rows, strict=True), strict=True):
            array = column_of(f"loading lookup {self._name}", field, values)
            if array.null_count and not field.nullable:
                raise DataError(
                    f"loading lookup {self._name}: column {field.name!r} has a null",
                    "say so in schema=: T | None",
                )
            arrays.append(array)
        return pa.record_batch(arrays, schema=columns)

    def _said(self, error: Exception) -> str:
        """An error of the database, without the URL or the password in it."""
        text = without_url(_shown(error), str(self._options["url"]))
        return f"loading lookup {self._name}: {text}"


def fitting(name: str, table: pa.Table, columns: pa.Schema) -> pa.Table:
    """The columns that were declared, with their types.

    Raises
    ------
    DataError
        One is not there, or is of another type.
    """
    arrays = []
    for field in columns:
        if field.name not in table.schema.names:
            raise DataError(
                f"loading lookup {name}: there is no column {field.name!r} any more",
                f"it has: {', '.join(table.schema.names) or 'none of those that are used'}",
            )
        array = table.column(field.name)
        try:
            cast = array.cast(field.type)
        except pa.ArrowException as error:
            raise DataError(
                f"loading lookup {name}: column {field.name!r} is {type_name(array.type)}, "
                f"the program was planned with {type_name(field.type)}: {_shown(error)}"
            ) from None
        if cast.null_count and not field.nullable:
            raise DataError(f"loading lookup {name}: column {field.name!r} has nulls now")
        arrays.append(cast)
    return pa.table(arrays, schema=columns)


def too_large(name: str, max_bytes: int) -> DataError:
    """The error for a table beyond its limit."""
    return DataError(
        f"loading lookup {name}: it has more than {max_bytes:,} bytes (max_bytes)",
        "take fewer columns or rows, or raise max_bytes=",
    )


def _local_files(path: str) -> list[str]:
    path = path.removeprefix("file://")
    if os.path.isfile(path):
        return [path]
    pattern = os.path.join(path, "**", "*.parquet") if os.path.isdir(path) else path
    return sorted(file for file in glob(pattern, recursive=True) if os.path.isfile(file))


def _s3_files(store: Any, path: str) -> list[str]:
    from pyarrow import fs

    plain = path.split("*", 1)[0]
    folder = (plain if plain == path else plain.rpartition("/")[0]).rstrip("/")
    info = store.get_file_info(folder)
    if info.type == fs.FileType.File:
        return [info.path]
    listed = store.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    files: Collection[str] = [each.path for each in listed if each.type == fs.FileType.File]
    if plain == path:
        return sorted(file for file in files if file.endswith((".parquet", ".parq")))
    return sorted(file for file in files if fnmatch(file, path))


def _shown(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text[:_SHOWN_CHARS]
