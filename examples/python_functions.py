"""Python in the stream: a call a row, a call a column, a call a batch."""

import frazil as fz
import pyarrow as pa
import pyarrow.compute as pc
from frazil import col

CONTINENTS = {"DE": "Europe", "FR": "Europe", "JP": "Asia", "US": "America"}


@fz.udf(on_error="null")  # easy, and slow: a call a row
def continent(country: str) -> str | None:
    return CONTINENTS[country.upper()]


@fz.batch_udf(returns=pa.float64(), nullable=False)  # a call a batch, on whole columns
def score(amount: pa.Array, quantity: pa.Array) -> pa.Array:
    return pc.divide(1.0, pc.add(1.0, pc.exp(pc.negate(pc.multiply(amount, quantity)))))


def one_row_a_word(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows may become more or fewer."""
    words = pc.split_pattern(batch["page"], "/")
    ids = pc.take(batch["id"], pc.list_parent_indices(words))
    return pa.record_batch({"id": ids, "word": pc.list_flatten(words)})


events = fz.read_generator(rows=5_000, seed=3)
scored = events.select(
    "id",
    continent=continent(col("country")),
    score=score(col("amount"), col("quantity")),
)
words = events.map_batches(one_row_a_word, schema={"id": pa.int64(), "word": pa.string()})

pipeline = fz.Pipeline(
    "python_functions",
    scored.write_iceberg("shop.scored"),
    words.filter(col("word") != "").write_iceberg("shop.words"),
)

if __name__ == "__main__":
    print(pipeline.explain())
    print(pipeline.run())
