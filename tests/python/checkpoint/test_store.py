"""Stores: create-only puts, what is synced, and the refusal of stores that cannot."""

from __future__ import annotations

import errno
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from frazil.checkpoint.local_store import LocalStore
from frazil.checkpoint.memory_store import MemoryStore
from frazil.checkpoint.s3_store import S3Options, S3Store
from frazil.checkpoint.store import PutOutcome, Store, open_store
from frazil.errors import StoreError, StoreUnavailable


@pytest.fixture(params=["memory", "local"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "log store")


def test_put_get_list_delete(any_store: Store) -> None:
    assert any_store.list("log/") == []
    assert any_store.get("log/b") is None
    assert any_store.put_new("log/b", b"1") is PutOutcome.CREATED
    assert any_store.put_new("log/b", b"2") is PutOutcome.EXISTS
    assert any_store.put_new("log/a", b"") is PutOutcome.CREATED
    assert any_store.put_new("tokens/1/c.json", b"3") is PutOutcome.CREATED
    assert any_store.get("log/b") == b"1"
    assert any_store.list("log/") == ["log/a", "log/b"]
    assert any_store.list("log/", "log/a") == ["log/b"]
    assert any_store.list("tokens/") == ["tokens/1/c.json"]
    any_store.delete("log/a")
    any_store.delete("log/a")
    assert any_store.list("log/") == ["log/b"]


def test_probe_accepts_and_leaves_nothing(any_store: Store) -> None:
    any_store.probe()
    assert any_store.list("probe/") == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "log/../x", "log//x", "log/.x", "a b", "x" * 600]
)
def test_keys_are_checked(any_store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="not of the form"):
        any_store.put_new(key, b"")
    with pytest.raises(StoreError, match="not of the form"):
        any_store.get(key)


class Overwriting(MemoryStore):
    """Ignores that a key is taken, as stores without conditional puts do."""

    def _create(self, key: str, data: bytes) -> PutOutcome:
        self.objects[key] = data
        return PutOutcome.CREATED


class Racy(MemoryStore):
    """Checks and then writes: right alone, wrong when several write at once."""

    def __init__(self) -> None:
        super().__init__()
        self._meet = threading.Barrier(8)

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        taken = key in self.objects
        if data.startswith(b"writer"):
            self._meet.wait(10)
        if taken:
            return PutOutcome.EXISTS
        self.objects[key] = data
        return PutOutcome.CREATED


class Unlisted(MemoryStore):
    """Shows new objects in lists only later."""

    def list(self, prefix: str, after: str = "") -> list[str]:
        return []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Overwriting, "does not keep puts create-only"),
        (Racy, "8 concurrent puts of one key 8 were accepted"),
        (Unlisted, "does not list"),
    ],
)
def test_probe_refuses(kind: Callable[[], MemoryStore], message: str) -> None:
    store = kind()
    with pytest.raises(StoreError, match=message):
        store.probe()
    assert store.objects == {}


def test_open_store_by_url(tmp_path: Path) -> None:
    assert open_store(str(tmp_path / "a")).url == f"file://{tmp_path}/a"
    assert open_store(f"file://{tmp_path}/b").url == f"file://{tmp_path}/b"
    assert open_store("memory://x") is open_store("memory://x")
    with pytest.raises(StoreError, match="not gs://"):
        open_store("gs://bucket")
    with pytest.raises(StoreError, match="are for s3:// only"):
        open_store(str(tmp_path), {"region": "x"})


# -- local
# ------------------------------------------------------------------------------------------


def record_calls(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    calls: list[str] = []
    for name in names:
        real = getattr(os, name)

        def wrapper(
            *args: object, _real: Callable[..., object] = real, _name: str = name, **kw: object
        ) -> object:
            what = _name
            if _name == "fsync":
                kind = os.readlink(f"/proc/self/fd/{args[0]}")
                what = f"fsync {'folder' if os.path.isdir(kind) else 'file'}"
            calls.append(what)
            return _real(*args, **kw)

        monkeypatch.setattr(os, name, wrapper)
    return calls


def test_local_put_syncs_file_then_links_then_syncs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    store.put_new("log/0", b"x")
    calls = record_calls(monkeypatch, "fsync", "link")
    assert store.put_new("log/1", b"x") is PutOutcome.CREATED
    assert calls == ["fsync file", "link", "fsync folder"]
    assert os.listdir(tmp_path / "tmp") == []


def test_local_put_syncs_new_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = record_calls(monkeypatch, "fsync")
    LocalStore(tmp_path / "a" / "b").put_new("log/1", b"x")
    assert calls == ["fsync folder"] * 4 + [
        "fsync file",
        "fsync folder",
    ]  # a, b, tmp, log; then the put


def test_local_unknown_when_the_folder_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    store.put_new("log/0", b"x")
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(os.readlink(f"/proc/self/fd/{descriptor}")):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert store.put_new("log/1", b"x") is PutOutcome.UNKNOWN
    assert store.get("log/1") == b"x"


@pytest.mark.parametrize(
    ("number", "outcome"), [(errno.EPERM, None), (errno.EIO, PutOutcome.UNKNOWN)]
)
def test_local_link_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, outcome: PutOutcome | None
) -> None:
    store = LocalStore(tmp_path)

    def link(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    if outcome is None:
        with pytest.raises(StoreError, match="no hard links"):
            store.put_new("log/1", b"x")
    else:
        assert store.put_new("log/1", b"x") is outcome
    assert os.listdir(tmp_path / "tmp") == []


def test_local_does_not_follow_links(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "s")
    store.put_new("log/0", b"x")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "s/log/1").symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError, match="symbolic link"):
        store.get("log/1")
    assert store.put_new("log/1", b"y") is PutOutcome.EXISTS
    (tmp_path / "s/log/2").symlink_to(tmp_path / "nowhere")
    assert store.put_new("log/2", b"y") is PutOutcome.EXISTS
    assert not (tmp_path / "nowhere").exists()


def test_local_probe_removes_old_temporary_files_only(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_new("log/0", b"")
    old, young = tmp_path / "tmp/1-old", tmp_path / "tmp/2-young"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    store.probe()
    assert (old.exists(), young.exists()) == (False, True)


def test_local_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="writing log/1: Not a directory"):
        LocalStore(tmp_path / "file" / "x").put_new("log/1", b"")


def test_looking_makes_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "x")
    assert store.list("log/") == []
    assert store.get("log/1") is None
    store.delete("log/1")
    assert os.listdir(tmp_path) == []


def test_local_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.put_new("log/0", b"x")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match="writing log/1: No space left on device"):
        store.put_new("log/1", b"x")
    assert store.list("log/") == ["log/0"]
    assert os.listdir(tmp_path / "tmp") == []


# -- s3: answers of a made-up server
# -------------------------------------------------------------------


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers every PUT with the status that the test asks for."""

    protocol_version = "HTTP/1.1"
    status: int | str = 200
    puts = 0
    conditions: tuple[str | None, ...] = ()

    def do_PUT(self) -> None:
        cls = type(self)
        cls.puts += 1
        cls.conditions += (self.headers.get("if-none-match"),)
        self.rfile.read(int(self.headers["content-length"]))
        if cls.status == "close":
            self.close_connection = True
            return
        self.send_response(int(cls.status))
        self.send_header("content-length", "0")
        self.send_header("etag", '"x"')
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(int(type(self).status))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Answers.puts, Answers.conditions = 0, ()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def s3(endpoint: str) -> S3Store:
    options = {
        "endpoint": endpoint,
        "access_key_id": "id",
        "secret_access_key": "hush",
        "timeout_s": "1",
    }
    return S3Store("s3://bucket/some/prefix", S3Options.resolve(options))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, PutOutcome.CREATED),
        (412, PutOutcome.EXISTS),
        (409, PutOutcome.EXISTS),
        (500, PutOutcome.UNKNOWN),
        (503, PutOutcome.UNKNOWN),
        (400, PutOutcome.UNKNOWN),
        ("close", PutOutcome.UNKNOWN),
    ],
)
def test_s3_puts_once_and_does_not_guess(
    server: str, status: int | str, outcome: PutOutcome
) -> None:
    Answers.status = status
    assert s3(server).put_new("log/1", b"x") is outcome
    assert Answers.puts == 1
    assert Answers.conditions == ("*",)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_s3_refused_puts_raise(server: str, status: int) -> None:
    Answers.status = status
    with pytest.raises(StoreError, match="s3://bucket/some/prefix: putting log/1") as caught:
        s3(server).put_new("log/1", b"x")
    assert "hush" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_s3_reads_say_who_is_away(server: str) -> None:
    store = s3(server)
    Answers.status = 403
    for call in (lambda: store.get("log/1"), lambda: store.list("log/")):
        with pytest.raises(StoreError) as caught:
            call()
        assert not caught.value.retryable
    Answers.status = 404
    assert store.get("log/1") is None


def test_s3_server_that_is_away_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frazil.checkpoint.s3_store._READ_RETRIES", 0)
    with pytest.raises(StoreUnavailable, match="reading log/1"):
        s3("http://127.0.0.1:9").get("log/1")


def test_s3_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    options = S3Options.resolve({"endpoint": "http://127.0.0.1:1", "path_style": "true"})
    assert options.access_key_id == "from-env"
    assert options.path_style is True
    assert "hush" not in repr(options)
    with pytest.raises(StoreError, match="did you mean 'endpoint'"):
        S3Options.resolve({"endpont": "x"})
    with pytest.raises(StoreError, match="expected true or false"):
        S3Options.resolve({"allow_http": "maybe"})
    with pytest.raises(StoreError, match="a bucket is missing"):
        S3Store("s3://", S3Options.resolve({}))
