"""Expressions as a user meets them: how they read, what they refuse, how they are typed."""

import re
import traceback
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from frazil import _engine, errors
from frazil.expr import (
    Expr,
    bind,
    call,
    coalesce,
    col,
    concat_str,
    from_epoch,
    lit,
    max_of,
    min_of,
    struct,
    to_json,
    when,
)

SCHEMA = pa.schema(
    [
        pa.field("order_id", pa.int64(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("amount", pa.decimal128(12, 2), nullable=False),
        pa.field("created_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("note", pa.string()),
        pa.field("small", pa.int32()),
        pa.field("ratio", pa.float64()),
        pa.field("local", pa.timestamp("ms")),
        pa.field(
            "address", pa.struct([pa.field("city", pa.string()), pa.field("zip", pa.int32())])
        ),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("day", pa.date32()),
    ]
)


def field(expr: Expr) -> pa.Field:
    return bind(expr, SCHEMA, "kafka:orders")


def value(expr: Expr, **columns: Any) -> Any:
    """Values for one or more rows; a column is a list of them or an array."""
    batch = pa.record_batch(columns or {"unused": [0]})
    return pa.record_batch(_engine.eval_expr(to_json(expr), batch)).column(0).to_pylist()


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (col("amount") > 10, "(amount > 10)"),
        (~((col("a") + 1) * 2 >= col("b")) & col("c"), "(~(((a + 1) * 2) >= b) & c)"),
        (1 - col("a"), "(1 - a)"),
        (2 ** -col("a"), "(2 ** -a)"),
        (col("a").str.contains("x|y"), "a.str.contains('x|y')"),
        (col("a").cast(pa.timestamp("us", "UTC")), "a.cast(timestamp[us, UTC])"),
        (col("a").is_in([1, 2]), "a.is_in([1, 2])"),
        (col("a").dt.truncate("15m"), "a.dt.truncate('15m')"),
        (concat_str(col("a"), "-", col("b")), "concat_str(a, '-', b, separator='')"),
        (col("a").struct["city"].fill_null("?"), "a.struct.field('city').fill_null('?')"),
    ],
)
def test_repr(expr: Expr, text: str) -> None:
    assert repr(expr) == text


def test_engine_and_python_write_an_expression_alike() -> None:
    expr = (col("user_id").str.slice(1) + "x") > (col("order_id") * 2).abs()
    with pytest.raises(errors.TypeMismatch) as caught:
        field(expr)
    assert f"in: {expr!r}" in str(caught.value)


def test_no_truth_value() -> None:
    for use in (
        lambda: bool(col("a")),
        lambda: col("a") and col("b"),
        lambda: not col("a"),
        lambda: 1 < col("a") < 3,
        lambda: col("a") in [col("b")],
    ):
        with pytest.raises(TypeError) as caught:
            use()
        assert str(caught.value) == (
            "an expression has no truth value while the plan is built\n"
            "  write (a) & (b), (a) | (b), ~a  instead of  a and b, a or b, not a"
        )


def test_cannot_be_iterated() -> None:
    with pytest.raises(TypeError, match="cannot be iterated"):
        list(col("a"))


def test_expressions_are_hashable_and_immutable() -> None:
    expr = col("a")
    assert len({expr, expr}) == 1
    with pytest.raises(AttributeError):
        expr.other = 1  # type: ignore[attr-defined]


def test_column_not_found() -> None:
    with pytest.raises(errors.ColumnNotFound) as caught:
        field(col("amout") > 10)
    assert str(caught.value).splitlines()[0] == "no column 'amout' in kafka:orders"
    assert str(caught.value).splitlines()[1].startswith("  have: amount: decimal128(12, 2), ")
    assert str(caught.value).splitlines()[1].endswith(", ...")
    assert str(caught.value).splitlines()[2] == "  did you mean 'amount'?"


def test_type_mismatch() -> None:
    with pytest.raises(errors.TypeMismatch) as caught:
        field(col("user_id") > 10)
    assert str(caught.value) == (
        "cannot compare string with int64\n"
        "  in: (user_id > 10)\n"
        "  cast one side: col(...).cast(int64)"
    )


@pytest.mark.parametrize(
    "expr",
    [
        col("user_id") + 1,
        col("user_id") * 2,
        col("created_at") > col("local"),
        col("created_at") > datetime(2026, 1, 1),
        col("created_at") > "2026-01-01",
        col("day") > col("created_at"),
        col("amount") * col("ratio"),
        col("order_id") & True,
        ~col("order_id"),
        col("order_id").str.to_lowercase(),
        col("user_id").dt.year(),
        col("user_id").is_in([1]),
        col("user_id").str.starts_with(col("note")),  # type: ignore[arg-type]
        when(col("order_id")).then(1),
        when(col("order_id") > 1).then("a").otherwise(2),
        coalesce(col("note"), 1),
        col("user_id").str.extract("(", 1),
        col("user_id").str.extract("a", 1),
        col("local").dt.convert_time_zone("UTC"),
        col("created_at").dt.convert_time_zone("Mars/Base"),
        col("amount") // 2,
        col("address") == col("address"),
        col("user_id").json.get("a..b"),
        col("tags").list.contains(1),
        col("address").cast(int),
        col("user_id").list.len(),
        call("abs", col("order_id"), 2),
    ],
    ids=repr,
)
def test_refused_at_plan_time(expr: Expr) -> None:
    with pytest.raises(errors.TypeMismatch) as caught:
        field(expr)
    lines = str(caught.value).splitlines()
    assert 1 <= len(lines) <= errors.LINES_MAX
    assert len(lines[0]) < 200


def test_other_plan_errors() -> None:
    with pytest.raises(errors.ConfigError, match="'1 hour' is not an interval"):
        field(col("created_at").dt.truncate("1 hour"))
    with pytest.raises(errors.ColumnNotFound, match="no field 'town' in struct address"):
        field(col("address").struct.field("town"))
    with pytest.raises(errors.TypeMismatch, match="is not a type of column"):
        col("a").cast("int")
    with pytest.raises(errors.TypeMismatch, match="cannot be a literal"):
        lit(object())  # type: ignore[arg-type]
    with pytest.raises(errors.DataError, match="divide by zero"):
        field(lit(1) // 0)


@pytest.mark.parametrize(
    ("expr", "dtype"),
    [
        (col("order_id") + 1, pa.int64()),
        (col("small") + 1, pa.int32()),
        (col("small") + 3_000_000_000, pa.int64()),
        (col("small") + lit(1, pa.int64()), pa.int64()),
        (col("small") * 0.5, pa.float64()),
        (col("order_id") / 2, pa.float64()),
        (col("order_id") // 2, pa.int64()),
        (col("amount") * 2, pa.decimal128(14, 2)),
        (col("amount") * 1.19, pa.decimal128(16, 4)),
        (col("amount") * col("order_id"), pa.decimal128(32, 2)),
        (col("amount") + 1, pa.decimal128(13, 2)),
        (col("amount") * col("amount") * col("amount"), pa.decimal128(38, 6)),
        (col("created_at") - col("created_at"), pa.duration("us")),
        (col("created_at") + timedelta(hours=1), pa.timestamp("us", "UTC")),
        (col("local") + timedelta(hours=1), pa.timestamp("ms")),
        (col("local") > datetime(2026, 1, 1), pa.bool_()),
        (col("user_id") + "x", pa.string()),
        (col("amount").cast(float), pa.float64()),
        (col("tags").list.len(), pa.int64()),
        (col("tags").list.get(0), pa.string()),
        (col("address").struct.field("zip"), pa.int32()),
        (coalesce(col("small"), col("order_id")), pa.int64()),
        (when(col("small") > 0).then(col("amount")).otherwise(0), pa.decimal128(12, 2)),
        (col("user_id").json.get("a", datetime), pa.timestamp("us", "UTC")),
        (col("order_id").hash(), pa.int64()),
    ],
    ids=repr,
)
def test_types(expr: Expr, dtype: pa.DataType) -> None:
    assert field(expr).type == dtype


@pytest.mark.parametrize(
    ("expr", "nullable"),
    [
        (col("order_id") + 1, False),
        (col("small") + 1, True),
        (col("small").fill_null(0), False),
        (col("small").is_null(), False),
        (col("user_id").try_cast(int), True),
        (col("user_id").cast(int), False),
        (when(col("order_id") > 1).then(1), True),
        (when(col("order_id") > 1).then(1).otherwise(2), False),
        (col("order_id").null_if(0), True),
        (col("user_id").str.extract("(a)"), True),
        (struct("small", "order_id"), False),
        (struct("small", "order_id").struct.field("small"), True),
        (struct("small", "order_id").struct.field("order_id"), False),
        (min_of(col("small"), col("order_id")), False),
        (col("small").hash(), False),
    ],
    ids=repr,
)
def test_nullability(expr: Expr, nullable: bool) -> None:
    assert field(expr).nullable is nullable


def test_decimals_are_exact() -> None:
    amounts = pa.array([Decimal("10.01"), Decimal("0.10")], pa.decimal128(12, 2))
    assert value(col("a") * 1.1, a=amounts) == [Decimal("11.011"), Decimal("0.110")]
    assert value(col("a") + 0.1, a=amounts) == [Decimal("10.11"), Decimal("0.20")]
    assert value(col("a") == 0.1, a=amounts) == [False, True]
    assert value(col("a") > 10, a=amounts) == [True, False]
    assert value(col("a").is_in([0.1, 10]), a=amounts) == [False, True]
    big = pa.array([Decimal(10**20)], pa.decimal128(38, 2))
    assert value(col("a") + col("a"), a=big) == [Decimal(2 * 10**20)]
    with pytest.raises(errors.DataError, match=r"evaluating \(a \+ a\)"):
        value(col("a") + col("a"), a=pa.array([Decimal(6 * 10**35)], pa.decimal128(38, 2)))
    with pytest.raises(errors.DataError, match=r"(?i)divide by zero|division"):
        value(col("a") / 0, a=amounts)


def test_overflow_is_an_error_and_shows_the_first_bad_row() -> None:
    with pytest.raises(errors.DataError) as caught:
        value(col("amount") * col("quantity"), amount=[1, 2**62, 2**62], quantity=[2, 2, 4])
    assert str(caught.value) == (
        "evaluating (amount * quantity): overflow\n"
        f"  first bad row: amount = {2**62}, quantity = 2\n"
        "  cast to a wider type first: .cast(fz.Decimal[38, 0])"
    )
    with pytest.raises(errors.DataError, match=r"first bad row: a = 'x1'"):
        value(col("a").cast(int), a=["1", "x1", "x2"])


def test_division() -> None:
    assert value(col("a") / 2, a=[7, -7]) == [3.5, -3.5]
    assert value(col("a") // 2, a=[7, -7]) == [3, -4]
    assert value(col("a") // -2, a=[7, -7, -8]) == [-4, 3, 4]
    assert value(col("a") % 3, a=[7, -7]) == [1, 2]
    assert value(col("a") / 0, a=[1, -1]) == [float("inf"), float("-inf")]
    assert value(-7.5 // lit(2.0)) == [-4.0]
    with pytest.raises(errors.DataError, match="divide by zero"):
        value(col("a") // 0, a=[1])
    with pytest.raises(errors.DataError, match="divide by zero"):
        value(col("a") % col("b"), a=[1], b=[0])


def test_what_is_not_chosen_is_not_computed() -> None:
    columns = {"a": [7, 8, None, 9], "b": [2, 0, 0, None]}
    quotient = col("a") // col("b")
    assert value(when(col("b") != 0).then(quotient).otherwise(-1), **columns) == [3, -1, -1, -1]
    assert value((col("b") != 0) & (quotient > 1), **columns) == [True, False, False, None]
    assert value((col("b") == 0) | (quotient > 3), **columns) == [False, True, True, None]
    assert value(coalesce(col("b").null_if(2), quotient), **columns) == [3, 0, 0, None]
    with pytest.raises(errors.DataError, match="first bad row: a = 8, b = 0"):
        value(when(col("a") > 7).then(quotient).otherwise(-1), **columns)


def test_cast_and_try_cast() -> None:
    texts = ["1", "x", None, "2.5", "", "9223372036854775808"]
    assert value(col("a").try_cast(int), a=texts) == [1, None, None, None, None, None]
    assert value(col("a").try_cast(float), a=texts)[:4] == [1.0, None, None, 2.5]
    decimals = value(col("a").try_cast(pa.decimal128(5, 1)), a=texts)
    assert decimals == [Decimal("1.0"), None, None, Decimal("2.5"), None, None]
    assert value(col("a").try_cast(pa.int8()), a=[1, 300, None]) == [1, None, None]
    assert value(col("a").try_cast(bool), a=["true", "maybe"]) == [True, None]
    assert value(col("a").cast(pa.decimal128(12, 2)), a=[5]) == [Decimal("5.00")]
    assert value(col("a").cast(float), a=[2**60 + 1]) == [float(2**60)]
    for dtype, wrong in ((pa.int8(), 300), (int, 1.5), (pa.decimal128(4, 2), 100)):
        with pytest.raises(errors.DataError, match=r"use \.try_cast"):
            value(col("a").cast(dtype), a=[wrong])


def test_logic_of_nulls() -> None:
    rows = {"a": [True, False, None] * 3, "b": [True] * 3 + [False] * 3 + [None] * 3}
    assert value(col("a") & col("b"), **rows) == (
        [True, False, None, False, False, False, None, False, None]
    )
    assert value(col("a") | col("b"), **rows) == (
        [True, True, True, True, False, None, True, None, None]
    )
    assert value(col("a").is_in([1, None]), a=[1, 2, None]) == [True, None, None]
    assert value(col("a").is_in([]), a=[1, None]) == [False, None]
    assert value(col("a") == None, a=[1, None]) == [None, None]  # noqa: E711


def test_strings() -> None:
    texts = {"s": ["Grüße, Welt", "", None, "a(b]c"]}
    s = col("s").str
    assert value(s.len_chars(), **texts) == [11, 0, None, 5]
    assert value(s.len_bytes(), **texts) == [13, 0, None, 5]
    assert value(s.slice(-4), **texts) == ["Welt", "", None, "(b]c"]
    assert value(s.slice(-4, 2), **texts) == ["We", "", None, "(b"]
    assert value(s.slice(-4, 9), **texts) == ["Welt", "", None, "(b]c"]
    assert value(s.tail(0), **texts) == ["", "", None, ""]
    assert value(s.extract(r"([a-z\]]+)\((?:b)(\])"), **texts) == [None, None, None, "a"]
    assert value(s.extract(r"(a)\(([(b])[])](c)", 3), **texts) == [None, None, None, "c"]
    assert value(s.extract(r"(?P<g2>a)(.)", 2), **texts) == [None, None, None, "("]
    assert value(s.extract(r"\Q(b\E(.)", 1), **texts) == [None, None, None, "]"]
    assert value(s.contains("WELT", ignore_case=True), **texts) == [True, False, None, False]
    assert value(s.replace("[a-c]", "x"), **texts)[3] == "x(b]c"
    assert value(s.replace_all("([a-c])", r"<\1>"), **texts)[3] == "<a>(<b>]<c>"
    assert value(s.strip_chars("ac"), **texts)[3] == "(b]"


def test_times() -> None:
    moments = pa.array(
        [datetime(2026, 3, 29, 0, 59, 59, 999999, UTC), None], pa.timestamp("us", "UTC")
    )
    t = col("t").dt
    berlin = t.convert_time_zone("Europe/Berlin").dt
    assert value(berlin.hour(), t=moments) == [1, None]
    assert value(t.microsecond(), t=moments) == [999999, None]
    assert value(berlin.truncate("1d").dt.epoch("s"), t=moments)[0] == int(
        datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp()
    )
    assert value(t.strftime("%Y-%m-%dT%H:%M:%SZ"), t=moments) == ["2026-03-29T00:59:59Z", None]
    assert value(t.date(), t=moments) == [date(2026, 3, 29), None]
    assert value((col("t") + timedelta(seconds=1)).dt.second(), t=moments) == [0, None]
    before = pa.array([datetime(1969, 12, 31, 23, 59, 59, 1, UTC)], pa.timestamp("us", "UTC"))
    assert value(t.epoch("s"), t=before) == [-1]
    assert value(t.epoch("ms"), t=before) == [-1000]
    assert value(from_epoch(col("n"), "ns"), n=[-1]) == [
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)
    ]
    wall = pa.array([datetime(2026, 10, 25, 2, 30)], pa.timestamp("us"))
    summer = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    zoned = t.replace_time_zone("Europe/Berlin", ambiguous="earliest")
    assert value(zoned.dt.epoch("s"), t=wall) == [int(summer.timestamp())]
    with pytest.raises(errors.DataError, match=r"(?i)ambiguous"):
        value(t.replace_time_zone("Europe/Berlin"), t=wall)


def test_parsing_times() -> None:
    texts = {"s": ["2026-03-09T08:05:00.25+01:00", "2026-03-09 07:05", None]}
    moment = datetime(2026, 3, 9, 7, 5, tzinfo=UTC)
    assert value(col("s").str.to_datetime(), **texts) == [
        moment.replace(microsecond=250000),
        moment,
        None,
    ]
    assert value(col("s").str.to_datetime("%d.%m.%Y %H:%M"), s=["09.03.2026 07:05"]) == [moment]
    assert value(col("s").str.to_datetime(strict=False), s=["soon"]) == [None]
    with pytest.raises(errors.DataError, match="first bad row: s = 'soon'"):
        value(col("s").str.to_datetime(), s=["soon"])
    with pytest.raises(errors.DataError, match="strict=False"):
        value(col("s").str.to_date("%d.%m.%Y"), s=["2026-03-09"])


def test_json() -> None:
    documents = {
        "j": [
            '{"a": {"b": [1, {"c": "x"}]}, "n": 12345678901234567.891, "odd.name": true}',
            '{"a": null, "n": 1, "n": 2}',
            None,
            "{}",
        ]
    }
    json = col("j").json
    assert value(json.get("a.b[1].c"), **documents) == ["x", None, None, None]
    assert value(json.get("$.a.b[0]", int), **documents) == [1, None, None, None]
    assert value(json.get("a.b"), **documents)[0] == '[1,{"c":"x"}]'
    assert value(json.get('["odd.name"]', bool), **documents) == [True, None, None, None]
    exact = value(json.get("n", pa.decimal128(38, 3)), **documents)
    assert exact == [Decimal("12345678901234567.891"), Decimal("2.000"), None, None]
    with pytest.raises(errors.DataError, match="not an integer"):
        value(json.get("n", int), **documents)
    assert value(json.get("n", int, strict=False), **documents) == [None, 2, None, None]
    for broken in ('{"a": 1', '{"a": 1} x', "", '{"a": 1, "b": }'):
        with pytest.raises(errors.DataError, match="no JSON"):
            value(json.get("a", int), j=[broken])
        assert value(json.get("a", int, strict=False), j=[broken]) == [None]


def test_structs_lists_and_maps() -> None:
    lists = pa.array([[1, 2, None], [], None, [3]])
    assert value(col("l").list.get(-1), l=lists) == [None, None, None, 3]
    assert value(col("l").list.get(1), l=lists.slice(0, 2)) == [2, None]
    assert value(col("l").list.contains(col("x")), l=lists, x=[2, 1, 1, None]) == (
        [True, False, None, None]
    )
    maps = pa.array([[("a", 1), ("a", 2)], [], None], pa.map_(pa.string(), pa.int64()))
    assert value(col("m").list.lookup("a"), m=maps) == [2, None, None]
    assert value(col("m").list.len(), m=maps) == [2, 0, None]
    assert value(struct("a", b=col("a") + 1), a=[1, None]) == [
        {"a": 1, "b": 2},
        {"a": None, "b": None},
    ]
    structs = pa.array([{"x": 1}, None], pa.struct([("x", pa.int64())]))
    assert value(col("s").struct["x"], s=structs) == [1, None]


def test_dictionaries_and_views_are_understood() -> None:
    texts = pa.array(["a", None, "b"])
    for array in (
        texts.dictionary_encode(),
        texts.cast(pa.large_string()),
        texts.cast(pa.string_view()),
    ):
        assert value(col("s") == "a", s=array) == [True, None, False]
        assert value(col("s").str.to_uppercase(), s=array) == ["A", None, "B"]
        assert value(col("s").hash(), s=array) == value(col("s").hash(), s=texts)


def test_hash_does_not_depend_on_the_width_of_the_type() -> None:
    expected = value(col("a").hash(), a=pa.array([1, None]))
    assert value(col("a").hash(), a=pa.array([1, None], pa.int8())) == expected
    assert expected[0] != expected[1]
    both = value(col("a").hash(col("b")), a=["x", "xy"], b=["yz", "z"])
    assert both[0] != both[1]


def test_min_and_max_of() -> None:
    rows = {"a": [1, None, None], "b": [2, 3, None]}
    assert value(min_of(col("a"), col("b")), **rows) == [1, 3, None]
    assert value(max_of(col("a"), col("b"), 2), **rows) == [2, 3, 2]


def test_tree() -> None:
    expr = when(col("a") > 1).then(col("b")).otherwise(col("a"))
    assert expr._columns() == ["a", "b"]
    swapped = expr._with_args(tuple(reversed(expr._args)))
    assert repr(swapped) == "when(a, b, (a > 1))"


def test_deep_expressions_are_refused() -> None:
    expr = col("order_id")
    for _ in range(300):
        expr = expr + 1
    with pytest.raises(errors.PlanError, match="nested more than 256 deep"):
        field(expr)


def test_traceback_ends_on_the_users_line() -> None:
    try:
        col("a").cast("nonsense")
    except errors.PlanError as error:
        frames = traceback.extract_tb(error.__traceback__)
    assert frames[0].name == "test_traceback_ends_on_the_users_line"
    assert len(frames) <= 2


def test_every_error_is_short() -> None:
    long = errors.TypeMismatch("a", "b", "c", "d", "e")
    assert len(str(long).splitlines()) == errors.LINES_MAX


def test_values_in_errors_are_cut() -> None:
    with pytest.raises(errors.DataError) as caught:
        value(col("a").cast(int), a=["ä" * 500])
    assert re.search(r"first bad row: a = 'ä{40}\.\.\.'", str(caught.value))
