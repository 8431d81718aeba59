"""Names by which a plan knows Python functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from frazil.errors import PlanError

if TYPE_CHECKING:
    from frazil.node import Function


def name_function(
    functions: dict[str, Function], function: Function, digest: Callable[[Function], str]
) -> str:
    """Give a function its name among those of a plan, and put it there.

    Parameters
    ----------
    functions
        Those of the plan by name.
    digest
        Tells the same function with other results or options apart.

    Raises
    ------
    PlanError
        If another one has the name.
    """
    reference = function.reference
    same = functions.get(reference)
    if same is not None and same.call is function.call and same != function:
        reference += f"#{digest(function)}"
        same = functions.get(reference)
    if function.reference.startswith("python:"):
        # Of objects, which keep nothing: equal names are told apart by their order.
        number = 2
        while same is not None and same.call is not function.call:
            reference = f"{function.reference}#{number}"
            same, number = functions.get(reference), number + 1
    if same is not None and same.call is not function.call:
        raise PlanError(
            f"two functions are called {reference}",
            "a plan knows functions by name: define each by def, under a name of its own",
        )
    if same is not None and same.processes != function.processes:
        raise PlanError(
            f"{reference} has other workers= or timeout= in another step", "say the same"
        )
    functions[reference] = function
    return reference
