"""Pipelines: what they refuse, and what they say about themselves."""

from datetime import datetime

import frazil as fz
import pyarrow as pa
import pytest
from frazil import col


class Event(fz.Schema):
    id: int
    at: datetime
    user: str
    amount: float
    note: str | None


def events() -> fz.Stream:
    return fz.read_kafka("events", servers="localhost:9092", schema=Event)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda s: fz.Pipeline("a b", s), "'a b' names no pipeline"),
        (lambda s: fz.Pipeline("", s), "names no pipeline"),
        (lambda s: fz.Pipeline("p"), "has 0 sinks"),
        (lambda s: fz.Pipeline("p", 3), "got a int"),
        (lambda s: fz.Pipeline("p", s, workers=0), "workers=0"),
        (lambda s: fz.Pipeline("p", s, checkpoint=""), "checkpoint=''"),
        (lambda s: fz.Pipeline("p", s, checkpoint_every="soon"), "not a duration"),
        (lambda s: fz.Pipeline("p", s, memory_limit="much"), "not a size"),
    ],
)
def test_mistakes(make, text: str) -> None:
    with pytest.raises((fz.PlanError, fz.ConfigError), match=text):
        make(events().write_memory())


def test_explain() -> None:
    stream = events()
    big = stream.filter(col("amount") > 10).with_columns(total=col("amount") * 2)
    pipeline = fz.Pipeline(
        "revenue",
        big.select("id", "total").write_iceberg("sales.big", partition_by="bucket(4, id)"),
        stream.rejected.write_iceberg("sales.bad", commit_every="20s"),
        workers=2,
    )
    assert (
        pipeline.explain()
        == """\
pipeline revenue                              exact, 2 workers, memory up to 512 MiB

write_iceberg sales.big                       append, by bucket(4, id), commit with checkpoint \
every 10s, exactly once, exact
  <- select id, total
    <- compute total=amount * 2               6 columns
      <- filter amount > 10
        <- decode json                        2 of 5 fields read
          <- read_kafka events                from earliest

write_iceberg sales.bad                       append, commit every 20s, exactly once, exact
  <- rejected rows of kafka:events            bytes, reason, position"""
    )


def test_explain_says_what_runs_in_python_and_is_not_exact() -> None:
    @fz.udf(pure=False)
    def score(user: str) -> float:
        return 1.0

    def enrich(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    stream = events().select("id", "user")
    scored = stream.with_columns(score=score(col("user")))
    text = fz.Pipeline(
        "p",
        scored.write_memory(name="a"),
        stream.map_batches(enrich, schema={"id": int, "user": str}).write_memory(name="b"),
    ).explain()
    assert text.splitlines()[0].endswith("consistent, 1 worker, memory up to 512 MiB")
    assert "<- call score(user)" in text
    assert "in Python, a call a row; consistent: pure=False" in text
    assert "compute score=score(user)" in text
    assert "in Python, a call a batch" in text
    assert "shared, see above" in text


def test_repr() -> None:
    pipeline = fz.Pipeline("p", events().write_iceberg("a.b"), checkpoint_every="1s")
    assert repr(pipeline) == "Pipeline(p) kafka:events -> iceberg a.b, checkpoint every 1s"
