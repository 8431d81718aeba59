"""Examines an installation and, with a pipeline, what it needs of the outside."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from frazil import _engine
from frazil.errors import FrazilError
from frazil.installed_connectors import installed_connectors, load_connector

if TYPE_CHECKING:
    from frazil.pipeline import Pipeline

# A clock that is off by more makes signed S3 requests fail (seconds).
CLOCK_SKEW_MAX_S = 300.0
PACKAGES = ("frazil", "pyarrow", "pyiceberg", "confluent-kafka", "obstore")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    detail: str


def examine(pipeline: Pipeline | None) -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    findings = [*_versions(), *_connectors()]
    if pipeline is not None:
        findings += _outside(pipeline)
    return findings


def _versions() -> list[Finding]:
    linked = _engine.versions()
    findings = [
        Finding("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        *(Finding(name, True, version(name)) for name in PACKAGES),
    ]
    import pyarrow

    same = linked["arrow"] == pyarrow.__version__
    findings.append(Finding("engine: arrow", same, linked["arrow"]))
    kafka = linked["librdkafka"]
    recent = tuple(int(part) for part in kafka.split(".")[:2]) >= (2, 2)
    hint = "" if recent else ", too old: it stalls when its queue is full; 2.2 is needed"
    findings.append(Finding("engine: librdkafka", recent, kafka + hint))
    simdjson = f"{linked['simdjson']} ({linked['simdjson_implementation']})"
    findings.append(Finding("engine: simdjson", True, simdjson))
    return findings


def _connectors() -> list[Finding]:
    """Connectors in Python that packages offer, and whether each can be loaded."""
    findings = []
    for each in installed_connectors():
        try:
            load_connector(each.name, each.kind)
            good, why = True, ""
        except Exception as error:  # importing runs code of others
            good, why = False, f"; {type(error).__name__}: {' '.join(str(error).split())}"
        detail = f"{each.place} of {each.package}{why}"
        findings.append(Finding(f"{each.kind} {each.name}", good, detail))
    return findings


def _outside(pipeline: Pipeline) -> list[Finding]:
    from frazil.run.runner import prepare

    started = time.monotonic()
    try:
        runnable = prepare(pipeline)
    except FrazilError as error:
        return [Finding("tables and checkpoint store", False, str(error).replace("\n", ";"))]
    seconds = f"{time.monotonic() - started:.1f} s"
    findings = [
        Finding("sink", True, f"{target.name} can be opened")
        for target in runnable.targets.values()
    ]
    store = f"{runnable.store.url}: puts are create-only ({seconds})"
    findings.append(Finding("checkpoint store", True, store))
    endpoints = {
        place.s3.get("endpoint")
        for target in runnable.targets.values()
        if (place := target.place()) is not None and place.s3
    }
    findings += [_clock(endpoint) for endpoint in endpoints if endpoint]
    for target in runnable.targets.values():
        target.close()
    return findings


def _clock(endpoint: str) -> Finding:
    """Compare this machine's clock with that of an S3 endpoint, by its Date header."""
    from email.utils import parsedate_to_datetime
    from urllib.error import HTTPError, URLError

    what = f"clock against {endpoint}"
    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=5) as answer:
            date = answer.headers.get("Date")
    except HTTPError as error:
        date = error.headers.get("Date")
    except (URLError, OSError) as error:
        return Finding(what, False, str(error))
    if date is None:
        return Finding(what, True, "it does not tell the time")
    skew = time.time() - parsedate_to_datetime(date).timestamp()
    return Finding(what, abs(skew) < CLOCK_SKEW_MAX_S, f"{skew:+.0f} s")
