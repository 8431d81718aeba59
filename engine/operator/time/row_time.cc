#include "operator/time/row_time.h"

#include <arrow/api.h>

#include <string>

#include "base/check.h"
#include "operator/time/event_time.h"

namespace frazil {

Result<RowTime> RowTime::Make(const nlohmann::json& spec, const arrow::Schema& input) {
  const auto& time = spec.at("time");
  const int column = input.GetFieldIndex(time.at("column").get<std::string>());
  if (column < 0 || input.field(column)->type()->id() != arrow::Type::TIMESTAMP) {
    return Error(ErrorKind::kConfig, "reading the plan: the time " + time.dump() + " is no timestamp");
  }
  return RowTime{column, time.value("minus_us", int64_t{0})};
}

Result<std::vector<Timestamp>> RowTime::of(const arrow::RecordBatch& rows, arrow::MemoryPool* pool) const {
  FZ_ASSIGN(const auto micros, MicrosOf(rows.column(column), pool));
  FZ_CHECK(micros->null_count() == 0);
  std::vector<Timestamp> times(micros->raw_values(), micros->raw_values() + micros->length());
  if (minus != 0) {
    for (Timestamp& time : times) time -= minus;
  }
  return times;
}

}  // namespace frazil
