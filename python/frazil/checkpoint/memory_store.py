"""A checkpoint store in memory: for tests and examples, with faults to order."""

from __future__ import annotations

import threading
from typing import ClassVar, Literal

from frazil.checkpoint.store import PutOutcome, check_key, check_size, probe_puts
from frazil.errors import StoreUnavailable

# What may happen to a put: its reply is lost, it arrives after everybody stopped waiting, it never
# arrives.
PutFault = Literal["lost_reply", "late", "absent"]


class MemoryStore:
    """Objects in a dictionary, gone with the process."""

    _named: ClassVar[dict[str, MemoryStore]] = {}

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._faults: list[tuple[PutFault, str]] = []
        self.objects: dict[str, bytes] = {}
        self.in_flight: list[tuple[str, bytes]] = []  # late puts, which `land_late` lets arrive
        self.down = False  # reads and lists raise, puts are unknown and do not arrive

    @classmethod
    def named(cls, name: str) -> MemoryStore:
        """The store of that name in this process."""
        return cls._named.setdefault(name, cls(name))

    @property
    def url(self) -> str:
        """memory:// and the name."""
        return f"memory://{self._name}"

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create an object, unless a fault was ordered for it."""
        check_size(self.url, check_key(key), len(data))
        with self._lock:
            fault = self._take_fault(key)
            if self.down or fault == "absent":
                return PutOutcome.UNKNOWN
            if fault == "late":
                self.in_flight.append((key, data))
                return PutOutcome.UNKNOWN
            outcome = self._create(key, data)
            return PutOutcome.UNKNOWN if fault == "lost_reply" else outcome

    def get(self, key: str) -> bytes | None:
        """Read an object."""
        self._answer(key)
        return self.objects.get(check_key(key))

    def list(self, prefix: str, after: str = "") -> list[str]:
        """Keys under a prefix, sorted."""
        self._answer(prefix)
        with self._lock:
            return sorted(key for key in self.objects if key.startswith(prefix) and key > after)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._answer(key)
        with self._lock:
            self.objects.pop(check_key(key), None)

    def probe(self) -> None:
        """Test as any other store is tested."""
        probe_puts(self)

    def fail_put(self, fault: PutFault, prefix: str = "") -> None:
        """Let `fault` happen to the next put of a key that starts with `prefix`."""
        self._faults.append((fault, prefix))

    def land_late(self, index: int = 0) -> PutOutcome:
        """Let a late put arrive now; nobody hears the answer but the caller of this."""
        with self._lock:
            return self._create(*self.in_flight.pop(index))

    def _create(self, key: str, data: bytes) -> PutOutcome:
        if key in self.objects:
            return PutOutcome.EXISTS
        self.objects[key] = data
        return PutOutcome.CREATED

    def _take_fault(self, key: str) -> PutFault | None:
        for i, (fault, prefix) in enumerate(self._faults):
            if key.startswith(prefix):
                del self._faults[i]
                return fault
        return None

    def _answer(self, key: str) -> None:
        if self.down:
            raise StoreUnavailable(f"{self.url}: reading {key}: the store is down")
