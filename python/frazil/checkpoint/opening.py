"""Taking the log: list, check, and put a fence or a rewind at the next slot, until one is ours."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from frazil.checkpoint import history
from frazil.checkpoint.history import slot_key
from frazil.checkpoint.manifest import (
    OWNERS_MAX,
    Entry,
    Manifest,
    Owner,
    Plan,
    SinkToken,
    digest_of,
    encode,
)
from frazil.checkpoint.plan_fit import Fit, compare
from frazil.checkpoint.reader import read_log
from frazil.checkpoint.rewind import Rewind, expected_proofs, find_base, sinks_of
from frazil.checkpoint.sink_ids import step_of
from frazil.checkpoint.slot_put import Clock, patiently, put_object
from frazil.checkpoint.takeover import remember_nonce, this_writer, wait_until_quiet
from frazil.errors import LogAdvancing, RewindRefused

if TYPE_CHECKING:
    from frazil.checkpoint.store import Store

# How often a fence is tried at the next slot because another process was faster (times).
FENCE_TRIES = 16


class Opening:
    """The way to an accepted fence."""

    def __init__(
        self,
        store: Store,
        plan: Plan | None,
        rewind: Rewind | None,
        hook: Callable[[str], None],
        events: list[dict[str, Any]] | None,
        clock: Clock,
        patience_s: float | None,
    ) -> None:
        self._store, self._plan, self._rewind = store, plan, rewind
        self._hook, self._events, self._clock = hook, events, clock
        self._patience_s = patience_s
        self.nonce = uuid.uuid4().hex
        remember_nonce(self.nonce)

    def take(self) -> tuple[tuple[Entry, ...], Fit]:
        """Put the fence, at the next slot until one is ours."""
        below = self._rewind.to if self._rewind else None
        for _ in range(FENCE_TRIES):
            entries = patiently(
                lambda: read_log(self._store, hook=self._hook, below=below), self._clock
            )
            if entries and self._patience_s is not None:
                wait_until_quiet(self._store, entries[-1], self._patience_s, self._clock)
            manifest, fit = self._next(entries)
            data = encode(manifest)
            self._hook("before_fence_put")
            self._event(manifest, data)
            found = put_object(self._store, slot_key(manifest.slot), data, self._clock)
            self._hook("after_fence_put")
            if found == data:
                return (*entries, Entry(manifest, digest_of(data))), fit
        raise LogAdvancing(
            f"{self._store.url}: {FENCE_TRIES} other processes took the log while this one started",
            "look for a supervisor that starts copies of it",
        )

    def _event(self, manifest: Manifest, data: bytes) -> None:
        if self._events is not None:
            self._events.append(
                {
                    "kind": "fence_put",
                    "nonce": self.nonce,
                    "attempt": manifest.attempt,
                    "slot": manifest.slot,
                    "digest": digest_of(data),
                    "manifest": data.decode(),
                }
            )

    def _next(self, entries: tuple[Entry, ...]) -> tuple[Manifest, Fit]:
        created_us = int(self._clock.now() * 1e6)
        if not entries:
            if self._rewind:
                raise RewindRefused(f"{self._store.url}: there is no log to go back in")
            first = Manifest(
                incarnation=uuid.uuid4().hex,
                slot=0,
                attempt=1,
                nonce=self.nonce,
                prev="",
                kind="fence",
                owners=(Owner(1, 0),),
                plan=self._plan,
                created_us=created_us,
                writer=this_writer(),
            )
            return first, Fit()
        newest = entries[-1]
        base = newest
        if self._rewind:
            base = find_base(self._store.url, entries, self._rewind.to)
        fit = self._fit(entries, base)
        manifest = newest.manifest
        slot, attempt = newest.slot + 1, manifest.attempt + 1
        fence = replace(
            base.manifest,
            slot=slot,
            attempt=attempt,
            nonce=self.nonce,
            prev=newest.digest,
            kind="fence",
            rewind_to=None,
            sources={
                source: state.without_rows() for source, state in base.manifest.sources.items()
            },
            tokens={},
            landed=manifest.landed,
            heads=manifest.heads,
            owners=(*manifest.owners, Owner(attempt, slot))[-OWNERS_MAX:],
            floor=manifest.floor,
            plan=self._plan if self._plan is not None else base.manifest.plan,
            created_us=created_us,
            writer=this_writer(),
            last=False,
            lookups={
                name: replace(state, used=None) for name, state in base.manifest.lookups.items()
            },
            unknown={},
        )
        return (self._rewound(fence, entries, self._rewind) if self._rewind else fence), fit

    def _rewound(self, fence: Manifest, entries: tuple[Entry, ...], order: Rewind) -> Manifest:
        """Turn the fence into a rewind: empty tokens, which move every table's head and tag."""
        sinks = sinks_of(entries, fence)
        wanted = expected_proofs(self._store.url, entries, order, sinks)
        return replace(
            fence,
            kind="rewind",
            rewind_to=order.to,
            tokens={sink: SinkToken() for sink in sinks},
            landed={sink: proof for sink, proof in wanted.items() if proof is not None},
            heads={},
        )

    def _fit(self, entries: tuple[Entry, ...], base: Entry) -> Fit:
        landed = entries[-1].manifest.landed
        sinks = {sink for entry in entries for sink in entry.manifest.tokens}
        waiting = [step_of(sink) for sink in sinks if history.unlanded(entries, sink, landed)]
        fit = compare(base.manifest.plan, self._plan, waiting)
        fit.require(self._store.url, base.slot)
        return fit
