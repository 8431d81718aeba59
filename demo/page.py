"""The demo's page: a timeline of runs, epochs, kills and commits, in one HTML file."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.__main__ import Timeline

WIDTH, LEFT, RIGHT = 1000, 120, 20
TICKS_MAX = 20  # of the axis of seconds
RUNS_Y, EPOCHS_Y, COMMITS_Y, HEIGHT = 50, 120, 190, 250

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1040px; color: #1c2733; }
h1 { font-size: 1.4rem; } td, th { text-align: left; padding: .15rem 1.2rem .15rem 0; }
svg { width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: #1c2733; }
.run { fill: #cfe3f5; } .kill { stroke: #c0392b; stroke-width: 2.5; } .epoch { fill: #2c6fad; }
.fence { fill: #8e9aa5; } .commit { fill: #1f8a5b; } .axis { stroke: #b8c2cc; }
.good { color: #1f8a5b; font-weight: 600; } .bad { color: #c0392b; font-weight: 600; }
"""


def write_page(
    path: Path, timeline: Timeline, rows: int, count: int, duplicates: int, missing: int
) -> Path:
    """Write the page; it needs nothing from anywhere else."""
    verdict = "good" if duplicates == missing == 0 else "bad"
    path.write_text(
        f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Frazil demo</title>
<style>{_STYLE}</style></head><body>
<h1>A stream into an Iceberg table, killed {len(timeline.kills)} times</h1>
<table>
<tr><th>rows in</th><td>{rows:,}</td></tr>
<tr><th>rows in the table</th><td>{count:,}</td></tr>
<tr><th>duplicates</th><td class="{verdict}">{duplicates}</td></tr>
<tr><th>missing</th><td class="{verdict}">{missing}</td></tr>
</table>
{_drawing(timeline)}
<p>A run takes the checkpoint log with a fence (grey), cuts an epoch every quarter of a second
(blue: the moment its manifest was accepted) and commits it to the table (green). SIGKILL (red)
loses what was not in an accepted epoch; the next run reads that again, so that each row is in the
table once.</p>
<table><tr><th>epoch</th><th>at</th><th>rows committed</th></tr>
{_commit_rows(timeline)}</table>
</body></html>
""",
        encoding="utf-8",
    )
    return path


def _drawing(timeline: Timeline) -> str:
    ends = sorted(timeline.kills + timeline.ends)
    last = max([*ends, *(at for at, _, _ in timeline.commits), 0.001])
    scale = (WIDTH - LEFT - RIGHT) / last

    def x(at: float) -> float:
        return LEFT + max(at, 0.0) * scale

    parts = [
        f'<text x="0" y="{RUNS_Y + 20}">runs</text>',
        f'<text x="0" y="{EPOCHS_Y + 5}">epochs in the log</text>',
        f'<text x="0" y="{COMMITS_Y + 5}">commits to the table</text>',
    ]
    for begin, end in zip(timeline.starts, ends, strict=True):
        parts.append(
            f'<rect class="run" x="{x(begin):.1f}" y="{RUNS_Y}" '
            f'width="{(end - begin) * scale:.1f}" height="30" rx="3"/>'
        )
    for at in timeline.kills:
        parts.append(
            f'<line class="kill" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{RUNS_Y - 15}" '
            f'y2="{COMMITS_Y + 15}"/><text x="{x(at) - 20:.1f}" y="{RUNS_Y - 20}">SIGKILL</text>'
        )
    for slot, (at, kind) in timeline.epochs.items():
        title = html.escape(f"{kind} {slot} at {at:.2f} s")
        shape = "fence" if kind != "epoch" else "epoch"
        parts.append(
            f'<circle class="{shape}" cx="{x(at):.1f}" cy="{EPOCHS_Y}" r="5">'
            f"<title>{title}</title></circle>"
        )
    for at, slot, rows in timeline.commits:
        parts.append(
            f'<circle class="commit" cx="{x(at):.1f}" cy="{COMMITS_Y}" r="5">'
            f"<title>epoch {slot}: {rows:,} rows at {at:.2f} s</title></circle>"
        )
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
        f'y1="{HEIGHT - 25}" y2="{HEIGHT - 25}"/>'
    )
    for tick in range(0, int(last) + 1, 1 + int(last / TICKS_MAX)):
        parts.append(f'<text x="{x(tick) - 4:.1f}" y="{HEIGHT - 8}">{tick} s</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'


def _commit_rows(timeline: Timeline) -> str:
    return "".join(
        f"<tr><td>{slot}</td><td>{at:.2f} s</td><td>{rows:,}</td></tr>"
        for at, slot, rows in timeline.commits
    )
