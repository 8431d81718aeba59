"""The stub of the C++ module says what is in it, no more and no less."""

import ast
from pathlib import Path
from typing import Any

import frazil
from frazil import _engine

STUB = Path(frazil.__file__).with_name("_engine.pyi")


def stubbed(body: list[ast.stmt]) -> set[str]:
    names = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def bound(thing: Any) -> set[str]:
    own = {name for name in vars(thing) if not name.startswith("_")}
    return own | {name for name in vars(thing) if name.startswith("__arrow_c_")}


def test_every_name() -> None:
    assert bound(_engine) == stubbed(ast.parse(STUB.read_text()).body)


def test_every_member() -> None:
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ClassDef):
            assert bound(getattr(_engine, node.name)) == stubbed(node.body) - {"__init__"}


def test_arguments() -> None:
    """Positional names and their number, as nanobind prints them."""
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            signature = (getattr(_engine, node.name).__doc__ or "").splitlines()[0]
            given = signature[signature.index("(") + 1 : signature.rindex(")")]
            assert bool(given) == bool(node.args.args), signature
            for argument in node.args.args:
                if not given.startswith("arg"):
                    assert f"{argument.arg}:" in given, (signature, argument.arg)
