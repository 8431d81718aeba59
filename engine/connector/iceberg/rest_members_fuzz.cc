// Any text as the rest of a row: its members are told apart where it is a JSON object, and what is put into
// columns and what is left are whole.
#include <arrow/api.h>
#include <arrow/compute/initialize.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "connector/iceberg/rest_columns.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (!arrow::compute::Initialize().ok()) std::abort();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace frazil::iceberg;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<RestMember> members;
  const bool apart = MembersOf(text, &members);
  const auto parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_object() && !apart) std::abort();
  if (parsed.is_object()) {
    std::set<std::string> names;
    for (const auto& member : members) {
      const auto name = TextOf(member.key);
      if (!name || !parsed.contains(*name)) std::abort();
      names.insert(*name);
      (void)ValueOf(member.value);
    }
    if (names.size() != parsed.size()) std::abort();
  }

  const nlohmann::json evolve = {{"*", "evolve"}}, ignore = {{"*", "ignore"}};
  const nlohmann::json drift = {{"expand", "rest"},
                                {"columns_max", 10},
                                {"on_new_column", evolve},
                                {"on_wider_type", evolve},
                                {"on_type_conflict", ignore}};
  const auto table =
      arrow::schema({arrow::field("rest", arrow::utf8()), arrow::field("a", arrow::int32()),
                     arrow::field("b", arrow::utf8()), arrow::field("c", arrow::float32()),
                     arrow::field("d", arrow::boolean()), arrow::field("e", arrow::float64())});
  RestColumns columns(*ParseRestPolicies({{"drift", drift}}), table.get(), "", false,
                      arrow::default_memory_pool());
  arrow::StringBuilder rest;
  if (!rest.Append(text).ok()) std::abort();
  const auto rows =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("rest", arrow::utf8())}), 1, {*rest.Finish()});
  WantedColumns wanted;
  auto unpacked = columns.unpack(rows, &wanted);
  if (!unpacked.ok()) std::abort();
  if (*unpacked == nullptr) {
    if (wanted.empty() || !columns.answer(*table, {{"full", "no more"}}).ok()) std::abort();
    nlohmann::json answered = nlohmann::json::array();
    for (const auto& [name, type] : wanted) answered.push_back(nlohmann::json::array({name, type}));
    if (!columns.answer(*table, {{"full", "no more"}, {"answered", answered}}).ok()) std::abort();
    unpacked = columns.unpack(rows, &wanted);
    if (!unpacked.ok() || *unpacked == nullptr) std::abort();
  }
  if (!(*unpacked)->Validate().ok() || (*unpacked)->num_rows() != 1) std::abort();
  return 0;
}
