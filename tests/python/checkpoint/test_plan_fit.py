"""A plan that does not fit its checkpoint is refused, saying what changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import frazil as fz
import pyarrow as pa
import pytest
from frazil.checkpoint import CheckpointLog, Epoch, Fit, Plan, plan_of
from frazil.checkpoint.plan_fit import compare
from frazil.errors import PlanChanged
from frazil.plan import compile_plan

if TYPE_CHECKING:
    from frazil.checkpoint.memory_store import MemoryStore

Node = dict[str, Any]


def plan(*nodes: Node) -> dict[str, Any]:
    return {"v": 1, "pipeline": "p", "nodes": list(nodes)}


SOURCE: Node = {"id": "s1", "kind": "source", "name": "kafka:orders", "connector": "kafka"}
FILTER: Node = {"id": "f1", "kind": "filter", "input": ["s1", "rows"], "predicate": {"lit": "x"}}
MAP: Node = {"id": "m1", "kind": "map_batches", "function": "shop:clean"}
STATEFUL: Node = {"id": "k1", "kind": "aggregate", "name": "sums", "state": {"total": "int64"}}
SINK: Node = {
    "id": "w1",
    "kind": "sink",
    "name": "sales.revenue",
    "connector": "iceberg",
    "options": {"table": "sales.revenue", "password": "hush"},
}


def test_only_what_matters_is_recorded() -> None:
    made = plan_of(plan(SOURCE, FILTER, MAP, SINK), {"shop:clean": "digest"})
    assert [operator.id for operator in made.operators] == ["s1", "m1", "w1"]
    assert "hush" not in repr(made)
    assert (
        made.fingerprint == plan_of(plan(SOURCE, MAP, SINK), {"shop:clean": "digest"}).fingerprint
    )
    assert made.fingerprint != plan_of(plan(SOURCE, MAP, SINK), {"shop:clean": "x"}).fingerprint


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        ([SOURCE], [], "source 'kafka:orders' (s1) was removed or renamed"),
        ([SOURCE], [SOURCE | {"connector": "file"}], "(s1) was kafka, is now file"),
        ([SOURCE], [SOURCE | {"kind": "sink"}], "source 'kafka:orders' (s1) was removed"),
        ([STATEFUL], [], "its state would be lost"),
        (
            [STATEFUL],
            [STATEFUL | {"state": {"total": "double"}}],
            "total: was int64, is now double",
        ),
        ([SINK], [SINK | {"options": {"table": "other"}}], "sink 'sales.revenue' (w1) was"),
    ],
)
def test_refusals(old: list[Node], new: list[Node], refusal: str) -> None:
    fit = compare(plan_of(plan(*old)), plan_of(plan(*new)))
    assert len(fit.refusals) == 1
    assert refusal in fit.refusals[0]


def test_what_is_only_said() -> None:
    old = plan_of(plan(SOURCE, MAP, SINK), {"shop:clean": "1"})
    new = plan_of(plan(SOURCE, MAP, SINK | {"id": "w2"}), {"shop:clean": "2"})
    fit = compare(old, new)
    assert fit.refusals == []
    assert fit.notes == [
        "the Python function of map_batches 'shop:clean' (m1) was edited: rows from here on use "
        "the "
        "new one",
        "sink 'sales.revenue' (w1) was removed",
        "sink 'sales.revenue' (w2) is new",
    ]
    assert compare(old, new, ["w1"]).refusals == [
        "sink 'sales.revenue' (w1) was removed or renamed while it has epochs not yet in its table"
    ]
    assert compare(None, new).notes == []


def test_time_zones_may_be_newer() -> None:
    def with_zones(version: str) -> Plan:
        return plan_of(plan(STATEFUL | {"state": {"total": "int64", "time zones": version}}))

    fit = compare(with_zones("2025a"), with_zones("2025b"))
    assert fit.refusals == []
    assert fit.notes == [
        "aggregate 'sums' (k1) goes by others than before: time zones: was 2025a, is now 2025b"
    ]


def test_a_refused_plan_does_not_disturb_the_one_that_runs(
    open_log: Callable[..., CheckpointLog], epoch: Callable[..., Epoch], store: MemoryStore
) -> None:
    running = open_log(plan=plan_of(plan(SOURCE, SINK)))
    running.append(epoch(1, "w1"))
    before = dict(store.objects)
    with pytest.raises(PlanChanged, match="does not fit checkpoint 1: source"):
        open_log(plan=plan_of(plan(SINK)))
    with pytest.raises(PlanChanged, match="epochs not yet in its table"):
        open_log(plan=plan_of(plan(SOURCE)))
    assert store.objects == before
    running.append(epoch(2, "w1"))
    edited = open_log(plan=plan_of(plan(SOURCE, MAP, SINK)))
    assert edited.fit.notes == ["map_batches 'shop:clean' (m1) is new"]
    assert edited.newest.manifest.plan == plan_of(plan(SOURCE, MAP, SINK))
    assert open_log().newest.manifest.plan == edited.newest.manifest.plan


def test_real_plans() -> None:
    schema = pa.schema({"id": pa.int64(), "amount": pa.float64()})
    rows = fz.read_memory([{"id": 1, "amount": 2.0}], schema=schema, name="orders")

    def made(stream: fz.Stream, function_digest: str = "1") -> Plan:
        compiled = compile_plan("p", [stream.write_memory(name="out")._node])
        digests = {name: function_digest for name in compiled.function_hashes}
        return plan_of(compiled.json, digests)

    def double(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    cheap = rows.select("id", "amount")
    mapped = cheap.map_batches(double, schema=schema)
    other = rows.select("amount")
    mapped_other = other.map_batches(double, schema=schema)
    assert compare(made(cheap), made(other)) == Fit()
    assert compare(made(mapped), made(mapped_other)) == Fit()
    edited = compare(made(mapped), made(mapped_other, "2"))
    assert edited.refusals == []
    assert len(edited.notes) == 1
    assert "was edited" in edited.notes[0]
    renamed = fz.read_memory([{"id": 1, "amount": 2.0}], schema=schema, name="other")
    refused = compare(made(cheap), made(renamed)).refusals
    assert len(refused) == 1
    assert "source 'orders'" in refused[0]
