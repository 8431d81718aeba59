// What a user's function aggregates: the state of a group is bytes, and each call has many groups.
#include "aggregate/user_aggregate.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/schema_text.h"
#include "state/key_codec.h"
#include "state/row_codec.h"

namespace frazil {
namespace {

constexpr char kVersion = 1;

struct Functions {
  std::mutex mutex;
  std::map<std::string, UserFunction> by_name;
};

Functions& AllFunctions() {
  static Functions functions;
  return functions;
}

struct State {
  char* bytes = nullptr;  // none before the first value
  int64_t size = 0;

  std::string_view view() const { return {bytes, static_cast<size_t>(size)}; }
  void assign(std::string_view value) {
    delete[] std::exchange(bytes, nullptr);
    size = static_cast<int64_t>(value.size());
    if (value.empty()) return;
    bytes = new char[value.size()];
    std::memcpy(bytes, value.data(), value.size());
  }
};
static_assert(sizeof(State) == 16);

State& At(std::byte* acc, int32_t offset) { return *reinterpret_cast<State*>(acc + offset); }
const State& At(const std::byte* acc, int32_t offset) {
  return *reinterpret_cast<const State*>(acc + offset);
}

// A list of all values, as the only one of its array.
std::shared_ptr<arrow::Array> OneList(const std::shared_ptr<arrow::Array>& values) {
  const std::vector<int32_t> offsets = {0, static_cast<int32_t>(values->length())};
  return std::make_shared<arrow::ListArray>(arrow::list(arrow::field("element", values->type())), 1,
                                            arrow::Buffer::FromVector(offsets), values);
}

// Rows of a call by the accumulator they belong to.
struct Groups {
  std::vector<State*> states;
  std::vector<int32_t> offsets, rows;  // rows: in the order of the groups
};

Groups GroupsOf(std::span<std::byte* const> accs, int32_t offset) {
  Groups groups;
  std::unordered_map<const std::byte*, int32_t> numbers;
  std::vector<int32_t> counts, of_row;
  for (std::byte* acc : accs) {
    if (acc == nullptr) {
      of_row.push_back(-1);
      continue;
    }
    const auto [found, added] = numbers.emplace(acc, static_cast<int32_t>(groups.states.size()));
    if (added) {
      groups.states.push_back(&At(acc, offset));
      counts.push_back(0);
    }
    of_row.push_back(found->second);
    ++counts[static_cast<size_t>(found->second)];
  }
  groups.offsets.assign(1, 0);
  for (const int32_t count : counts) groups.offsets.push_back(groups.offsets.back() + count);
  std::vector<int32_t> next(groups.offsets.begin(), groups.offsets.end() - 1);
  groups.rows.resize(static_cast<size_t>(groups.offsets.back()));
  for (size_t i = 0; i < of_row.size(); ++i) {
    if (of_row[i] < 0) continue;
    groups.rows[static_cast<size_t>(next[static_cast<size_t>(of_row[i])]++)] = static_cast<int32_t>(i);
  }
  return groups;
}

class UserAggregate : public Aggregate {
 public:
  UserAggregate(std::string name, RowCodec codec, std::shared_ptr<arrow::Field> result, UserFunction function)
      : name_(std::move(name)),
        codec_(std::move(codec)),
        result_(std::move(result)),
        function_(std::move(function)) {
    const std::string type = codec_.fields().front()->type()->ToString();
    tag_ = static_cast<uint32_t>(HashKey(type));
  }

  int32_t width() const override { return sizeof(State); }
  void create(std::byte* acc) const override { new (acc) State(); }
  void destroy(std::byte* acc) const override { At(acc, 0).assign({}); }
  int64_t heap_bytes(const std::byte* acc) const override { return At(acc, 0).size; }
  std::shared_ptr<arrow::DataType> saved_type() const override { return arrow::binary(); }
  std::shared_ptr<arrow::DataType> result_type() const override { return result_->type(); }
  bool result_nullable() const override { return result_->nullable(); }

  Status add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
             const AggregateRows&, AggregateEffects* effects) const override;
  Result<std::shared_ptr<arrow::Array>> save(std::span<const std::byte* const> accs, int32_t offset,
                                             arrow::MemoryPool* pool) const override;
  Status merge(std::span<std::byte* const> into, int32_t offset, const arrow::Array& saved,
               AggregateEffects* effects) const override;
  Result<std::shared_ptr<arrow::Array>> finish(std::span<const std::byte* const> accs, int32_t offset,
                                               arrow::MemoryPool* pool, AggregateEffects*) const override;

 private:
  struct Rows {
    std::vector<int32_t> offsets;
    std::shared_ptr<arrow::Array> values;  // structs
  };
  Result<std::shared_ptr<arrow::Array>> structs(const std::vector<std::string_view>& states) const;
  Result<std::shared_ptr<arrow::Array>> call(UserCall what, const std::vector<std::string_view>& states,
                                             const Rows& rows) const;
  Status assign(const std::vector<State*>& states, const arrow::Array& made, AggregateEffects* effects) const;
  Result<std::string_view> read(const arrow::BinaryArray& saved, int64_t row) const;

  const std::string name_;
  const RowCodec codec_;
  const std::shared_ptr<arrow::Field> result_;
  const UserFunction function_;
  uint32_t tag_;  // of the type of the state
};

Result<std::shared_ptr<arrow::Array>> UserAggregate::structs(
    const std::vector<std::string_view>& states) const {
  FZ_ASSIGN(arrow::ArrayVector columns, codec_.decode(states, arrow::default_memory_pool()));
  return std::make_shared<arrow::StructArray>(arrow::struct_(codec_.fields()),
                                              static_cast<int64_t>(states.size()), std::move(columns));
}

Result<std::shared_ptr<arrow::Array>> UserAggregate::call(UserCall what,
                                                          const std::vector<std::string_view>& states,
                                                          const Rows& rows) const {
  if (function_ == nullptr) return Error(ErrorKind::kInternal, name_ + " is not there");
  FZ_ASSIGN(const auto given, structs(states));
  FZ_ASSIGN(const auto kind, arrow::MakeArrayFromScalar(arrow::Int8Scalar(what), 1));
  arrow::FieldVector fields = {arrow::field("what", arrow::int8())};
  arrow::ArrayVector columns = {kind};
  const auto add = [&](const char* name, const std::shared_ptr<arrow::Array>& values) {
    columns.push_back(OneList(values));
    fields.push_back(arrow::field(name, columns.back()->type()));
  };
  add("states", given);
  add("offsets", std::make_shared<arrow::Int32Array>(static_cast<int64_t>(rows.offsets.size()),
                                                     arrow::Buffer::FromVector(rows.offsets)));
  if (rows.values != nullptr) add(what == kUserAdd ? "rows" : "others", rows.values);
  FZ_ASSIGN(const auto answer, function_(arrow::RecordBatch::Make(arrow::schema(fields), 1, columns)));
  const bool finished = what == kUserFinish;
  const auto column = answer->GetColumnByName(finished ? "results" : "states");
  if (answer->num_rows() != 1 || column == nullptr || column->type_id() != arrow::Type::LIST) {
    return Error(ErrorKind::kInternal, name_ + ": an answer without a list");
  }
  auto values = static_cast<const arrow::ListArray&>(*column).value_slice(0);
  const auto wanted = finished ? result_->type() : arrow::struct_(codec_.fields());
  if (!values->type()->Equals(*wanted) || values->length() != static_cast<int64_t>(states.size())) {
    return Error(ErrorKind::kInternal, name_ + ": an answer of " + values->type()->ToString());
  }
  return values;
}

Status UserAggregate::assign(const std::vector<State*>& states, const arrow::Array& made,
                             AggregateEffects* effects) const {
  const auto& column = static_cast<const arrow::StructArray&>(made).field(0);
  std::string bytes;
  for (size_t i = 0; i < states.size(); ++i) {
    bytes.clear();
    // Null: no row was taken.
    if (column->IsValid(static_cast<int64_t>(i))) {
      FZ_TRY(codec_.encode({column}, static_cast<int64_t>(i), &bytes));
    }
    if (static_cast<int64_t>(bytes.size()) > kGroupBytesMax) {
      return Error(ErrorKind::kUser, name_ + ": the state of a group has " + std::to_string(bytes.size()) +
                                         " bytes, up to " + std::to_string(kGroupBytesMax));
    }
    effects->heap_bytes += static_cast<int64_t>(bytes.size()) - states[i]->size;
    states[i]->assign(bytes);
  }
  return Status::OK();
}

Status UserAggregate::add(std::span<std::byte* const> accs, int32_t offset, const arrow::ArrayVector& inputs,
                          const AggregateRows&, AggregateEffects* effects) const {
  Groups groups = GroupsOf(accs, offset);
  if (groups.states.empty()) return Status::OK();
  const arrow::Int32Array which(static_cast<int64_t>(groups.rows.size()),
                                arrow::Buffer::FromVector(groups.rows));
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  for (const auto& input : inputs) {
    FZ_ASSIGN(columns.emplace_back(),
              arrow::compute::Take(*input, which, arrow::compute::TakeOptions::NoBoundsCheck()));
    fields.push_back(arrow::field("a" + std::to_string(fields.size()), input->type()));
  }
  std::vector<std::string_view> states;
  for (const State* state : groups.states) states.push_back(state->view());
  const auto rows = std::make_shared<arrow::StructArray>(arrow::struct_(fields), which.length(), columns);
  FZ_ASSIGN(const auto made, call(kUserAdd, states, {std::move(groups.offsets), rows}));
  return assign(groups.states, *made, effects);
}

Result<std::shared_ptr<arrow::Array>> UserAggregate::save(std::span<const std::byte* const> accs,
                                                          int32_t offset, arrow::MemoryPool* pool) const {
  arrow::BinaryBuilder builder(pool);
  std::string bytes;
  for (const std::byte* acc : accs) {
    bytes.assign(1, kVersion);
    bytes.append(reinterpret_cast<const char*>(&tag_), sizeof(tag_));
    bytes.append(At(acc, offset).view());
    FZ_TRY(builder.Append(bytes));
  }
  return builder.Finish();
}

Result<std::string_view> UserAggregate::read(const arrow::BinaryArray& saved, int64_t row) const {
  std::string_view bytes = saved.IsNull(row) ? std::string_view() : saved.GetView(row);
  uint32_t tag = 0;
  if (bytes.size() < 1 + sizeof(tag) || bytes[0] != kVersion) {
    return Error(ErrorKind::kState,
                 "reading the state of " + name_ + ": the state is damaged or of another version");
  }
  std::memcpy(&tag, bytes.data() + 1, sizeof(tag));
  if (tag != tag_) {
    return Error(ErrorKind::kState, "reading the state of " + name_ + ": it is of another type than " +
                                        codec_.fields().front()->type()->ToString() +
                                        "; begin with a new checkpoint");
  }
  return bytes.substr(1 + sizeof(tag));
}

Status UserAggregate::merge(std::span<std::byte* const> into, int32_t offset, const arrow::Array& saved,
                            AggregateEffects* effects) const {
  if (saved.type_id() != arrow::Type::BINARY || saved.length() != static_cast<int64_t>(into.size())) {
    return Error(ErrorKind::kState, "reading the state of " + name_ + ": its type or length");
  }
  const auto& column = static_cast<const arrow::BinaryArray&>(saved);
  // The first state of an accumulator is taken as it is; only others have to be put together with it.
  std::vector<std::byte*> left(into.size(), nullptr);
  std::vector<std::string_view> others(into.size());
  for (size_t i = 0; i < into.size(); ++i) {
    if (into[i] == nullptr) continue;
    FZ_ASSIGN(others[i], read(column, static_cast<int64_t>(i)));
    if (others[i].empty()) continue;
    State& state = At(into[i], offset);
    if (state.bytes != nullptr) {
      left[i] = into[i];
      continue;
    }
    FZ_TRY(structs({others[i]}));  // it may be damaged
    state.assign(others[i]);
    effects->heap_bytes += state.size;
  }
  Groups groups = GroupsOf(left, offset);
  if (groups.states.empty()) return Status::OK();
  std::vector<std::string_view> states, sorted;
  for (const State* state : groups.states) states.push_back(state->view());
  for (const int32_t row : groups.rows) sorted.push_back(others[static_cast<size_t>(row)]);
  FZ_ASSIGN(const auto given, structs(sorted));
  FZ_ASSIGN(const auto made, call(kUserMerge, states, {std::move(groups.offsets), given}));
  return assign(groups.states, *made, effects);
}

Result<std::shared_ptr<arrow::Array>> UserAggregate::finish(std::span<const std::byte* const> accs,
                                                            int32_t offset, arrow::MemoryPool*,
                                                            AggregateEffects*) const {
  if (accs.empty()) return arrow::MakeEmptyArray(result_->type());
  std::vector<std::string_view> states;
  for (const std::byte* acc : accs) states.push_back(At(acc, offset).view());
  return call(kUserFinish, states, {});
}

Result<std::shared_ptr<arrow::Field>> TakeField(AggregateCall& call, const char* option) {
  const nlohmann::json text = call.take(option);
  if (!text.is_string()) return call.refused(option, "expected a schema");
  FZ_ASSIGN(const auto schema, ParseSchema(text.get<std::string>()));
  if (schema->num_fields() != 1) return call.refused(option, "expected a schema of one column");
  return schema->field(0);
}

}  // namespace

void SetUserFunction(const std::string& name, UserFunction function) {
  std::lock_guard lock(AllFunctions().mutex);
  AllFunctions().by_name[name] = std::move(function);
}

void DropUserFunction(const std::string& name) {
  UserFunction dropped;  // ends outside the lock
  std::lock_guard lock(AllFunctions().mutex);
  const auto found = AllFunctions().by_name.find(name);
  if (found == AllFunctions().by_name.end()) return;
  dropped = std::move(found->second);
  AllFunctions().by_name.erase(found);
}

Result<AggregatePtr> MakeUserAggregate(AggregateCall& call) {
  const nlohmann::json name = call.take("function");
  if (!name.is_string()) return call.refused("function", "expected a name");
  FZ_ASSIGN(auto state, TakeField(call, "state"));
  FZ_ASSIGN(auto result, TakeField(call, "result"));
  FZ_ASSIGN(RowCodec codec, RowCodec::Make({std::move(state)}));
  UserFunction function;
  {
    std::lock_guard lock(AllFunctions().mutex);
    const auto found = AllFunctions().by_name.find(name.get<std::string>());
    if (found != AllFunctions().by_name.end()) function = found->second;
  }
  return std::make_unique<UserAggregate>(name.get<std::string>(), std::move(codec), std::move(result),
                                         std::move(function));
}

}  // namespace frazil
