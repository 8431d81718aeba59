#include "operator/ordered/shared_rows.h"

#include <arrow/api.h>

namespace frazil {

Status SharedRows::add(std::shared_ptr<arrow::RecordBatch> rows, std::vector<Id>* ids) {
  const int64_t count = rows->num_rows();
  FZ_ASSIGN(const uint32_t block, rows_.add(std::move(rows)));
  for (int64_t i = 0; i < count; ++i) {
    if (free_.empty()) {
      free_.push_back(static_cast<Id>(entries_.size()));
      entries_.emplace_back();
    }
    ids->push_back(free_.back());
    free_.pop_back();
    entries_[ids->back()] = Entry{{block, static_cast<uint32_t>(i)}, 1};
  }
  return Status::OK();
}

Status SharedRows::let_go(Id id) {
  Entry& entry = entries_[id];
  if (--entry.users > 0) return Status::OK();
  free_.push_back(id);
  return rows_.release(entry.row);
}

Result<std::shared_ptr<arrow::RecordBatch>> SharedRows::gather(std::span<const Id> ids) const {
  std::vector<HeldRow> rows;
  rows.reserve(ids.size());
  for (const Id id : ids) rows.push_back(entries_[id].row);
  return rows_.gather(rows);
}

Status SharedRows::compact() {
  rows_.settle();
  if (!rows_.sparse()) return Status::OK();
  std::vector<HeldRow*> rows;
  for (Entry& entry : entries_) {
    if (entry.users > 0) rows.push_back(&entry.row);
  }
  return rows_.compact(rows);
}

}  // namespace frazil
