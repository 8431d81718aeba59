"""Which library each symbol comes from, as the dynamic linker says."""

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import frazil as fz

rows = fz.read_files("rows.jsonl", format="json", schema={"id": int, "name": str}).write_memory()
fz.Pipeline("linking", rows).run(until="now")
print(rows.table().to_pylist())
"""
BINDING = re.compile(r"binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol `(\S+)'")


def test_simdjson_is_ours(tmp_path: Path) -> None:
    """libparquet exports simdjson symbols of another version, which must not be ours."""
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "name": "caf\\u00e9"}\n')
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "bindings")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[{'id': 1, 'name': 'café'}]"
    engine = set()
    parquet = set()
    for report in tmp_path.glob("bindings.*"):
        for line in report.read_text(errors="replace").splitlines():
            found = BINDING.search(line) if "simdjson" in line else None
            if found is not None and "simdjson" in found[3]:
                user, library = Path(found[1]).name, Path(found[2]).name
                if user.startswith("_engine."):
                    engine.add(library.split(".")[0])
                elif user.startswith("libparquet."):
                    parquet.add(library.split(".")[0])
    assert engine == {"libsimdjson"}
    assert "libsimdjson" not in parquet
