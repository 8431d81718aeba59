#pragma once

#include <nanobind/nanobind.h>

namespace nb = nanobind;

// One function per area; each adds its functions and classes to the module.
namespace frazil::python {

void init_aggregate(nb::module_& m);
void init_capsule(nb::module_& m);
void init_connector(nb::module_& m);
void init_decode(nb::module_& m);
void init_expr(nb::module_& m);
void init_iceberg(nb::module_& m);
void init_job(nb::module_& m);
void init_kafka(nb::module_& m);
void init_lookup(nb::module_& m);
void init_sink(nb::module_& m);
void init_time(nb::module_& m);

}  // namespace frazil::python
