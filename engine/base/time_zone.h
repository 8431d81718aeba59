#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace frazil {

// What clocks show at a place: the offset from UTC at every instant, of the system's time zone database.
// Immutable; any thread. All times are seconds, of UTC or of the clocks, since 1970.
//
// Reads TZif files (RFC 9636), of versions 1 to 4, "fat" and "slim": behind the last change that a file lists
// its rule (a POSIX TZ string) goes on for ever.
class TimeZone {
 public:
  // By name, as in "Europe/Berlin". An error names a zone that is not there, and where it was looked for.
  static Result<std::shared_ptr<const TimeZone>> Load(const std::string& name);
  // Bytes of a TZif file.
  static Result<std::shared_ptr<const TimeZone>> Parse(const std::string& name, std::string_view bytes);

  // What clocks are ahead of UTC at an instant.
  int64_t offset(int64_t instant) const;

  // The instant from which on clocks show `local` or later, and never earlier again. If clocks jump over
  // `local`, that of the jump; if they show it twice, mostly the first, and the second if they go back behind
  // it in between.
  int64_t passed(int64_t local) const;

 private:
  struct Change {
    int64_t at;  // from then on
    int64_t offset;
  };

  TimeZone() = default;
  void extend(const struct ZoneRule& rule);

  int64_t first_offset_ = 0;     // before the first change
  std::vector<Change> changes_;  // in order
  bool periodic_ = false;        // from limit_ on all is as 400 years before
  int64_t limit_ = 0;
};

// The version of the database, as "2025b"; "unknown" if it does not say.
std::string TimeZoneVersion();

}  // namespace frazil
