"""Connectors of other packages, found by their entry points."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import frazil as fz
import pytest
from click.testing import CliRunner
from frazil.cli import main

CODE = """
import frazil as fz

class Source(fz.PollingSource):
    def poll(self, cursor):
        return [], cursor

class Sink(fz.SimpleSink):
    def write(self, rows): ...
    def flush(self): ...
"""


def package(folder: Path, name: str, points: str) -> None:
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(CODE)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(points.replace("MODULE", module))


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "[frazil.sources]\nacme = MODULE:Source\n[frazil.sinks]\nacme = MODULE:Sink\n"
    package(tmp_path, "acme-frazil", points)
    bad = "gone = no_such_module:Source\nwrong = MODULE:Sink\nclash = MODULE:Source\n"
    package(tmp_path, "bad-frazil", f"[frazil.sources]\n{bad}")
    package(tmp_path, "other-frazil", "[frazil.sources]\nclash = MODULE:Source\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


@pytest.mark.usefixtures("acme")
def test_they_are_listed_and_loaded() -> None:
    listed = {(each.kind, each.name): each for each in fz.installed_connectors()}
    assert listed["source", "acme"].package == "acme-frazil 1.2"
    assert listed["sink", "acme"].place == "acme_frazil:Sink"
    source = fz.load_connector("acme")
    assert repr(fz.read_python(source(), schema={"id": int})).startswith("Stream(append)")
    assert issubclass(fz.load_connector("acme", "sink"), fz.SimpleSink)


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("acne", "source", "did you mean 'acme'"),
        ("wrong", "source", "is bad_frazil:Sink, which is no class that derives from"),
        ("clash", "source", "two packages offer a source 'clash'"),
        ("acme", "lake", "kind='lake' is not offered"),
    ],
)
def test_what_is_not_there(name: str, kind: Literal["source", "sink"], message: str) -> None:
    with pytest.raises(fz.ConfigError, match=message):
        fz.load_connector(name, kind)


@pytest.mark.usefixtures("acme")
def test_the_doctor_has_them() -> None:
    done = CliRunner().invoke(main, ["doctor"])
    text = " ".join(done.output.split())
    assert "source acme: acme_frazil:Source of acme-frazil 1.2" in text
    assert "source gone" in text
    assert "ModuleNotFoundError: No module named 'no_such_module'" in text
    assert done.exit_code != 0
