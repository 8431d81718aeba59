"""Where a Python function is, on one line: for errors and logs."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Sequence
from types import FrameType

FRAMES_SHOWN = 6
"""Frames of a stack that are shown."""

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_FRAME = re.compile(r'^  File "(.*)", line (\d+|\?\?\?) in (.*)$', re.MULTILINE)


def frame_text(frame: FrameType) -> str:
    """The stack that ends with a frame."""
    return _text(
        [
            (each.filename, str(each.lineno), each.name)
            for each in reversed(traceback.extract_stack(frame))
        ]
    )


def dump_text(dump: str) -> str:
    """A stack that `faulthandler` has written."""
    return _text(_FRAME.findall(dump))


def _text(frames: Sequence[tuple[str, str, str]]) -> str:
    """The frames of the user's code, or all if there are none; innermost first."""
    own = []
    for frame in frames:
        if frame[0].startswith(_PACKAGE):
            break
        own.append(frame)
    shown = own or frames
    said = [f"{name} ({os.path.basename(file)}:{line})" for file, line, name in shown]
    more = ", ..." if len(said) > FRAMES_SHOWN else ""
    return ", called by ".join(said[:FRAMES_SHOWN]) + more
