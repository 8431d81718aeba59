#include "connector/iceberg/route_names.h"

#include <arrow/api.h>
#include <arrow/compute/cast.h>

#include <algorithm>
#include <memory>
#include <string_view>

namespace frazil::iceberg {
namespace {

constexpr size_t kShownBytes = 64;  // of a value in a message

bool IsPlain(std::string_view value) {
  return !value.empty() && value.size() <= kRouteValueBytes &&
         std::all_of(value.begin(), value.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                  c == '-';
         });
}

Status Refused(const std::string& column, const std::string& what) {
  return Error(ErrorKind::kUser,
               "finding the table of a row: column \"" + column + "\" is " + what +
                   "; tables are named after 1 to " + std::to_string(kRouteValueBytes) +
                   " letters, digits, \"_\" and \"-\": filter such rows out, or compute a column of names");
}

using Texts = std::vector<std::shared_ptr<arrow::StringArray>>;

Result<Texts> TextsOf(const arrow::RecordBatch& rows, const std::vector<std::string>& columns) {
  Texts texts;
  for (const std::string& name : columns) {
    auto column = rows.GetColumnByName(name);
    if (column == nullptr) return Error(ErrorKind::kInternal, "the rows have no column " + name);
    if (column->type_id() != arrow::Type::STRING) {
      FZ_ASSIGN(column, arrow::compute::Cast(*column, arrow::utf8()));
    }
    texts.push_back(std::static_pointer_cast<arrow::StringArray>(column));
  }
  return texts;
}

bool SameAsBefore(const Texts& texts, int64_t row) {
  return std::all_of(texts.begin(), texts.end(), [row](const auto& text) {
    return text->IsValid(row) && text->IsValid(row - 1) && text->GetView(row) == text->GetView(row - 1);
  });
}

}  // namespace

Result<RouteNames> RouteNames::Make(const nlohmann::json& route) {
  RouteNames names;
  try {
    names.columns_ = route.at("columns").get<std::vector<std::string>>();
    names.tables_max_ = route.at("tables_max").get<int32_t>();
  } catch (const nlohmann::json::exception& error) {
    return Error(ErrorKind::kConfig, std::string("reading the route of an Iceberg sink: ") + error.what());
  }
  if (names.columns_.empty() || names.tables_max_ < 1) {
    return Error(ErrorKind::kConfig, "reading the route of an Iceberg sink: no columns, or no tables");
  }
  return names;
}

Status RouteNames::find(const arrow::RecordBatch& rows, std::vector<int32_t>* tables) {
  FZ_ASSIGN(const Texts texts, TextsOf(rows, columns_));
  tables->clear();
  tables->reserve(static_cast<size_t>(rows.num_rows()));
  std::string table;
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    if (row > 0 && SameAsBefore(texts, row)) {
      tables->push_back(tables->back());
      continue;
    }
    table.clear();
    for (size_t i = 0; i < texts.size(); ++i) {
      if (texts[i]->IsNull(row)) return Refused(columns_[i], "null");
      const std::string_view value = texts[i]->GetView(row);
      if (i > 0) table += '/';
      table += value;
    }
    auto found = numbers_.find(table);
    if (found == numbers_.end()) {  // only here: known ones have been looked at
      for (size_t i = 0; i < texts.size(); ++i) {
        const std::string_view value = texts[i]->GetView(row);
        if (!IsPlain(value))
          return Refused(columns_[i], "\"" + std::string(value.substr(0, kShownBytes)) + "\"");
      }
      FZ_TRY(number(table));
      found = numbers_.find(table);
    }
    tables->push_back(found->second);
  }
  return Status::OK();
}

Result<int32_t> RouteNames::number(const std::string& table) {
  const auto found = numbers_.find(table);
  if (found != numbers_.end()) return found->second;
  if (size() >= tables_max_) {
    return Error(ErrorKind::kUser,
                 "finding the table of a row: \"" + table + "\" would be one more than the " +
                     std::to_string(tables_max_) +
                     " tables of this sink; if so many are meant, say fz.route(..., tables_max=)");
  }
  numbers_.emplace(table, size());
  tables_.push_back(table);
  return size() - 1;
}

}  // namespace frazil::iceberg
