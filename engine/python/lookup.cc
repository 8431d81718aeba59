// Lookup joins: their types at plan time.
#include "operator/join/lookup.h"
#include "python/capsule.h"
#include "python/error.h"
#include "state/key_value.h"

namespace frazil::python {
namespace {

// Whether the first and the second column of a schema can be keys, and whether they can be the same key.
nb::tuple LookupKey(nb::handle pair) {
  const auto schema = ImportSchema(pair);
  const auto& left = *schema->field(0)->type();
  const auto& right = *schema->field(1)->type();
  return nb::make_tuple(IsKeyType(left), IsKeyType(right), SameKeyType(left, right));
}

}  // namespace

void init_lookup(nb::module_& m) { m.def("lookup_key", &LookupKey, nb::arg("pair")); }

}  // namespace frazil::python
