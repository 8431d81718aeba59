#include "connector/iceberg/rest_columns.h"

#include <arrow/api.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/batch.h"

namespace frazil::iceberg {
namespace {

using Kind = RestValue::Kind;

constexpr size_t kShownBytes = 60;                  // of a value in an error
constexpr int64_t kExactDouble = int64_t{1} << 53;  // integers up to here are doubles
constexpr int64_t kExactFloat = int64_t{1} << 24;   // and floats

const std::string& PolicyOf(const std::map<std::string, std::string>& policies, const std::string& name) {
  static const std::string kStop = "stop";
  auto found = policies.find(name);
  if (found == policies.end()) found = policies.find("*");
  return found == policies.end() ? kStop : found->second;
}

// The type of a column for a value; empty: there is none.
std::string TypeOf(const RestValue& value) {
  switch (value.kind) {
    case Kind::kBool:
      return "boolean";
    case Kind::kLong:
      return "long";
    case Kind::kDouble:
      return "double";
    case Kind::kString:
    case Kind::kJson:
      return "string";
    default:
      return "";
  }
}

std::string Shown(std::string_view value) {
  if (value.size() <= kShownBytes) return std::string(value);
  size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xc0) == 0x80) --end;  // not inside a character
  return std::string(value.substr(0, end)) + "...";
}

Result<std::map<std::string, std::string>> ReadPolicies(const nlohmann::json& drift, const char* name) {
  std::map<std::string, std::string> policies;
  const nlohmann::json given = drift.value(name, nlohmann::json::object());
  for (const auto& [column, policy] : given.items()) {
    if (!policy.is_string()) {
      return Error(ErrorKind::kConfig, std::string("reading drift: ") + name + ": expected words");
    }
    policies[column] = policy.get<std::string>();
  }
  return policies;
}

}  // namespace

Result<std::shared_ptr<const RestPolicies>> ParseRestPolicies(const nlohmann::json& options) {
  const auto drift = options.find("drift");
  if (drift == options.end() || !drift->is_object() || !drift->contains("expand")) return nullptr;
  auto policies = std::make_shared<RestPolicies>();
  if (!drift->at("expand").is_string() ||
      !drift->value("columns_max", nlohmann::json()).is_number_integer()) {
    return Error(ErrorKind::kConfig, "reading drift: expected a column in expand, a number in columns_max");
  }
  policies->column = drift->at("expand").get<std::string>();
  policies->columns_max = drift->at("columns_max").get<int64_t>();
  FZ_ASSIGN(policies->fresh, ReadPolicies(*drift, "on_new_column"));
  FZ_ASSIGN(policies->wider, ReadPolicies(*drift, "on_wider_type"));
  FZ_ASSIGN(policies->conflict, ReadPolicies(*drift, "on_type_conflict"));
  return policies;
}

// A column of the table that fields may go into, and its values of the batch at hand.
class RestColumns::Target {
 public:
  Target(std::shared_ptr<arrow::DataType> type, arrow::MemoryPool* pool)
      : type_(std::move(type)), pool_(pool) {}

  const arrow::DataType& type() const { return *type_; }
  bool used() const { return builder_ != nullptr; }
  void forget() { builder_.reset(); }

  static bool within(int64_t integer, int64_t most) { return integer >= -most && integer <= most; }

  // Whether the column holds exactly this value.
  bool fits(const RestValue& value) const {
    switch (type_->id()) {
      case arrow::Type::BOOL:
        return value.kind == Kind::kBool;
      case arrow::Type::INT32:
        return value.kind == Kind::kLong && value.integer >= INT32_MIN && value.integer <= INT32_MAX;
      case arrow::Type::INT64:
        return value.kind == Kind::kLong;
      case arrow::Type::FLOAT:
        if (value.kind == Kind::kLong) return within(value.integer, kExactFloat);
        return value.kind == Kind::kDouble && std::abs(value.number) <= std::numeric_limits<float>::max() &&
               static_cast<double>(static_cast<float>(value.number)) == value.number;
      case arrow::Type::DOUBLE:
        if (value.kind == Kind::kLong) return within(value.integer, kExactDouble);
        return value.kind == Kind::kDouble;
      case arrow::Type::STRING:
        return value.kind == Kind::kString || value.kind == Kind::kJson;
      default:
        return false;
    }
  }

  // The type to which Iceberg widens the column so that it holds the value; empty: none.
  std::string wider(const RestValue& value) const {
    if (type_->id() == arrow::Type::INT32 && value.kind == Kind::kLong) return "long";
    if (type_->id() != arrow::Type::FLOAT) return "";
    const bool exact =
        value.kind == Kind::kDouble || (value.kind == Kind::kLong && within(value.integer, kExactDouble));
    return exact ? "double" : "";
  }

  Status put(const RestValue& value, int64_t row) {
    if (builder_ == nullptr) {
      FZ_ASSIGN(builder_, arrow::MakeBuilder(type_, pool_));
    }
    FZ_TRY(builder_->AppendNulls(row - builder_->length()));
    const double number = value.kind == Kind::kLong ? static_cast<double>(value.integer) : value.number;
    switch (type_->id()) {
      case arrow::Type::BOOL:
        return static_cast<arrow::BooleanBuilder&>(*builder_).Append(value.boolean);
      case arrow::Type::INT32:
        return static_cast<arrow::Int32Builder&>(*builder_).Append(static_cast<int32_t>(value.integer));
      case arrow::Type::INT64:
        return static_cast<arrow::Int64Builder&>(*builder_).Append(value.integer);
      case arrow::Type::FLOAT:
        return static_cast<arrow::FloatBuilder&>(*builder_).Append(static_cast<float>(number));
      case arrow::Type::DOUBLE:
        return static_cast<arrow::DoubleBuilder&>(*builder_).Append(number);
      default:
        return static_cast<arrow::StringBuilder&>(*builder_).Append(value.text);
    }
  }

  Result<std::shared_ptr<arrow::Array>> finish(int64_t rows) {
    FZ_TRY(builder_->AppendNulls(rows - builder_->length()));
    return std::exchange(builder_, nullptr)->Finish();
  }

 private:
  std::shared_ptr<arrow::DataType> type_;
  arrow::MemoryPool* pool_;
  std::unique_ptr<arrow::ArrayBuilder> builder_;  // null: no row has a value
};

RestColumns::RestColumns(std::shared_ptr<const RestPolicies> policies, const arrow::Schema* table,
                         std::string reserved, bool rows_go, arrow::MemoryPool* pool)
    : policies_(std::move(policies)), reserved_(std::move(reserved)), rows_go_(rows_go), pool_(pool) {
  if (table != nullptr) table_ = std::make_shared<arrow::Schema>(table->fields());
}

RestColumns::~RestColumns() = default;

Status RestColumns::answer(const arrow::Schema& table, const nlohmann::json& options) {
  table_ = std::make_shared<arrow::Schema>(table.fields());
  stream_.reset();
  try {
    for (const auto& pair : options.value("answered", nlohmann::json::array())) {
      const auto name = pair.at(0).get<std::string>();
      answered_.insert({name, pair.at(1).get<std::string>()});
      std::erase_if(asked_, [&](const auto& asked) { return asked.first == name; });
    }
    const nlohmann::json refused = options.value("refused", nlohmann::json::object());
    for (const auto& [name, why] : refused.items()) {
      refused_[name] = why.get<std::string>();
    }
    full_ = options.value("full", "");
  } catch (const nlohmann::json::exception& error) {
    return Error(ErrorKind::kInternal, std::string("reading which columns were made: ") + error.what());
  }
  if (full_.empty() && refused_.size() > kRefusedNames) {
    full_ = "more than " + std::to_string(kRefusedNames) + " fields can have no column";
  }
  return Status::OK();
}

bool RestColumns::Nothing(const RestPolicies& policies, const arrow::RecordBatch& rows) {
  const auto rest = rows.GetColumnByName(policies.column);
  return rest == nullptr || rest->null_count() == rest->length();
}

// Looks which columns of the table are not the stream's.
Status RestColumns::plan(const arrow::RecordBatch& rows) {
  if (stream_ != nullptr && (stream_ == rows.schema() || stream_->Equals(*rows.schema(), false))) {
    return Status::OK();
  }
  if (rows.GetColumnByName(policies_->column)->type_id() != arrow::Type::STRING) {
    return Error(ErrorKind::kUser,
                 "writing the fields of column \"" + policies_->column + "\": it is no text");
  }
  stream_ = rows.schema();
  targets_.clear();
  streams_.clear();
  for (const auto& field : stream_->fields()) streams_.insert(field->name());
  if (!reserved_.empty()) streams_.insert(reserved_);
  if (table_ == nullptr) return Status::OK();
  for (const auto& field : table_->fields()) {
    if (streams_.contains(field->name())) continue;
    targets_.emplace(field->name(), std::make_unique<Target>(field->type(), pool_));
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> RestColumns::unpack(
    const std::shared_ptr<arrow::RecordBatch>& rows, WantedColumns* wanted) {
  if (Nothing(*policies_, *rows)) return rows;
  FZ_TRY(plan(*rows));
  const int column = rows->schema()->GetFieldIndex(policies_->column);
  const auto& rest = static_cast<const arrow::StringArray&>(*rows->column(column));
  const auto kinds = rows_go_ ? rows->GetColumnByName(std::string(kKindColumn)) : nullptr;
  const auto goes = [&](int64_t row) {
    if (kinds == nullptr) return false;
    const auto kind = static_cast<RowKind>(static_cast<const arrow::UInt8Array&>(*kinds).Value(row));
    return kind == RowKind::kDelete || kind == RowKind::kUpdateBefore;
  };
  for (auto& [name, target] : targets_) target->forget();
  wanted_.clear();
  arrow::StringBuilder left(pool_);
  bool waits = false;
  std::string text;
  for (int64_t row = 0; row < rows->num_rows(); ++row) {
    if (rest.IsNull(row) || goes(row)) {
      FZ_TRY(left.AppendNull());
      continue;
    }
    FZ_ASSIGN(const bool whole, unpack_row(rest.GetView(row), row, &text));
    waits |= !whole;
    FZ_TRY(text.empty() ? left.AppendNull() : left.Append(text));
  }
  if (waits) {
    *wanted = std::exchange(wanted_, {});
    asked_.insert(wanted->begin(), wanted->end());
    return nullptr;
  }
  FZ_ASSIGN(auto kept, left.Finish());
  FZ_ASSIGN(auto unpacked, rows->SetColumn(column, rows->schema()->field(column), std::move(kept)));
  for (const auto& field : table_ == nullptr ? arrow::FieldVector() : table_->fields()) {
    const auto target = targets_.find(field->name());
    if (target == targets_.end() || !target->second->used()) continue;
    FZ_ASSIGN(auto values, target->second->finish(rows->num_rows()));
    FZ_ASSIGN(unpacked, unpacked->AddColumn(unpacked->num_columns(),
                                            arrow::field(field->name(), field->type()), std::move(values)));
  }
  return unpacked;
}

// False if a field of the row waits for its column. Of a name that comes twice the last one counts.
Result<bool> RestColumns::unpack_row(std::string_view text, int64_t row, std::string* left) {
  left->clear();
  if (!MembersOf(text, &members_)) {  // not of our decoder: it is what it is
    *left = text;
    return true;
  }
  last_.clear();
  names_.clear();
  for (size_t i = 0; i < members_.size(); ++i) {
    names_.push_back(TextOf(members_[i].key));
    if (names_.back()) last_[*names_.back()] = i;
  }
  bool whole = true;
  for (size_t i = 0; i < members_.size(); ++i) {
    Place place = Place::kLeft;
    if (names_[i]) {
      if (last_[*names_[i]] != i) continue;
      FZ_ASSIGN(place, put(*names_[i], members_[i].value, row));
    }
    whole &= place != Place::kWaits;
    if (place != Place::kLeft) continue;
    *left += left->empty() ? '{' : ',';
    *left += members_[i].whole;
  }
  if (!left->empty()) *left += '}';
  return whole;
}

Result<RestColumns::Place> RestColumns::put(const std::string& name, std::string_view text, int64_t row) {
  if (streams_.contains(name)) return Place::kLeft;
  const RestValue value = ValueOf(text);
  const auto found = targets_.find(name);
  if (found == targets_.end()) return no_column(name, value, text);
  Target& target = *found->second;
  if (value.kind == Kind::kNull) return Place::kTaken;
  if (target.fits(value)) {
    FZ_TRY(target.put(value, row));
    return Place::kTaken;
  }
  const std::string wider = target.wider(value);
  if (!wider.empty() && PolicyOf(policies_->wider, name) == "evolve" && !answered_.contains({name, wider})) {
    return want(name, wider);
  }
  return conflict(name, text, "the table has " + target.type().ToString());
}

Result<RestColumns::Place> RestColumns::no_column(const std::string& name, const RestValue& value,
                                                  std::string_view text) {
  const std::string& policy = PolicyOf(policies_->fresh, name);
  if (policy == "ignore") return Place::kLeft;
  if (policy != "evolve") {
    return Error(ErrorKind::kUser, "writing field \"" + name + "\" of column \"" + policies_->column +
                                       "\": the table has no column for it; on_new_column=\"evolve\" adds "
                                       "one, \"ignore\" leaves it in \"" +
                                       policies_->column + "\"");
  }
  if (value.kind == Kind::kNull) return Place::kTaken;
  const std::string type = TypeOf(value);
  if (type.empty()) return conflict(name, text, "no column holds such a number");
  if (name.size() > kColumnNameBytes) {
    return conflict(name, text, "names of columns have up to " + std::to_string(kColumnNameBytes) + " bytes");
  }
  if (const auto why = refused_.find(name); why != refused_.end()) return conflict(name, text, why->second);
  if (!full_.empty()) return conflict(name, text, full_);
  return want(name, type);
}

// Has a column asked for, in the widest type that the batch needs; of types that have none in common the
// first one. Past columns_max no more are asked for: the table would have too many.
RestColumns::Place RestColumns::want(const std::string& name, const std::string& type) {
  if (asked_.contains({name, type}) || static_cast<int64_t>(wanted_.size()) > policies_->columns_max) {
    return Place::kWaits;
  }
  std::string& known = wanted_[name];
  if (known.empty() || (known == "long" && type == "double")) known = type;
  return Place::kWaits;
}

Result<RestColumns::Place> RestColumns::conflict(const std::string& name, std::string_view text,
                                                 const std::string& why) {
  if (PolicyOf(policies_->conflict, name) == "ignore") return Place::kLeft;
  return Error(ErrorKind::kUser, "writing field \"" + Shown(name) + "\" of column \"" + policies_->column +
                                     "\": " + why + ", got " + Shown(text) +
                                     "; on_type_conflict=\"ignore\" leaves it in \"" + policies_->column +
                                     "\"");
}

}  // namespace frazil::iceberg
