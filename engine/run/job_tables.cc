// What workers ask the control thread for: schemas of registries, and the tables of sinks with many, which
// are told to them.
#include <utility>

#include "run/job.h"

namespace frazil {

void Job::schemas_wanted() {
  std::lock_guard lock(mutex_);
  events_.push_back({{"kind", "schemas"}});
  changed_.notify_all();
}

void Job::want_table(const std::string& sink, const std::string& table, const nlohmann::json& columns) {
  std::lock_guard lock(mutex_);
  events_.push_back({{"kind", "table"}, {"sink", sink}, {"table", table}, {"columns", columns}});
  changed_.notify_all();
}

void Job::tell_table(const std::string& sink, const std::string& table, const nlohmann::json& options,
                     const std::string& reason) {
  Control control;
  control.kind = Control::Kind::kTable;
  control.sink = sink;
  control.table = table;
  control.table_options = options;
  control.reason = reason;
  for (const auto& worker : workers_) worker->tell(control);
}

}  // namespace frazil
