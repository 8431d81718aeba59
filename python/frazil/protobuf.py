"""Messages of Protobuf whose schema is in a file, as readers declare them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from frazil import _engine
from frazil.errors import ConfigError, SchemaError
from frazil.schema import SchemaLike, checked, resolve

if TYPE_CHECKING:
    import pyarrow as pa
    from frazil.node import Json

_TEXT_ENDING = ".proto"


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """What the file says of the message."""

    name: str
    columns: pa.Schema | None
    problem: SchemaError | None
    text: str


@dataclass(frozen=True)
class Protobuf:
    """Messages of Protobuf of one type, for the `format` of `read_kafka`.

    The file is read now, and the plan has what it says. Needs ``pip install 'frazil[protobuf]'``.

    Parameters
    ----------
    file
        A .proto file, or a set of descriptors (``protoc --include_imports
        --descriptor_set_out=``): its path, or its bytes.
    message
        The type of the messages, its full name or the end of it; default the only one of the file.
    include
        Folders in which imports of a .proto file are looked for. Its own folder is one, if it is in
        none of them.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import frazil as fz
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "click.proto").write_text(
    ...     'syntax = "proto3"; message Click { int64 id = 1; optional string page = 2; }'
    ... )
    >>> fz.read_kafka(
    ...     "clicks", servers="localhost:9092", format=fz.Protobuf(folder / "click.proto")
    ... )
    Stream(append) <- kafka:clicks
      id: int64 not null
      page: string
    """

    file: str | os.PathLike[str] | bytes
    message: str | None = None
    include: Sequence[str | os.PathLike[str]] = ()
    _loaded: _Loaded = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the file.

        Raises
        ------
        ConfigError
            The packages are not there, or an option is not offered.
        SchemaError
            The file cannot be read, or has no such message.
        """
        if self.message is not None and (not isinstance(self.message, str) or not self.message):
            raise ConfigError(f"message={self.message!r}", 'a name: message="shop.Order"')
        if isinstance(self.include, str) or not isinstance(self.include, Sequence):
            raise ConfigError(f"include={self.include!r}", 'folders: include=["protos"]')
        object.__setattr__(self, "_loaded", self._load())

    def _load(self) -> _Loaded:
        from frazil.proto_compile import ProtoFile, compile_file, require_protobuf
        from frazil.proto_schema import ProtoColumns, find_message, message_text

        if isinstance(self.file, bytes):
            require_protobuf(compiler=False)
            file = ProtoFile(self.file, "the set of descriptors")
        elif isinstance(self.file, str | os.PathLike):
            path = os.fspath(self.file)
            if path.endswith(_TEXT_ENDING):
                file = compile_file(path, [os.fspath(each) for each in self.include], path)
            else:
                require_protobuf(compiler=False)
                file = ProtoFile(_bytes_of(path), path)
        else:
            raise ConfigError(
                f"file={self.file!r}", "a path of a .proto file or a set of descriptors, or bytes"
            )
        message = find_message(file, self.message)
        columns, problem = None, None
        try:
            columns = ProtoColumns(file).schema(message)
        except SchemaError as error:
            problem = error.with_traceback(None)  # told only if no schema is declared
        return _Loaded(
            name=message.full_name, columns=columns, problem=problem, text=message_text(message)
        )

    def _columns(self, schema: SchemaLike | None) -> pa.Schema:
        """The columns that are declared, which are checked, or those of the message.

        Raises
        ------
        SchemaError, ConfigError
            The message does not go with them, or has a field that no column has.
        """
        if schema is None:
            if self._loaded.problem is not None:
                raise self._loaded.problem
            return checked(self._loaded.columns)
        declared = resolve(schema)
        _engine.decode(json.dumps(self._to_json()), declared, [])
        return declared

    def _to_json(self) -> Json:
        """What the engine has to know."""
        return {"kind": "protobuf", "message": self._loaded.text}


def _bytes_of(path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return file.read()
    except OSError as error:
        hint = "give the path of a .proto file or of a set of descriptors"
        raise SchemaError(f"{path}: {error.strerror}", hint) from None
