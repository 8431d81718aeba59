#include "operator/time/window.h"

#include <numeric>

#include "base/calendar.h"

namespace frazil {
namespace {

constexpr int64_t kCalendarCountMax = 1000;  // units of a window

Status WindowError(const std::string& text) {
  return Error(ErrorKind::kConfig, "reading the plan: a window: " + text);
}

Result<WindowSpec> ParseCalendar(const nlohmann::json& json) {
  WindowSpec spec;
  spec.kind = WindowSpec::Kind::kCalendar;
  const auto unit = json.at("unit").get<std::string>();
  const auto found = CalendarUnitOf(unit);
  if (!found.has_value()) return WindowError("no unit \"" + unit + "\"");
  spec.unit = *found;
  spec.count = json.at("count").get<int64_t>();
  if (spec.count < 1 || spec.count > kCalendarCountMax) {
    return WindowError("count " + std::to_string(spec.count) + " of a calendar window");
  }
  // A pane is a window, so nothing is between its windows' ends.
  spec.size = spec.every = 1;
  auto zone = TimeZone::Load(json.at("zone").get<std::string>());
  if (!zone.ok()) return Prefixed(zone.status(), "reading the plan: a window");
  spec.zone = std::move(*zone);
  return spec;
}

std::optional<CalendarWindows> CalendarOf(const WindowSpec& spec) {
  if (spec.kind != WindowSpec::Kind::kCalendar) return std::nullopt;
  return CalendarWindows(spec.unit, spec.count, spec.zone);
}

int64_t PaneSize(const WindowSpec& spec) {
  return spec.kind == WindowSpec::Kind::kHopping ? std::gcd(spec.size, spec.every) : spec.every;
}

}  // namespace

Result<WindowSpec> ParseWindow(const nlohmann::json& json) {
  WindowSpec spec;
  const auto kind = json.at("kind").get<std::string>();
  if (kind == "session") {
    spec.kind = WindowSpec::Kind::kSession;
    spec.gap = json.at("gap_us").get<int64_t>();
    if (spec.gap <= 0) return WindowError("a session's gap is at least a microsecond");
    return spec;
  }
  if (kind == "calendar") return ParseCalendar(json);
  spec.size = json.at("size_us").get<int64_t>();
  spec.offset = json.value("offset_us", int64_t{0});
  spec.every = kind == "tumbling" ? spec.size : json.at("every_us").get<int64_t>();
  if (kind == "hopping") {
    spec.kind = WindowSpec::Kind::kHopping;
  } else if (kind == "cumulating") {
    spec.kind = WindowSpec::Kind::kCumulating;
  } else if (kind != "tumbling") {
    return WindowError("no kind \"" + kind + "\"");
  }
  if (spec.size <= 0 || spec.every <= 0 || spec.every > spec.size) {
    return WindowError("size " + std::to_string(spec.size) + " us every " + std::to_string(spec.every) +
                       " us");
  }
  if (spec.kind == WindowSpec::Kind::kCumulating && spec.size % spec.every != 0) {
    return WindowError("a cumulating window's size is a multiple of its step");
  }
  return spec;
}

Panes::Panes(const WindowSpec& spec) : spec_(spec), pane_size_(PaneSize(spec)), calendar_(CalendarOf(spec)) {}

Timestamp Panes::floor(Timestamp time, int64_t by) const {
  return FloorDivide(time - spec_.offset, by) * by + spec_.offset;
}

Timestamp Panes::first_end(Timestamp pane) const {
  switch (spec_.kind) {
    case WindowSpec::Kind::kHopping:
      // Ends stand at offset + size + n * every; the first one behind the pane.
      return floor(pane - spec_.size, spec_.every) + spec_.every + spec_.size;
    case WindowSpec::Kind::kCalendar:
      return calendar_->of(pane).end;
    default:
      return pane + pane_size_;
  }
}

Timestamp Panes::last_end(Timestamp pane) const {
  switch (spec_.kind) {
    case WindowSpec::Kind::kHopping:
      return floor(pane, spec_.every) + spec_.size;
    case WindowSpec::Kind::kCumulating:
      return floor(pane, spec_.size) + spec_.size;
    case WindowSpec::Kind::kCalendar:
      return calendar_->of(pane).end;
    default:
      return pane + pane_size_;
  }
}

Timestamp Panes::start(Timestamp end) const {
  if (calendar_.has_value()) return calendar_->of(end - 1).start;
  return spec_.kind == WindowSpec::Kind::kCumulating ? floor(end - 1, spec_.size) : end - spec_.size;
}

Timestamp Panes::end_after(Timestamp end, int64_t count) const {
  if (calendar_.has_value()) return calendar_->end_after(end - 1, count);
  return Later(end, count * (spec_.kind == WindowSpec::Kind::kHopping ? spec_.every : spec_.size));
}

std::shared_ptr<arrow::Schema> LateSchema(const arrow::Schema& input) {
  arrow::FieldVector fields = input.fields();
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  fields.push_back(arrow::field("window_start", time));
  fields.push_back(arrow::field("window_end", time));
  fields.push_back(arrow::field("watermark", time, false));
  fields.push_back(arrow::field("partition", arrow::utf8(), false));
  fields.push_back(arrow::field("position", arrow::int64(), false));
  return arrow::schema(std::move(fields));
}

}  // namespace frazil
