#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "base/calendar.h"
#include "base/status.h"

namespace frazil {

// When keys of a table may be forgotten: payloads by about the time from which no row can see them. A payload
// is here once, from its insertion until it is erased; what is not over yet when it is looked at is put back.
class ExpiringKeys {
 public:
  // `span`: how long keys live, us. They are looked at again up to a 32nd of that late.
  explicit ExpiringKeys(int64_t span) : step_(span / kSteps > 0 ? span / kSteps : 1) {}

  void add(std::byte* payload, Timestamp over) { by_step_[FloorDivide(over, step_)].push_back(payload); }

  // Looks at the payloads that may be over at `now`: over_at(payload) says when one is, and erase(payloads)
  // takes those away of which that was before `now`, many at a time.
  template <typename OverAt, typename Erase>
  Status look(Timestamp now, OverAt over_at, Erase erase) {
    while (!by_step_.empty()) {
      const auto first = by_step_.begin();
      if (now != kWatermarkMax && first->first >= FloorDivide(now, step_)) break;
      const std::vector<std::byte*> payloads = std::move(first->second);
      by_step_.erase(first);
      std::vector<std::byte*> gone;
      for (std::byte* payload : payloads) {
        const Timestamp over = over_at(payload);
        if (now != kWatermarkMax && over >= now) {
          add(payload, over);
        } else {
          gone.push_back(payload);
        }
      }
      if (!gone.empty()) FZ_TRY(erase(gone));
    }
    return Status::OK();
  }

  int64_t bytes() const {
    int64_t bytes = 0;
    for (const auto& [step, payloads] : by_step_) {
      bytes += static_cast<int64_t>(payloads.capacity() * sizeof(std::byte*));
    }
    return bytes;
  }

 private:
  static constexpr int64_t kSteps = 32;

  int64_t step_;  // us
  std::map<int64_t, std::vector<std::byte*>> by_step_;
};

}  // namespace frazil
