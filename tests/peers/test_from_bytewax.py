"""Programs of docs/from-bytewax.md: Bytewax and Frazil give the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.python.test_docs import ROOT, Block, blocks_of
from tests.services.bytewax import fetch_bytewax

PAGE = ROOT / "docs" / "from-bytewax.md"
RUN = """
import json
from bytewax.testing import run_main
run_main(flow)
print(json.dumps(out))
"""
TIMEOUT_S = 60


def pairs() -> list[tuple[Block, Block]]:
    """The programs of both, each with the first of its kind before it."""
    blocks = [block for block in blocks_of(PAGE) if block.info in ("python bytewax", "python")]
    assert [block.info for block in blocks] == ["python bytewax", "python"] * (len(blocks) // 2)
    return list(zip(blocks[::2], blocks[1::2], strict=True))


def theirs(*blocks: Block) -> list[Any]:
    """What Bytewax gives."""
    program = "".join(block.text for block in blocks) + RUN
    folder = fetch_bytewax()
    if folder is None:
        pytest.skip("Bytewax has no wheels for this Python")
    done = subprocess.run(
        [sys._base_executable, "-c", program],  # type: ignore[attr-defined]
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{blocks[-1].place}: {done.stderr[-2000:]}"
    found: list[Any] = json.loads(done.stdout)
    return found


def ours(*blocks: Block) -> list[Any]:
    """What Frazil gives."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile("\n" * (block.line - 1) + block.text, str(block.page), "exec"), names)
    found: list[Any] = names["out"]
    return found


def counted(rows: list[Any]) -> Counter[str]:
    return Counter(json.dumps(row, sort_keys=True) for row in rows)


@pytest.mark.service
@pytest.mark.parametrize("number", range(1, len(pairs())))
def test_both_give_the_same(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = pairs()
    their_first, our_first = made[0]
    their_block, _ = made[number]
    # A block of ours may use names of those before it.
    found = ours(our_first, *(block for _, block in made[1 : number + 1]))
    expected = theirs(their_first, their_block)
    assert counted(found) == counted(expected), their_block.place
    assert expected
