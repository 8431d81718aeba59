"""Opening a catalog: what users know from PyIceberg, and an embedded one for those who have none.

Imports PyIceberg only when a catalog is opened: it costs 30 MB and half a second.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil.errors import ConfigError, ConnectError, nearest

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    CatalogLike = str | Mapping[str, str] | Catalog | None

# The folder of the embedded catalog, and its database in it.
WAREHOUSE = "warehouse"
DATABASE = "catalog.db"
# Of one request to a REST catalog (seconds): to connect, and without a byte of the answer.
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
# Tables that PyIceberg makes in the database of an SQL catalog.
SQL_CATALOG_TABLES = 2


def open_catalog(catalog: CatalogLike = None) -> Catalog:
    """Open a catalog for committing.

    Parameters
    ----------
    catalog
        The name of a catalog in PyIceberg's configuration (.pyiceberg.yaml or PYICEBERG_CATALOG__*
        variables); its properties; or a PyIceberg catalog. None is PyIceberg's default catalog if
        it is configured, else an embedded one: SQLite and files in ./warehouse.

    Returns
    -------
    pyiceberg.catalog.Catalog
        It reads and writes metadata with `SmallFileIO` unless its properties name another FileIO,
        of format version 3 too.
        A catalog that was given is not changed, but for a limit on the time of REST requests, and
        that connections of an SQL catalog are put away without an open transaction.

    Raises
    ------
    ConfigError
        There is no such catalog, or its properties do not make one.
    ConnectError
        The catalog cannot be reached.
    """
    from pyiceberg.catalog import Catalog as AnyCatalog

    if isinstance(catalog, AnyCatalog):
        return _with_small_io(catalog)
    if isinstance(catalog, Mapping):
        properties = {str(key): str(value) for key, value in catalog.items()}
        name = properties.pop("name", "default")
        return _with_small_io(_load(name, properties))
    if catalog is None:
        default = _default_name()
        return _with_small_io(_load(default, {})) if default else embedded_catalog()
    _check_name(catalog)
    return _with_small_io(_load(catalog, {}))


def embedded_catalog(folder: str | Path = WAREHOUSE) -> Catalog:
    """Open, or make, a catalog of one folder: an SQLite database and the tables beside it."""
    path = Path(folder).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"making the warehouse folder {path}: {error.strerror}") from error
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{path / DATABASE}",
        "warehouse": f"file://{path}",
    }
    return _with_small_io(_load("embedded", properties))


def _default_name() -> str | None:
    from pyiceberg.catalog import list_catalogs
    from pyiceberg.utils.config import Config

    name = Config().get_default_catalog_name()
    return name if name in list_catalogs() else None


def _check_name(name: str) -> None:
    from pyiceberg.catalog import list_catalogs

    known = list_catalogs()
    if name.lower() in (each.lower() for each in known):
        return
    near = nearest(name, known)
    raise ConfigError(
        f"no catalog {name!r} is configured",
        f"did you mean {near!r}?" if near else f"configured: {', '.join(sorted(known)) or 'none'}",
        "configure it in .pyiceberg.yaml or by "
        f"PYICEBERG_CATALOG__{name.upper()}__URI, or give its properties as a dict",
    )


def _load(name: str, properties: Mapping[str, str]) -> Catalog:
    from pyiceberg.exceptions import NotInstalledError

    try:
        return _load_beside_others(name, properties)
    except (ValueError, NotInstalledError) as error:
        raise ConfigError(f"opening catalog {name!r}: {error}") from error
    except Exception as error:  # what it raises depends on the catalog: requests, sqlalchemy, ...
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConnectError(f"opening catalog {name!r}: {text}") from error


def _load_beside_others(name: str, properties: Mapping[str, str]) -> Catalog:
    """Load a catalog that another process may be making just now.

    PyIceberg looks for the tables of an SQL catalog and then makes those that are missing, in two
    steps: of two processes that find none, one fails at a table that the other has made. It finds
    that table when it looks again, so each table can be the reason for one failure only.
    """
    from pyiceberg.catalog import load_catalog

    for _ in range(SQL_CATALOG_TABLES):
        try:
            return load_catalog(name, **properties)
        except Exception as error:
            if "already exists" not in str(error):
                raise
    return load_catalog(name, **properties)


def _bound_requests(catalog: Catalog) -> None:
    """Give requests of a REST catalog a time limit. PyIceberg sets none, and a server that keeps
    connections but does not answer would hold the committer for ever.
    """
    session = getattr(catalog, "_session", None)
    for adapter in getattr(session, "adapters", {}).values():
        send = adapter.send
        if not getattr(send, "bounded", False):
            adapter.send = _bounded(send)


def _bounded(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def bounded_send(*args: Any, **options: Any) -> Any:
        if options.get("timeout") is None:
            options["timeout"] = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
        return send(*args, **options)

    bounded_send.bounded = True  # type: ignore[attr-defined]
    return bounded_send


def _end_transactions(catalog: Catalog) -> None:
    """Roll back what a connection of an SQL catalog still has open when it is put away.

    A COMMIT that finds SQLite locked by a reader fails and leaves its transaction open, and
    SQLAlchemy puts that connection back as it is. The next look would read its own change, which
    nobody else has and which is then rolled back: a commit that never was, taken for one that
    landed.
    """
    engine = getattr(catalog, "engine", None)
    if engine is not None:
        from sqlalchemy import event

        if not event.contains(engine, "checkin", _roll_back):
            event.listen(engine, "checkin", _roll_back)


def _roll_back(connection: Any, record: Any) -> None:
    if connection is None:
        return
    try:
        connection.rollback()
    except Exception as error:  # each database driver has its own
        record.invalidate(error)


def _with_small_io(catalog: Catalog) -> Catalog:
    _bound_requests(catalog)
    _end_transactions(catalog)
    from frazil.iceberg.metadata_v3 import write_v3

    ours = copy.copy(catalog)
    write_v3(ours)
    if catalog.properties.get("py-io-impl"):
        return ours
    from frazil.iceberg.fileio import NAME

    ours.properties = {**catalog.properties, "py-io-impl": NAME}
    return ours
