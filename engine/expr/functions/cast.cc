// Casts that lose nothing: what does not fit is an error, or null with try_cast. Integers round to the
// nearest float.
#include <arrow/array/builder_base.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/util/value_parsing.h>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

Result<arrow::compute::CastOptions> Options(const Call& call) {
  FZ_ASSIGN(const TypePtr to, DecodeType(call.options.at("type").get<std::string>()));
  const arrow::DataType& from = *call.args[0]->type;
  if (!from.Equals(*to) && !arrow::compute::CanCast(from, *to)) {
    return Mismatch(call, "cannot cast " + TypeName(from) + " to " + TypeName(*to));
  }
  auto options = arrow::compute::CastOptions::Safe(to);
  options.allow_float_truncate = IsInteger(from) && IsFloat(*to);
  return options;
}

// Strings that are no number of the type become null, in one pass.
template <typename ArrowType>
Result<std::shared_ptr<arrow::Array>> ParseOrNull(const arrow::Array& strings, const ArrowType& type,
                                                  const TypePtr& shared, arrow::MemoryPool* pool) {
  using Value = typename arrow::internal::StringConverter<ArrowType>::value_type;
  std::unique_ptr<arrow::ArrayBuilder> made;
  FZ_TRY(arrow::MakeBuilder(pool, shared, &made));
  auto& builder = static_cast<typename arrow::TypeTraits<ArrowType>::BuilderType&>(*made);
  FZ_TRY(builder.Reserve(strings.length()));
  const auto parse = [&](const auto& array) {
    for (int64_t i = 0; i < array.length(); ++i) {
      Value value{};
      const std::string_view text = array.IsValid(i) ? array.GetView(i) : std::string_view();
      if (array.IsValid(i) &&
          arrow::internal::ParseValue<ArrowType>(type, text.data(), text.size(), &value)) {
        builder.UnsafeAppend(value);
      } else {
        builder.UnsafeAppendNull();
      }
    }
  };
  if (strings.type_id() == arrow::Type::STRING) {
    parse(static_cast<const arrow::StringArray&>(strings));
  } else {
    parse(static_cast<const arrow::LargeStringArray&>(strings));
  }
  return made->Finish();
}

// Halves what cannot be cast as a whole, down to the single values that become null.
Status CastPieces(const std::shared_ptr<arrow::Array>& values, const arrow::compute::CastOptions& options,
                  ExecContext* context, arrow::ArrayVector* pieces) {
  auto cast = CastValue(Datum(values), options, context);
  if (cast.ok()) {
    pieces->push_back(cast->make_array());
    return Status::OK();
  }
  if (cast.status().IsOutOfMemory()) return cast.status();
  if (values->length() <= 1) {
    FZ_ASSIGN(auto null, arrow::MakeArrayOfNull(options.to_type.GetSharedPtr(), values->length(),
                                                context->memory_pool()));
    pieces->push_back(std::move(null));
    return Status::OK();
  }
  const int64_t half = values->length() / 2;
  FZ_TRY(CastPieces(values->Slice(0, half), options, context, pieces));
  return CastPieces(values->Slice(half), options, context, pieces);
}

Result<std::shared_ptr<arrow::Array>> TryCast(const std::shared_ptr<arrow::Array>& values,
                                              const arrow::compute::CastOptions& options,
                                              ExecContext* context) {
  const TypePtr to = options.to_type.GetSharedPtr();
  if (IsString(*values->type())) {
    switch (to->id()) {
#define FZ_PARSE(id, ParsedType) \
  case arrow::Type::id:          \
    return ParseOrNull(*values, static_cast<const arrow::ParsedType&>(*to), to, context->memory_pool());
      FZ_PARSE(INT8, Int8Type)
      FZ_PARSE(INT16, Int16Type)
      FZ_PARSE(INT32, Int32Type)
      FZ_PARSE(INT64, Int64Type)
      FZ_PARSE(UINT8, UInt8Type)
      FZ_PARSE(UINT16, UInt16Type)
      FZ_PARSE(UINT32, UInt32Type)
      FZ_PARSE(UINT64, UInt64Type)
      FZ_PARSE(FLOAT, FloatType)
      FZ_PARSE(DOUBLE, DoubleType)
      FZ_PARSE(DATE32, Date32Type)
#undef FZ_PARSE
      default:
        break;
    }
  }
  arrow::ArrayVector pieces;
  FZ_TRY(CastPieces(values, options, context, &pieces));
  return pieces.size() == 1 ? pieces[0] : arrow::Concatenate(pieces, context->memory_pool());
}

}  // namespace

Result<Node> BindCast(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  FZ_ASSIGN(const auto options, Options(call));
  Node node = OwnCall(call, options.to_type.GetSharedPtr(),
                      [options](const std::vector<Datum>& args, int64_t, ExecContext* context) {
                        return CastValue(args[0], options, context);
                      });
  node.fallible = true;
  return node;
}

Result<Node> BindTryCast(Call& call) {
  FZ_ASSIGN(call.args[0], Plain(call.args[0]));
  FZ_ASSIGN(const auto options, Options(call));
  Node node = OwnCall(call, options.to_type.GetSharedPtr(),
                      OnArrays([options](const arrow::ArrayVector& args, ExecContext* context) {
                        return TryCast(args[0], options, context);
                      }));
  node.nullable = true;
  return node;
}

}  // namespace frazil::expr
