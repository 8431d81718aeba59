// Any bytes as a path and a document: never a crash, and whatever type is asked for, not strict is never an
// error. The input is a byte for the type, the path, a line feed, and the document.
#include <arrow/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "expr/expr.h"

namespace {

// Types as they stand in a plan.
std::vector<std::string> Types() {
  std::vector<std::string> types;
  for (const auto& type :
       {arrow::boolean(), arrow::int8(), arrow::int64(), arrow::uint64(), arrow::float64(), arrow::utf8(),
        arrow::decimal128(20, 4), arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::date32(),
        arrow::binary()}) {
    const auto bytes = arrow::ipc::SerializeSchema(*arrow::schema({arrow::field("", type)})).ValueOrDie();
    types.push_back(arrow::util::base64_encode(bytes->ToString()));
  }
  return types;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (!arrow::compute::Initialize().ok()) std::abort();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static const std::vector<std::string> types = Types();
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = std::min(text.find('\n'), text.size());
  const bool strict = (data[0] & 128) != 0;
  const nlohmann::json expression = {
      {"fn", "json_get"},
      {"args", {{{"col", "document"}}}},
      {"options",
       {{"path", text.substr(0, cut)}, {"type", types[data[0] % types.size()]}, {"strict", strict}}}};
  const auto schema = arrow::schema({arrow::field("document", arrow::utf8())});
  const auto bound = frazil::Bind(expression, *schema);
  if (!bound.ok()) return 0;
  arrow::StringBuilder builder;
  if (!builder.Append(cut < text.size() ? text.substr(cut + 1) : "").ok() || !builder.AppendNull().ok())
    std::abort();
  const auto batch = arrow::RecordBatch::Make(schema, 2, {builder.Finish().ValueOrDie()});
  const auto values = bound->Evaluate(*batch);
  if (!values.ok()) {
    if (!strict) std::abort();
    return 0;
  }
  if (!(*values)->ValidateFull().ok() || (*values)->length() != 2 || (*values)->IsValid(1)) std::abort();
  return 0;
}
