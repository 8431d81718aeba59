#include "run/time_metrics.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "operator/time/event_time.h"

namespace frazil {
namespace {

// Frontiers in metrics, of one event_time node; more partitions than these are only counted.
constexpr size_t kFrontiersShown = 1000;

}  // namespace

void NoteTime(const StageNode& node, nlohmann::json* entry) {
  const auto add = [entry](const char* key, int64_t value) {
    (*entry)[key] = entry->value(key, int64_t{0}) + value;
  };
  // The least of all workers; taken out again if nothing is known, or nothing will come.
  const Timestamp before = entry->value("watermark", kWatermarkMax);
  (*entry)["watermark"] = std::min(before, node.watermark());
  if (RefusesLateRows(node.plan().kind)) add("late", node.op()->late_rows());
  if (node.stateful()) add("state_bytes", node.state_bytes());
  const auto* time = dynamic_cast<const EventTime*>(node.op());
  if (time == nullptr) return;
  if (time->ended() || time->waits()) {
    (*entry)[time->ended() ? "ended" : "waits"] = true;
    return;
  }
  for (const auto& [partition, frontier] : time->all_frontiers()) {
    (*entry)["frontiers"][partition] = frontier;
  }
  (*entry)["moving"] = std::min(entry->value("moving", kWatermarkMax), time->moving());
  (*entry)["furthest"] = std::max(entry->value("furthest", kWatermarkMin), time->furthest());
  auto& resting = (*entry)["resting"];
  if (resting.is_null()) resting = nlohmann::json::array();
  for (auto& name : time->resting()) {
    if (resting.size() < kFrontiersShown) resting.push_back(std::move(name));
  }
}

void FinishTime(nlohmann::json* entry) {
  const Timestamp watermark = (*entry)["watermark"];
  if (watermark == kWatermarkMin || watermark == kWatermarkMax) entry->erase("watermark");
  if (!entry->contains("frontiers")) return;
  const Timestamp moving = (*entry)["moving"];
  if (moving == kWatermarkMin || moving == kWatermarkMax) (*entry)["moving"] = nullptr;
  if ((*entry)["furthest"] == kWatermarkMin) (*entry)["furthest"] = nullptr;
  const auto all = entry->at("frontiers").get<std::map<std::string, Timestamp>>();
  auto& shown = (*entry)["frontiers"] = nlohmann::json::object();
  const auto known = [](Timestamp time) {
    return time == kWatermarkMin ? nlohmann::json() : nlohmann::json(time);
  };
  auto least = all.begin(), most = all.begin();
  for (auto at = all.begin(); at != all.end(); ++at) {
    if (at->second < least->second) least = at;
    if (at->second > most->second) most = at;
    if (shown.size() < kFrontiersShown) shown[at->first] = known(at->second);
  }
  (*entry)["partitions"] = all.size();
  (*entry)["held_by"] = least->first;
  (*entry)["least"] = known(least->second);
  (*entry)["most"] = known(most->second);
}

void NoteFunctions(const FunctionTimes& times, nlohmann::json* entry) {
  const int64_t calls = times.calls.load(std::memory_order_relaxed);
  if (calls == 0) return;
  auto& told = (*entry)["python"];
  if (told.is_null()) told = {{"calls", 0}, {"seconds", 0.0}, {"wait_seconds", 0.0}};
  told["calls"] = told["calls"].get<int64_t>() + calls;
  const auto add = [&told](const char* name, const std::atomic<int64_t>& nanoseconds) {
    told[name] =
        told[name].get<double>() + static_cast<double>(nanoseconds.load(std::memory_order_relaxed)) / 1e9;
  };
  add("seconds", times.call_ns);
  add("wait_seconds", times.wait_ns);
}

}  // namespace frazil
