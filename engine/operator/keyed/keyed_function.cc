#include "operator/keyed/keyed_function.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>
#include <tuple>

#include "base/check.h"
#include "base/limits.h"
#include "base/schema_text.h"
#include "operator/ordered/row_order.h"
#include "operator/time/order_mark.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

constexpr const char* kWhat = "a Python function of keys";
constexpr size_t kKeysOfCall = 4096;             // keys whose timers are fired, or that end, in one call
constexpr int64_t kKeyStateBytes = 64 << 20;     // bytes of the state of one key
constexpr int64_t kKeyTimers = 100'000;          // timers of one key
constexpr std::string_view kRowToken = "{row:";  // stands before the order mark in errors of the function
constexpr int kNodesMax = 10'000;                // of a plan

std::atomic<int64_t> instances{0};

// A list of all values, as the only one of its array.
std::shared_ptr<arrow::Array> OneList(const std::shared_ptr<arrow::Array>& values) {
  const std::vector<int32_t> offsets = {0, static_cast<int32_t>(values->length())};
  auto buffer = arrow::Buffer::FromVector(offsets);
  return std::make_shared<arrow::ListArray>(arrow::list(arrow::field("element", values->type())), 1,
                                            std::move(buffer), values);
}

std::shared_ptr<arrow::Array> Numbers(const std::vector<int64_t>& values) {
  const auto count = static_cast<int64_t>(values.size());
  return std::make_shared<arrow::Int64Array>(count, arrow::Buffer::FromVector(values));
}

// The list that is a column of an answer; its values have the type.
Result<std::shared_ptr<arrow::Array>> ListOf(const arrow::RecordBatch& answer, const char* name,
                                             const arrow::DataType& type, int64_t length) {
  const auto column = answer.GetColumnByName(name);
  std::string what = "it is not there";
  if (answer.num_rows() == 1 && column != nullptr && column->type_id() == arrow::Type::LIST &&
      column->IsValid(0)) {
    auto values = static_cast<const arrow::ListArray&>(*column).value_slice(0);
    if (values->type()->Equals(type) && (length < 0 || values->length() == length)) return values;
    what = std::to_string(values->length()) + " of " + values->type()->ToString() + ", expected " +
           (length < 0 ? "some" : std::to_string(length)) + " of " + type.ToString();
  }
  return Error(ErrorKind::kInternal, std::string("reading an answer's ") + name + ": " + what);
}

// Of the timers of each key.
std::shared_ptr<arrow::DataType> TimersType() { return arrow::list(arrow::field("element", arrow::int64())); }

// Those of a key; `timers` is null if there are none of the kind.
std::span<const Timestamp> TimesOf(const std::shared_ptr<arrow::Array>& timers, int64_t key) {
  if (timers == nullptr) return {};
  const auto& lists = static_cast<const arrow::ListArray&>(*timers);
  const auto& times = static_cast<const arrow::Int64Array&>(*lists.values());
  return {times.raw_values() + lists.value_offset(key), static_cast<size_t>(lists.value_length(key))};
}

std::string Hex(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = 0; i < text.size(); ++i) text[15 - i] = "0123456789abcdef"[value >> (4 * i) & 15];
  return text;
}

}  // namespace

KeyedFunction::KeyedFunction(KeyColumns keys, RowCodec codec, BatchFunction function,
                             const OperatorContext& context)
    : keys_(std::move(keys)),
      codec_(std::move(codec)),
      function_(std::move(function)),
      pool_(context.pool),
      partitions_(context.partitions),
      instance_(instances.fetch_add(1)),
      clock_(context.clock != nullptr ? context.clock : &machine_),
      encoded_(context.pool) {}

Result<std::unique_ptr<KeyedFunction>> KeyedFunction::Make(const nlohmann::json& spec,
                                                           const arrow::Schema& input, BatchFunction function,
                                                           const OperatorContext& context) {
  FZ_ASSIGN(KeyColumns keys, KeyColumns::Make(spec, input));
  FZ_ASSIGN(const auto state, ParseSchema(spec.at("states").get<std::string>()));
  FZ_ASSIGN(RowCodec codec, RowCodec::Make(state->fields()));
  auto made = std::unique_ptr<KeyedFunction>(
      new KeyedFunction(std::move(keys), std::move(codec), std::move(function), context));
  made->reference_ = spec.at("function").get<std::string>();
  if (!spec.at("time").is_null()) {
    FZ_ASSIGN(made->time_, RowTime::Make(spec, input));
  }
  made->ends_ = spec.at("ends").get<bool>();
  made->key_names_ = spec.at("keys").get<std::vector<std::string>>();
  arrow::FieldVector fields;
  for (const auto& field : input.fields()) {
    if (!field->name().starts_with(kHiddenPrefix)) fields.push_back(field);
  }
  made->input_ = arrow::schema(std::move(fields));
  FZ_ASSIGN(made->output_, ParseSchema(spec.at("schema").get<std::string>()));
  made->by_clock_ = spec.value("clock", false);
  FZ_ASSIGN(made->states_, KeyStates::Make(context.kept(), made->by_clock_));
  return made;
}

Result<Progress> KeyedFunction::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  std::vector<Entry*> groups;
  FZ_ASSIGN(const Rows rows, grouped(batch, &groups));
  now_ = clock_->now();
  FZ_TRY(call(kRows, rows, groups));
  return emit(out);
}

// The rows with those of a key together, and the keys; those of a key stay in their order.
Result<KeyedFunction::Rows> KeyedFunction::grouped(const Batch& batch, std::vector<Entry*>* groups) {
  std::vector<Timestamp> times;
  if (time_.has_value()) {
    FZ_ASSIGN(times, time_->of(*batch.columns, pool_));
    FZ_TRY(CheckInOrder(times, promise_, kWhat));
  }
  FZ_TRY(keys_.encode(batch, &encoded_));
  std::vector<Entry*> entries;
  FZ_TRY(states_->probe(encoded_, &entries));
  Rows made;
  std::vector<int32_t> counts;
  for (Entry* entry : entries) {
    if (entry->group < 0) {
      entry->group = static_cast<int64_t>(groups->size());
      groups->push_back(entry);
      counts.push_back(0);
    }
    ++counts[static_cast<size_t>(entry->group)];
  }
  made.offsets.assign(1, 0);
  for (const int32_t count : counts) made.offsets.push_back(made.offsets.back() + count);
  std::vector<int32_t> next(made.offsets.begin(), made.offsets.end() - 1);
  std::vector<int32_t> which(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    which[static_cast<size_t>(next[static_cast<size_t>(entries[i]->group)]++)] = static_cast<int32_t>(i);
  }
  for (Entry* entry : *groups) entry->group = -1;
  const auto visible = arrow::RecordBatch::Make(input_, batch.rows(), VisibleColumns(batch)->columns());
  FZ_ASSIGN(made.rows, TakeRows(visible, which, pool_));
  if (time_.has_value()) {
    std::vector<int64_t> sorted;
    for (const int32_t row : which) sorted.push_back(times[static_cast<size_t>(row)]);
    made.times = Numbers(sorted);
  }
  if (const auto mark = MarkOf(batch, kOrderMark); mark != nullptr) {
    const auto column = arrow::RecordBatch::Make(arrow::schema({arrow::field("mark", mark->type())}),
                                                 batch.rows(), arrow::ArrayVector{mark});
    FZ_ASSIGN(const auto marks, TakeRows(column, which, pool_));
    made.marks = marks->column(0);
  }
  return made;
}

// One call for all groups, whose entries may be changed.
Status KeyedFunction::call(Call what, const Rows& rows, const std::vector<Entry*>& groups) {
  FZ_ASSIGN(const auto asked, request(what, rows, groups));
  const auto answer = function_(asked);
  if (!answer.ok()) return located(answer.status());
  FZ_TRY(take(**answer, groups));
  bytes_.store(states_->bytes(), std::memory_order_relaxed);
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> KeyedFunction::request(Call what, const Rows& rows,
                                                                   const std::vector<Entry*>& groups) const {
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  const auto add = [&](const char* name, std::shared_ptr<arrow::Array> column) {
    fields.push_back(arrow::field(name, column->type()));
    columns.push_back(std::move(column));
  };
  const auto add_list = [&](const char* name, const std::shared_ptr<arrow::Array>& values,
                            const std::shared_ptr<arrow::DataType>& type) -> Status {
    if (values != nullptr) {
      add(name, OneList(values));
      return Status::OK();
    }
    FZ_ASSIGN(auto none, arrow::MakeArrayOfNull(arrow::list(type), 1, pool_));
    add(name, std::move(none));
    return Status::OK();
  };
  FZ_ASSIGN(auto kind, arrow::MakeArrayFromScalar(arrow::Int8Scalar(what), 1, pool_));
  add("what", std::move(kind));
  add("instance", Numbers({instance_}));
  add("until", Numbers({what == kRows ? promise_ : due_}));
  add("clock", Numbers({now_}));
  add("over", Numbers({over() ? 1 : 0}));
  std::shared_ptr<arrow::Array> given;
  if (rows.rows != nullptr) {
    given = std::make_shared<arrow::StructArray>(arrow::struct_(input_->fields()), rows.rows->num_rows(),
                                                 rows.rows->columns());
  }
  FZ_TRY(add_list("rows", given, arrow::struct_(input_->fields())));
  add("offsets", OneList(std::make_shared<arrow::Int32Array>(static_cast<int64_t>(rows.offsets.size()),
                                                             arrow::Buffer::FromVector(rows.offsets))));
  FZ_TRY(add_list("times", rows.times, arrow::int64()));
  FZ_TRY(add_list("marks", rows.marks, arrow::fixed_size_binary(kOrderBytes)));
  FZ_ASSIGN(const arrow::ArrayVector of_keys, this->of_keys(groups));
  add("keys", OneList(of_keys[0]));
  add("states", OneList(of_keys[1]));
  FZ_ASSIGN(const auto timers, timers_of(KeyStates::kOfTime, groups));
  add("timers", OneList(timers));
  if (by_clock_) {
    FZ_ASSIGN(const auto clock_timers, timers_of(KeyStates::kOfClock, groups));
    add("clock_timers", OneList(clock_timers));
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), 1, std::move(columns));
}

// Keys and states of the groups.
Result<arrow::ArrayVector> KeyedFunction::of_keys(const std::vector<Entry*>& groups) const {
  const auto count = static_cast<int64_t>(groups.size());
  std::vector<std::string_view> names, states;
  for (const Entry* entry : groups) {
    names.push_back(states_->key(entry));
    states.push_back(states_->state(entry));
  }
  FZ_ASSIGN(const arrow::ArrayVector keys, keys_.codec().decode(names, pool_));
  FZ_ASSIGN(const arrow::ArrayVector values, codec_.decode(states, pool_));
  arrow::FieldVector key_fields;
  for (size_t i = 0; i < keys.size(); ++i) key_fields.push_back(arrow::field(key_names_[i], keys[i]->type()));
  return arrow::ArrayVector{
      std::make_shared<arrow::StructArray>(arrow::struct_(std::move(key_fields)), count, keys),
      std::make_shared<arrow::StructArray>(arrow::struct_(codec_.fields()), count, values)};
}

Result<std::shared_ptr<arrow::Array>> KeyedFunction::timers_of(KeyStates::Timers kind,
                                                               const std::vector<Entry*>& groups) const {
  auto times = std::make_shared<arrow::Int64Builder>(pool_);
  arrow::ListBuilder timers(pool_, times, TimersType());
  for (const Entry* entry : groups) {
    FZ_TRY(timers.Append());
    FZ_TRY(times->AppendValues(states_->timers(kind, entry)));
  }
  return timers.Finish();
}

Status KeyedFunction::take(const arrow::RecordBatch& answer, const std::vector<Entry*>& groups) {
  FZ_ASSIGN(const auto rows, ListOf(answer, "rows", *arrow::struct_(output_->fields()), -1));
  FZ_TRY(take_states(answer, groups));
  FZ_CHECK(made_ == nullptr);
  if (rows->length() > 0) {
    arrow::ArrayVector columns;
    for (int i = 0; i < rows->num_fields(); ++i) {
      columns.push_back(static_cast<const arrow::StructArray&>(*rows).field(i));
    }
    made_ = arrow::RecordBatch::Make(output_, rows->length(), std::move(columns));
  }
  return Status::OK();
}

Status KeyedFunction::take_states(const arrow::RecordBatch& answer, const std::vector<Entry*>& groups) {
  const auto count = static_cast<int64_t>(groups.size());
  FZ_ASSIGN(const auto states, ListOf(answer, "states", *arrow::struct_(codec_.fields()), count));
  FZ_ASSIGN(const auto timers, ListOf(answer, "timers", *TimersType(), count));
  std::shared_ptr<arrow::Array> clock_timers;
  if (by_clock_) {
    FZ_ASSIGN(clock_timers, ListOf(answer, "clock_timers", *TimersType(), count));
  }
  FZ_ASSIGN(const auto what, ListOf(answer, "what", *arrow::uint8(), count));
  arrow::ArrayVector values;
  for (int i = 0; i < states->num_fields(); ++i) {
    values.push_back(static_cast<const arrow::StructArray&>(*states).field(i));
  }
  std::string bytes;
  for (int64_t i = 0; i < count; ++i) {
    Entry* entry = groups[static_cast<size_t>(i)];
    const uint8_t outcome = static_cast<const arrow::UInt8Array&>(*what).Value(i);
    if (outcome == kForget) {
      FZ_TRY(states_->erase(entry));
    } else if (outcome == kAssign) {
      bytes.clear();
      FZ_TRY(codec_.encode(values, i, &bytes));
      const auto of_time = TimesOf(timers, i), of_clock = TimesOf(clock_timers, i);
      const auto timer_count = static_cast<int64_t>(of_time.size() + of_clock.size());
      if (static_cast<int64_t>(bytes.size()) > kKeyStateBytes || timer_count > kKeyTimers) {
        return NamedError("UdfError",
                          "calling " + reference_ + ": a key has " + std::to_string(bytes.size()) +
                              " bytes of state and " + std::to_string(timer_count) + " timers; up to " +
                              std::to_string(kKeyStateBytes) + " and " + std::to_string(kKeyTimers) +
                              "\nkeep less of each key, or give it on as rows");
      }
      FZ_TRY(states_->assign(entry, of_time, of_clock, bytes));
    } else if (entry->bytes == nullptr) {
      return Error(ErrorKind::kInternal, "an answer keeps a key that has no state");
    }
  }
  return Status::OK();
}

Result<Progress> KeyedFunction::advance(int, Timestamp to, Output& out) {
  due_ = std::max(due_, to);
  if (over()) clock_due_ = kWatermarkMax;
  now_ = clock_->now();
  return emit(out);
}

Result<Progress> KeyedFunction::tick(Timestamp now, Output& out) {
  clock_due_ = std::max(clock_due_, now + 1);
  now_ = now;
  return emit(out);
}

Result<Progress> KeyedFunction::emit(Output& out) {
  while (true) {
    for (; made_ != nullptr && given_ < made_->num_rows(); given_ += limits::kBatchRows) {
      if (given_ > 0 && out.full()) return Progress::kMore;
      FZ_TRY(out.push(Batch{made_->Slice(given_, limits::kBatchRows), {}, nullptr}));
    }
    made_ = nullptr;
    given_ = 0;
    if (out.full() && has_more()) return Progress::kMore;
    FZ_ASSIGN(const bool called, call_due());
    if (!called) break;
  }
  promise_ = std::max(promise_, due_);
  clock_due_ = kWatermarkMin;
  return Progress::kDone;
}

bool KeyedFunction::has_more() const {
  if (states_->has_due(KeyStates::kOfClock, clock_due_)) return true;
  return states_->has_due(KeyStates::kOfTime, due_) || (due_ == kWatermarkMax && ends_ && !end_called_);
}

Result<bool> KeyedFunction::call_due() {
  if (!has_more()) return false;
  for (const auto& [what, kind, until] :
       {std::tuple(kClock, KeyStates::kOfClock, clock_due_), std::tuple(kTimers, KeyStates::kOfTime, due_)}) {
    const std::vector<Entry*> due = states_->due(kind, until, kKeysOfCall);
    if (due.empty()) continue;
    FZ_TRY(states_->touch(due));
    FZ_TRY(call(what, {}, due));
    return true;
  }
  while (!ending_.done) {
    const std::vector<Entry*> some = states_->scan(&ending_, static_cast<int64_t>(kKeysOfCall));
    if (some.empty()) continue;
    FZ_TRY(states_->touch(some));
    FZ_TRY(call(kEnd, {}, some));
    return true;
  }
  end_called_ = true;
  return false;
}

// The place of a row that an order mark says; "" if it is that of a row which was computed.
std::string KeyedFunction::place_of(std::string_view mark) const {
  for (int source = 0; partitions_ != nullptr && source < kNodesMax; ++source) {
    if (partitions_->name(source, -1).empty()) continue;
    for (int32_t ordinal = 0;; ++ordinal) {
      const std::string name = partitions_->name(source, ordinal);
      if (name.empty()) break;
      Origin origin;
      origin.source = source;
      origin.partition = ordinal;
      if (mark.starts_with(Hex(PartitionHash(origin, partitions_)))) {
        return ", read from " + name + "@" +
               std::to_string(std::stoull(std::string(mark.substr(16)), nullptr, 16));
      }
    }
  }
  return "";
}

// An error of the function says which row by its order mark; in place of that comes where the row was read.
Status KeyedFunction::located(const Status& error) const {
  std::string text = MessageOf(error);
  const size_t at = text.rfind(kRowToken);
  const size_t size = kRowToken.size() + 2 * kOrderBytes + 1;
  if (at != std::string::npos && at + size <= text.size()) {
    const std::string mark = text.substr(at + kRowToken.size(), 2 * kOrderBytes);
    if (mark.find_first_not_of("0123456789abcdef") == std::string::npos) {
      text.replace(at, size, place_of(mark));
    }
  }
  return Prefixed(NamedError(NameOf(error), text), "calling " + reference_);
}

Status KeyedFunction::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_TRY(states_->restore(*rows));
  bytes_.store(states_->bytes(), std::memory_order_relaxed);
  return Status::OK();
}

}  // namespace frazil
