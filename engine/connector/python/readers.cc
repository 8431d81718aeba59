#include "connector/python/readers.h"

#include <utility>

#include "connector/python/live_objects.h"

namespace frazil {
namespace {

// Never destroyed: threads of the interpreter may outlive static objects.
LiveObjects<PartitionReaders>& Known() {
  static auto* known = new LiveObjects<PartitionReaders>();
  return *known;
}

}  // namespace

int64_t AddReaders(std::shared_ptr<PartitionReaders> readers) { return Known().add(std::move(readers)); }
void RemoveReaders(int64_t number) { Known().remove(number); }

Result<std::shared_ptr<PartitionReaders>> FindReaders(int64_t number) {
  if (auto found = Known().find(number); found != nullptr) return found;
  return Error(ErrorKind::kConfig,
               "a source in Python is read by the process that declared it, and this is another\n"
               "run the program itself, not its plan");
}

}  // namespace frazil
