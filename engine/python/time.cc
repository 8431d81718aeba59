#include <nanobind/stl/string.h>

#include <string>

#include "base/time_zone.h"
#include "python/error.h"
#include "python/module.h"

namespace frazil::python {
namespace {

// The version of the time zones that the engine uses; an error if this one is not among them.
std::string TimeZoneVersionOf(const std::string& zone) {
  ThrowIfError(TimeZone::Load(zone).status());
  return TimeZoneVersion();
}

}  // namespace

void init_time(nb::module_& m) { m.def("time_zone_version", &TimeZoneVersionOf, nb::arg("zone")); }

}  // namespace frazil::python
