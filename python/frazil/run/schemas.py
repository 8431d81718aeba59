"""The schemas of a run that are in registries: fetched when a message with a new id comes.

The engine asks and goes on; what waits are the rows of that source. Each registry has a thread of
its own, which asks until there is an answer: a schema, or that there is none, which makes the
messages bad rows. What a registry refuses for good ends the run.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog
from frazil.errors import ConfigError, EngineError, FrazilError, SchemaError

if TYPE_CHECKING:
    from frazil.registry_client import Registered, RegistryClient
    from frazil.run.engine_job import EngineJob

RETRY_MIN_S = 0.25
"""How long after the first failure a registry is asked again; twice as long after each more."""
RETRY_MAX_S = 10.0
"""At most so long."""
END_PATIENCE_S = 1.0
"""How long the end of a run waits for a question that is under way."""

log_ = structlog.get_logger("frazil")


class Schemas:
    """Gets the engine the schemas that its rows wait for. The control thread calls it.

    Parameters
    ----------
    registries
        How to reach each, by its name, secrets resolved.
    job
        Whom to give them to.
    wait
        Whether to wait for a registry that is away; else it ends the run.
    """

    def __init__(
        self,
        registries: Mapping[str, Mapping[str, Any]],
        job: EngineJob,
        *,
        pipeline: str,
        wait: bool,
    ) -> None:
        self._fetchers: dict[str, _Fetcher] = {}
        if registries:
            from frazil.registry_client import RegistryClient

            self._fetchers = {
                name: _Fetcher(name, RegistryClient(spec), job, pipeline, wait)
                for name, spec in registries.items()
            }

    def want(self, wanted: Iterable[tuple[str, int]]) -> None:
        """Fetch schemas, by the registry's name and the id."""
        for registry, id in wanted:
            self._fetchers[registry].want(id)

    def check(self) -> None:
        """Raise what a registry refuses for good."""
        for fetcher in self._fetchers.values():
            if fetcher.error is not None:
                raise fetcher.error

    def trouble(self) -> dict[str, str]:
        """Registries that do not answer, and why."""
        return {name: each.trouble for name, each in self._fetchers.items() if each.trouble}

    def close(self) -> None:
        """Ask nothing any more."""
        for fetcher in self._fetchers.values():
            fetcher.close()


class _Fetcher:
    """The thread of one registry; begins with the first question."""

    def __init__(
        self, name: str, client: RegistryClient, job: EngineJob, pipeline: str, wait: bool
    ) -> None:
        self._wait = wait
        self.trouble = ""
        self.error: FrazilError | None = None
        self._name, self._client, self._job, self._pipeline = name, client, job, pipeline
        self._wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._lock = threading.Lock()  # held while the engine is called
        self._thread: threading.Thread | None = None

    def want(self, id: int) -> None:
        self._wanted.put(id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="frazil-schemas", daemon=True)
            self._thread.start()

    def close(self) -> None:
        with self._lock:
            self._closed.set()
        self._wanted.put(None)
        if self._thread is not None:
            self._thread.join(END_PATIENCE_S)

    def _run(self) -> None:
        try:
            while (id := self._wanted.get()) is not None and not self._closed.is_set():
                self._fetch(id)
        except FrazilError as error:
            self.error = error
        except Exception as error:  # a defect; the run must not wait for ever
            self.error = EngineError(f"asking {self._name}: {type(error).__name__}: {error}")
        finally:
            self._client.close()

    def _fetch(self, id: int) -> None:
        from frazil.registry_client import RegistryAway, SchemaMissing

        wait_s = RETRY_MIN_S
        while not self._closed.is_set():
            try:
                found = self._client.schema(id)
            except SchemaMissing as missing:
                self._tell("")
                log_.warning(
                    "schema",
                    pipeline=self._pipeline,
                    registry=self._name,
                    id=id,
                    error=str(missing),
                )
                self._give(id, missing=str(missing))
                return
            except RegistryAway as error:
                if not self._wait:
                    raise
                self._tell(str(error))
                self._closed.wait(wait_s)
                wait_s = min(2 * wait_s, RETRY_MAX_S)
            else:
                self._tell("")
                self._give(id, **_answer(id, found))
                return

    def _give(self, id: int, **answer: Any) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._job.give_schema(self._name, id, **answer)

    def _tell(self, trouble: str) -> None:
        """Say that the registry is away, or back."""
        if trouble and not self.trouble:
            log_.warning("registry", pipeline=self._pipeline, registry=self._name, error=trouble)
        elif self.trouble and not trouble:
            log_.info("registry", pipeline=self._pipeline, registry=self._name, back=True)
        self.trouble = trouble
        with self._lock:
            if not self._closed.is_set():
                self._job.note_registry(self._name, trouble)


def _answer(id: int, found: Registered) -> dict[str, Any]:
    """A schema as the engine takes it: of Protobuf, compiled; or why there is none."""
    if found.kind != "PROTOBUF":
        return {"kind": found.kind, "texts": found.texts}
    from frazil.proto_compile import compile_texts
    from frazil.proto_schema import file_text

    try:
        return {
            "kind": found.kind,
            "texts": (file_text(compile_texts(found.texts, found.names, "its text")),),
        }
    except SchemaError as error:
        return {"missing": error.args[0]}


def registries(plan: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """How to reach the registries of a plan whose secrets are resolved, by name.

    Raises
    ------
    ConfigError
        If sources say it of one registry in two ways.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for node in plan["nodes"]:
        spec = node.get("registry")
        if spec and found.setdefault(spec["url"], spec) != spec:
            raise ConfigError(
                f"schema registry {spec['url']}: {node['name']} reaches it in another way than a "
                "source before it",
                "give all of them the same SchemaRegistry",
            )
    return found
