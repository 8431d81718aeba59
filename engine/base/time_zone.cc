#include "base/time_zone.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/calendar.h"
#include "base/zone_rule.h"

namespace frazil {
namespace {

// Where the database is, on the systems there are; the first folder that is there counts.
constexpr std::array kFolders = {"/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo",
                                 "/etc/zoneinfo"};
constexpr int64_t kFileBytesMax = 1 << 20;
constexpr int64_t kOffsetMax = 26 * 3600;            // RFC 9636
constexpr int64_t kCycle = int64_t{146097} * 86400;  // 400 years, which are whole weeks
constexpr int64_t kTimeMax = int64_t{1} << 59;       // of a change
constexpr size_t kHeaderBytes = 44;

Status ZoneError(const std::string& name, const std::string& what) {
  return Error(ErrorKind::kConfig, "time zone \"" + name + "\": " + what);
}

Status Damaged(const std::string& name, const std::string& what) {
  return ZoneError(name, "its file is damaged: " + what);
}

std::string Folder() {
  for (const char* folder : kFolders) {
    std::error_code ignored;
    if (std::filesystem::is_directory(folder, ignored)) return folder;
  }
  return kFolders[0];
}

// Names are relative, and lead nowhere else.
bool IsName(const std::string& name) {
  if (name.empty() || name.size() > 255 || name.front() == '/' || name.find("..") != std::string::npos) {
    return false;
  }
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '_' || c == '-' || c == '+';
  });
}

int64_t BigEndian(std::string_view bytes, size_t at, int width) {
  uint64_t value = static_cast<uint8_t>(bytes[at]) >= 0x80 ? ~uint64_t{0} : 0;
  for (int i = 0; i < width; ++i) {
    value = value << 8 | static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)]);
  }
  return static_cast<int64_t>(value);
}

// One of the two parts of a file: a header, and what it counts.
struct Part {
  std::string_view body;
  int width = 4;  // bytes of a time
  size_t utc = 0, standard = 0, leaps = 0, times = 0, types = 0, chars = 0;

  size_t bytes() const {
    return times * static_cast<size_t>(width) + times + types * 6 + chars +
           leaps * (static_cast<size_t>(width) + 4) + standard + utc;
  }
  int64_t time(size_t i) const { return BigEndian(body, i * static_cast<size_t>(width), width); }
  size_t type(size_t i) const { return static_cast<uint8_t>(body[times * static_cast<size_t>(width) + i]); }
  int64_t offset(size_t type) const {
    return BigEndian(body, times * (static_cast<size_t>(width) + 1) + type * 6, 4);
  }
};

Result<Part> ReadPart(const std::string& name, std::string_view bytes, int width) {
  if (bytes.size() < kHeaderBytes || bytes.substr(0, 4) != "TZif") return Damaged(name, "no TZif header");
  Part part;
  part.width = width;
  size_t* const counts[] = {&part.utc, &part.standard, &part.leaps, &part.times, &part.types, &part.chars};
  for (size_t i = 0; i < std::size(counts); ++i) {
    const int64_t count = BigEndian(bytes, 20 + i * 4, 4);
    if (count < 0 || count > kFileBytesMax) return Damaged(name, "a count of " + std::to_string(count));
    *counts[i] = static_cast<size_t>(count);
  }
  part.body = bytes.substr(kHeaderBytes);
  if (part.bytes() > part.body.size()) return Damaged(name, "it ends early");
  return part;
}

}  // namespace

Result<std::shared_ptr<const TimeZone>> TimeZone::Load(const std::string& name) {
  const std::string folder = Folder();
  const std::string path = folder + "/" + name;
  std::error_code ignored;
  if (!IsName(name) || !std::filesystem::is_regular_file(path, ignored)) {
    return ZoneError(name, "there is none of this name in " + folder);
  }
  std::ifstream file(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (file.bad() || static_cast<int64_t>(bytes.size()) > kFileBytesMax || !bytes.starts_with("TZif")) {
    return ZoneError(name, path + " is no file of a time zone");
  }
  return Parse(name, bytes);
}

Result<std::shared_ptr<const TimeZone>> TimeZone::Parse(const std::string& name, std::string_view bytes) {
  FZ_ASSIGN(Part part, ReadPart(name, bytes, 4));
  std::string_view footer;
  if (bytes[4] >= '2') {
    // The first part is for old readers; the second has times of 64 bits, and a rule.
    FZ_ASSIGN(part, ReadPart(name, part.body.substr(part.bytes()), 8));
    footer = part.body.substr(part.bytes());
  }
  if (part.leaps > 0) return ZoneError(name, "it counts leap seconds, which event time does not");
  if (part.types == 0) return Damaged(name, "it has no types");
  auto zone = std::shared_ptr<TimeZone>(new TimeZone());
  for (size_t i = 0; i < part.types; ++i) {
    const int64_t offset = part.offset(i);
    if (offset < -kOffsetMax || offset > kOffsetMax) {
      return Damaged(name, "an offset of " + std::to_string(offset) + " s");
    }
  }
  zone->first_offset_ = part.offset(0);
  for (size_t i = 0; i < part.times; ++i) {
    const int64_t at = part.time(i);
    if (part.type(i) >= part.types || at < -kTimeMax || at > kTimeMax ||
        (i > 0 && at <= zone->changes_.back().at)) {
      return Damaged(name, "change " + std::to_string(i) + " at " + std::to_string(at));
    }
    zone->changes_.push_back({at, part.offset(part.type(i))});
  }
  if (footer.size() > 2) {
    const auto rule = ParseZoneRule(footer.substr(1, footer.find('\n', 1) - 1));
    if (!rule.has_value() || footer.front() != '\n') return Damaged(name, "its rule");
    zone->extend(*rule);
  }
  return zone;
}

// Writes out the rule for 400 years behind the last change; then it repeats.
void TimeZone::extend(const ZoneRule& rule) {
  if (!rule.summer_time) {
    if (changes_.empty()) first_offset_ = rule.standard;
    return;
  }
  const int64_t last = changes_.empty() ? 0 : changes_.back().at;
  const int64_t first_year = CivilFromDays(FloorDivide(last, 86400)).year;
  const size_t listed = changes_.size();
  for (int64_t year = first_year; year <= first_year + 402; ++year) {
    const Change begin{rule.begin.in(year)-rule.standard, rule.summer};
    const Change end{rule.end.in(year)-rule.summer, rule.standard};
    for (const Change& change : {begin, end}) {
      if (listed == 0 || change.at > last) changes_.push_back(change);
    }
  }
  // Where summer is all the year, the end of one year's and the beginning of the next are one instant: they
  // stay in this order.
  std::stable_sort(changes_.begin() + static_cast<std::ptrdiff_t>(listed), changes_.end(),
                   [](const Change& a, const Change& b) { return a.at < b.at; });
  periodic_ = true;
  limit_ = DaysFromCivil(first_year + 401, 1, 2) * 86400;
}

int64_t TimeZone::offset(int64_t instant) const {
  if (periodic_ && instant >= limit_) instant -= ((instant - limit_) / kCycle + 1) * kCycle;
  const auto behind = std::upper_bound(changes_.begin(), changes_.end(), instant,
                                       [](int64_t time, const Change& change) { return time < change.at; });
  return behind == changes_.begin() ? first_offset_ : std::prev(behind)->offset;
}

int64_t TimeZone::passed(int64_t local) const {
  int64_t cycles = 0;
  if (periodic_ && local >= limit_) {
    cycles = (local - limit_) / kCycle + 1;
    local -= cycles * kCycle;
  }
  // By then it surely has passed. Walk back to the last stretch in which clocks still show less: it has
  // passed when they leave that.
  auto next = std::upper_bound(changes_.begin(), changes_.end(), local + kOffsetMax + 1,
                               [](int64_t time, const Change& change) { return time < change.at; });
  while (next != changes_.begin()) {
    const Change& stretch = *std::prev(next);
    const bool empty = next != changes_.end() && next->at == stretch.at;
    if (!empty && local - stretch.offset > stretch.at) break;
    --next;
  }
  const int64_t offset = next == changes_.begin() ? first_offset_ : std::prev(next)->offset;
  int64_t instant = local - offset;
  if (next != changes_.end()) instant = std::min(instant, next->at);
  return instant + cycles * kCycle;
}

std::string TimeZoneVersion() {
  // "# version 2025b" is the first line of the text form, which most systems have beside the files.
  std::ifstream text(Folder() + "/tzdata.zi");
  std::string line;
  constexpr std::string_view kBegin = "# version ";
  if (std::getline(text, line) && line.starts_with(kBegin)) return line.substr(kBegin.size());
  std::ifstream plain(Folder() + "/+VERSION");
  if (std::getline(plain, line) && !line.empty()) return line;
  return "unknown";
}

}  // namespace frazil
