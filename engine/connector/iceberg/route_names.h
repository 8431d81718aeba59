#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"

namespace frazil::iceberg {

constexpr size_t kRouteValueBytes = 128;  // bytes of a value that a table is named after

// Says which of a sink's tables each row is for: rows with the same values in some columns are of one table.
// A table is known by these values with slashes between, "public/orders"; Python makes the name of it. One
// thread.
//
// Values come from the data, so they are bounded: letters, digits, "_" and "-" of ASCII, at most
// kRouteValueBytes of them; and so is the number of tables. Errors are kUser and name the column and the
// value.
class RouteNames {
 public:
  // {"columns":["schema","table"],"tables_max":1000}; kConfig error for anything else.
  static Result<RouteNames> Make(const nlohmann::json& route);

  // The numbers of the tables of a batch's rows.
  Status find(const arrow::RecordBatch& rows, std::vector<int32_t>* tables);

  // The number of a table; a new one if it is not known.
  Result<int32_t> number(const std::string& table);
  const std::string& table(int32_t number) const { return tables_[static_cast<size_t>(number)]; }
  int32_t size() const { return static_cast<int32_t>(tables_.size()); }
  const std::vector<std::string>& columns() const { return columns_; }

 private:
  std::vector<std::string> columns_;
  int32_t tables_max_ = 0;
  std::vector<std::string> tables_;  // by number
  std::unordered_map<std::string, int32_t> numbers_;
};

}  // namespace frazil::iceberg
