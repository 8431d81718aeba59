"""The log on a real S3 server: conditional puts, races, and a server that stops and freezes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from frazil.checkpoint import CheckpointLog, Epoch, PutOutcome
from frazil.checkpoint.s3_store import S3Options, S3Store
from frazil.errors import CheckpointError, Fenced, StoreError

if TYPE_CHECKING:
    from tests.services.s3 import S3

pytestmark = pytest.mark.service
MakeEpoch = Callable[..., Epoch]


def options(s3: S3, **more: str) -> dict[str, str]:
    return {
        "endpoint": s3.endpoint,
        "access_key_id": s3.access_key,
        "secret_access_key": s3.secret_key,
        "region": s3.region,
        "timeout_s": "2",
        **more,
    }


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.create_bucket("checkpoints")


@pytest.fixture
def s3_store(s3: S3, bucket: str) -> S3Store:
    return S3Store(f"s3://{bucket}/{uuid.uuid4().hex}/log", S3Options.resolve(options(s3)))


def test_probe_and_objects(s3_store: S3Store) -> None:
    s3_store.probe()
    assert s3_store.list("probe/") == []
    assert s3_store.put_new("log/b", b"1") is PutOutcome.CREATED
    assert s3_store.put_new("log/b", b"2") is PutOutcome.EXISTS
    assert s3_store.put_new("log/a", b"") is PutOutcome.CREATED
    assert s3_store.list("log/") == ["log/a", "log/b"]
    assert s3_store.list("log/", "log/a") == ["log/b"]
    assert s3_store.get("log/b") == b"1"
    assert s3_store.get("log/c") is None
    s3_store.delete("log/b")
    s3_store.delete("log/b")
    assert s3_store.list("log/") == ["log/a"]


def test_wrong_key_and_missing_bucket(s3: S3, bucket: str) -> None:
    if s3.kind == "versitygw":
        wrong = S3Options.resolve(options(s3, secret_access_key="wrong"))
        with pytest.raises(StoreError, match="putting log/1") as caught:
            S3Store(f"s3://{bucket}/x", wrong).put_new("log/1", b"")
        assert "wrong" not in str(caught.value)
    missing = S3Store("s3://no-such-bucket/x", S3Options.resolve(options(s3)))
    with pytest.raises(StoreError):
        missing.put_new("log/1", b"")


def test_a_log(s3_store: S3Store, epoch: MakeEpoch) -> None:
    old = CheckpointLog.open(s3_store, takeover=True)
    for position in range(3):
        entry = old.append(epoch(position, "a"))
        old.record_landed("a", entry.slot, entry.digest)
    assert len(old.collect()) == 3
    new = CheckpointLog.open(s3_store, takeover=True)
    assert [pending.slot for pending in new.pending("a")] == [3]  # landed, not yet recorded
    with pytest.raises(Fenced):
        old.append(epoch(9, "a"))


def test_starters_at_once_get_one_slot_each(s3_store: S3Store) -> None:
    won: list[CheckpointLog] = []
    lost: list[CheckpointError] = []

    def start() -> None:
        try:
            won.append(CheckpointLog.open(s3_store, takeover=True))
        except CheckpointError as error:
            lost.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) + len(lost) == 6
    assert all(isinstance(error, Fenced) for error in lost)
    slots = s3_store.list("log/")
    newest = max(won, key=lambda log: log.newest.slot)
    assert newest.newest.slot == len(slots) - 1
    assert [owner.slot for owner in newest.owners] == list(range(len(slots)))


@pytest.mark.slow
def test_server_that_freezes_in_a_put(s3: S3, s3_store: S3Store, epoch: MakeEpoch) -> None:
    log = CheckpointLog.open(s3_store, takeover=True)
    s3.pause()
    timer = threading.Timer(3, s3.resume)
    timer.start()
    try:
        entry = log.append(epoch(1, "a"))  # the first try times out, and may land later
    finally:
        timer.join()
    assert CheckpointLog.open(s3_store, takeover=True).newest.manifest.prev == entry.digest


@pytest.mark.slow
def test_server_that_is_killed_between_epochs(s3: S3, s3_store: S3Store, epoch: MakeEpoch) -> None:
    if s3.kind != "versitygw":
        pytest.skip("moto loses its objects")
    log = CheckpointLog.open(s3_store, takeover=True)
    first = log.append(epoch(1, "a"))
    s3.kill()
    timer = threading.Timer(2, s3.start)
    timer.start()
    try:
        second = log.append(epoch(2, "a"))
    finally:
        timer.join()
    assert second.manifest.prev == first.digest
    assert log.append(epoch(3)).slot == 3
