"""The rules of STYLE.md that a program can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy import waivers
from tests.tidy.sources import REPOSITORY, cpp_functions, of_kind, python_functions, read, tracked

LINES_MAX = 600
FUNCTION_LINES_MAX = 70
CPP = (".cc", ".h")
# Each folder of the engine may include itself and those of lower rank.
RANKS = {
    "base": 0,
    "expr": 1,
    "format": 1,
    "state": 1,
    "aggregate": 2,
    "connector": 3,
    "operator": 3,
    "plan": 4,
    "run": 5,
    "python": 6,
}
VAGUE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
# Written so that they do not find themselves.
MACHINE_PATHS = re.compile(r"/[r]oot/|/[h]ome/\w|/[U]sers/\w|/[w]ork/|[.]{2}/[s]hared")
# Reading what somebody else may have written: JSON, Arrow's IPC, base64.
PARSING = re.compile(
    r"json::parse\(|simdjson::|ipc::ReadSchema|RecordBatchStreamReader|base64_decode|memchr\("
)


def check(found: dict[str, str], waived: dict[str, str], what: str) -> None:
    """No finding that is not waived, no waiver that is not needed any more."""
    new = [f"{name}: {text}" for name, text in sorted(found.items()) if name not in waived]
    assert not new, f"{what}:\n" + "\n".join(new)
    idle = sorted(set(waived) - set(found))
    assert not idle, f"take these waivers away, nothing needs them: {idle}"
    assert all(reason.strip() for reason in waived.values())


def test_file_length() -> None:
    lengths = {name: read(name).count("\n") for name in of_kind(*CPP, ".py", ".cmake", ".sh")}
    long = {name: f"{lines} lines" for name, lines in lengths.items() if lines > LINES_MAX}
    check(long, waivers.LONG_FILES, f"files of more than {LINES_MAX} lines")


def test_function_length() -> None:
    long = {}
    for name in of_kind(*CPP, ".py"):
        functions = python_functions if name.endswith(".py") else cpp_functions
        for function, lines in functions(read(name)):
            if lines > FUNCTION_LINES_MAX:
                long[f"{name}:{function}"] = f"{lines} lines"
    check(long, waivers.LONG_FUNCTIONS, f"functions of more than {FUNCTION_LINES_MAX} lines")


def test_includes_go_one_way() -> None:
    found = {}
    for name in of_kind(*CPP, under="engine/"):
        folder = name.split("/")[1]
        for included in re.findall(r'^#include "([^"]+)"', read(name), re.MULTILINE):
            other = included.split("/")[0]
            assert (REPOSITORY / "engine" / included).exists(), f"{name}: {included}"
            if other != folder and RANKS[other] >= RANKS[folder]:
                found[f"{name} -> {other}"] = included
    check(found, waivers.INCLUDES, "includes against the order of the folders")
    assert {path.name for path in (REPOSITORY / "engine").iterdir() if path.is_dir()} == set(RANKS)


def test_names_say_what_is_inside() -> None:
    vague = [
        name
        for name in tracked()
        for part in Path(name).parts
        if VAGUE & set(part.split(".")[0].lower().split("_"))
    ]
    assert vague == []


def test_nothing_names_a_machine() -> None:
    found = {
        name: f"line {number}: {line.strip()[:100]}"
        for name in tracked()
        for number, line in enumerate(read(name).splitlines(), 1)
        if MACHINE_PATHS.search(line)
    }
    check(found, waivers.PATHS, "paths of a machine")


def test_tests_do_not_sleep() -> None:
    found = {}
    for name in of_kind(".py", under="tests/"):
        for node in ast.walk(ast.parse(read(name))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep"):
                found[name] = f"line {node.lineno}"
    for name in of_kind("_test.cc"):
        if re.search(r"\bsleep_(for|until)\b|\busleep\(", read(name)):
            found[name] = "std::this_thread"
    check(found, waivers.SLEEPS, "tests that sleep: wait for the thing itself")


def test_what_parses_has_a_fuzzer() -> None:
    found = {}
    for name in of_kind(".cc", under="engine/"):
        if re.search(r"_(test|fuzz|bench)\.cc$", name) or not PARSING.search(read(name)):
            continue
        stem = name.removesuffix(".cc")
        if not (REPOSITORY / f"{stem}_fuzz.cc").exists():
            found[name] = "no fuzzer beside it"
    check(found, waivers.PARSERS, "parsers without a fuzzer")


def run(*args: str) -> None:
    done = subprocess.run(args, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_ruff() -> None:
    run(sys.executable, "-m", "ruff", "check", "--quiet")
    run(sys.executable, "-m", "ruff", "format", "--check", "--quiet")


@pytest.mark.slow
def test_clang_format() -> None:
    program = str(Path(sys.executable).with_name("clang-format"))
    run(program, "--dry-run", "--Werror", *of_kind(*CPP))
