"""Runs SQL statements in Flink: a mini cluster in a JVM of its own, tasks one at a time in a slot.

Rows never come to Python. The JVM is a child of this process and is waited for, so that what it
takes counts; its log lies in the folder `out`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

# A viewfs that is the local disk: Flink splits a local file every 32 MB and reads the pieces in
# any order, so that by event time nearly all rows would be late; this one has a block a file.
CORE_SITE = """<configuration><property>
<name>fs.viewfs.mounttable.whole.linkMergeSlash</name><value>file:///</value>
</property></configuration>
"""

SETTINGS = {
    "execution.checkpointing.interval": "1 s",
    "parallelism.default": "1",
    # Without it rows are copied between operators, which SQL does not need.
    "pipeline.object-reuse": "true",
    # With every row that moves it: by default each 200 ms, so that more or fewer rows are late.
    "pipeline.auto-watermark-interval": "0 ms",
    "restart-strategy.type": "none",
    "table.local-time-zone": "UTC",
}


def main() -> None:
    """Run the statements in turn, each to its end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lib", type=Path, required=True, help="folder of all jars")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--heap-mb", type=int, default=1024)
    parser.add_argument("statements", nargs="+")
    given = parser.parse_args()
    _environment(given.lib, given.out, given.heap_mb)

    from py4j.protocol import Py4JJavaError
    from pyflink.common import Configuration
    from pyflink.java_gateway import get_gateway
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    for name, value in SETTINGS.items():
        configuration.set_string(name, value)
    configuration.set_string("execution.checkpointing.dir", f"file://{given.out}/checkpoints")
    settings = EnvironmentSettings.new_instance().in_streaming_mode()
    tables = TableEnvironment.create(settings.with_configuration(configuration).build())
    gateway = get_gateway()
    machine = gateway.jvm.java.lang.ProcessHandle.current().pid()
    try:
        for statement in given.statements:
            tables.execute_sql(statement).wait()
    except Py4JJavaError as error:
        sys.exit(str(error))  # its text is in the JVM, which goes now
    finally:
        gateway.shutdown()
        os.kill(machine, signal.SIGTERM)
        os.waitpid(machine, 0)


def _environment(lib: Path, out: Path, heap_mb: int) -> None:
    """What PyFlink reads when it starts the JVM."""
    folder = find_spec("pyflink")
    if folder is None or folder.submodule_search_locations is None:
        raise SystemExit("looking for pyflink: not installed")
    settings = out / "hadoop"
    settings.mkdir()
    (settings / "core-site.xml").write_text(CORE_SITE)
    os.environ.update(
        {
            "FLINK_HOME": folder.submodule_search_locations[0],
            "FLINK_LIB_DIR": str(lib),
            "FLINK_LOG_DIR": str(out / "log"),
            "HADOOP_CONF_DIR": str(settings),
            "JVM_ARGS": f"-Xmx{heap_mb}m",
            "_python_worker_execution_mode": "process",  # else it starts one, though none is used
        }
    )


if __name__ == "__main__":
    main()
