// Rows of state with any values, of an operator that the first byte says: restore takes them or refuses them
// with an error, and what has taken them goes on: it may end with an error, never in a crash or without an
// end. Rows are made as those that the operator saved of some input, but for values that the bytes draw.
#include <arrow/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/io/api.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>

#include "base/schema_text.h"
#include "operator/changes/group_aggregate.h"
#include "operator/changes/hold_changes.h"
#include "operator/changes/kinds.h"
#include "operator/changes/unsent_values.h"
#include "operator/join/asof_join.h"
#include "operator/join/interval_join.h"
#include "operator/ordered/deduplicate.h"
#include "operator/ordered/deduplicate_last.h"
#include "operator/ordered/fill_gaps.h"
#include "operator/ordered/pattern.h"
#include "operator/ordered/rate_limit.h"
#include "operator/ordered/running.h"
#include "operator/ordered/top_n.h"
#include "operator/time/order_mark.h"
#include "operator/time/reorder.h"
#include "operator/time/session_aggregate.h"
#include "operator/time/session_partial.h"
#include "operator/time/window_aggregate.h"
#include "operator/time/window_partial.h"

namespace {

using namespace frazil;
using nlohmann::json;
using Make = std::function<std::unique_ptr<Operator>()>;

const auto kTime = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

void Expect(bool true_here) {
  if (!true_here) std::abort();
}

// Full after every batch.
class Collect : public Output {
 public:
  Status push(Batch batch) override {
    full_ = true;
    Expect(batch.columns->ValidateFull().ok());
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return full_; }
  void drain() { full_ = false; }
  std::vector<Batch> batches;

 private:
  bool full_ = false;
};

Result<Progress> Finish(Operator& op, Result<Progress> done, Collect& out) {
  for (out.drain(); done.ok() && *done == Progress::kMore; out.drain()) done = op.resume(out);
  return done;
}

// 40 rows of a few keys, in the order of their times; `more` are columns behind k, at and v.
Batch Input() {
  arrow::Int64Builder keys, values, positions;
  arrow::TimestampBuilder times(kTime, arrow::default_memory_pool());
  arrow::FixedSizeBinaryBuilder marks(arrow::fixed_size_binary(kOrderBytes));
  for (int64_t i = 0; i < 40; ++i) {
    std::string mark(kOrderBytes, '\0');
    mark[15] = static_cast<char>(i);
    Expect((i % 5 == 4 ? keys.AppendNull() : keys.Append(i % 5)).ok() && times.Append(100 + 3 * i).ok() &&
           values.Append(i % 11).ok() && marks.Append(mark).ok() && positions.Append(i).ok());
  }
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("at", kTime, false),
                                     arrow::field("v", arrow::int64())});
  Batch batch{arrow::RecordBatch::Make(schema, 40, {*keys.Finish(), *times.Finish(), *values.Finish()}),
              Origin{0, 0, 40}, nullptr};
  SetMark(&batch, kOrderMark, *marks.Finish());
  SetMark(&batch, kPositionMark, *positions.Finish());
  return batch;
}

// The same with a column behind, whose row i has f(i).
Batch With(Batch batch, const std::shared_ptr<arrow::Field>& field,
           const std::function<int64_t(int64_t)>& f) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < batch.rows(); ++i) Expect(builder.Append(f(i)).ok());
  auto column = *builder.Finish();
  if (field->type()->id() == arrow::Type::UINT8) {
    arrow::UInt8Builder bytes;
    for (int64_t i = 0; i < batch.rows(); ++i) Expect(bytes.Append(static_cast<uint8_t>(f(i))).ok());
    column = *bytes.Finish();
  }
  const int last = batch.columns->num_columns();
  batch.columns = *batch.columns->AddColumn(last, field, *column->View(field->type()));
  return batch;
}

Batch Slice(const Batch& batch, int64_t from, int64_t count) {
  Batch slice{batch.columns->Slice(from, count), batch.origin, nullptr};
  if (batch.marks != nullptr) slice.marks = batch.marks->Slice(from, count);
  return slice;
}

json Lit(int64_t value) {
  const auto array = arrow::MakeArrayFromScalar(arrow::Int64Scalar(value), 1).ValueOrDie();
  const auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("", arrow::int64())}), 1, {array});
  const auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto writer = arrow::ipc::MakeStreamWriter(out, batch->schema()).ValueOrDie();
  Expect(writer->WriteRecordBatch(*batch).ok() && writer->Close().ok());
  return {{"lit", arrow::util::base64_encode(out->Finish().ValueOrDie()->ToString())}};
}

json Aggregates(const std::vector<const char*>& functions) {
  json all = json::array();
  for (const char* function : functions) {
    all.push_back({{"name", function}, {"fn", function}, {"args", {{{"col", "v"}}}}, {"filter", nullptr}});
  }
  return all;
}

json Keyed(json more) {
  json spec = {{"keys", {"k"}}, {"time", {{"column", "at"}, {"minus_us", 0}}}};
  spec.update(more);
  return spec;
}

json Is(int64_t kind) { return {{"fn", "equal"}, {"args", json::array({{{"col", "v"}}, Lit(kind)})}}; }

// One operator: how it is made, what it takes, and what it has saved of that.
struct Tested {
  Make make;
  std::vector<Batch> inputs;
  std::shared_ptr<arrow::RecordBatch> good;
  int ports;
};

Result<Progress> Give(Operator& op, const Batch& batch, int ports, Collect& out) {
  for (int port = 0; port < ports; ++port) {
    FZ_TRY(Finish(op, op.process(port, batch, out), out));
  }
  return Progress::kDone;
}

Result<Progress> Advance(Operator& op, Timestamp to, int ports, Collect& out) {
  for (int port = 0; port < ports; ++port) {
    FZ_TRY(Finish(op, op.advance(port, to, out), out));
  }
  return Progress::kDone;
}

Tested Saved(Make make, std::vector<Batch> inputs, int ports = 1) {
  auto op = make();
  Collect out;
  StateRows rows;
  const auto keep = [&](bool full) {
    for (auto& batch : op->snapshot(full).ValueOrDie()) rows.push_back(std::move(batch));
  };
  for (const Batch& batch : inputs) {
    const int64_t half = batch.rows() / 2;
    Expect(Give(*op, Slice(batch, 0, half), ports, out).ok());
    keep(/*full=*/true);
    Expect(Give(*op, Slice(batch, half, batch.rows() - half), ports, out).ok());
    keep(/*full=*/false);
  }
  Expect(Advance(*op, 190, ports, out).ok());
  keep(/*full=*/false);
  Expect(!rows.empty());
  return {std::move(make), std::move(inputs), arrow::ConcatenateRecordBatches(rows).ValueOrDie(), ports};
}

// An aggregate of windows takes what its other half gives.
template <typename Partial, typename Whole>
Tested Windowed(const json& window, const std::vector<const char*>& functions) {
  const json spec = Keyed({{"window", window}, {"lateness_us", 0}, {"aggregates", Aggregates(functions)}});
  const auto schema = Input().columns->schema();
  Collect between;
  const auto partial = Partial::Make(spec, *schema, {}).ValueOrDie();
  Expect(Finish(*partial, partial->process(Input(), between), between).ok());
  const auto input = PartialSchema(spec, *schema).ValueOrDie();
  return Saved([=]() -> std::unique_ptr<Operator> { return Whole::Make(spec, *input, {}).ValueOrDie(); },
               between.batches);
}

template <typename Which>
Tested Plain(const json& spec, const Batch& input) {
  const auto schema = input.columns->schema();
  return Saved(
      [=]() -> std::unique_ptr<Operator> {
        if constexpr (requires { Which::Make(spec, schema, OperatorContext{}); }) {
          return Which::Make(spec, schema, {}).ValueOrDie();
        } else {
          return Which::Make(spec, *schema, {}).ValueOrDie();
        }
      },
      {input});
}

template <typename Join>
Tested Joined(const char* how, json more) {
  const json side = Keyed(json::object());
  const auto schema = arrow::schema({arrow::field("l", arrow::int64()), arrow::field("r", arrow::int64()),
                                     arrow::field("k", arrow::int64()), arrow::field("time", kTime, false)});
  json spec = {{"left", side}, {"right", side}, {"how", how}, {"schema", SchemaText(*schema).ValueOrDie()}};
  spec["columns"] = json::parse(R"([["left","v"],["right","v"],["either",0],["time",0]])");
  spec.update(more);
  const Batch input = Input();
  const auto one = input.columns->schema();
  return Saved(
      [=]() -> std::unique_ptr<Operator> {
        return Join::Make(spec, {one, one}, {}).ValueOrDie();
      },
      {input}, 2);
}

json Grouping(json more, const std::vector<const char*>& functions) {
  json spec = Keyed({{"aggregates", Aggregates(functions)},
                     {"window_end", nullptr},
                     {"lateness_us", 0},
                     {"early_us", nullptr}});
  spec.update(more);
  return spec;
}

// Changes with a column of text that may stand for another one.
Batch Unsent() {
  arrow::StringBuilder texts;
  for (int64_t i = 0; i < 40; ++i) {
    Expect((i % 7 == 4 && i > 10 ? texts.Append("-") : texts.Append(std::to_string(i % 9))).ok());
  }
  arrow::Int64Builder keys;
  for (int64_t i = 0; i < 40; ++i) Expect(keys.Append(i % 5).ok());
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("t", arrow::utf8())});
  Batch batch{arrow::RecordBatch::Make(schema, 40, {*keys.Finish(), *texts.Finish()}), Origin{0, 0, 40},
              nullptr};
  batch = With(batch, arrow::field(kLogPositionColumn, arrow::int64()), [](int64_t i) { return i; });
  return With(batch, KindField(), [](int64_t i) { return i % 11 == 8 ? 3 : 2; });
}

std::vector<Tested> All() {
  const std::vector<const char*> lists = {"sum", "count_distinct", "last", "collect_list"};
  const std::vector<const char*> sums = {"sum", "count", "variance"};
  const auto end = arrow::field("window_end", kTime, false);
  const Batch input = Input();
  // Kinds: every row goes again but for the last ones.
  Batch changing = With(input, KindField(), [](int64_t i) { return i % 10 < 5 || i > 30 ? 0 : 3; });
  const auto five = [](int64_t i) { return i % 10 < 5 || i > 30 ? i : i - 5; };
  changing = With({changing.columns->RemoveColumn(2).ValueOrDie(), changing.origin, changing.marks},
                  arrow::field("v", arrow::int64()), [&](int64_t i) { return five(i); });
  const Batch windows = With(
      With(With({input.columns->SelectColumns({0}).ValueOrDie(), {}, nullptr},
                arrow::field("window_start", kTime, false), [](int64_t i) { return 103 + 20 * (i / 5); }),
           end, [](int64_t i) { return 113 + 20 * (i / 5); }),
      arrow::field("v", arrow::int64(), false), [](int64_t i) { return i; });
  const json ten = {{"kind", "tumbling"}, {"size_us", 10}, {"offset_us", 3}};
  const json hopping = {{"kind", "hopping"}, {"size_us", 20}, {"every_us", 5}, {"offset_us", 0}};
  const json session = {{"kind", "session"}, {"gap_us", 20}};
  const json step = {{"without", json::array({Is(9)})}, {"columns", json::array({json::array({"v", "w"})})}};
  json steps = json::array();
  for (int64_t i = 0; i < 3; ++i) {
    json one = step;
    one["name"] = std::string(1, static_cast<char>('a' + i));
    one["when"] = Is(i);
    one["columns"][0][1] = one["name"];
    steps.push_back(one);
  }
  std::vector<Tested> all;
  all.push_back(Windowed<WindowPartial, WindowAggregate>(ten, lists));
  all.push_back(Windowed<WindowPartial, WindowAggregate>(hopping, lists));
  all.push_back(Windowed<WindowPartial, WindowAggregate>(hopping, sums));
  all.push_back(Windowed<SessionPartial, SessionAggregate>(session, lists));
  all.push_back(Windowed<SessionPartial, SessionAggregate>(session, sums));
  all.push_back(Plain<GroupAggregate>(Grouping(json::object(), lists), input));
  all.push_back(Plain<GroupAggregate>(
      Grouping({{"keys", {"k", "window_end"}}, {"window_end", "window_end"}, {"early_us", 10}}, lists),
      With(input, end, [](int64_t i) { return 110 + 10 * (3 * i / 10); })));
  all.push_back(Plain<GroupAggregate>(Grouping({{"time", nullptr}}, sums), changing));
  all.push_back(Plain<HoldChanges>({{"keys", {"k"}}, {"row", {"k", "at"}}, {"every_us", 10}},
                                   With(input, KindField(), [](int64_t) { return 0; })));
  all.push_back(Plain<UnsentValues>({{"keys", {"k"}}, {"columns", {"t"}}, {"stand_ins", {"-"}}}, Unsent()));
  all.push_back(Plain<Deduplicate>(Keyed({{"within_us", 10}}), input));
  all.push_back(Plain<DeduplicateLast>(Keyed({{"within_us", 10}}), input));
  all.push_back(Plain<Running>(Keyed({{"aggregates", Aggregates(lists)}, {"ttl_us", 50}}), input));
  all.push_back(Plain<RateLimit>(Keyed({{"limit", 3}, {"per_us", 20}}), input));
  all.push_back(Plain<TopN>(Keyed({{"n", 2},
                                   {"keys", {"k", "at"}},
                                   {"by", {{{"column", "v"}, {"descending", true}}}},
                                   {"rank", "rank"}}),
                            input));
  all.push_back(Plain<FillGaps>({{"keys", {"k"}},
                                 {"time", {{"column", "window_end"}, {"minus_us", 1}}},
                                 {"window", ten},
                                 {"windows", 4},
                                 {"fill",
                                  {{{"column", "k"}, {"how", "key"}, {"key", 0}},
                                   {{"column", "window_start"}, {"how", "start"}},
                                   {{"column", "window_end"}, {"how", "end"}},
                                   {{"column", "v"}, {"how", "previous"}}}}},
                                windows));
  all.push_back(Plain<Pattern>(Keyed({{"within_us", 60}, {"open_max", 20}, {"steps", steps}}), input));
  all.push_back(Plain<Reorder>(Keyed(json::object()), input));
  all.push_back(Joined<IntervalJoin>("left", {{"before_us", 20}, {"after_us", 10}}));
  all.push_back(Joined<AsofJoin>("left", {{"tolerance_us", 30}}));
  return all;
}

// What is left of the bytes; zeros behind them.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t next() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  std::string take(size_t size) {
    std::string taken;
    while (taken.size() < size) taken.push_back(static_cast<char>(next()));
    return taken;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

int64_t DrawNumber(Bytes& bytes) {
  constexpr int64_t kEnds[] = {
      std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), 0, 1, -1, 100, 190};
  const uint8_t how = bytes.next();
  if (how < 7) return kEnds[how];
  if (how < 128) return static_cast<int8_t>(bytes.next());
  int64_t value = 0;
  const std::string raw = bytes.take(sizeof value);
  std::memcpy(&value, raw.data(), sizeof value);
  return value;
}

// A value of any type, as one row; null where the type has none that is easily made.
std::shared_ptr<arrow::ArrayData> DrawValue(const std::shared_ptr<arrow::DataType>& type,
                                            const arrow::Array& like, int64_t row, Bytes& bytes) {
  const auto made = [&](std::vector<std::string> buffers) {
    std::vector<std::shared_ptr<arrow::Buffer>> all = {nullptr};
    for (auto& buffer : buffers) all.push_back(arrow::Buffer::FromString(std::move(buffer)));
    return arrow::ArrayData::Make(type, 1, std::move(all), /*null_count=*/0);
  };
  if (arrow::is_base_binary_like(type->id()) && type->id() != arrow::Type::LARGE_BINARY) {
    std::string value;
    if (like.IsValid(row) && type->id() == arrow::Type::BINARY) {
      value = std::string(static_cast<const arrow::BinaryArray&>(like).GetView(row));
    }
    for (int changes = bytes.next() % 4; changes > 0; --changes) {
      const size_t at = value.empty() ? 0 : bytes.next() % value.size();
      const uint8_t how = bytes.next() % 4;
      if (how == 0) value.resize(at);
      if (how == 1 && !value.empty()) value[at] = static_cast<char>(bytes.next());
      if (how == 2) value.insert(at, bytes.take(1 + bytes.next() % 9));
      if (how == 3) value.insert(at, value.substr(at));
    }
    const int32_t offsets[] = {0, static_cast<int32_t>(value.size())};
    return made({std::string(reinterpret_cast<const char*>(offsets), sizeof offsets), value});
  }
  if (type->id() == arrow::Type::FIXED_SIZE_BINARY) {
    std::string value(static_cast<const arrow::FixedSizeBinaryArray&>(like).GetView(row));
    for (int changes = 1 + bytes.next() % 4; changes > 0; --changes) {
      value[bytes.next() % value.size()] = static_cast<char>(bytes.next());
    }
    return made({value});
  }
  if (arrow::is_fixed_width(type->id())) {
    const int64_t number = DrawNumber(bytes);
    std::string raw(32, number < 0 ? '\xff' : '\0');
    std::memcpy(raw.data(), &number, sizeof number);
    return made({raw});
  }
  return arrow::MakeArrayOfNull(type, 1).ValueOrDie()->data();
}

// Rows as the good ones, some of whose values are drawn; null if Arrow itself would refuse them.
std::shared_ptr<arrow::RecordBatch> DrawRows(const arrow::RecordBatch& good, Bytes& bytes) {
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
  for (const auto& field : good.schema()->fields()) {
    builders.push_back(arrow::MakeBuilder(field->type()).ValueOrDie());
  }
  int64_t rows = 0;
  for (; !bytes.empty() && rows < 24; ++rows) {
    const int64_t like = bytes.next() % good.num_rows();
    const uint8_t changed = bytes.next();
    const uint8_t second = bytes.next();
    for (int c = 0; c < good.num_columns(); ++c) {
      const auto& column = *good.column(c);
      std::shared_ptr<arrow::ArrayData> value = column.data();
      int64_t place = like;
      if ((second & 0x80) != 0 && (c == changed % 16 || c == second % 16)) {
        const uint8_t how = changed >> 4;
        place = 0;
        if (how == 0) {
          value = arrow::MakeArrayOfNull(column.type(), 1).ValueOrDie()->data();
        } else if (how < 4) {
          place = bytes.next() % good.num_rows();
        } else if (how < 15) {
          value = DrawValue(column.type(), column, like, bytes);
        } else {
          place = like;
        }
      }
      const auto& builder = builders[static_cast<size_t>(c)];
      Expect(builder->AppendArraySlice(arrow::ArraySpan(*value), place, 1).ok());
    }
  }
  arrow::ArrayVector columns;
  for (auto& builder : builders) columns.push_back(builder->Finish().ValueOrDie());
  auto batch = arrow::RecordBatch::Make(good.schema(), rows, columns);
  return batch->ValidateFull().ok() ? batch : nullptr;
}

// What has taken rows is saved, and taken again; it takes more input, and time goes to its end.
void GoOn(Operator& op, const Tested& tested, Timestamp to) {
  const auto saved = op.snapshot(/*full=*/true);
  if (saved.ok()) {
    const auto again = tested.make();
    for (const auto& rows : *saved) {
      Expect(rows->ValidateFull().ok());
      if (!again->restore(rows).ok()) return;
    }
  }
  Collect out;
  for (const Batch& batch : tested.inputs) {
    if (!Give(op, batch, tested.ports, out).ok()) return;
  }
  if (!op.snapshot(/*full=*/false).ok()) return;
  if (!Advance(op, to, tested.ports, out).ok()) return;
  if (!Advance(op, kWatermarkMax, tested.ports, out).ok()) return;
  static_cast<void>(op.snapshot(/*full=*/false));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (!arrow::compute::Initialize().ok()) std::abort();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto all = All();
  Bytes bytes(data, size);
  const Tested& tested = all[bytes.next() % all.size()];
  const Timestamp to = DrawNumber(bytes);
  const auto op = tested.make();
  for (int batches = 0; batches < 2 && !bytes.empty(); ++batches) {
    const auto rows = DrawRows(*tested.good, bytes);
    if (rows == nullptr) return 0;
    const auto status = op->restore(rows);
    if (!status.ok()) return 0;
  }
  GoOn(*op, tested, to);
  return 0;
}
