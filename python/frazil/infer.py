"""A look at data, once, to propose a Schema class. A running pipeline never guesses."""

from __future__ import annotations

import gzip
import json
import keyword
import os
import re
from collections.abc import Iterator, Mapping
from glob import glob
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
from frazil.errors import ConfigError, PlanError, on_user_line
from frazil.secret import resolve_secrets

if TYPE_CHECKING:
    from frazil.security import S3

LINE_BYTES_MAX = 16 << 20
"""Bytes of one line that is looked at."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_INT64 = range(-(2**63), 2**63)


@on_user_line
def infer(path: str | os.PathLike[str], *, rows: int = 1_000, name: str = "Row") -> None:
    """Print a `Schema` class that fits the first rows of a file, to be pasted into the program.

    Parameters
    ----------
    path
        A local file (or pattern: its first file), JSON lines, also .gz, or Parquet.
    rows
        How many rows to look at.
    name
        Name of the class.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import frazil as fz
    >>> path = pathlib.Path(tempfile.mkdtemp(), "orders.jsonl")
    >>> _ = path.write_text('{"id": 1, "@ip": "::1"}\\n{"id": 2, "@ip": null}\\n')
    >>> fz.infer(path)
    import frazil as fz
    <BLANKLINE>
    <BLANKLINE>
    class Row(fz.Schema):
        id: int
        ip: str | None = fz.field(source="@ip")
    """
    first = first_file(os.fspath(path))
    if first.endswith((".parquet", ".parq")):
        print(_parquet_text(_read_schema(first), name))
        return
    with open(first, "rb") as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if first.endswith(".gz") else raw
        seen = list(islice(_objects(stream, first), rows))
    if not seen:
        raise PlanError(
            f"{first} has no rows", "a schema is inferred from JSON objects, one a line"
        )
    writer = _Writer()
    writer.add_class(name, seen)
    print(writer.text())


def parquet_schema(path: str, s3: S3 | None) -> pa.Schema:
    """Schema of the first Parquet file of a path, folder or pattern.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        if path.startswith("s3://"):
            return _s3_schema(path.removeprefix("s3://"), s3)
        return _read_schema(first_file(path, ".parquet")).remove_metadata()
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"reading the schema of {path}: {error}", "give schema=, or a path that is there"
        ) from None


def first_file(path: str, ending: str = "") -> str:
    """The first file, by name, of a path, folder or pattern.

    Raises
    ------
    ConfigError
        If there is none.
    """
    path = os.path.expanduser(path.removeprefix("file://"))
    if os.path.isfile(path):
        return path
    pattern = os.path.join(path, "**", f"*{ending}") if os.path.isdir(path) else path
    found = sorted(file for file in glob(pattern, recursive=True) if os.path.isfile(file))
    if not found:
        raise ConfigError(f"there is no file {path}", "give a path that is there, or schema=")
    return found[0]


def s3_store(options: Mapping[str, Any] | None) -> Any:
    """Arrow's S3 file system, reached as the options of `S3.to_json` say, secrets resolved."""
    from pyarrow import fs

    options = dict(options or {})
    for ours, theirs in (("access_key_id", "access_key"), ("secret_access_key", "secret_key")):
        if ours in options:
            options[theirs] = options.pop(ours)
    endpoint = options.pop("endpoint", None)
    if endpoint is not None:
        options["scheme"], _, options["endpoint_override"] = endpoint.rpartition("://")
        options["scheme"] = options["scheme"] or "https"
    return fs.S3FileSystem(**options)


def _s3_schema(path: str, s3: S3 | None) -> pa.Schema:
    from pyarrow import fs

    store = s3_store(resolve_secrets(s3.to_json()) if s3 is not None else None)
    plain = path.split("*", 1)[0]
    folder = plain if plain == path else plain.rpartition("/")[0]
    info = store.get_file_info(folder.rstrip("/"))
    if info.type == fs.FileType.File:
        return _read_schema(info.path, filesystem=store).remove_metadata()
    listed = store.get_file_info(fs.FileSelector(folder.rstrip("/"), recursive=True))
    files = sorted(file.path for file in listed if file.path.endswith((".parquet", ".parq")))
    if not files:
        raise ConfigError(f"there is no Parquet file in s3://{path}", "give schema=")
    return _read_schema(files[0], filesystem=store).remove_metadata()


def _objects(stream: BinaryIO, path: str) -> Iterator[dict[str, Any]]:
    number = 0
    while line := stream.readline(LINE_BYTES_MAX):
        number += 1
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise PlanError(f"{path}, line {number}: {error}", "one JSON object a line") from None
        if not isinstance(row, dict):
            raise PlanError(f"{path}, line {number}: no object", "one JSON object a line")
        yield row


class _Writer:
    """Collects the classes that are written, inner ones first."""

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}
        self.imports: set[str] = set()

    def text(self) -> str:
        head = f"from datetime import {', '.join(sorted(self.imports))}\n\n" if self.imports else ""
        return (
            head
            + "import frazil as fz\n"
            + "".join(f"\n\n{text}" for text in self.classes.values())
        )

    def add_class(self, name: str, rows: list[dict[str, Any]]) -> None:
        lines = [f"class {name}(fz.Schema):"]
        columns = dict.fromkeys(key for row in rows for key in row)
        used: set[str] = set()
        for key in columns:
            values = [row.get(key) for row in rows]
            annotation = self.annotation(key, [v for v in values if v is not None])
            if any(value is None for value in values):
                annotation += " | None"
            attribute = _identifier(key, used)
            used.add(attribute)
            options = ""
            if attribute != key:
                source = json.dumps([key] if "." in key else key, ensure_ascii=False)
                options = f" = fz.field(source={source})"
            lines.append(f"    {attribute}: {annotation}{options}")
        if not columns:
            lines.append("    ...  # no field was seen")
        self.classes[name] = "\n".join(lines)

    def annotation(self, key: str, values: list[Any]) -> str:
        if not values:
            return "str"
        kinds = {type(value) for value in values}
        if kinds == {bool}:
            return "bool"
        if kinds == {int}:
            return "int" if all(v in _INT64 for v in values) else "fz.Decimal[38, 0]"
        if kinds <= {int, float}:
            return "float"
        if kinds == {str}:
            return self.text_annotation(values)
        if kinds == {list}:
            items = [item for value in values for item in value]
            inner = self.annotation(key, [item for item in items if item is not None])
            return f"list[{inner}{' | None' if None in items else ''}]"
        if kinds == {dict}:
            name = "".join(part.capitalize() for part in _identifier(key, set()).split("_"))
            while name in self.classes:
                name += "_"
            self.add_class(name, values)
            return name
        return "str"

    def text_annotation(self, values: list[str]) -> str:
        if all(_TIME.fullmatch(value) for value in values):
            self.imports.add("datetime")
            return "datetime"
        if all(_DATE.fullmatch(value) for value in values):
            self.imports.add("date")
            return "date"
        return "str"


def _identifier(key: str, used: set[str]) -> str:
    name = re.sub(r"\W+", "_", key.lstrip("@$#"), flags=re.ASCII).strip("_") or "field"
    if name[0].isdigit():
        name = f"field_{name}"
    if keyword.iskeyword(name):
        name += "_"
    while name in used:
        name += "_"
    return name


def _parquet_text(schema: pa.Schema, name: str) -> str:
    lines = ["from typing import Annotated, Any", "", "import pyarrow as pa", ""]
    lines += ["import frazil as fz", "", "", f"class {name}(fz.Schema):"]
    used: set[str] = set()
    for field in schema:
        attribute = _identifier(field.name, used)
        used.add(attribute)
        options = "" if attribute == field.name else f" = fz.field(source={field.name!r})"
        inner = "Any | None" if field.nullable else "Any"
        lines.append(f"    {attribute}: Annotated[{inner}, {_constructor(field.type)}]{options}")
    return "\n".join(lines)


def _constructor(type_: pa.DataType) -> str:
    """Python text that makes an Arrow type."""
    t = pa.types
    if t.is_decimal(type_):
        return f"pa.decimal128({type_.precision}, {type_.scale})"
    if t.is_timestamp(type_):
        zone = f", {type_.tz!r}" if type_.tz else ""
        return f"pa.timestamp({type_.unit!r}{zone})"
    if t.is_time(type_):
        return f"pa.time{type_.bit_width}({type_.unit!r})"
    if t.is_duration(type_):
        return f"pa.duration({type_.unit!r})"
    if t.is_fixed_size_binary(type_):
        return f"pa.binary({type_.byte_width})"
    if t.is_list(type_) or t.is_large_list(type_):
        return f"pa.list_({_constructor(type_.value_type)})"
    if t.is_map(type_):
        return f"pa.map_({_constructor(type_.key_type)}, {_constructor(type_.item_type)})"
    if t.is_struct(type_):
        fields = ", ".join(
            f"pa.field({f.name!r}, {_constructor(f.type)}, {f.nullable})" for f in type_
        )
        return f"pa.struct([{fields}])"
    names = {"bool": "bool_", "float": "float32", "double": "float64", "halffloat": "float16"}
    names |= {"date32[day]": "date32", "date64[ms]": "date64"}
    return f"pa.{names.get(str(type_), str(type_))}()"


def _read_schema(path: str, *, filesystem: Any = None) -> pa.Schema:
    from pyarrow.parquet import read_schema  # 20 MB that a pipeline does not need

    return read_schema(path, filesystem=filesystem)
