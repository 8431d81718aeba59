"""A small FileIO for PyIceberg: local files and S3, whole files at a time, without pyarrow.

Metadata files are small and written once, so a file is one read or one write. A local file is
durable, its name included, when `close` returns: the catalog may name it then. On S3 a put is.

Places of other kinds, and ways to log in that are not here (remote signing, assumed roles), are
left to the FileIO that PyIceberg chooses by itself.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from pyiceberg.io import FileIO, InputFile, OutputFile, load_file_io

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from frazil.iceberg.bucket import Bucket
    from pyiceberg.io import InputStream, OutputStream

# What catalogs are given as "py-io-impl".
NAME = "frazil.iceberg.fileio.SmallFileIO"

_S3_SCHEMES = ("s3", "s3a", "s3n")
# Properties with which S3 is reached in ways that are not in here.
_OTHERS = ("s3.signer", "s3.signer.uri", "s3.role-arn", "client.role-arn", "s3.profile-name")


class SmallFileIO(FileIO):
    """Opens files by URI; PyIceberg makes one per table it loads."""

    def new_input(self, location: str) -> InputFile:
        """A file to read."""
        if (path := _local_path(location)) is not None:
            return _LocalInput(location, path)
        if (bucket := self._bucket(location)) is not None:
            return _S3Input(location, bucket)
        return self._other(location).new_input(location)

    def new_output(self, location: str) -> OutputFile:
        """A file to write."""
        if (path := _local_path(location)) is not None:
            return _LocalOutput(location, path)
        if (bucket := self._bucket(location)) is not None:
            return _S3Output(location, bucket)
        return self._other(location).new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file; FileNotFoundError if a local one is not there."""
        uri = location if isinstance(location, str) else location.location
        if (path := _local_path(uri)) is not None:
            os.unlink(path)
        elif (bucket := self._bucket(uri)) is not None:
            bucket.delete(_key(uri))
        else:
            self._other(uri).delete(uri)

    def list(self, folder: str) -> Iterator[str]:
        """Files below a folder, by URI; nothing for places of other kinds."""
        if (path := _local_path(folder)) is not None:
            for parent, _, names in os.walk(path):
                yield from (f"{folder.rstrip('/')}{parent[len(path) :]}/{name}" for name in names)
        elif (bucket := self._bucket(folder)) is not None:
            root = folder[: -len(_key(folder))]
            yield from (root + key for key in bucket.list(_key(folder).rstrip("/") + "/"))

    def _bucket(self, location: str) -> Bucket | None:
        uri = urlparse(location)
        if uri.scheme not in _S3_SCHEMES or any(self.properties.get(name) for name in _OTHERS):
            return None
        from frazil.iceberg.bucket import bucket_of  # the S3 client costs 20 MB

        return bucket_of(uri.netloc, self.properties)

    def _other(self, location: str) -> FileIO:
        rest = {key: value for key, value in self.properties.items() if key != "py-io-impl"}
        return load_file_io(rest, location)


def _local_path(location: str) -> str | None:
    """The path of a local file. Like Iceberg's writers, take what follows the scheme as it is."""
    if location.startswith("file:"):
        path = location.removeprefix("file:")
        return path.removeprefix("//") if path.startswith("//") else path
    return location if "://" not in location else None


def _key(location: str) -> str:
    return location.split("://", 1)[1].partition("/")[2]


class _LocalInput(InputFile):
    def __init__(self, location: str, path: str) -> None:
        super().__init__(location)
        self._path = path

    def __len__(self) -> int:
        return os.path.getsize(self._path)

    def exists(self) -> bool:
        return os.path.exists(self._path)

    def open(self, seekable: bool = True) -> InputStream:
        return open(self._path, "rb")


class _LocalOutput(OutputFile):
    def __init__(self, location: str, path: str) -> None:
        super().__init__(location)
        self._path = path

    def __len__(self) -> int:
        return os.path.getsize(self._path)

    def exists(self) -> bool:
        return os.path.exists(self._path)

    def to_input_file(self) -> InputFile:
        return _LocalInput(self._location, self._path)

    def create(self, overwrite: bool = False) -> OutputStream:
        folder = os.path.dirname(self._path)
        _make_folders(folder)
        return _DurableFile(open(self._path, "wb" if overwrite else "xb"), folder)


class _DurableFile:
    """A local file that is on disk, under its name, once it is closed."""

    def __init__(self, file: io.BufferedWriter, folder: str) -> None:
        self._file = file
        self._folder = folder

    def write(self, b: bytes) -> int:
        return self._file.write(b)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if self._file.closed:
            return
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        _sync_folder(self._folder)

    def __enter__(self) -> _DurableFile:
        return self

    def __exit__(
        self,
        exctype: type[BaseException] | None,
        excinst: BaseException | None,
        exctb: TracebackType | None,
    ) -> None:
        self.close()


def _make_folders(folder: str) -> None:
    if folder and not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        _make_folders(parent)
        try:
            os.mkdir(folder)
        except FileExistsError:
            return
        _sync_folder(parent or ".")


def _sync_folder(folder: str) -> None:
    handle = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _S3Input(InputFile):
    def __init__(self, location: str, bucket: Bucket) -> None:
        super().__init__(location)
        self._bucket = bucket

    def __len__(self) -> int:
        size = self._bucket.size(_key(self._location))
        if size is None:
            raise FileNotFoundError(self._location)
        return size

    def exists(self) -> bool:
        return self._bucket.size(_key(self._location)) is not None

    def open(self, seekable: bool = True) -> InputStream:
        return io.BytesIO(self._bucket.get(_key(self._location)))


class _S3Output(OutputFile):
    def __init__(self, location: str, bucket: Bucket) -> None:
        super().__init__(location)
        self._bucket = bucket
        self._written: int | None = None

    def __len__(self) -> int:
        if self._written is not None:
            return self._written
        return len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return _S3Input(self._location, self._bucket)

    def create(self, overwrite: bool = False) -> OutputStream:
        if not overwrite and self.exists():
            raise FileExistsError(self._location)
        return _S3Upload(self)

    def put(self, data: bytes) -> None:
        self._bucket.put(_key(self._location), data)
        self._written = len(data)


class _S3Upload(io.BytesIO):
    """Collects a file and puts it when it is closed."""

    def __init__(self, output: _S3Output) -> None:
        super().__init__()
        self._output = output

    def close(self) -> None:
        if not self.closed:
            data = self.getvalue()
            super().close()
            self._output.put(data)

    def __exit__(
        self,
        exctype: type[BaseException] | None,
        excinst: BaseException | None,
        exctb: TracebackType | None,
    ) -> None:
        if exctype is None:
            self.close()
        else:  # half a file must not be put
            super().close()
