#include "operator/time/session_changes.h"

#include <arrow/api.h>

#include <map>
#include <utility>

#include "operator/changes/row_pairs.h"

namespace frazil {
namespace {

// Rows by key and beginning.
std::map<std::pair<size_t, Timestamp>, int64_t> Places(const Batch& sessions,
                                                       const std::vector<size_t>& owners, int start) {
  std::map<std::pair<size_t, Timestamp>, int64_t> places;
  const auto& starts = static_cast<const arrow::TimestampArray&>(*sessions.columns->column(start));
  for (size_t i = 0; i < owners.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    places.emplace(std::pair{owners[i], starts.Value(row)}, row);
  }
  return places;
}

}  // namespace

Result<arrow::ArrayVector> SessionChanges(const Batch& before, const std::vector<size_t>& owners_before,
                                          const Batch& after, const std::vector<size_t>& owners_after,
                                          int key_count, arrow::MemoryPool* pool) {
  const auto were = Places(before, owners_before, key_count);
  const auto are = Places(after, owners_after, key_count);
  RowPairs pairs(before.columns->columns(), after.columns->columns());
  // What is gone goes first, so that no two sessions of a key are there that overlap.
  for (const auto& [session, row] : were) {
    if (!are.contains(session)) pairs.remove(row);
  }
  for (const auto& [session, row] : are) {
    const auto was = were.find(session);
    if (was == were.end()) {
      pairs.insert(row);
    } else {
      pairs.update(was->second, row);
    }
  }
  return pairs.columns(pool);
}

}  // namespace frazil
