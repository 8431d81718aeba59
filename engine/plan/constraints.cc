#include "plan/constraints.h"

#include <arrow/api.h>
#include <arrow/util/utf8.h>

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connector/iceberg/conform.h"
#include "connector/iceberg/options.h"
#include "connector/iceberg/route_names.h"
#include "connector/iceberg/transforms.h"
#include "operator/changes/kinds.h"
#include "operator/filter.h"
#include "state/take_rows.h"

namespace frazil {
namespace {

using iceberg::Conformer;
using iceberg::ParseWriterOptions;
using iceberg::PartitionField;
using iceberg::RouteNames;
using iceberg::StorageSchema;
using iceberg::Transform;
using iceberg::WriterOptions;

constexpr size_t kReasonBytes = 1000;

// A message of bounded length. It may show a part of a value, and is UTF-8 all the same.
std::string Reason(const Status& status) {
  std::string text = MessageOf(status).substr(0, kReasonBytes);
  arrow::util::InitializeUTF8();
  if (arrow::util::ValidateUTF8(text)) return text;
  for (char& byte : text) {
    if (static_cast<unsigned char>(byte) >= 0x80) byte = '?';
  }
  return text;
}

using Failures = std::map<int64_t, Failure>;  // by row

// A column, or what is inside of it.
using Path = std::vector<std::string>;

// A table, as far as values are concerned.
struct Rules {
  std::string name;
  std::vector<std::string> required;   // columns that need a value in every row, deletes too
  std::vector<Path> set_aside;         // columns that the table does not take any value of
  std::optional<WriterOptions> table;  // not of many
  std::optional<RouteNames> routes;    // of many
};

Result<Rules> RulesOf(const nlohmann::json& json) {
  Rules rules;
  rules.name = json.value("name", "");
  rules.required = json.value("key", std::vector<std::string>());
  if (const auto order = json.find("order_by"); order != json.end() && order->is_string()) {
    rules.required.push_back(order->get<std::string>());
  }
  if (const auto route = json.find("route"); route != json.end()) {
    // How many tables there may be is for the sink to say: no single row is to blame for one more.
    nlohmann::json any = *route;
    any["tables_max"] = std::numeric_limits<int32_t>::max();
    FZ_ASSIGN(auto routes, RouteNames::Make(any));
    rules.routes.emplace(std::move(routes));
    return rules;
  }
  rules.set_aside = json.value("set_aside", std::vector<Path>());
  FZ_ASSIGN(auto options, ParseWriterOptions(json));
  FZ_ASSIGN(options.schema, StorageSchema(*options.schema));
  rules.table.emplace(std::move(options));
  return rules;
}

// Whether an array has a value where a path leads from it; `step` is the part of the path that comes next.
bool HasValue(const arrow::Array& array, int64_t row, const Path& path, size_t step) {
  if (array.IsNull(row)) return false;
  if (step == path.size()) return true;
  const auto any = [&](const arrow::Array& values, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (HasValue(values, i, path, step + 1)) return true;
    }
    return false;
  };
  const auto inside = [&](const auto& list) {
    return any(*list.values(), list.value_offset(row), list.value_offset(row) + list.value_length(row));
  };
  switch (array.type_id()) {
    case arrow::Type::STRUCT: {
      const auto member = static_cast<const arrow::StructArray&>(array).GetFieldByName(path[step]);
      return member != nullptr && HasValue(*member, row, path, step + 1);
    }
    case arrow::Type::LIST:
      return inside(static_cast<const arrow::ListArray&>(array));
    case arrow::Type::LARGE_LIST:
      return inside(static_cast<const arrow::LargeListArray&>(array));
    case arrow::Type::FIXED_SIZE_LIST:
      return inside(static_cast<const arrow::FixedSizeListArray&>(array));
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapArray&>(array);
      const auto values = path[step] == "key" ? map.keys() : map.items();
      return any(*values, map.value_offset(row), map.value_offset(row + 1));
    }
    default:
      return true;  // it is not known to be without one
  }
}

std::string Dotted(const Path& path) {
  std::string text;
  for (const std::string& part : path) text += (text.empty() ? "" : ".") + part;
  return text;
}

class Constraints : public FailingStep {
 public:
  Constraints(Rules rules, bool whole, std::unique_ptr<FailedRows> failed, arrow::MemoryPool* pool)
      : FailingStep(std::move(failed)), rules_(std::move(rules)), whole_(whole), pool_(pool) {
    if (rules_.table) {
      conformer_.emplace(rules_.table->schema, pool_, rules_.table->left_out, rules_.table->narrowed);
    }
  }

  Result<Progress> process(Batch batch, Output& out) override {
    Failures keyless;
    FZ_TRY(find_keyless(batch, &keyless));
    if (rules_.routes) FZ_TRY(find_nameless(batch, &keyless));
    Failures refused;
    FZ_TRY(find_refused(batch, keyless, &refused));
    FZ_ASSIGN(batch, kept(std::move(batch), keyless, refused));
    if (batch.rows() > 0) FZ_TRY(out.push(std::move(batch)));
    return Progress::kDone;
  }

 private:
  Status find_keyless(const Batch& batch, Failures* failures) const {
    for (const std::string& name : rules_.required) {
      const auto column = batch.columns->GetColumnByName(name);
      if (column == nullptr) return Error(ErrorKind::kInternal, "the rows have no column " + name);
      if (column->null_count() == 0) continue;
      for (int64_t row = 0; row < batch.rows(); ++row) {
        if (column->IsValid(row)) continue;
        failures->emplace(row, Failure{row, "no value, and the table knows rows by that column", name});
      }
    }
    return Status::OK();
  }

  // Rows whose values cannot be in the name of a table.
  Status find_nameless(const Batch& batch, Failures* failures) {
    std::vector<int32_t> tables;
    const auto attempt = [&](const arrow::RecordBatch& rows) { return rules_.routes->find(rows, &tables); };
    if (attempt(*batch.columns).ok()) return Status::OK();
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const Status status = attempt(*batch.columns->Slice(row, 1));
      if (status.ok()) continue;
      failures->emplace(row, Failure{row, Reason(status), ""});
    }
    return Status::OK();
  }

  // Rows that are new and that the table does not take. Of deletes only the key is written, or, where deleted
  // rows stay, what they bring.
  Status find_refused(const Batch& batch, const Failures& keyless, Failures* failures) {
    if (!rules_.table) return Status::OK();
    FZ_ASSIGN(const auto kinds, KindsOf(batch));
    std::vector<int32_t> which;
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const auto kind = kinds == nullptr ? RowKind::kInsert : static_cast<RowKind>(kinds->Value(row));
      const bool comes = kind == RowKind::kInsert || kind == RowKind::kUpdateAfter;
      if (comes && !keyless.contains(row)) which.push_back(static_cast<int32_t>(row));
    }
    auto rows = VisibleColumns(batch);
    if (static_cast<int64_t>(which.size()) != batch.rows()) {
      FZ_ASSIGN(rows, TakeRows(rows, which, pool_));
    }
    find_set_aside(*rows, which, failures);
    FZ_ASSIGN(rows, marked(std::move(rows)));
    if (taken(rows).ok()) return Status::OK();
    FZ_TRY(taken(rows->Slice(0, 0)));  // the columns themselves are wrong
    return halve(rows, 0, which, failures);
  }

  // Rows with a value that the table has no place for.
  void find_set_aside(const arrow::RecordBatch& rows, const std::vector<int32_t>& which,
                      Failures* failures) const {
    for (const Path& path : rules_.set_aside) {
      const auto column = rows.GetColumnByName(path.front());
      if (column == nullptr || column->null_count() == column->length()) continue;
      for (int64_t i = 0; i < rows.num_rows(); ++i) {
        if (!HasValue(*column, i, path, 1)) continue;
        const int64_t row = which[static_cast<size_t>(i)];
        const std::string name = Dotted(path);
        failures->emplace(row, Failure{row, "a value, and the table has no place for one", name});
      }
    }
  }

  // The column that says which rows are gone is the sink's own.
  Result<std::shared_ptr<arrow::RecordBatch>> marked(std::shared_ptr<arrow::RecordBatch> rows) const {
    const std::string& deleted = rules_.table->deleted;
    if (deleted.empty()) return rows;
    FZ_ASSIGN(auto no, arrow::MakeArrayFromScalar(arrow::BooleanScalar(false), rows->num_rows(), pool_));
    return rows->AddColumn(rows->num_columns(), deleted, std::move(no));
  }

  // What the writer does with rows before it has a file for them.
  Status taken(const std::shared_ptr<arrow::RecordBatch>& rows) {
    FZ_ASSIGN(const auto stored, conformer_->Conform(rows));
    for (const PartitionField& field : rules_.table->partition) {
      FZ_TRY(Transform(field.transform, field.param, stored->GetColumnByName(field.source), pool_));
    }
    return Status::OK();
  }

  Status halve(const std::shared_ptr<arrow::RecordBatch>& rows, size_t first,
               const std::vector<int32_t>& which, Failures* failures) {
    const Status status = taken(rows);
    if (status.ok() || status.IsOutOfMemory()) return status;
    if (rows->num_rows() == 1) {
      const int64_t row = which[first];
      failures->emplace(row, described(*rows, row, status));
      return Status::OK();
    }
    const int64_t half = rows->num_rows() / 2;
    FZ_TRY(halve(rows->Slice(0, half), first, which, failures));
    return halve(rows->Slice(half), first + static_cast<size_t>(half), which, failures);
  }

  Failure described(const arrow::RecordBatch& one, int64_t row, const Status& status) const {
    for (const auto& field : rules_.table->schema->fields()) {
      const auto column = one.GetColumnByName(field->name());
      if (field->nullable() || column == nullptr || column->IsValid(0)) continue;
      return {row, "null, and the table requires a value", field->name()};
    }
    const std::string reason = Reason(status);
    for (const std::string& name : rules_.table->narrowed) {
      if (reason.starts_with("writing column \"" + name + "\":")) return {row, reason, name};
    }
    return {row, reason, ""};
  }

  // The rows without those that nothing can be done with; then of changes the others as KeepChanges has them.
  Result<Batch> kept(Batch batch, const Failures& keyless, const Failures& refused) {
    if (keyless.empty() && refused.empty()) {
      FZ_TRY(failed_->take(batch, {}));
      return batch;
    }
    std::vector<Failure> all;
    Failures both = keyless;
    both.insert(refused.begin(), refused.end());
    for (auto& [row, failure] : both) {
      failure.reason.insert(0, rules_.name + ": ");  // by which a replay knows whose letters these are
      all.push_back(std::move(failure));
    }
    FZ_TRY(failed_->take(batch, all));
    std::vector<bool> keyed, fits;
    for (int64_t row = 0; row < batch.rows(); ++row) {
      keyed.push_back(!keyless.contains(row));
      if (keyed.back()) fits.push_back(!refused.contains(row));
    }
    FZ_ASSIGN(const auto with_key, MaskOf(keyed));
    FZ_ASSIGN(batch, KeepRows(batch, with_key, pool_));
    FZ_ASSIGN(const auto taken, MaskOf(fits));
    return KeepChanges(batch, taken, pool_, whole_);
  }

  static Result<std::shared_ptr<arrow::BooleanArray>> MaskOf(const std::vector<bool>& values) {
    arrow::BooleanBuilder builder;
    FZ_TRY(builder.AppendValues(values));
    FZ_ASSIGN(auto array, builder.Finish());
    return std::static_pointer_cast<arrow::BooleanArray>(array);
  }

  Rules rules_;
  const bool whole_;
  arrow::MemoryPool* const pool_;
  std::optional<Conformer> conformer_;
};

}  // namespace

Result<std::unique_ptr<Operator>> MakeConstraints(const nlohmann::json& table, bool whole,
                                                  std::unique_ptr<FailedRows> failed,
                                                  const OperatorContext& context) {
  FZ_ASSIGN(auto rules, RulesOf(table));
  return std::make_unique<Constraints>(std::move(rules), whole, std::move(failed), context.pool);
}

}  // namespace frazil
