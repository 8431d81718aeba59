"""Connectors in Python that other packages bring, found by their entry points."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from frazil.errors import ConfigError, nearest
from frazil.python_sink import PythonSink
from frazil.python_source import PartitionedSource, PollingSource

GROUPS: dict[str, tuple[type, ...]] = {
    "frazil.sources": (PartitionedSource, PollingSource),
    "frazil.sinks": (PythonSink,),
}
"""Groups of entry points, and what a class in each derives from."""


@dataclass(frozen=True)
class FoundConnector:
    """A class that a package offers.

    Attributes
    ----------
    kind
        "source" or "sink".
    name
        What it is called.
    package
        Who brings it, and which version.
    place
        Module and class.
    """

    kind: Literal["source", "sink"]
    name: str
    package: str
    place: str


def installed_connectors() -> list[FoundConnector]:
    """List the connectors in Python that installed packages offer; nothing is imported.

    A package offers a class in its pyproject.toml, by
    ``[project.entry-points."frazil.sources"]`` or ``"frazil.sinks"``: ``acme = "acme:AcmeSource"``.

    Returns
    -------
    list[FoundConnector]
        By kind and name.

    Examples
    --------
    >>> import frazil as fz
    >>> all(each.kind in ("source", "sink") for each in fz.installed_connectors())
    True
    """
    found = [
        FoundConnector(
            "source" if group == "frazil.sources" else "sink", e.name, _package(e), e.value
        )
        for group in GROUPS
        for e in entry_points(group=group)
    ]
    return sorted(found, key=lambda each: (each.kind, each.name, each.package))


def load_connector(name: str, kind: Literal["source", "sink"] = "source") -> type:
    """Give the class of a connector that an installed package offers.

    Parameters
    ----------
    name
        What the package calls it.
    kind
        "source" or "sink".

    Returns
    -------
    type
        The class, for ``fz.read_python(cls(...), ...)`` or ``stream.write_python(cls(...))``.

    Raises
    ------
    ConfigError
        There is none, or two, or what there is is no connector.

    Examples
    --------
    >>> import frazil as fz
    >>> fz.load_connector("nothing-of-this-name")
    Traceback (most recent call last):
    ...
    frazil.errors.ConfigError: no installed package offers a source 'nothing-of-this-name'
    ...
    """
    if kind not in ("source", "sink"):
        raise ConfigError(f"kind={kind!r} is not offered", '"source" or "sink"')
    group = f"frazil.{kind}s"
    offered = list(entry_points(group=group))
    same = [each for each in offered if each.name == name]
    if not same:
        close = nearest(name, [each.name for each in offered])
        hint = f"did you mean {close!r}?" if close else "install the package that has it"
        raise ConfigError(f"no installed package offers a {kind} {name!r}", hint)
    if len({each.value for each in same}) > 1:
        packages = ", ".join(_package(each) for each in same)
        raise ConfigError(
            f"two packages offer a {kind} {name!r}: {packages}", "import the class that you mean"
        )
    loaded = same[0].load()
    if not isinstance(loaded, type) or not issubclass(loaded, GROUPS[group]):
        bases = " or ".join(f"fz.{base.__name__}" for base in GROUPS[group])
        raise ConfigError(
            f"{kind} {name!r} of {_package(same[0])} is {same[0].value}, which is no class that "
            f"derives from {bases}",
            "tell its authors",
        )
    return loaded


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "?"
