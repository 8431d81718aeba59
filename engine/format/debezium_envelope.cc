#include "format/debezium_envelope.h"

#include "base/limits.h"

namespace frazil {
namespace {

bool IsWhite(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsWhite(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsWhite(text.back())) text.remove_suffix(1);
  return text;
}

// True if the object's first key is one of a wrapper: a look that costs next to nothing.
bool MayBeWrapped(std::string_view text) {
  if (text.empty() || text.front() != '{') return false;
  text.remove_prefix(1);
  while (!text.empty() && IsWhite(text.front())) text.remove_prefix(1);
  return text.starts_with("\"schema\"") || text.starts_with("\"payload\"");
}

}  // namespace

DebeziumMessage DebeziumUnwrapper::Take(const RawBatch& raw, int64_t row) {
  using Kind = DebeziumMessage::Kind;
  if (raw.length[static_cast<size_t>(row)] == RawBatch::kNullRow) return {Kind::kTombstone, {}, {}};
  DebeziumMessage message{Kind::kRow, raw.row(row), {}};
  const std::string_view text = Trimmed(message.payload);
  if (text == "null") return {Kind::kTombstone, {}, {}};
  if (!MayBeWrapped(text) || text.size() > static_cast<size_t>(limits::kRowBytesMax)) return message;
  DebeziumMessage inside;
  if (!TakeWrapped(message.payload, &inside)) return message;
  if (inside.payload == "null") return {Kind::kTombstone, {}, {}};
  if (inside.schema == "null") inside.schema = {};
  return inside;
}

// True if the row is an object of `payload` and at most `schema`, which a table's row can only be if it has
// no other columns than these two.
bool DebeziumUnwrapper::TakeWrapped(std::string_view row, DebeziumMessage* message) {
  if (!index_.Reserve(row.size()).ok()) return false;
  JsonCursor cursor;
  JsonFailure failure;
  if (!index_.Start(row, &cursor, failure) || !cursor.Enter(failure)) return false;
  bool has_payload = false;
  for (bool more = true; more;) {
    if (cursor.Peek() != '"') return false;
    const std::string_view key = cursor.TakeRawString();
    if (!cursor.Take(':') || cursor.AtEnd()) return false;
    const char* const begin = cursor.TokenBegin();
    if (!cursor.Skip(failure) || cursor.AtEnd()) return false;
    const auto size = static_cast<size_t>(cursor.TokenBegin() - begin);
    const std::string_view value = Trimmed({begin, size});
    if (key == "payload") {
      message->payload = value;
      has_payload = true;
    } else if (key == "schema" && (value.starts_with('{') || value == "null")) {
      message->schema = value;
    } else {
      return false;
    }
    more = cursor.Take(',');
  }
  if (cursor.Peek() != '}') return false;
  cursor.Leave();
  return has_payload && cursor.AtEnd();
}

}  // namespace frazil
