#include "connector/kafka/position.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace frazil::kafka {

std::string PartitionName(const std::string& topic, int32_t partition) {
  return topic + "-" + std::to_string(partition);
}

Result<std::pair<std::string, int32_t>> ParsePartitionName(const std::string& name) {
  const size_t dash = name.rfind('-');
  int32_t number = -1;
  if (dash != std::string::npos && dash > 0) {
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + dash + 1, end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end) number = -1;
  }
  if (number < 0) {
    return Error(ErrorKind::kState,
                 "reading a Kafka partition name: expected topic-number, got \"" + name + "\"");
  }
  return std::pair{name.substr(0, dash), number};
}

std::string PositionOf(int64_t offset) { return "{\"v\":1,\"offset\":" + std::to_string(offset) + "}"; }

Result<int64_t> OffsetOf(const std::string& position) {
  const auto json = nlohmann::json::parse(position, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("v") && json["v"] == 1 && json.contains("offset") &&
      json["offset"].is_number_integer() && json["offset"].get<int64_t>() >= 0) {
    return json["offset"].get<int64_t>();
  }
  return Error(ErrorKind::kState, "reading a Kafka position: expected {\"v\":1,\"offset\":n}, got " +
                                      position + "; it was written by another version or by hand");
}

}  // namespace frazil::kafka
