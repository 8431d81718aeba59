"""A checkpoint log in a local folder.

What reaches the disk, and when (a put that says CREATED survives a power cut):

1. the bytes are written to `tmp/<pid>-<uuid>` under the root and fsynced;
2. link() gives them their final name. It fails when the name is taken, so it is create-only, and no
   reader ever sees a half-written object;
3. the folder of the final name is fsynced, and so is each folder above that this call made;
4. only then CREATED is returned. The temporary name is removed afterwards; a crash leaves at most
   that behind.

The file system must support hard links and honour fsync: ext4, xfs, btrfs, zfs and NFS do; probe()
says if not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import uuid
from pathlib import Path

from frazil.checkpoint.store import OBJECT_BYTES_MAX, PutOutcome, check_key, check_size, probe_puts
from frazil.errors import StoreError

# Temporary files of crashed processes are removed when older than this. A put takes seconds at
# most.
_STALE_S = 24 * 3600.0


class LocalStore:
    """Objects are files under a root folder, which the first put makes.

    Symbolic links to objects are not followed.
    """

    def __init__(self, root: str | os.PathLike[str], *, durable: bool = True) -> None:
        self._root = Path(root).absolute()
        self._durable = durable  # False: nothing is synced

    @property
    def url(self) -> str:
        """The folder as a file:// URL."""
        return f"file://{self._root}"

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create a file if there is none; see the module's text for what is synced."""
        final = self._root / check_key(key)
        check_size(self.url, key, len(data))
        temporary = self._root / "tmp" / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            self._make_folder(temporary.parent)
            self._make_folder(final.parent)
            self._write(temporary, data)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()  # what cannot be removed now is removed by a later probe
            raise StoreError(f"{self.url}: writing {key}: {error.strerror}") from error
        try:
            return self._link(temporary, final, key)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def get(self, key: str) -> bytes | None:
        """Read a file."""
        path = self._root / check_key(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise StoreError(f"{self.url}: reading {key}: {reason}") from error
        with open(descriptor, "rb") as file:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise StoreError(f"{self.url}: reading {key}: it is not a file")
            check_size(self.url, key, info.st_size)
            try:
                return file.read(OBJECT_BYTES_MAX)
            except OSError as error:
                raise StoreError(f"{self.url}: reading {key}: {error.strerror}") from error

    def list(self, prefix: str, after: str = "") -> list[str]:
        """Names of the files in a folder and the folders below it."""
        check_key(prefix.rstrip("/"))
        keys: list[str] = []
        try:
            for folder, folders, names in os.walk(self._root / prefix, onerror=_raise):
                folders.sort()
                base = Path(folder).relative_to(self._root).as_posix()
                keys.extend(f"{base}/{name}" for name in names)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.url}: listing {prefix}: {error.strerror}") from error
        return sorted(key for key in keys if key > after)

    def delete(self, key: str) -> None:
        """Remove a file and sync its folder."""
        path = self._root / check_key(key)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                self._sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{self.url}: removing {key}: {error.strerror}") from error

    def probe(self) -> None:
        """Test links and races (without syncing: the answer does not depend on it), and clear old
        temporary files.
        """
        self._remove_stale()
        probe_puts(LocalStore(self._root, durable=False), writers=4, rounds=1)

    def _link(self, temporary: Path, final: Path, key: str) -> PutOutcome:
        try:
            os.link(temporary, final, follow_symlinks=False)
        except FileExistsError:
            return PutOutcome.EXISTS
        except OSError as error:
            if error.errno in (
                errno.EPERM,
                errno.EOPNOTSUPP,
                errno.EMLINK,
                errno.EXDEV,
                errno.ENOSYS,
            ):
                raise StoreError(
                    f"{self.url}: creating {key}: {error.strerror}; the file system has no hard "
                    "links, "
                    "so it cannot hold a checkpoint log: use another folder or s3://"
                ) from error
            return (
                PutOutcome.UNKNOWN
            )  # over a network the link may have been made although the answer is an error
        try:
            self._sync_folder(final.parent)
        except OSError:
            return (
                PutOutcome.UNKNOWN
            )  # it is there, but nobody knows whether it survives a power cut
        return PutOutcome.CREATED

    def _write(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if self._durable:
                os.fsync(descriptor)

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            self._sync_folder(path.parent)

    def _sync_folder(self, folder: Path) -> None:
        if not self._durable:
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove_stale(self) -> None:
        oldest = time.time() - _STALE_S
        folder = self._root / "tmp"
        for entry in os.scandir(folder) if folder.is_dir() else ():
            try:
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue  # another process removed its own file meanwhile


def _raise(error: OSError) -> None:
    raise error
