"""Tracked files, and the functions in them with their lengths."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@cache
def tracked() -> tuple[str, ...]:
    """Names of the tracked files that exist, from the top of the repository."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return tuple(name for name in done.stdout.split("\0") if name and (REPOSITORY / name).is_file())


def of_kind(*endings: str, under: str = "") -> list[str]:
    """Tracked files with one of the endings, under a folder."""
    return [name for name in tracked() if name.endswith(endings) and name.startswith(under)]


def read(name: str) -> str:
    """Text of a tracked file."""
    return (REPOSITORY / name).read_text(encoding="utf-8", errors="replace")


def python_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, without its docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, lines


# What is no code, longest first: raw strings, strings, characters, comments.
_NO_CODE = re.compile(
    r"""R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"""
    r"|//[^\n]*|/\*.*?\*/",
    re.DOTALL,
)
_CONTAINER = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")


def cpp_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each block that stands in a namespace or class and has a parameter list.

    It counts braces; macros that hold lone ones would mislead it.
    """
    code = _NO_CODE.sub(lambda found: "\n" * found[0].count("\n"), text)
    code = re.sub(
        r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: "\n" * m[0].count("\n"), code, flags=re.M
    )
    blocks: list[tuple[bool, str, int]] = []  # is a container; name of a function or ""; first line
    head, line = "", 1
    for char in code:
        if char == "{":
            outer = all(container for container, _, _ in blocks)
            words = head.split("(")[0].split()
            container = bool(_CONTAINER.search(head)) and "(" not in head
            function = outer and not container and ")" in head and bool(words)
            first = line - head.lstrip().count("\n")
            blocks.append((container, words[-1] if function else "", first))
            head = ""
        elif char == "}":
            if not blocks:
                raise AssertionError(f"line {line}: a brace closes that was not opened")
            _, name, first = blocks.pop()
            if name:
                yield name, line - first + 1
            head = ""
        elif char == ";":
            head = ""
        else:
            head += char
        line += char == "\n"
    assert not blocks, f"{len(blocks)} braces are not closed"
