#include "operator/project.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "operator/place.h"

namespace frazil {

Result<Projection> BindProjection(const nlohmann::json& columns, const EdgeSchema& input,
                                  const std::string& where) {
  arrow::FieldVector visible(input.schema->fields().begin(), input.schema->fields().begin() + input.visible);
  const arrow::Schema visible_schema(visible);
  Projection projection;
  arrow::FieldVector fields;
  std::set<std::string> names;
  for (const nlohmann::json& column : columns) {
    FZ_CHECK(column.is_array() && column.size() == 2 && column[0].is_string());
    const auto name = column[0].get<std::string>();
    if (!names.insert(name).second) {
      return NamedError("ColumnExists",
                        "two columns of the same select are named '" + name + "'\nrename one of them");
    }
    FZ_ASSIGN(BoundExpr bound, Bind(column[1], visible_schema, where));
    fields.push_back(arrow::field(name, bound.type(), bound.nullable()));
    projection.columns.push_back(std::move(bound));
  }
  projection.output.visible = static_cast<int>(fields.size());
  for (int i = input.visible; i < input.schema->num_fields(); ++i) {
    projection.hidden.push_back(i);
    fields.push_back(input.schema->field(i));
  }
  projection.output.schema = arrow::schema(std::move(fields));
  return projection;
}

Result<Progress> Project::process(Batch batch, Output& out) {
  if (batch.rows() == 0) return Progress::kDone;
  arrow::ArrayVector arrays;
  arrays.reserve(projection_.columns.size() + projection_.hidden.size());
  for (const BoundExpr& column : projection_.columns) {
    auto values = column.Evaluate(*batch.columns, pool_);
    if (!values.ok()) return Prefixed(values.status(), "select" + PlaceOf(batch.origin));
    arrays.push_back(std::move(*values));
  }
  for (const int index : projection_.hidden) arrays.push_back(batch.columns->column(index));
  FZ_TRY(out.push(Batch{arrow::RecordBatch::Make(projection_.output.schema, batch.rows(), std::move(arrays)),
                        batch.origin, batch.marks}));
  return Progress::kDone;
}

}  // namespace frazil
