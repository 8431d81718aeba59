#include "format/json_object.h"

namespace frazil {

Result<JsonObject::Member> JsonObject::MakeMember(const arrow::Field& field, const JsonOptions& options,
                                                  arrow::MemoryPool* pool, int level) {
  Member member;
  member.name = field.name();
  FZ_ASSIGN(member.column, MakeJsonColumn(field, options, pool, level));
  const std::string text = JsonMetadata(field, "fz:default");
  if (text.empty()) return member;
  FZ_ASSIGN(member.missing, JsonText::Make(text));
  // Read it once, so that a default that does not fit its column is told before the run.
  JsonFailure failure;
  JsonCursor cursor = member.missing->cursor();
  FZ_TRY(member.column->Reserve(1));
  const bool good =
      member.column->Read(cursor, failure) && (cursor.AtEnd() || cursor.Expected("one value", failure));
  FZ_TRY(failure.fatal);
  if (!good) return Error(ErrorKind::kConfig, "default " + ShownJson(text) + ": " + failure.reason);
  member.column->Truncate(0);
  return member;
}

Result<std::unique_ptr<JsonObject>> JsonObject::Make(const arrow::FieldVector& fields,
                                                     const JsonOptions& options, arrow::MemoryPool* pool,
                                                     int level, bool root) {
  auto made = std::make_unique<JsonObject>();
  made->root_ = root;
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto& field = *fields[i];
    const auto at = static_cast<int32_t>(i);
    auto member = MakeMember(field, options, pool, level);
    if (!member.ok()) return Prefixed(member.status(), "field \"" + field.name() + "\"");
    made->members_.push_back(std::move(member).ValueUnsafe());
    if (!JsonRest::IsOne(field)) {
      FZ_TRY(made->AddKeys(field, at, level));
      continue;
    }
    FZ_TRY(JsonRest::Check(field));
    if (made->rest_at_ >= 0) {
      return Error(ErrorKind::kConfig, "field \"" + field.name() + "\": another one has the rest already");
    }
    made->rest_at_ = at;
    made->rest_.emplace(made->members_.back().column.get());
  }
  return made;
}

Status JsonObject::AddKeys(const arrow::Field& field, int32_t at, int level) {
  std::vector<std::string> path{field.name()};
  if (const std::string source = JsonMetadata(field, "fz:source"); !source.empty()) {
    auto parsed = ParseJsonSource(source);
    if (!parsed.ok()) return Prefixed(parsed.status(), "field \"" + field.name() + "\"");
    path = std::move(parsed).ValueUnsafe();
  }
  if (path.size() + static_cast<size_t>(level) > static_cast<size_t>(limits::kJsonDepth)) {
    return Error(ErrorKind::kConfig, "field \"" + field.name() + "\": source nested deeper than " +
                                         std::to_string(limits::kJsonDepth) + " levels");
  }
  JsonKeys* keys = &keys_;
  for (size_t step = 0; step < path.size(); ++step) {
    keys->AddColumn(at);
    JsonKeys::Key* key = keys->Add(path[step]);
    if (key->first_below < 0) key->first_below = at;
    if (step + 1 == path.size()) {
      key->columns.push_back(at);
      break;
    }
    if (key->inside == nullptr) key->inside = std::make_unique<JsonKeys>();
    keys = key->inside.get();
  }
  return Status::OK();
}

bool JsonObject::Read(JsonCursor& cursor, JsonFailure& failure) {
  JsonRest* const rest = rest_.has_value() ? &*rest_ : nullptr;
  if (rest != nullptr) rest->Begin();
  if (!ReadKeys(keys_, rest, cursor, failure)) return false;
  if (rest != nullptr && !EndRest(failure)) return false;
  for (size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].column->length() == length_) [[unlikely]] {
      if (!AppendMissing(static_cast<int32_t>(i), failure)) return false;
    }
  }
  ++length_;
  return true;
}

bool JsonObject::EndRest(JsonFailure& failure) { return rest_->End(failure) || Blame(rest_at_, failure); }

bool JsonObject::ReadKeys(JsonKeys& keys, JsonRest* rest, JsonCursor& cursor, JsonFailure& failure) {
  if (!cursor.Enter(failure)) return false;
  if (cursor.Peek() == '}') {
    cursor.Leave();
    return true;
  }
  JsonKeys::Key* key = nullptr;
  for (;;) {
    if (rest == nullptr) key = keys.PassUnread(cursor, key);
    const char* const begin = rest == nullptr || cursor.AtEnd() ? nullptr : cursor.TokenBegin();
    key = keys.Take(cursor, key, failure);
    if (key == nullptr) return false;
    if (!cursor.Take(':')) [[unlikely]]
      return cursor.Expected("':' after a key", failure);
    if (key->columns.size() == 1 && key->inside == nullptr) {
      if (!ReadColumn(key->columns.front(), cursor, failure)) return false;
    } else if (!key->read()) {
      if (!cursor.Skip(failure)) return false;
    } else {
      if (!ReadValue(*key, cursor, failure)) return false;
    }
    if (rest != nullptr && key->columns.empty()) rest->Add(begin, cursor);
    const char c = cursor.Peek();
    if (c == ',') {
      cursor.Advance();
    } else if (c == '}') {
      cursor.Leave();
      return true;
    } else {
      return cursor.Expected("',' or '}' after a value", failure);
    }
  }
}

bool JsonObject::ReadColumn(int32_t at, JsonCursor& cursor, JsonFailure& failure) {
  JsonColumn& column = *members_[static_cast<size_t>(at)].column;
  if (column.length() != length_) [[unlikely]]
    column.Truncate(length_);  // a duplicate key: the last one counts
  if (column.Read(cursor, failure)) [[likely]]
    return true;
  return Blame(at, failure);
}

// Several columns read the value, or some read inside it: each from its own copy of the cursor.
bool JsonObject::ReadValue(JsonKeys::Key& key, JsonCursor& cursor, JsonFailure& failure) {
  JsonCursor behind = cursor;
  for (const int32_t at : key.columns) {
    behind = cursor;
    if (!ReadColumn(at, behind, failure)) return false;
  }
  if (key.inside != nullptr) {
    behind = cursor;
    if (!ReadInside(key, behind, failure)) return false;
  }
  cursor = behind;
  return true;
}

bool JsonObject::ReadInside(JsonKeys::Key& key, JsonCursor& cursor, JsonFailure& failure) {
  for (const int32_t at : key.inside->columns()) {
    JsonColumn& column = *members_[static_cast<size_t>(at)].column;
    if (column.length() != length_) column.Truncate(length_);
  }
  if (cursor.Peek() == '{') return ReadKeys(*key.inside, nullptr, cursor, failure);
  JsonCursor behind = cursor;
  if (cursor.Peek() == 'n' && behind.TakeNull(failure)) {  // nothing inside: every field of it is missing
    cursor = behind;
    return true;
  }
  cursor.Expected("object", failure);
  failure.reason = "at \"" + std::string(key.text()) + "\": " + failure.reason;
  return Blame(key.first_below, failure);
}

bool JsonObject::AppendMissing(int32_t at, JsonFailure& failure) {
  Member& member = members_[static_cast<size_t>(at)];
  if (member.missing.has_value()) {
    JsonCursor cursor = member.missing->cursor();
    return member.column->Read(cursor, failure) || Blame(at, failure);
  }
  if (member.column->nullable()) return member.column->AppendNull(failure);
  failure.Because("the field is missing, its column is not nullable and has no default");
  return Blame(at, failure);
}

bool JsonObject::Blame(int32_t at, JsonFailure& failure) const {
  const std::string& name = members_[static_cast<size_t>(at)].name;
  if (root_) {
    failure.column = name;
  } else {
    failure.Within("." + name);
  }
  return false;
}

bool JsonObject::AppendEmpty(JsonFailure& failure) {
  for (auto& member : members_) {
    if (!member.column->AppendEmpty(failure)) return false;
  }
  ++length_;
  return true;
}

void JsonObject::Truncate(int64_t length) {
  for (auto& member : members_) {
    // A column that failed may hold a part of a value beyond its length, so each one is cut.
    if (member.column->length() >= length) member.column->Truncate(length);
  }
  length_ = length;
}

Status JsonObject::Reserve(int64_t values) {
  for (auto& member : members_) FZ_TRY(member.column->Reserve(values));
  return Status::OK();
}

Result<std::vector<std::shared_ptr<arrow::ArrayData>>> JsonObject::Finish() {
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  columns.reserve(members_.size());
  for (auto& member : members_) {
    FZ_ASSIGN(auto column, member.column->Finish());
    columns.push_back(std::move(column));
  }
  length_ = 0;
  return columns;
}

}  // namespace frazil
