"""Catalogs by name, by properties, as they are, or embedded; files without pyarrow."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from frazil.errors import ConfigError, ConnectError
from frazil.iceberg.catalog import open_catalog
from frazil.iceberg.fileio import SmallFileIO
from pyiceberg.catalog import load_catalog


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def known(monkeypatch: pytest.MonkeyPatch, *names: str, default: str = "default") -> None:
    """Configure catalogs as environment variables do, which PyIceberg reads when imported."""
    from pyiceberg import catalog
    from pyiceberg.utils.config import Config

    for name in names:
        monkeypatch.setenv(f"PYICEBERG_CATALOG__{name.upper()}__URI", f"sqlite:///{name}.db")
        monkeypatch.setenv(f"PYICEBERG_CATALOG__{name.upper()}__WAREHOUSE", f"file:///{name}")
    monkeypatch.setenv("PYICEBERG_DEFAULT_CATALOG", default)
    monkeypatch.setattr(catalog, "_ENV_CONFIG", Config())


def test_embedded(tmp_path: Path) -> None:
    catalog = open_catalog()
    assert catalog.properties["warehouse"] == f"file://{tmp_path}/warehouse"
    assert (tmp_path / "warehouse" / "catalog.db").exists()


def test_configured_default_goes_before_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, "lake", default="lake")
    assert open_catalog().properties["warehouse"] == "file:///lake"
    assert not Path("warehouse").exists()


def test_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, "lake")
    assert open_catalog("lake").name == "lake"
    with pytest.raises(ConfigError) as caught:
        open_catalog("leak")
    assert "did you mean 'lake'" in str(caught.value)
    assert "PYICEBERG_CATALOG__LEAK__URI" in str(caught.value)


def test_by_properties(tmp_path: Path) -> None:
    given = {"name": "x", "type": "sql", "uri": f"sqlite:///{tmp_path}/x.db", "warehouse": "w"}
    catalog = open_catalog(given)
    assert catalog.name == "x"
    assert catalog.properties["py-io-impl"] == "frazil.iceberg.fileio.SmallFileIO"
    assert "py-io-impl" not in given
    own = open_catalog({**given, "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"})
    assert own.properties["py-io-impl"] == "pyiceberg.io.pyarrow.PyArrowFileIO"


def test_given_catalog_is_not_changed(tmp_path: Path) -> None:
    given = load_catalog("x", type="sql", uri=f"sqlite:///{tmp_path}/x.db", warehouse="w")
    ours = open_catalog(given)
    assert "py-io-impl" not in given.properties
    assert isinstance(ours._load_file_io(), SmallFileIO)


@pytest.mark.parametrize(
    "properties", [{}, {"type": "nonsense"}, {"uri": "gopher://x"}, {"type": "rest"}]
)
def test_properties_that_make_no_catalog(properties: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="opening catalog 'default'"):
        open_catalog(properties)


def test_catalog_that_is_not_there() -> None:
    with pytest.raises(ConnectError, match="opening catalog 'default'"):
        open_catalog({"type": "rest", "uri": "http://127.0.0.1:9"})


def test_local_files(tmp_path: Path) -> None:
    files = SmallFileIO()
    for uri in (f"file://{tmp_path}/a b/%20/1", f"file:{tmp_path}/2", f"{tmp_path}/3"):
        output = files.new_output(uri)
        assert not output.exists()
        with output.create() as stream:
            stream.write(b"abc")
            stream.write(b"d")
            assert stream.tell() == 4
        assert (len(output), output.exists()) == (4, True)
        source = files.new_input(uri)
        assert (len(source), source.exists(), source.location) == (4, True, uri)
        with source.open() as stream:
            stream.seek(1)
            assert stream.read() == b"bcd"
        with pytest.raises(FileExistsError):
            output.create()
        with output.create(overwrite=True) as stream:
            stream.write(b"x")
        with output.to_input_file().open() as stream:
            assert stream.read() == b"x"
        assert [each for each in files.list(uri.rpartition("/")[0]) if each == uri]
        files.delete(output)
        assert not source.exists()
        with pytest.raises(FileNotFoundError):
            files.delete(uri)
        with pytest.raises(FileNotFoundError):
            source.open()
    assert (tmp_path / "a b" / "%20").is_dir()  # taken as it is, as Iceberg's writers do


def test_no_pyarrow_files_are_imported(tmp_path: Path) -> None:
    """The committer stays light: pyarrow's FileIO alone costs 50 MB."""
    program = (
        "import sys\n"
        "from frazil.iceberg.catalog import embedded_catalog\n"
        "from frazil.iceberg.commit import TableCommitter\n"
        f"catalog = embedded_catalog({str(tmp_path)!r})\n"
        "catalog.create_namespace('a')\n"
        "print([m for m in ('pyiceberg.io.pyarrow', 'fsspec', 'boto3') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("table", ["iceberg_tables", "iceberg_namespace_properties"])
def test_two_processes_make_one_catalog(tmp_path: Path, table: str) -> None:
    """Another makes the tables after this one has looked for them and before it makes its own."""
    properties = {"type": "sql", "uri": f"sqlite:///{tmp_path}/x.db", "warehouse": f"{tmp_path}"}
    met = []

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
    def other_is_quicker(_c: object, _k: object, statement: str, *_rest: object) -> None:
        if statement.strip().startswith(f"CREATE TABLE {table} ") and not met:
            met.append(table)
            made = sqlalchemy.create_engine(properties["uri"])
            with made.begin() as connection:
                connection.exec_driver_sql(statement)
            made.dispose()

    try:
        catalog = open_catalog(properties)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", other_is_quicker)
    assert met == [table]
    catalog.create_namespace("sales")
    assert load_catalog("default", **properties).list_namespaces() == [("sales",)]
