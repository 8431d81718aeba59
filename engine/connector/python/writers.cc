#include "connector/python/writers.h"

#include <utility>

#include "connector/python/live_objects.h"

namespace frazil {
namespace {

// Never destroyed: threads of the interpreter may outlive static objects.
LiveObjects<WorkerWriters>& Known() {
  static auto* known = new LiveObjects<WorkerWriters>();
  return *known;
}

}  // namespace

int64_t AddWriters(std::shared_ptr<WorkerWriters> writers) { return Known().add(std::move(writers)); }
void RemoveWriters(int64_t number) { Known().remove(number); }

Result<std::shared_ptr<WorkerWriters>> FindWriters(int64_t number) {
  if (auto found = Known().find(number); found != nullptr) return found;
  return Error(ErrorKind::kConfig,
               "a sink in Python is written by the process that declared it, and this is another\n"
               "run the program itself, not its plan");
}

}  // namespace frazil
