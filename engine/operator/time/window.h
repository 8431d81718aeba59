#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/status.h"
#include "base/time_zone.h"
#include "operator/time/calendar_window.h"

namespace frazil {

// Times apart from `time` by so many microseconds, without overflow. The ends of time stay what they are.
constexpr Timestamp Earlier(Timestamp time, int64_t by) {
  if (time == kWatermarkMax) return time;
  return time < kWatermarkMin + by ? kWatermarkMin : time - by;
}
constexpr Timestamp Later(Timestamp time, int64_t by) {
  if (time == kWatermarkMin) return time;
  return time > kWatermarkMax - by ? kWatermarkMax : time + by;
}

// How event time is cut into windows. All times are microseconds since 1970 UTC; a window is [start, end).
struct WindowSpec {
  enum class Kind { kTumbling, kHopping, kCumulating, kSession, kCalendar };
  Kind kind = Kind::kTumbling;
  int64_t size = 0;                        // tumbling, hopping, cumulating
  int64_t every = 0;                       // between ends of windows; tumbling: size
  int64_t offset = 0;                      // starts are offset + n * every (cumulating: + n * size)
  int64_t gap = 0;                         // session: rows further apart than this are two sessions
  CalendarUnit unit = CalendarUnit::kDay;  // calendar
  int64_t count = 1;                       // units of a window
  std::shared_ptr<const TimeZone> zone;
};

// Reads the node's "window". A time zone that is not there is an error that names it.
Result<WindowSpec> ParseWindow(const nlohmann::json& spec);

// The windows of a time but for sessions, by panes: the stretches between two neighbouring bounds of windows.
// All rows of a pane are in the same windows. One thread at a time.
class Panes {
 public:
  explicit Panes(const WindowSpec& spec);

  // Start of the pane that has `time`.
  Timestamp pane(Timestamp time) const {
    return calendar_.has_value() ? calendar_->of(time).start : floor(time, pane_size_);
  }
  // End of the first window with a pane, and of the last.
  Timestamp first_end(Timestamp pane) const;
  Timestamp last_end(Timestamp pane) const;
  // Between the ends of windows of one pane.
  int64_t every() const { return spec_.every; }
  // Start of the window that ends then.
  Timestamp start(Timestamp end) const;
  // End of the window that is `count` windows after the one that ends then: all but cumulating windows.
  Timestamp end_after(Timestamp end, int64_t count) const;

 private:
  Timestamp floor(Timestamp time, int64_t by) const;

  const WindowSpec spec_;
  const int64_t pane_size_;
  const std::optional<CalendarWindows> calendar_;
};

// Columns of rows that come too late: those of the input, then the window that was missed (null for
// sessions), the row watermark, and where the row stands.
std::shared_ptr<arrow::Schema> LateSchema(const arrow::Schema& input);

}  // namespace frazil
