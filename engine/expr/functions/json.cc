// Values out of JSON documents. The whole document is checked: half a document has no values.
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>

#include <simdjson.h>

#include <optional>
#include <variant>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

using Step = std::variant<std::string, uint64_t>;  // a name, or a position in an array
using Path = std::vector<Step>;

// user.address, items[0].id, ["odd.name"], with or without "$" in front; nullopt if it is none of these.
std::optional<Path> ParsePath(std::string_view text) {
  Path path;
  if (text.starts_with('$')) text.remove_prefix(1);
  bool first = true;
  while (!text.empty()) {
    if (text[0] == '[') {
      const bool quoted = text.size() > 1 && (text[1] == '"' || text[1] == '\'');
      const size_t end = quoted ? text.find(std::string{text[1], ']'}, 2) : text.find(']');
      if (end == std::string_view::npos) return std::nullopt;
      if (quoted) {
        path.emplace_back(std::string(text.substr(2, end - 2)));
        text.remove_prefix(end + 2);
      } else {
        uint64_t position = 0;
        const auto digits = text.substr(1, end - 1);
        if (digits.empty() || digits.size() > 9) return std::nullopt;
        for (const char c : digits) {
          if (c < '0' || c > '9') return std::nullopt;
          position = position * 10 + static_cast<uint64_t>(c - '0');
        }
        path.emplace_back(position);
        text.remove_prefix(end + 1);
      }
    } else {
      if (text[0] == '.') {
        text.remove_prefix(1);
      } else if (!first) {
        return std::nullopt;
      }
      const size_t end = std::min(text.find_first_of(".["), text.size());
      if (end == 0) return std::nullopt;
      path.emplace_back(std::string(text.substr(0, end)));
      text.remove_prefix(end);
    }
    first = false;
  }
  return path.empty() ? std::nullopt : std::optional<Path>(std::move(path));
}

// The element the path leads to, or nullopt. Of fields with the same name the last counts, as when decoding.
// `places` gets the number of each child on the way.
std::optional<element> Walk(element at, const Path& path, std::vector<size_t>* places) {
  places->clear();
  for (const Step& step : path) {
    std::optional<element> next;
    size_t place = 0;
    size_t chosen = 0;
    if (const auto* name = std::get_if<std::string>(&step)) {
      if (!at.is_object()) return std::nullopt;
      for (const auto field : simdjson::dom::object(at)) {
        if (field.key == *name) {
          next = field.value;
          chosen = place;
        }
        ++place;
      }
    } else {
      if (!at.is_array()) return std::nullopt;
      for (const auto item : simdjson::dom::array(at)) {
        if (place == std::get<uint64_t>(step)) {
          next = item;
          chosen = place;
          break;
        }
        ++place;
      }
    }
    if (!next) return std::nullopt;
    at = *next;
    places->push_back(chosen);
  }
  return at;
}

// The digits of a number as they stand in the document, which was found to be good.
bool NumberText(std::string_view document, const Path& path, const std::vector<size_t>& places,
                std::string* text) {
  namespace ondemand = simdjson::ondemand;
  ondemand::parser parser;
  const simdjson::padded_string padded(document);
  ondemand::document root;
  if (parser.iterate(padded).get(root)) return false;
  ondemand::value at;
  if (root.get_value().get(at)) return false;
  for (size_t depth = 0; depth < path.size(); ++depth) {
    size_t place = 0;
    bool found = false;
    ondemand::value next;
    if (std::holds_alternative<std::string>(path[depth])) {
      ondemand::object object;
      if (at.get_object().get(object)) return false;
      for (auto field : object) {
        if (place++ != places[depth]) continue;
        if (field.value().get(next)) return false;
        found = true;
        break;
      }
    } else {
      ondemand::array array;
      if (at.get_array().get(array)) return false;
      for (auto item : array) {
        if (place++ != places[depth]) continue;
        if (item.get(next)) return false;
        found = true;
        break;
      }
    }
    if (!found) return false;
    at = next;
  }
  std::string_view token = at.raw_json_token();
  while (!token.empty() && std::string_view(" \t\r\n").find(token.back()) != std::string_view::npos) {
    token.remove_suffix(1);
  }
  *text = std::string(token);
  return true;
}

enum class Taken { kValue, kNull, kRefused };

// What is taken out of each document, by the type of the builder.
struct TakeInt64 {
  using Builder = arrow::Int64Builder;
  static constexpr const char* kExpected = "an integer of 64 bits";
  static Taken Take(const element& value, std::string_view, const Path&, const std::vector<size_t>&,
                    Builder* builder) {
    int64_t number = 0;
    if (!value.is<int64_t>() || value.get(number)) return Taken::kRefused;
    builder->UnsafeAppend(number);
    return Taken::kValue;
  }
};
struct TakeDouble {
  using Builder = arrow::DoubleBuilder;
  static constexpr const char* kExpected = "a number";
  static Taken Take(const element& value, std::string_view, const Path&, const std::vector<size_t>&,
                    Builder* builder) {
    double number = 0;
    if (!value.is_number() || value.get(number)) return Taken::kRefused;
    builder->UnsafeAppend(number);
    return Taken::kValue;
  }
};
struct TakeBool {
  using Builder = arrow::BooleanBuilder;
  static constexpr const char* kExpected = "true or false";
  static Taken Take(const element& value, std::string_view, const Path&, const std::vector<size_t>&,
                    Builder* builder) {
    bool truth = false;
    if (value.get(truth)) return Taken::kRefused;
    builder->UnsafeAppend(truth);
    return Taken::kValue;
  }
};
struct TakeText {
  using Builder = arrow::StringBuilder;
  static constexpr const char* kExpected = "a value";
  static Taken Take(const element& value, std::string_view document, const Path& path,
                    const std::vector<size_t>& places, Builder* builder) {
    std::string text;
    if (value.is_string()) {
      const std::string_view view = value;
      return builder->Append(view).ok() ? Taken::kValue : Taken::kRefused;
    }
    if (value.is_number()) {
      if (!NumberText(document, path, places, &text)) return Taken::kRefused;
    } else {
      text = simdjson::minify(value);
    }
    return builder->Append(text).ok() ? Taken::kValue : Taken::kRefused;
  }
};

template <typename Kind>
Kernel TakeKernel(Path path, bool strict) {
  return OnArrays(
      [path = std::move(path), strict](const arrow::ArrayVector& args,
                                       ExecContext* context) -> Result<std::shared_ptr<arrow::Array>> {
        const auto& documents = static_cast<const arrow::LargeStringArray&>(*args[0]);
        typename Kind::Builder builder(context->memory_pool());
        FZ_TRY(builder.Reserve(documents.length()));
        simdjson::dom::parser parser;
        std::vector<size_t> places;
        for (int64_t i = 0; i < documents.length(); ++i) {
          Taken taken = Taken::kNull;
          if (documents.IsValid(i)) {
            const std::string_view document = documents.GetView(i);
            element root;
            if (const auto error = parser.parse(document.data(), document.size()).get(root); error) {
              if (strict) return Status::Invalid("no JSON: ", simdjson::error_message(error));
            } else if (const auto value = Walk(root, path, &places); value && !value->is_null()) {
              taken = Kind::Take(*value, document, path, places, &builder);
            }
          }
          if (taken == Taken::kRefused && strict) return Status::Invalid("not ", Kind::kExpected);
          if (taken != Taken::kValue) FZ_TRY(builder.AppendNull());
        }
        return builder.Finish();
      });
}

// The text that was taken as a time or a decimal, the number as an integer of another width.
Result<NodePtr> Converted(const NodePtr& taken, const TypePtr& type, bool strict,
                          const nlohmann::json& options) {
  if (taken->type->Equals(*type)) return taken;
  if (IsTimestamp(*type) || IsDate(*type)) {
    FZ_ASSIGN(NodePtr time, BindCall(IsDate(*type) ? "str_to_date" : "str_to_datetime", {taken},
                                     {{"format", nullptr}, {"strict", strict}}));
    return CastTo(time, type);
  }
  return BindCall(strict ? "cast" : "try_cast", {taken}, options);
}

}  // namespace

Result<Node> BindJsonGet(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  FZ_TRY(Expect(call, 0, IsString(*call.args[0]->type), "string"));
  FZ_TRY(CastArg(call, 0, arrow::large_utf8()));
  auto path = ParsePath(call.options.at("path").get<std::string>());
  if (!path)
    return Mismatch(call, "not a path into JSON", "write 'user.name', 'items[0].id' or '[\"odd name\"]'");
  const bool strict = call.options.value("strict", true);
  FZ_ASSIGN(const TypePtr type, DecodeType(call.options.at("type").get<std::string>()));

  Node node;
  if (type->id() == arrow::Type::BOOL) {
    node = OwnCall(call, arrow::boolean(), TakeKernel<TakeBool>(std::move(*path), strict));
  } else if (IsInteger(*type)) {
    node = OwnCall(call, arrow::int64(), TakeKernel<TakeInt64>(std::move(*path), strict));
  } else if (IsFloat(*type)) {
    node = OwnCall(call, arrow::float64(), TakeKernel<TakeDouble>(std::move(*path), strict));
  } else if (IsString(*type) || IsDecimal(*type) || IsTimestamp(*type) || IsDate(*type)) {
    node = OwnCall(call, arrow::utf8(), TakeKernel<TakeText>(std::move(*path), strict));
  } else {
    return Mismatch(call, "json.get does not give " + TypeName(*type), "take it as str and go on from there");
  }
  node.nullable = true;
  node.fallible = strict;
  node.text = call.text;
  node.advice = call.function.advice;
  FZ_ASSIGN(NodePtr converted,
            Converted(std::make_shared<Node>(std::move(node)), type, strict, call.options));
  return *converted;
}

}  // namespace frazil::expr
