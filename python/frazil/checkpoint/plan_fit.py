"""Whether a plan fits the checkpoint of an earlier one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from frazil.checkpoint.manifest import OperatorPlan, Plan
from frazil.errors import PlanChanged

# Options that say which outside thing a source or sink is; the others may change between runs.
_IDENTITY_OPTIONS = ("catalog_name", "table", "branch", "path", "folder", "topic")

# Options of a source that its positions are counted by: under others they mean other rows.
_POSITION_OPTIONS = {
    "file": ("lanes", "ordered", "format"),
    "generator": ("partitions", "seed"),
    "memory": ("partitions",),
    "python": ("class",),
}
# Parts of a state that may change, which is worth saying.
_STATE_NOTES = ("time zones",)
# Parts that a step may begin to keep: without them nothing of the kind is in a checkpoint.
_STATE_BEGINS = ("rows for new columns",)

# What a step keeps, by the part "keeps" of its state, that is made anew where it is lost.
_CACHES = ("vectors by text",)

REPLAY_PREFIX = "replay-"
"""How ids of steps begin through which dead letters are sent."""

_SHOWN_CHARS = 60  # of an identity; a longer option goes by its digest


@dataclass
class Fit:
    """How two plans differ: what makes restoring wrong, and what is only worth saying."""

    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def require(self, url: str, slot: int) -> None:
        """Raise if there are refusals."""
        if self.refusals:
            raise PlanChanged(
                f"{url}: the program does not fit checkpoint {slot}: " + "; ".join(self.refusals),
                "run the program that wrote it, or give this one another checkpoint folder",
            )


def plan_of(plan: Mapping[str, Any], functions: Mapping[str, str] | None = None) -> Plan:
    """Take from a pipeline's plan (version 1) what a checkpoint depends on.

    Parameters
    ----------
    plan
        {"v": 1, "nodes": [...]}.
    functions
        Digest of the source text of each Python function, by "module:name".
    """
    functions = functions or {}
    operators = []
    for node in plan["nodes"]:
        kind = node["kind"]
        options = node.get("options") or {}
        named = {key: options[key] for key in _IDENTITY_OPTIONS if key in options}
        identity = ""
        if kind == "sink":
            identity = json.dumps([node["connector"], node.get("name"), named], sort_keys=True)
        elif kind == "source":
            identity = _source_identity(node["connector"], options)
        state = json.dumps(node["state"], sort_keys=True) if node.get("state") else ""
        function = node.get("function", "")
        if identity or state or function:
            operators.append(
                OperatorPlan(
                    id=node["id"],
                    kind=kind,
                    name=function or node.get("name", ""),
                    identity=identity,
                    state=state,
                    function=functions.get(function, ""),
                )
            )
    return Plan(_fingerprint(operators), tuple(operators))


def compare(old: Plan | None, new: Plan | None, unlanded_sinks: Collection[str] = ()) -> Fit:
    """Compare the plan of a checkpoint with the one that wants to restore it.

    Parameters
    ----------
    old, new
        The plans; without one of them nothing is compared.
    unlanded_sinks
        Ids of sinks with prepared epochs that are not in their tables yet.
    """
    fit = Fit()
    if old is None or new is None:
        return fit
    before = {_key(operator): operator for operator in old.operators}
    after = {_key(operator): operator for operator in new.operators}
    added = [operator for key, operator in after.items() if key not in before]
    for key, operator in before.items():
        if key in after:
            _changed(operator, after[key], fit)
        else:
            _removed(operator, unlanded_sinks, fit, added)
    fit.notes += [f"{_say(operator)} is new" for operator in added]
    return fit


def _key(operator: OperatorPlan) -> tuple[str, str]:
    """What stays the same when other steps change: ids of steps without a name do not."""
    nameless = not operator.identity and not operator.state
    return operator.kind, operator.name if nameless else operator.id


def _removed(
    operator: OperatorPlan, unlanded_sinks: Collection[str], fit: Fit, added: list[OperatorPlan]
) -> None:
    if operator.id.startswith(REPLAY_PREFIX):
        return  # how far letters were sent is in the log, whether the program sends any or not
    if operator.kind == "source":
        fit.refusals.append(f"{_say(operator)} was removed or renamed, its positions would be lost")
    elif operator.kind == "sink" and operator.id in unlanded_sinks:
        fit.refusals.append(
            f"{_say(operator)} was removed or renamed while it has epochs not yet in its table"
        )
    elif operator.state:
        same_kind = [other for other in added if other.kind == operator.kind and other.state]
        changed = ""
        if len(same_kind) == 1 and (what := _what_changed(operator.state, same_kind[0].state)[0]):
            changed = f" (if {same_kind[0].id} is meant to be it: {what})"
        if not changed and json.loads(operator.state).get("keeps") in _CACHES:
            fit.notes.append(f"{_say(operator)} was removed or renamed: what it kept is made anew")
            return
        fit.refusals.append(
            f"{_say(operator)} was removed or renamed{changed}, its state would be lost"
        )
    else:
        fit.notes.append(f"{_say(operator)} was removed")


def _changed(old: OperatorPlan, new: OperatorPlan, fit: Fit) -> None:
    if old.identity != new.identity:
        fit.refusals.append(f"{_say(old)} was {old.identity}, is now {new.identity}")
    refused, noted = _what_changed(old.state, new.state)
    if refused:
        fit.refusals.append(f"{_say(old)} keeps other state: {refused}")
    if noted:
        fit.notes.append(f"{_say(old)} goes by others than before: {noted}")
    if old.function != new.function:
        fit.notes.append(
            f"the Python function of {_say(old)} was edited: rows from here on use the new one"
        )


def _what_changed(old: str, new: str) -> tuple[str, str]:
    """The parts in which two states differ: those that must not, and those that may."""
    before, after = (json.loads(state) if state else {} for state in (old, new))
    refused: list[str] = []
    noted: list[str] = []
    for part in dict.fromkeys([*before, *after]):
        was, now = before.get(part, ""), after.get(part, "")
        if was != now:
            fits = part in _STATE_NOTES or (not was and part in _STATE_BEGINS)
            said = noted if fits else refused
            said.append(f"{part}: was {was or 'none'}, is now {now or 'none'}")
    return ", ".join(refused), ", ".join(noted)


def _say(operator: OperatorPlan) -> str:
    name = f" {operator.name!r}" if operator.name else ""
    return f"{operator.kind}{name} ({operator.id})"


def _source_identity(connector: str, options: Mapping[str, Any]) -> str:
    said = []
    for name in _POSITION_OPTIONS.get(connector, ()):
        if name in options:
            text = json.dumps(options[name], sort_keys=True)
            if len(text) > _SHOWN_CHARS:
                text = "#" + hashlib.sha256(text.encode()).hexdigest()[:16]
            said.append(f"{name}={text}")
    return f"{connector}({', '.join(said)})" if said else connector


def _fingerprint(operators: list[OperatorPlan]) -> str:
    rows = [[o.id, o.kind, o.name, o.identity, o.state, o.function] for o in operators]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
