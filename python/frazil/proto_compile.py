"""Descriptors of Protobuf: .proto files compiled, and sets of descriptors read.

protoc itself compiles, in a process of its own: a text may come from a registry.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from frazil.errors import ConfigError, SchemaError

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

TEXT_BYTES_MAX = 4 << 20
"""Bytes of a schema with all it refers to."""
COMPILE_SECONDS_MAX = 30
"""How long protoc may take for one."""
_SHOWN_CHARS = 500
_INSTALL = "pip install 'frazil[protobuf]'"

# Files that Confluent's registry knows without being told.
_CONFLUENT = {
    "confluent/meta.proto": """
syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta {
  string doc = 1;
  map<string, string> params = 2;
  repeated string tags = 3;
}
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
""",
    "confluent/type/decimal.proto": """
syntax = "proto3";
package confluent.type;
message Decimal {
  bytes value = 1;
  uint32 precision = 2;
  int32 scale = 3;
}
""",
}


def require_protobuf(compiler: bool) -> None:
    """Check that the packages are there.

    Raises
    ------
    ConfigError
        If not.
    """
    wanted = ["google.protobuf", *(["grpc_tools"] if compiler else [])]
    for module in wanted:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ConfigError(
                f"Protobuf needs the package of {module}, which is not here", _INSTALL
            )


class ProtoFile:
    """A .proto file as descriptors.

    Parameters
    ----------
    descriptors
        A serialized FileDescriptorSet in which each file stands behind those it imports; the last
        one is meant.
    what
        How errors call it.

    Raises
    ------
    SchemaError
        If it is none.
    """

    def __init__(self, descriptors: bytes, what: str) -> None:
        require_protobuf(compiler=False)
        from google.protobuf import descriptor_pb2, descriptor_pool
        from google.protobuf.message import DecodeError

        files = descriptor_pb2.FileDescriptorSet()
        try:
            files.ParseFromString(descriptors)
        except DecodeError:
            raise SchemaError(
                f"{what} is no set of descriptors",
                "protoc --include_imports --descriptor_set_out= makes one",
            ) from None
        if not files.file:
            raise SchemaError(f"{what} has no file in it", "give protoc the .proto files")
        self.what = what
        self.pool: DescriptorPool = descriptor_pool.DescriptorPool()
        try:
            for each in files.file:
                self.pool.AddSerializedFile(each.SerializeToString())
            self.files: list[FileDescriptor] = [
                self.pool.FindFileByName(each.name) for each in files.file
            ]
        except (TypeError, KeyError) as error:
            raise SchemaError(
                f"{what} is not whole: {str(error)[:_SHOWN_CHARS]}",
                "protoc --include_imports puts all that is imported into it",
            ) from None

    @property
    def main(self) -> FileDescriptor:
        """The file itself."""
        return self.files[-1]

    def parameters(self, field: Any) -> Mapping[str, str]:
        """What Kafka Connect says of a field: the parameters of its (confluent.field_meta)."""
        from google.protobuf import message_factory

        try:
            option = self.pool.FindExtensionByName("confluent.field_meta")
            type_ = self.pool.FindMessageTypeByName("google.protobuf.FieldOptions")
        except KeyError:
            return {}
        options = message_factory.GetMessageClass(type_)()
        options.ParseFromString(field.GetOptions().SerializeToString())
        return dict(options.Extensions[option].params)


def compile_file(path: str, include: Sequence[str], what: str) -> ProtoFile:
    """Compile a .proto file.

    Parameters
    ----------
    path
        The file.
    include
        Folders in which imports are looked for; the file's own is one.

    Raises
    ------
    ConfigError
        The compiler is not installed.
    SchemaError
        The file cannot be read or compiled.
    """
    folders = [os.path.abspath(os.path.expanduser(each)) for each in include]
    whole = os.path.abspath(os.path.expanduser(path))
    if not os.path.isfile(whole):
        raise SchemaError(f"{what}: there is no such file", "give the path of a .proto file")
    if not any(whole.startswith(os.path.join(folder, "")) for folder in folders):
        folders.append(os.path.dirname(whole))
    return ProtoFile(_compiled(whole, folders, what), what)


def compile_texts(texts: Sequence[str], names: Sequence[str], what: str) -> ProtoFile:
    """Compile the last of some texts; those before it are what it imports, by these names.

    Raises
    ------
    ConfigError
        The compiler is not installed.
    SchemaError
        It cannot be compiled.
    """
    if sum(map(len, texts)) > TEXT_BYTES_MAX:
        raise SchemaError(f"{what} is longer than {TEXT_BYTES_MAX} bytes")
    with tempfile.TemporaryDirectory(prefix="frazil-proto-") as folder:
        main = "__frazil__/schema.proto"
        for name, text in zip((*names, main), texts, strict=True):
            inside = PurePosixPath(name)
            if inside.is_absolute() or ".." in inside.parts or "\\" in name or "\0" in name:
                raise SchemaError(f"{what} refers to {name!r}, which is no name of a file")
            file = Path(folder, *inside.parts)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            except OSError as error:
                raise SchemaError(f"{what} refers to {name!r}: {error.strerror}") from None
        return ProtoFile(_compiled(os.path.join(folder, main), [folder], what), what)


def _compiled(file: str, folders: Sequence[str], what: str) -> bytes:
    """The set of descriptors of a file in one of the folders."""
    require_protobuf(compiler=True)
    with tempfile.TemporaryDirectory(prefix="frazil-proto-") as known:
        for name, text in _CONFLUENT.items():
            Path(known, name).parent.mkdir(parents=True, exist_ok=True)
            Path(known, name).write_text(text, encoding="utf-8")
        out = os.path.join(known, "set")
        paths = [*folders, known, *_library_folders()]
        command = [
            sys.executable, "-m", "grpc_tools.protoc", *(f"-I{each}" for each in paths),
            "--include_imports", f"--descriptor_set_out={out}", file,
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMPILE_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SchemaError(f"{what}: protoc takes over {COMPILE_SECONDS_MAX} s") from None
        if done.returncode != 0:
            said = [
                line.removeprefix(os.path.join(folders[0], ""))
                for line in done.stderr.splitlines()
                if line.strip() and "warning" not in line.lower()
            ]
            raise SchemaError(f"{what}: {'; '.join(said)[:_SHOWN_CHARS]}")
        return Path(out).read_bytes()


def _library_folders() -> list[str]:
    """Folders with the files that come with protoc, and those of google/type."""
    folders = []
    for module, inside in (("grpc_tools", "_proto"), ("google.type", "../..")):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            continue
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            folders.append(os.path.normpath(os.path.join(place, inside)))
    return folders
