#include "connector/iceberg/route_sink.h"

#include <arrow/api.h>
#include <arrow/util/future.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/limits.h"
#include "connector/iceberg/rest_columns.h"
#include "connector/iceberg/route_names.h"
#include "connector/iceberg/table_sink.h"
#include "connector/iceberg/waiting_rows.h"
#include "state/take_rows.h"

namespace frazil::iceberg {
namespace {

constexpr const char* kTableColumn = "table";  // in state files: whose row it is

class RouteSink : public Sink {
 public:
  RouteSink(RouteNames names, const nlohmann::json& options, std::shared_ptr<const RestPolicies> policies,
            const SinkContext& context)
      : context_(context),
        names_(std::move(names)),
        keep_(options.at("route").value("keep", true)),
        policies_(std::move(policies)),
        deleted_(options.value("deleted", "")),
        waiting_(context.worker, context.state) {
    key_ = options.value("key", std::vector<std::string>());
  }

  void begin(Epoch epoch) override {
    epoch_ = epoch;
    for (Table& table : tables_) {
      if (table.sink != nullptr) table.sink->begin(epoch);
    }
  }

  Status write(const Batch& batch) override {
    if (batch.rows() == 0) return Status::OK();
    Gathered gathered;
    FZ_TRY(names_.find(*batch.columns, &gathered.tables));
    for (int32_t number = add_known(); number < names_.size(); ++number) want(number);
    FZ_ASSIGN(gathered.rows, written_columns(batch.columns));
    gathered_bytes_ += BatchBytes(Batch{gathered.rows});
    gathered_rows_ += batch.rows();
    // Columns are asked for when the rows come, not at the barrier behind them.
    const bool fresh = policies_ != nullptr && !RestColumns::Nothing(*policies_, *gathered.rows);
    gathered_.push_back(std::move(gathered));
    if (!fresh && gathered_bytes_ < kRouteGatherBytes && gathered_rows_ < kRouteGatherRows)
      return Status::OK();
    return put_apart();
  }

  arrow::Future<Token> prepare(Epoch epoch) override {
    auto token = token_of(epoch);
    return token.ok() ? *token : arrow::Future<Token>::MakeFinished(token.status());
  }

  bool full() const override { return waiting_.bytes() - failed_bytes_ > kRouteOpeningBytes; }

  Status open_table(const std::string& name, const nlohmann::json& options) override {
    FZ_ASSIGN(const int32_t number, names_.number(name));
    add_known();
    Table& table = tables_[static_cast<size_t>(number)];
    if (table.sink == nullptr) {
      auto sink = MakeTableSink(options, context_);
      if (!sink.ok()) return Prefixed(sink.status(), "table " + name);
      table.sink = std::move(*sink);
      table.sink->begin(epoch_);
      for (const auto& rows : std::exchange(table.state, {})) FZ_TRY(table.sink->restore(rows));
    } else if (policies_ != nullptr) {
      FZ_TRY(alter(name, options, &table));
    }
    if (policies_ != nullptr) {
      FZ_TRY(columns_of(&table).answer(*table.sink->writer().options().schema, options));
    }
    table.failed.clear();
    for (auto& rows : waiting_.take(name)) FZ_TRY(give(number, std::move(rows)));
    count_failed();
    waiting_bytes_.store(waiting_.bytes(), std::memory_order_relaxed);
    return shrink();
  }

  Status fail_table(const std::string& name, const std::string& reason) override {
    FZ_ASSIGN(const int32_t number, names_.number(name));
    add_known();
    Table& table = tables_[static_cast<size_t>(number)];
    if (table.sink != nullptr && !waiting_.waits(name)) return Status::OK();
    table.failed = reason;
    return check_failed();
  }

  int64_t bytes() const override { return gathered_bytes_ + total_ + waiting_.bytes(); }

  bool stateful() const override { return true; }
  Status freeze(bool full) override {
    FZ_TRY(put_apart());
    waiting_.freeze(full);
    for (size_t i = 0; i < tables_.size(); ++i) {
      Table& table = tables_[i];
      if (table.sink == nullptr && full) {
        frozen_.push_back({i, false, table.state});  // as it was restored
      } else if (table.sink != nullptr && table.sink->stateful()) {
        FZ_TRY(table.sink->freeze(full));
        frozen_.push_back({i, true, {}});
      }
    }
    return Status::OK();
  }
  Result<bool> save(int64_t rows_max, arrow::RecordBatchVector* rows) override;
  Status restore(const std::shared_ptr<arrow::RecordBatch>& rows) override;
  int64_t state_bytes() const override {
    return state_bytes_.load(std::memory_order_relaxed) + waiting_bytes_.load(std::memory_order_relaxed);
  }

 private:
  struct Table {
    std::unique_ptr<TableSink> sink;       // null: it is not open
    std::string failed;                    // why it cannot be opened; empty: it can, for all that is known
    arrow::RecordBatchVector state;        // of its index, until it is open
    std::unique_ptr<RestColumns> columns;  // null: none are added while it is written
    int64_t bytes = 0, state_bytes = 0;
    int32_t files = 0;
    int64_t used = 0;  // when rows last came; grows
  };
  struct Gathered {
    std::shared_ptr<arrow::RecordBatch> rows;
    std::vector<int32_t> tables;
  };

  int32_t add_known();
  void want(int32_t number) const {
    if (context_.want_table && tables_[static_cast<size_t>(number)].sink == nullptr) {
      context_.want_table(names_.table(number), nullptr);
    }
  }
  Status alter(const std::string& name, const nlohmann::json& options, Table* table);
  RestColumns& columns_of(Table* table) const;
  Result<std::shared_ptr<arrow::RecordBatch>> expand(int32_t number,
                                                     const std::shared_ptr<arrow::RecordBatch>& rows);
  Result<std::shared_ptr<arrow::RecordBatch>> restored(const std::string& table,
                                                       const std::shared_ptr<arrow::RecordBatch>& rows);
  Result<std::shared_ptr<arrow::RecordBatch>> written_columns(
      const std::shared_ptr<arrow::RecordBatch>& rows) const;
  Status put_apart();
  Status give(int32_t number, std::shared_ptr<arrow::RecordBatch> rows);
  Status check_failed();
  void count_failed();
  void count(Table* table);
  Status shrink();
  Result<arrow::Future<Token>> token_of(Epoch epoch);

  SinkContext context_;
  RouteNames names_;
  const bool keep_;
  const std::shared_ptr<const RestPolicies> policies_;  // null: tables have the columns that they have
  const std::string deleted_;
  std::vector<std::string> key_;
  Epoch epoch_ = 0;
  std::vector<Table> tables_;  // by their numbers
  std::vector<Gathered> gathered_;
  int64_t gathered_bytes_ = 0, gathered_rows_ = 0;
  WaitingRows waiting_;
  int64_t failed_bytes_ = 0;  // of the rows that wait for tables that cannot be opened
  int64_t total_ = 0;         // bytes in writers
  int64_t files_ = 0;         // open in them
  int64_t clock_ = 0;
  // Tables whose state is being saved: that of their sinks, or rows of it.
  struct Frozen {
    size_t table = 0;
    bool by_sink = false;
    arrow::RecordBatchVector state;
  };
  std::deque<Frozen> frozen_;
  std::atomic<int64_t> state_bytes_{0}, waiting_bytes_{0};
};

// Makes room for tables whose names came to be known; gives the number of the first of them.
int32_t RouteSink::add_known() {
  const auto first = static_cast<int32_t>(tables_.size());
  tables_.resize(static_cast<size_t>(names_.size()));
  return first;
}

Result<std::shared_ptr<arrow::RecordBatch>> RouteSink::written_columns(
    const std::shared_ptr<arrow::RecordBatch>& rows) const {
  if (keep_) return rows;
  std::vector<int> kept;
  for (int i = 0; i < rows->num_columns(); ++i) {
    const auto& name = rows->schema()->field(i)->name();
    if (std::find(names_.columns().begin(), names_.columns().end(), name) == names_.columns().end()) {
      kept.push_back(i);
    }
  }
  return rows->SelectColumns(kept);
}

// Gives the rows that were gathered to their tables, each table its own in the order in which they came.
Status RouteSink::put_apart() {
  if (gathered_.empty()) return Status::OK();
  arrow::RecordBatchVector batches;
  std::vector<std::vector<int32_t>> rows(tables_.size());
  int32_t row = 0;
  for (const Gathered& each : gathered_) {
    batches.push_back(each.rows);
    for (const int32_t table : each.tables) rows[static_cast<size_t>(table)].push_back(row++);
  }
  gathered_.clear();
  gathered_bytes_ = gathered_rows_ = 0;
  std::shared_ptr<arrow::RecordBatch> all = batches.front();
  if (batches.size() > 1) {
    FZ_ASSIGN(all, arrow::ConcatenateRecordBatches(batches, context_.pool));
  }
  batches.clear();
  for (size_t table = 0; table < rows.size(); ++table) {
    if (rows[table].empty()) continue;
    auto own = all;
    if (static_cast<int64_t>(rows[table].size()) < all->num_rows()) {
      const bool waits = tables_[table].sink == nullptr;
      FZ_ASSIGN(own, TakeRows(all, rows[table], waits ? context_.state : context_.pool));
    }
    FZ_TRY(give(static_cast<int32_t>(table), std::move(own)));
  }
  return shrink();
}

Status RouteSink::give(int32_t number, std::shared_ptr<arrow::RecordBatch> rows) {
  Table& table = tables_[static_cast<size_t>(number)];
  bool waits = table.sink == nullptr;
  if (policies_ != nullptr) {
    // Behind rows that wait all do, so that those of a key stay in order.
    FZ_ASSIGN(auto expanded, expand(number, rows));
    waits = waits || expanded == nullptr || waiting_.waits(names_.table(number));
    if (!waits) rows = std::move(expanded);
  }
  if (waits) {
    waiting_.add(names_.table(number), std::move(rows));
    waiting_bytes_.store(waiting_.bytes(), std::memory_order_relaxed);
    return table.failed.empty() ? Status::OK() : check_failed();
  }
  table.used = ++clock_;
  if (auto status = table.sink->write(Batch{std::move(rows)}); !status.ok()) {
    return Prefixed(status, "table " + names_.table(number));
  }
  count(&table);
  return Status::OK();
}

Status RouteSink::alter(const std::string& name, const nlohmann::json& options, Table* table) {
  FZ_ASSIGN(const auto parsed, ParseWriterOptions(options));
  if (auto status = table->sink->alter(parsed); !status.ok()) return Prefixed(status, "table " + name);
  count(table);
  return Status::OK();
}

RestColumns& RouteSink::columns_of(Table* table) const {
  if (table->columns == nullptr) {
    table->columns = std::make_unique<RestColumns>(policies_, nullptr, deleted_,
                                                   !key_.empty() && deleted_.empty(), context_.pool);
  }
  return *table->columns;
}

// The rows with fields in columns of their own; null if they need some that the table does not have. These
// have been asked for.
Result<std::shared_ptr<arrow::RecordBatch>> RouteSink::expand(
    int32_t number, const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (policies_ == nullptr || RestColumns::Nothing(*policies_, *rows)) return rows;
  const std::string& name = names_.table(number);
  WantedColumns wanted;
  auto expanded = columns_of(&tables_[static_cast<size_t>(number)]).unpack(rows, &wanted);
  if (!expanded.ok()) return Prefixed(expanded.status(), "table " + name);
  if (!wanted.empty() && context_.want_table) context_.want_table(name, wanted);
  return expanded;
}

void RouteSink::count_failed() {
  failed_bytes_ = 0;
  for (size_t i = 0; i < tables_.size(); ++i) {
    if (!tables_[i].failed.empty()) failed_bytes_ += waiting_.bytes(names_.table(static_cast<int32_t>(i)));
  }
}

Status RouteSink::check_failed() {
  count_failed();
  if (failed_bytes_ <= kRouteFailedBytes) return Status::OK();
  std::string names, reason;
  for (size_t i = 0; i < tables_.size(); ++i) {
    if (tables_[i].failed.empty()) continue;
    names += (names.empty() ? "" : ", ") + names_.table(static_cast<int32_t>(i));
    if (reason.empty()) reason = tables_[i].failed;
  }
  return Error(ErrorKind::kUser, "more than " + std::to_string(kRouteFailedBytes >> 20) +
                                     " MB of rows wait for tables that cannot be opened (" + names +
                                     "): " + reason);
}

void RouteSink::count(Table* table) {
  const int64_t bytes = table->sink->writer().count_bytes();
  const int32_t files = table->sink->writer().open_files();
  const int64_t state = table->sink->state_bytes();
  total_ += bytes - table->bytes;
  files_ += files - table->files;
  state_bytes_.fetch_add(state - table->state_bytes, std::memory_order_relaxed);
  table->bytes = bytes;
  table->files = files;
  table->state_bytes = state;
}

// Has the tables written to least recently close their files, until half of what is allowed is left.
Status RouteSink::shrink() {
  if (total_ <= kRouteWriterBytes && files_ <= limits::kOpenWriters) return Status::OK();
  std::vector<Table*> used;
  for (Table& table : tables_) {
    if (table.bytes > 0 || table.files > 0) used.push_back(&table);
  }
  std::sort(used.begin(), used.end(), [](const Table* a, const Table* b) { return a->used < b->used; });
  int64_t bytes = total_, files = files_;
  std::vector<Table*> closing;
  for (Table* table : used) {
    if (bytes <= kRouteWriterBytes / 2 && files <= limits::kOpenWriters / 2) break;
    bytes -= table->bytes;
    files -= table->files;
    FZ_TRY(table->sink->writer().shed());
    closing.push_back(table);
  }
  for (Table* table : closing) {
    FZ_TRY(table->sink->writer().settle());
    count(table);
  }
  return Status::OK();
}

Result<arrow::Future<Token>> RouteSink::token_of(Epoch epoch) {
  FZ_TRY(put_apart());
  std::vector<arrow::Future<Token>> tokens;
  std::vector<std::string> names;
  std::deque<arrow::Future<Token>> closing;  // so many files at a time, of all tables
  for (size_t i = 0; i < tables_.size(); ++i) {
    Table& table = tables_[i];
    if (table.sink == nullptr) continue;
    tokens.push_back(table.sink->prepare(epoch));
    names.push_back(names_.table(static_cast<int32_t>(i)));
    count(&table);
    if (tokens.back().is_finished()) continue;
    closing.push_back(tokens.back());
    if (closing.size() <= static_cast<size_t>(limits::kClosingFiles)) continue;
    closing.front().Wait();
    closing.pop_front();
  }
  return arrow::All(std::move(tokens))
      .Then([names = std::move(names)](const std::vector<Result<Token>>& all) -> Result<Token> {
        nlohmann::json tables = nlohmann::json::object();
        for (size_t i = 0; i < all.size(); ++i) {
          if (!all[i].ok()) return Prefixed(all[i].status(), "table " + names[i]);
          if (!all[i]->empty()) tables[names[i]] = *all[i];
        }
        if (tables.empty()) return Token();
        return nlohmann::json{{"v", 1}, {"tables", std::move(tables)}}.dump();
      });
}

// Table by table; rows of indexes are told apart by a column behind theirs.
Result<bool> RouteSink::save(int64_t rows_max, arrow::RecordBatchVector* rows) {
  while (!frozen_.empty()) {
    Frozen& next = frozen_.front();
    arrow::RecordBatchVector saved = std::exchange(next.state, {});
    bool whole = true;
    if (next.by_sink) {
      FZ_ASSIGN(whole, tables_[next.table].sink->save(rows_max, &saved));
    }
    for (const auto& batch : saved) {
      const arrow::StringScalar name(names_.table(static_cast<int32_t>(next.table)));
      FZ_ASSIGN(auto column, arrow::MakeArrayFromScalar(name, batch->num_rows(), context_.state));
      FZ_ASSIGN(auto marked, batch->AddColumn(batch->num_columns(), kTableColumn, std::move(column)));
      rows->push_back(std::move(marked));
    }
    if (whole) frozen_.pop_front();
    if (!whole || !saved.empty()) return false;
  }
  return waiting_.save(rows_max, rows);
}

// Rows that wait again; the columns that they need are asked for at once.
Result<std::shared_ptr<arrow::RecordBatch>> RouteSink::restored(
    const std::string& table, const std::shared_ptr<arrow::RecordBatch>& rows) {
  FZ_ASSIGN(auto own, WaitingRowsOf(context_, table, key_, rows));
  FZ_ASSIGN(const int32_t number, names_.number(table));
  add_known();
  if (own != nullptr) FZ_TRY(expand(number, own).status());
  return own;
}

Status RouteSink::restore(const std::shared_ptr<arrow::RecordBatch>& rows) {
  if (WaitingRows::IsSaved(*rows->schema())) {
    FZ_TRY(waiting_.restore(*rows,
                            [this](const auto& table, const auto& batch) { return restored(table, batch); }));
    for (const std::string& name : waiting_.tables()) {
      if (context_.want_table) context_.want_table(name, nullptr);  // an open one too: it is given them then
    }
    return Status::OK();
  }
  const auto column = std::dynamic_pointer_cast<arrow::StringArray>(rows->GetColumnByName(kTableColumn));
  if (column == nullptr || column->null_count() > 0) {
    return Error(ErrorKind::kState, "restoring the state of many tables: rows of no table");
  }
  std::map<std::string, std::vector<int32_t>> by_table;
  for (int64_t i = 0; i < column->length(); ++i) {
    by_table[column->GetString(i)].push_back(static_cast<int32_t>(i));
  }
  FZ_ASSIGN(const auto index, rows->RemoveColumn(rows->schema()->GetFieldIndex(kTableColumn)));
  for (const auto& [name, which] : by_table) {
    FZ_ASSIGN(const int32_t number, names_.number(name));
    add_known();
    Table& table = tables_[static_cast<size_t>(number)];
    FZ_ASSIGN(auto own, TakeRows(index, which, context_.state));
    if (table.sink != nullptr) {
      FZ_TRY(table.sink->restore(own));
    } else {
      table.state.push_back(std::move(own));
    }
  }
  return Status::OK();
}

}  // namespace

Result<std::unique_ptr<Sink>> MakeRouteSink(const nlohmann::json& options, const SinkContext& context) {
  FZ_ASSIGN(auto names, RouteNames::Make(options.at("route")));
  FZ_ASSIGN(auto policies, ParseRestPolicies(options));
  auto sink = std::make_unique<RouteSink>(std::move(names), options, std::move(policies), context);
  const nlohmann::json tables = options.value("tables", nlohmann::json::object());
  for (const auto& [table, of] : tables.items()) FZ_TRY(sink->open_table(table, of));
  return sink;
}

}  // namespace frazil::iceberg
