"""Flink as a peer of the benchmark: what can be tested without installing it."""

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from bench.nexmark import flink as nexmark_flink
from bench.nexmark.files import write
from bench.nexmark.generator import Config
from bench.nexmark.queries import QUERIES
from bench.systems import flink_install, flink_sql
from bench.systems.flink import Flink
from bench.systems.programs import run_flink
from bench.systems.system import Input

OUT = Path("/out")


def test_a_job_warms_up_and_then_reads_all_events():
    made = flink_sql.statements("w1", Input(7, path=Path("/all.jsonl")), Path("/few.jsonl"), OUT)
    assert "'warehouse' = 'file:///out/warehouse'" in made[0]
    *_, few, warm, warm_up, second, third, events, table, job = made
    assert warm_up == second == third
    assert "'path' = 'viewfs://whole/few.jsonl', 'format' = 'json'" in few
    assert "'path' = 'viewfs://whole/all.jsonl'" in events
    assert warm.startswith("CREATE TABLE ice.bench.warm (id BIGINT, ts TIMESTAMP_LTZ(6)")
    assert "'write.parquet.compression-codec' = 'zstd'" in table
    assert warm_up.startswith("INSERT INTO ice.bench.warm SELECT id")
    assert warm_up.endswith("FROM few WHERE amount > 10")
    assert job == warm_up.replace("warm", "w1").replace("few", "events")


def test_a_topic_is_read_to_its_end_with_a_watermark_each_row():
    given = Input(7, servers="127.0.0.1:9092", topic="events-7")
    (events,) = (
        text
        for text in flink_sql.statements("w3", given, Path("/few.jsonl"), OUT)
        if text.startswith("CREATE TABLE events ")
    )
    assert "'connector' = 'kafka', 'topic' = 'events-7'" in events
    assert "'properties.bootstrap.servers' = '127.0.0.1:9092'" in events
    assert "'scan.bounded.mode' = 'latest-offset'" in events
    assert "'scan.watermark.emit.strategy' = 'on-event'" in events


def test_rows_are_late_in_flink_as_in_the_truth():
    from bench.truth import w2, w3

    for workload, allowed in (("w2", w2.OUT_OF_ORDER_MS), ("w3", w3.OUT_OF_ORDER_MS)):
        late = f"event_time - INTERVAL '{allowed / 1000 + 0.001:.3f}' SECOND(1, 3)"
        assert late in flink_sql.WORKLOADS[workload].reads[-1]
    assert run_flink.SETTINGS["pipeline.auto-watermark-interval"] == "0 ms"


def test_an_option_with_an_apostrophe_is_refused():
    with pytest.raises(ValueError, match="must not have an apostrophe"):
        flink_sql.statements("w2", Input(1, path=Path("/it's.jsonl")), Path("/few.jsonl"), OUT)


def test_the_command_has_jars_and_statements():
    system = Flink()
    system._installed = flink_install.Installation(Path("/python"), Path("/lib"))
    system._warm = Path("/few.jsonl")
    command = system.command("w3", Input(7, path=Path("/all.jsonl")), OUT)
    assert command.argv[0] == "/python"
    assert command.argv[2:6] == ["--lib", "/lib", "--out", "/out"]
    assert command.argv[6].startswith("CREATE CATALOG ice ")
    assert "SESSION(TABLE events PARTITION BY `user`" in command.argv[-1]


def test_a_jar_that_is_another_is_refused(tmp_path, monkeypatch):
    (tmp_path / "one-1.0.jar").write_bytes(b"right")
    right = hashlib.sha256(b"right").hexdigest()
    monkeypatch.setattr(flink_install, "ARTIFACTS", {"group:one:1.0": right})
    assert flink_install.checked(tmp_path) == [tmp_path / "one-1.0.jar"]
    (tmp_path / "one-1.0.jar").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"checking one-1\.0\.jar: its SHA-256 is"):
        flink_install.checked(tmp_path)
    assert not tmp_path.exists()


def test_every_package_has_hashes():
    text = flink_install.REQUIREMENTS.read_text()
    packages = [block for block in text.split("\n") if "==" in block]
    assert "apache-flink==1.20.5 \\" in packages
    assert all(block.endswith(" \\") for block in packages)
    assert text.count("--hash=sha256:") >= len(packages)


def test_files_of_a_catalog_without_a_server(tmp_path):
    """Flink's table lies in its folder, its newest metadata named by a hint."""
    catalog = SqlCatalog("default", uri="sqlite://", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("bench")
    table = catalog.create_table("bench.w1", pa.schema([("id", pa.int64())]))
    files = []
    for number in range(2):
        table.append(pa.table({"id": [number]}))
        metadata = tmp_path / "warehouse" / "bench" / "w1" / "metadata"
        shutil.copy(
            table.metadata_location.removeprefix("file://"), metadata / f"v{number}.metadata.json"
        )
        (metadata / "version-hint.text").write_text(f"{number}")
        files.append(set(flink_sql.table_files("w1", tmp_path)))
        assert len(files[number]) == number + 1
    assert files[0] < files[1]
    assert all(file.exists() for file in files[1])
    catalog.engine.dispose()


def test_the_program_says_that_pyflink_is_missing(tmp_path):
    with pytest.raises(SystemExit, match="looking for pyflink: not installed"):
        run_flink._environment(tmp_path, tmp_path, 1024)


@pytest.mark.parametrize("name", nexmark_flink.QUERIES)
def test_a_query_of_nexmark_reads_whole_files_and_writes_our_columns(name, tmp_path):
    config = Config()
    write(tmp_path / "all", 2_000, config, file_events=2_000)
    write(tmp_path / "few", 1_000, config, file_events=1_000)
    reads = QUERIES[name].reads
    made = nexmark_flink.statements(name, reads, tmp_path / "all", tmp_path / "few", OUT)
    assert len(made) == 2 + 2 * (len(reads) + 2) + flink_sql.WARM_JOBS - 1
    assert made[-1].startswith(f"INSERT INTO ice.bench.{name} ")
    assert "few_" not in made[-1]
    assert "{" not in made[-1]
    for kind in reads:
        assert f"few_{kind}" in made[1 + len(reads) + 2]
        (created,) = (text for text in made if text.startswith(f"CREATE TABLE {kind} "))
        assert f"viewfs://whole{tmp_path}/all/{kind}/00/000000.parquet" in created
        assert "date_time TIMESTAMP_LTZ(3)" in created
        assert "WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND" in created


def test_nexmark_of_several_files_is_refused(tmp_path):
    write(tmp_path, 2_000, Config(), file_events=1_000)
    with pytest.raises(ValueError, match="there have to be one, not 2"):
        nexmark_flink.statements("q0", ["bid"], tmp_path, tmp_path, OUT)
