#include "format/json_rest.h"

#include <nlohmann/json.hpp>

namespace frazil {

bool JsonRest::IsOne(const arrow::Field& field) { return !JsonMetadata(field, "fz:rest").empty(); }

Status JsonRest::Check(const arrow::Field& field) {
  const char* wrong = nullptr;
  if (field.type()->id() != arrow::Type::STRING || !field.nullable()) wrong = "is a nullable string";
  if (!JsonMetadata(field, "fz:source").empty()) wrong = "has no source";
  if (!JsonMetadata(field, "fz:default").empty()) wrong = "has no default";
  if (wrong == nullptr) return Status::OK();
  return Error(ErrorKind::kConfig,
               std::string("a field with the rest of an object ") + wrong + ", this is " + field.ToString());
}

void JsonRest::Add(const char* begin, const JsonCursor& cursor) {
  if (cursor.AtEnd()) return;  // the object does not close: told by whoever reads on
  const char* end = cursor.TokenBegin();
  while (end > begin && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r')) --end;
  if (text_.size() > 1) text_ += ',';
  text_.append(begin, end);
}

bool JsonRest::End(JsonFailure& failure) {
  if (text_.size() == 1) return column_->AppendNull(failure);
  text_ += '}';
  if (nlohmann::json::accept(text_)) return column_->AppendText(text_, failure);
  return failure.Because("members that no column reads are not JSON: " + ShownJson(text_));
}

}  // namespace frazil
