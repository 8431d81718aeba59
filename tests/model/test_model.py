"""The protocol holds in every scenario, and each known mistake is found."""

from __future__ import annotations

import pytest

from tests.model.bugs import BUGS
from tests.model.protocol import Protocol
from tests.model.scenarios import SCENARIOS
from tests.model.search import Search

# States per scenario. Small enough for every run of the suite; a change of a rule wants more:
# `python -m tests.model --limit 600000`.
HOLDS_LIMIT = 10_000
BUG_LIMIT = 20_000


@pytest.mark.parametrize("name", SCENARIOS)
def test_protocol_holds(name: str) -> None:
    result = Search(Protocol(SCENARIOS[name])).run(HOLDS_LIMIT)
    assert result.wrong == "", "\n".join(map(str, [*result.trace, result.wrong]))
    assert result.states > 300


@pytest.mark.parametrize(
    ("bug", "scenario"),
    [
        pytest.param(bug, scenario, id=f"{trace}-{bug.__name__}-{scenario}")
        for bug, trace, scenarios in BUGS
        for scenario in scenarios
    ],
)
def test_bug_is_found(bug: type[Protocol], scenario: str) -> None:
    result = Search(bug(SCENARIOS[scenario])).run(BUG_LIMIT)
    assert result.wrong, f"{bug.__name__} holds in {result.states} states of {scenario}"


def test_there_are_21_bugs() -> None:
    assert len({bug for bug, _, _ in BUGS}) == 21
