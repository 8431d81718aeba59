#include "format/debezium_rows.h"

#include <arrow/api.h>
#include <arrow/array/concatenate.h>
#include <arrow/compute/api.h>

#include <algorithm>
#include <string_view>

#include "base/batch.h"
#include "base/truncate.h"
#include "format/json_column.h"

namespace frazil {
namespace {

using Arrays = std::vector<std::shared_ptr<arrow::Array>>;

constexpr const char* kNoBefore =
    "an update without the row before it\n  have PostgreSQL send it (ALTER TABLE ... REPLICA IDENTITY FULL), "
    "or "
    "read with DebeziumJson(before=\"key\")";

// One side of the events: the row before, or after.
struct Side {
  std::shared_ptr<arrow::Array> whole;  // the struct; null for unwrapped events
  Arrays given;                         // by column of the table
  Arrays columns;                       // the same, with values that mean nothing for nulls that may not be

  bool has(int64_t event) const { return whole == nullptr || whole->IsValid(event); }
};

class Maker {
 public:
  Maker(const arrow::RecordBatch& events, std::shared_ptr<arrow::Schema> schema,
        const DebeziumOptions& options, arrow::MemoryPool* pool)
      : events_(events), schema_(std::move(schema)), options_(options), pool_(pool) {}

  Result<DebeziumRows> Make() {
    for (const auto& field : schema_->fields()) {
      if (field->name() != kKindColumn && JsonMetadata(*field, kEnvelopeMetadata).empty()) {
        table_.push_back(field);
      }
    }
    op_ = Text(kOpField);
    deleted_ = Text(kDeletedField);
    FZ_ASSIGN(after_, SideOf(kAfterField));
    if (!options_.unwrapped) {
      FZ_ASSIGN(before_, SideOf(kBeforeField));
    }
    for (const auto& name : options_.key) {
      for (size_t i = 0; i < table_.size(); ++i) {
        if (table_[i]->name() == name) key_.push_back(i);
      }
    }
    for (int64_t i = 0; i < events_.num_rows(); ++i) options_.unwrapped ? JudgeRow(i) : Judge(i);
    FZ_ASSIGN(out_.rows, Assemble());
    return std::move(out_);
  }

 private:
  using Texts = std::shared_ptr<arrow::StringArray>;

  Texts Text(const char* name) const {
    return std::static_pointer_cast<arrow::StringArray>(events_.GetColumnByName(name));
  }
  static std::string_view At(const Texts& texts, int64_t event) {
    return texts == nullptr || texts->IsNull(event) ? std::string_view() : texts->GetView(event);
  }

  Result<Side> SideOf(const char* name) const {
    Side side;
    const std::shared_ptr<arrow::Array> whole = options_.unwrapped ? nullptr : events_.GetColumnByName(name);
    for (size_t i = 0; i < table_.size(); ++i) {
      const auto column = whole == nullptr
                              ? events_.GetColumnByName(table_[i]->name())
                              : static_cast<const arrow::StructArray&>(*whole).field(static_cast<int>(i));
      side.given.push_back(arrow::MakeArray(Retyped(*column->data(), table_[i]->type())));
      side.columns.push_back(table_[i]->nullable() ? side.given.back() : Filled(*side.given.back()));
      if (options_.truncates != Truncates::kApply || whole == nullptr || !table_[i]->nullable()) continue;
      // A truncate has no row: what is in its place must not be taken for values.
      FZ_ASSIGN(const auto nulled,
                static_cast<const arrow::StructArray&>(*whole).GetFlattenedField(static_cast<int>(i), pool_));
      side.columns.back() = arrow::MakeArray(Retyped(*nulled->data(), table_[i]->type()));
    }
    side.whole = whole;
    return side;
  }

  // Under a null the JSON decoder leaves a zero, an empty text or list.
  static std::shared_ptr<arrow::Array> Filled(const arrow::Array& column) {
    auto filled = column.data()->Copy();
    filled->buffers[0] = nullptr;
    filled->SetNullCount(0);
    return arrow::MakeArray(std::move(filled));
  }

  void Bad(int64_t event, std::string reason, std::string column = "") {
    out_.bad.push_back({event, std::move(column), std::move(reason)});
  }
  void Drop(int64_t event) { out_.dropped.push_back(event); }
  void Put(int64_t event, RowKind kind) {
    const bool before = kind == RowKind::kUpdateBefore || kind == RowKind::kDelete || kind == kTruncateKind;
    const bool first = options_.unwrapped || before;
    kinds_.push_back(static_cast<uint8_t>(kind));
    out_.events.push_back(static_cast<int32_t>(event));
    from_.push_back(static_cast<int32_t>(first ? event : event + events_.num_rows()));
  }

  // The first column that has to have a value and has none, nullptr if there is none.
  const arrow::Field* Missing(const Side& side, int64_t event) const {
    for (size_t i = 0; i < table_.size(); ++i) {
      if (!table_[i]->nullable() && side.given[i]->IsNull(event)) return table_[i].get();
    }
    return nullptr;
  }

  bool SameKey(int64_t event) const {
    return std::all_of(key_.begin(), key_.end(), [&](size_t at) {
      return before_.given[at]->RangeEquals(*after_.given[at], event, event + 1, event,
                                            arrow::EqualOptions::Defaults().nans_equal(true));
    });
  }

  void Judge(int64_t event) {
    const std::string_view op = At(op_, event);
    if (op == "c" || op == "r" || op == "u") {
      if (!after_.has(event)) return Bad(event, "op \"" + std::string(op) + "\" without a row after it");
      if (op == "u") return Update(event);
      return Put(event, RowKind::kInsert);
    }
    if (op == "d") return Delete(event);
    if (op == "m") return Drop(event);
    if (op == "t") return Truncate(event);
    if (op.empty()) {
      return Bad(
          event,
          "no field \"op\": this is no change event of Debezium\n  rows that the transform "
          "ExtractNewRecordState has unwrapped are read with DebeziumJson(unwrapped=True); heartbeats and "
          "the ends of transactions have topics of their own, which are not to be read");
    }
    Bad(event, "op \"" + std::string(op) + "\" is none that is known (c, r, u, d, t, m)");
  }

  void Update(int64_t event) {
    if (!before_.has(event)) {
      return options_.full_before ? Bad(event, kNoBefore) : Put(event, RowKind::kUpdateAfter);
    }
    const arrow::Field* missing = Missing(before_, event);
    if (missing != nullptr && options_.full_before) return Bad(event, kNoBefore, missing->name());
    if (!SameKey(event)) {
      Put(event, RowKind::kDelete);
      return Put(event, RowKind::kInsert);
    }
    if (missing == nullptr) Put(event, RowKind::kUpdateBefore);
    Put(event, RowKind::kUpdateAfter);
  }

  void Delete(int64_t event) {
    if (!before_.has(event)) {
      return Bad(event,
                 "a delete without the row before it\n  give the table a primary key or a REPLICA IDENTITY");
    }
    const arrow::Field* missing = Missing(before_, event);
    if (missing != nullptr && options_.full_before) {
      return Bad(event, "a delete with the key only: REPLICA IDENTITY FULL sends the row", missing->name());
    }
    Put(event, RowKind::kDelete);
  }

  void Truncate(int64_t event) {
    switch (options_.truncates) {
      case Truncates::kStop:
        if (out_.stop < 0) out_.stop = event;
        return Drop(event);
      case Truncates::kApply:
        return Put(event, kTruncateKind);
      case Truncates::kReject:
        return Bad(event, kTruncated);
      case Truncates::kSkip:
        return Drop(event);
    }
  }

  // An unwrapped event: the columns themselves, with __op and __deleted beside them.
  void JudgeRow(int64_t event) {
    const std::string_view op = At(op_, event);
    const std::string_view deleted = At(deleted_, event);
    if (op == "t") return Truncate(event);
    if (op == "d" || deleted == "true") return Put(event, RowKind::kDelete);
    if (op.empty() && deleted.empty()) {
      return Bad(event,
                 "neither field \"__op\" nor \"__deleted\": deletes could not be told\n  set "
                 "add.fields=op and delete.tombstone.handling.mode=rewrite of ExtractNewRecordState");
    }
    if (!op.empty() && op != "c" && op != "r" && op != "u") {
      return Bad(event, "__op \"" + std::string(op) + "\" is none that is known (c, r, u, d, t)");
    }
    if (const auto* missing = Missing(after_, event); missing != nullptr) {
      return Bad(event, "the field is missing or null, and its column is not nullable", missing->name());
    }
    Put(event, op == "c" || op == "r" ? RowKind::kInsert : RowKind::kUpdateAfter);
  }

  // True if the rows are just those of the first, or of the second side.
  bool Are(int64_t begin) const {
    if (static_cast<int64_t>(from_.size()) != events_.num_rows()) return false;
    for (size_t i = 0; i < from_.size(); ++i) {
      if (from_[i] != begin + static_cast<int64_t>(i)) return false;
    }
    return true;
  }

  static Result<std::shared_ptr<arrow::Array>> Taken(const std::shared_ptr<arrow::Array>& values,
                                                     const std::vector<int32_t>& rows,
                                                     arrow::MemoryPool* pool) {
    const auto indices =
        std::make_shared<arrow::Int32Array>(static_cast<int64_t>(rows.size()), arrow::Buffer::Wrap(rows));
    arrow::compute::ExecContext context(pool);
    context.set_use_threads(false);
    return arrow::compute::Take(*values, *indices, arrow::compute::TakeOptions::NoBoundsCheck(), &context);
  }

  Result<std::shared_ptr<arrow::Array>> TableColumn(size_t at, bool first, bool second) const {
    std::shared_ptr<arrow::Array> column;
    if (options_.unwrapped) {
      column = after_.columns[at];
      if (!first) {
        FZ_ASSIGN(column, Taken(column, from_, pool_));
      }
    } else if (second) {
      column = after_.columns[at];
    } else if (first) {
      column = before_.columns[at];
    } else {
      FZ_ASSIGN(column, arrow::Concatenate({before_.columns[at], after_.columns[at]}, pool_));
      FZ_ASSIGN(column, Taken(column, from_, pool_));
    }
    return column;
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Assemble() const {
    const bool first = Are(0);
    const bool second = !options_.unwrapped && Are(events_.num_rows());
    arrow::ArrayVector columns;
    size_t at = 0;
    for (const auto& field : schema_->fields()) {
      std::shared_ptr<arrow::Array> column;
      if (field->name() == kKindColumn) {
        arrow::UInt8Builder kinds(pool_);
        FZ_TRY(kinds.AppendValues(kinds_));
        FZ_TRY(kinds.Finish(&column));
      } else if (JsonMetadata(*field, kEnvelopeMetadata).empty()) {
        FZ_ASSIGN(column, TableColumn(at++, first, second));
      } else {
        column = events_.GetColumnByName(field->name());
        if (!first && !second) {
          FZ_ASSIGN(column, Taken(column, out_.events, pool_));
        }
      }
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(schema_, static_cast<int64_t>(kinds_.size()), std::move(columns));
  }

  const arrow::RecordBatch& events_;
  std::shared_ptr<arrow::Schema> schema_;
  const DebeziumOptions& options_;
  arrow::MemoryPool* pool_;
  arrow::FieldVector table_;
  Texts op_, deleted_;
  Side before_, after_;
  std::vector<size_t> key_;
  std::vector<uint8_t> kinds_;
  std::vector<int32_t> from_;  // place of each row in the rows before, followed by those after
  DebeziumRows out_;
};

}  // namespace

Status StoppedAt(const RawBatch& raw, int64_t message) {
  const int64_t at = raw.position.empty() ? message : raw.position[static_cast<size_t>(message)];
  return Error(ErrorKind::kDecode, "decoding " + raw.place + "@" + std::to_string(at) + ": " + kTruncated);
}

Result<DebeziumRows> MakeDebeziumRows(const arrow::RecordBatch& events,
                                      const std::shared_ptr<arrow::Schema>& schema,
                                      const DebeziumOptions& options, arrow::MemoryPool* pool) {
  return Maker(events, schema, options, pool).Make();
}

}  // namespace frazil
