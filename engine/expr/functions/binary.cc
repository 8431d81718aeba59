// Hashes, and bytes as text.
#include <arrow/array/builder_binary.h>
#include <arrow/array/util.h>
#include <arrow/util/base64.h>
#include <arrow/util/string.h>

#include "expr/functions/rules.h"
#include "expr/hash.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

// Strings and all kinds of bytes as large binary: one type for the loops below.
Status PlainBytes(Call& call, bool string_only) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  const arrow::DataType& type = *call.args[0]->type;
  FZ_TRY(Expect(call, 0, IsString(type) || (!string_only && IsBinary(type)),
                string_only ? "string" : "string or binary"));
  if (type.id() == arrow::Type::FIXED_SIZE_BINARY) FZ_TRY(CastArg(call, 0, arrow::binary()));
  return CastArg(call, 0, arrow::large_binary());
}

// Applies convert(view, &text) to each value; what it refuses is null, or an error if strict.
template <typename Builder, typename Convert>
Kernel EachValue(bool strict, const char* what, Convert convert) {
  return OnArrays([strict, what, convert](const arrow::ArrayVector& args,
                                          ExecContext* context) -> Result<std::shared_ptr<arrow::Array>> {
    const auto& values = static_cast<const arrow::LargeBinaryArray&>(*args[0]);
    Builder builder(context->memory_pool());
    FZ_TRY(builder.Reserve(values.length()));
    std::string converted;
    for (int64_t i = 0; i < values.length(); ++i) {
      if (values.IsNull(i)) {
        FZ_TRY(builder.AppendNull());
      } else if (convert(values.GetView(i), &converted)) {
        FZ_TRY(builder.Append(converted));
      } else if (strict) {
        return Status::Invalid("not ", what);
      } else {
        FZ_TRY(builder.AppendNull());
      }
    }
    return builder.Finish();
  });
}

bool ToHex(std::string_view bytes, std::string* text) {
  constexpr char kDigits[] = "0123456789abcdef";
  text->clear();
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text->push_back(kDigits[byte >> 4]);
    text->push_back(kDigits[byte & 15]);
  }
  return true;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool FromHex(std::string_view text, std::string* bytes) {
  bytes->clear();
  if (text.size() % 2 != 0) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return false;
    bytes->push_back(static_cast<char>(high << 4 | low));
  }
  return true;
}

bool ToBase64(std::string_view bytes, std::string* text) {
  *text = arrow::util::base64_encode(bytes);
  return true;
}

// Arrow's decoder is lenient: what does not encode to the same text is refused.
bool FromBase64(std::string_view text, std::string* bytes) {
  auto decoded = arrow::util::base64_decode(text);
  if (!decoded.ok() || arrow::util::base64_encode(*decoded) != text) return false;
  *bytes = std::move(*decoded);
  return true;
}

Result<bool> IsHex(const Call& call) {
  const auto name = call.options.at("encoding").get<std::string>();
  if (name != "hex" && name != "base64")
    return Mismatch(call, "'" + name + "' is not an encoding", "hex or base64");
  return name == "hex";
}

}  // namespace

Result<Node> BindHash(Call& call) {
  for (NodePtr& arg : call.args) {
    FZ_ASSIGN(arg, Plain(arg));
    if (!IsHashable(*arg->type)) return Mismatch(call, "cannot hash " + TypeName(*arg->type));
  }
  Node node = OwnCall(call, arrow::int64(),
                      OnArrays([](const arrow::ArrayVector& args,
                                  ExecContext* context) -> Result<std::shared_ptr<arrow::Array>> {
                        FZ_ASSIGN(auto hashes, HashRows(args, context->memory_pool()));
                        return std::make_shared<arrow::Int64Array>(hashes->length(), hashes->values());
                      }));
  node.nullable = false;
  return node;
}

Result<Node> BindSha256(Call& call) {
  FZ_TRY(PlainBytes(call, /*string_only=*/false));
  return OwnCall(call, arrow::utf8(),
                 EachValue<arrow::StringBuilder>(false, "", [](std::string_view bytes, std::string* text) {
                   return ToHex(Sha256(bytes), text);
                 }));
}

Result<Node> BindEncode(Call& call) {
  FZ_TRY(PlainBytes(call, /*string_only=*/false));
  FZ_ASSIGN(const bool hex, IsHex(call));
  return OwnCall(call, arrow::utf8(), EachValue<arrow::StringBuilder>(false, "", hex ? ToHex : ToBase64));
}

Result<Node> BindDecode(Call& call) {
  FZ_TRY(PlainBytes(call, /*string_only=*/true));
  FZ_ASSIGN(const bool hex, IsHex(call));
  const bool strict = call.options.value("strict", true);
  Node node = OwnCall(call, arrow::binary(),
                      EachValue<arrow::BinaryBuilder>(strict, hex ? "hexadecimal digits" : "base64",
                                                      hex ? FromHex : FromBase64));
  node.fallible = strict;
  node.nullable = node.nullable || !strict;
  return node;
}

}  // namespace frazil::expr
