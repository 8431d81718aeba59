// Functions of structs, lists and maps.
#include <arrow/array/util.h>
#include <arrow/compute/api_scalar.h>
#include <arrow/compute/api_vector.h>
#include <arrow/compute/cast.h>

#include "expr/functions/rules.h"
#include "expr/types.h"

namespace frazil::expr {
namespace {

namespace compute = arrow::compute;

// Lists of all kinds as large_list or list.
Status PlainList(Call& call) {
  const arrow::DataType& type = *call.args[0]->type;
  if (type.id() == arrow::Type::FIXED_SIZE_LIST || arrow::is_list_view(type.id())) {
    FZ_TRY(CastArg(call, 0, arrow::list(static_cast<const arrow::BaseListType&>(type).value_field())));
  }
  const auto id = call.args[0]->type->id();
  FZ_TRY(Expect(call, 0, id == arrow::Type::LIST || id == arrow::Type::LARGE_LIST, "list"));
  if (IsNull(*call.args[0]->type)) FZ_TRY(CastArg(call, 0, arrow::list(arrow::int64())));
  return Status::OK();
}

// Calls visit(row, begin, end) with the range of values of each list that is not null.
template <typename Visit>
void ForEachList(const arrow::Array& lists, const Visit& visit) {
  const auto each = [&](const auto& array) {
    for (int64_t i = 0; i < array.length(); ++i) {
      if (array.IsValid(i)) visit(i, int64_t{array.value_offset(i)}, int64_t{array.value_offset(i + 1)});
    }
  };
  if (lists.type_id() == arrow::Type::LIST) {
    each(static_cast<const arrow::ListArray&>(lists));
  } else {
    each(static_cast<const arrow::LargeListArray&>(lists));
  }
}

std::shared_ptr<arrow::Array> ValuesOf(const arrow::Array& lists) {
  return lists.type_id() == arrow::Type::LIST ? static_cast<const arrow::ListArray&>(lists).values()
                                              : static_cast<const arrow::LargeListArray&>(lists).values();
}

Result<std::shared_ptr<arrow::Array>> GetElements(const arrow::Array& lists, int64_t index,
                                                  ExecContext* context) {
  constexpr int64_t kNone = -1;
  std::vector<int64_t> at(static_cast<size_t>(lists.length()), kNone);
  ForEachList(lists, [&](int64_t row, int64_t begin, int64_t end) {
    const int64_t position = index < 0 ? end + index : begin + index;
    if (position >= begin && position < end) at[static_cast<size_t>(row)] = position;
  });
  arrow::Int64Builder indices(context->memory_pool());
  FZ_TRY(indices.Reserve(lists.length()));
  for (const int64_t position : at) {
    if (position == kNone) {
      indices.UnsafeAppendNull();
    } else {
      indices.UnsafeAppend(position);
    }
  }
  FZ_ASSIGN(auto taken, indices.Finish());
  FZ_ASSIGN(Datum values, compute::Take(Datum(ValuesOf(lists)), Datum(taken),
                                        compute::TakeOptions::NoBoundsCheck(), context));
  return values.make_array();
}

// args: lists, and the value to look for in each row.
Result<std::shared_ptr<arrow::Array>> ListsContain(const arrow::ArrayVector& args, ExecContext* context) {
  const arrow::Array& lists = *args[0];
  // Compares the whole child array at once: row_of[i] is the row whose list holds value i, or null.
  const std::shared_ptr<arrow::Array> values = ValuesOf(lists);
  constexpr int64_t kNone = -1;
  std::vector<int64_t> row_of(static_cast<size_t>(values->length()), kNone);
  ForEachList(lists, [&](int64_t row, int64_t begin, int64_t end) {
    std::fill(row_of.begin() + begin, row_of.begin() + end, row);
  });
  arrow::Int64Builder rows(context->memory_pool());
  FZ_TRY(rows.Reserve(values->length()));
  for (const int64_t row : row_of) row == kNone ? rows.UnsafeAppendNull() : rows.UnsafeAppend(row);
  FZ_ASSIGN(auto row_array, rows.Finish());
  FZ_ASSIGN(Datum sought,
            compute::Take(Datum(args[1]), Datum(row_array), compute::TakeOptions::NoBoundsCheck(), context));
  FZ_ASSIGN(Datum same, compute::CallFunction("equal", {Datum(values), sought}, context));
  const auto equal = std::static_pointer_cast<arrow::BooleanArray>(same.make_array());
  arrow::BooleanBuilder found(context->memory_pool());
  std::vector<uint8_t> hit(static_cast<size_t>(lists.length()), 0);
  for (int64_t i = 0; i < equal->length(); ++i) {
    const int64_t row = row_of[static_cast<size_t>(i)];
    if (row != kNone && equal->IsValid(i) && equal->Value(i)) hit[static_cast<size_t>(row)] = 1;
  }
  FZ_TRY(found.Reserve(lists.length()));
  for (int64_t i = 0; i < lists.length(); ++i) {
    if (lists.IsNull(i) || args[1]->IsNull(i)) {
      found.UnsafeAppendNull();
    } else {
      found.UnsafeAppend(hit[static_cast<size_t>(i)] != 0);
    }
  }
  return found.Finish();
}

}  // namespace

Result<Node> BindStruct(Call& call) {
  const auto names = call.options.at("names").get<std::vector<std::string>>();
  if (names.size() != call.args.size()) return Mismatch(call, "a struct has as many names as values");
  std::vector<bool> nullable;
  for (NodePtr& arg : call.args) {
    FZ_ASSIGN(arg, Plain(arg));
    nullable.push_back(arg->nullable);
  }
  FZ_ASSIGN(
      Node node,
      ArrowCall(call, call.function.kernel,
                std::make_shared<compute::MakeStructOptions>(
                    names, nullable,
                    std::vector<std::shared_ptr<const arrow::KeyValueMetadata>>(names.size(), nullptr))));
  node.nullable = false;
  return node;
}

Result<Node> BindStructField(Call& call) {
  FZ_TRY(Expect(call, 0, call.args[0]->type->id() == arrow::Type::STRUCT, "struct"));
  if (IsNull(*call.args[0]->type)) return *call.args[0];
  const auto& type = static_cast<const arrow::StructType&>(*call.args[0]->type);
  const auto name = call.options.at("name").get<std::string>();
  const int index = type.GetFieldIndex(name);
  if (index < 0) {
    std::string have;
    for (const auto& field : type.fields()) have += (have.empty() ? "" : ", ") + field->name();
    return NamedError("ColumnNotFound",
                      "no field '" + name + "' in struct " + call.args[0]->text + "\nhave: " + have);
  }
  const bool nullable = call.args[0]->nullable || type.field(index)->nullable();
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel,
                                 std::make_shared<compute::StructFieldOptions>(std::vector<int>{index})));
  node.nullable = nullable;
  node.kernel = [field = node.kernel, value = node.type](const std::vector<Datum>& args, int64_t rows,
                                                         ExecContext* context) -> Result<Datum> {
    if (args[0].is_scalar() && !args[0].scalar()->is_valid) return Datum(arrow::MakeNullScalar(value));
    return field(args, rows, context);
  };
  return node;
}

Result<Node> BindListLength(Call& call) {
  // A map is a list of pairs; Arrow's kernel does not take it.
  if (call.args[0]->type->id() == arrow::Type::MAP) {
    return OwnCall(call, arrow::int64(),
                   OnArrays([](const arrow::ArrayVector& args,
                               ExecContext* context) -> Result<std::shared_ptr<arrow::Array>> {
                     const auto& maps = static_cast<const arrow::MapArray&>(*args[0]);
                     arrow::Int64Builder lengths(context->memory_pool());
                     FZ_TRY(lengths.Reserve(maps.length()));
                     for (int64_t i = 0; i < maps.length(); ++i) {
                       maps.IsNull(i) ? lengths.UnsafeAppendNull()
                                      : lengths.UnsafeAppend(maps.value_length(i));
                     }
                     return lengths.Finish();
                   }));
  }
  FZ_TRY(PlainList(call));
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel));
  node.type = arrow::int64();
  node.kernel = [length = node.kernel](const std::vector<Datum>& args, int64_t rows,
                                       ExecContext* context) -> Result<Datum> {
    FZ_ASSIGN(Datum count, length(args, rows, context));
    return compute::Cast(count, arrow::int64(), compute::CastOptions::Safe(), context);
  };
  return node;
}

Result<Node> BindListGet(Call& call) {
  FZ_TRY(PlainList(call));
  const auto index = call.options.at("index").get<int64_t>();
  Node node = OwnCall(call, static_cast<const arrow::BaseListType&>(*call.args[0]->type).value_type(),
                      OnArrays([index](const arrow::ArrayVector& args, ExecContext* context) {
                        return GetElements(*args[0], index, context);
                      }));
  node.nullable = true;
  return node;
}

Result<Node> BindListContains(Call& call) {
  FZ_TRY(PlainList(call));
  const TypePtr list_type = call.args[0]->type;
  const TypePtr value_type = static_cast<const arrow::BaseListType&>(*list_type).value_type();
  Node element;  // stands for the elements in the search for a common type
  element.type = value_type;
  FZ_ASSIGN(call.args[1], Plain(call.args[1]));
  const TypePtr type = CommonType({std::make_shared<Node>(element), call.args[1]});
  if (type == nullptr || arrow::is_nested(type->id())) {
    return Mismatch(call, "cannot look for " + TypeName(*call.args[1]->type) + " in " + TypeName(*list_type));
  }
  FZ_TRY(CastArg(call, 1, type));
  if (!type->Equals(*value_type)) {
    const bool large = list_type->id() == arrow::Type::LARGE_LIST;
    FZ_TRY(CastArg(call, 0, large ? arrow::large_list(type) : arrow::list(type)));
  }
  return OwnCall(call, arrow::boolean(), OnArrays(ListsContain));
}

Result<Node> BindListJoin(Call& call) {
  FZ_TRY(PlainList(call));
  FZ_TRY(ConstantString(call, 1, "separator").status());
  const TypePtr value_type = static_cast<const arrow::BaseListType&>(*call.args[0]->type).value_type();
  FZ_TRY(Expect(call, 0, IsString(*value_type), "a list of strings"));
  FZ_TRY(CastArg(call, 1, value_type));
  FZ_ASSIGN(Node node, ArrowCall(call, call.function.kernel));
  node.nullable = true;
  return node;
}

Result<Node> BindMapGet(Call& call) {
  FZ_TRY(Expect(call, 0, call.args[0]->type->id() == arrow::Type::MAP, "map"));
  if (call.args[1]->literal == nullptr || !call.args[1]->literal->is_valid) {
    return Mismatch(call, "the key of lookup must be a literal", "it cannot differ from row to row");
  }
  if (IsNull(*call.args[0]->type)) return *call.args[0];
  const auto& type = static_cast<const arrow::MapType&>(*call.args[0]->type);
  FZ_TRY(CastArg(call, 1, type.key_type()));
  const auto key = call.args[1]->literal;
  call.args.resize(1);
  FZ_ASSIGN(Node node,
            ArrowCall(call, call.function.kernel,
                      std::make_shared<compute::MapLookupOptions>(key, compute::MapLookupOptions::LAST)));
  node.nullable = true;
  return node;
}

}  // namespace frazil::expr
