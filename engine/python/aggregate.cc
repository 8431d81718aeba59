// Aggregates: their types at plan time, and the table of them.
#include "aggregate/aggregate.h"

#include <nanobind/stl/string.h>

#include "aggregate/function.h"
#include "python/capsule.h"
#include "python/error.h"

namespace frazil::python {
namespace {

// The column (name "") that an aggregate makes of columns of a schema, and whether it needs the order of
// rows; options are a JSON object.
nb::tuple AggregateType(const std::string& function, nb::handle arguments, const std::string& options) {
  const auto schema = ImportSchema(arguments);
  arrow::DataTypeVector types;
  for (const auto& field : schema->fields()) types.push_back(field->type());
  const auto aggregate = ValueOrThrow(MakeAggregate(function, types, nlohmann::json::parse(options)));
  const auto made = arrow::field("", aggregate->result_type(), aggregate->result_nullable());
  return nb::make_tuple(SchemaCarrier{arrow::schema({made})}, aggregate->needs_order());
}

// (name, least arguments, most arguments, signature, options, doc, whether it can retract) of each function.
nb::list AggregateTable() {
  nb::list table;
  for (const AggregateFunction& function : AggregateFunctions()) {
    table.append(nb::make_tuple(function.name, function.args_min, function.args_max, function.signature,
                                function.options, function.doc, function.retracts));
  }
  return table;
}

}  // namespace

void init_aggregate(nb::module_& m) {
  m.def("aggregate_type", &AggregateType, nb::arg("function"), nb::arg("arguments"),
        nb::arg("options") = "{}");
  m.def("aggregates", &AggregateTable);
}

}  // namespace frazil::python
