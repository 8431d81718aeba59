#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace frazil {

// Objects of this process by number, which is how a plan names what cannot stand in it. Any thread.
template <typename T>
class LiveObjects {
 public:
  int64_t add(std::shared_ptr<T> object) {
    std::lock_guard lock(mutex_);
    objects_[next_] = std::move(object);
    return next_++;
  }

  void remove(int64_t number) {
    std::shared_ptr<T> removed;  // let go behind the lock, which may need an interpreter's
    std::lock_guard lock(mutex_);
    if (const auto found = objects_.find(number); found != objects_.end()) {
      removed = std::move(found->second);
      objects_.erase(found);
    }
  }

  // Null if there is none.
  std::shared_ptr<T> find(int64_t number) {
    std::lock_guard lock(mutex_);
    const auto found = objects_.find(number);
    return found == objects_.end() ? nullptr : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<T>> objects_;
  int64_t next_ = 1;
};

}  // namespace frazil
