#include <arrow/api.h>
#include <gtest/gtest.h>

#include "base/calendar.h"
#include "operator/time/window_aggregate.h"
#include "operator/time/window_partial.h"

namespace frazil {
namespace {

class Collect : public Output {
 public:
  Status push(Batch batch) override {
    batches.push_back(std::move(batch));
    return Status::OK();
  }
  bool full() const override { return false; }
  std::vector<Batch> batches;
};

const auto kInput = arrow::schema({arrow::field("at", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))});

nlohmann::json Spec(const std::string& zone) {
  return {{"keys", nlohmann::json::array()},
          {"time", {{"column", "at"}}},
          {"window", {{"kind", "calendar"}, {"unit", "day"}, {"count", 1}, {"zone", zone}}},
          {"aggregates", {{{"name", "n"}, {"fn", "count"}, {"args", nlohmann::json::array()}}}}};
}

OperatorContext Context() { return {arrow::default_memory_pool(), nullptr, nullptr}; }

std::unique_ptr<WindowAggregate> Days(const std::string& zone) {
  return *WindowAggregate::Make(Spec(zone), **PartialSchema(Spec(zone), *kInput), Context());
}

// State of a window that is open, from noon of a day in June.
StateRows OpenDay(const std::string& zone) {
  Collect partial, out;
  arrow::TimestampBuilder at(kInput->field(0)->type(), arrow::default_memory_pool());
  EXPECT_TRUE(at.Append((DaysFromCivil(2026, 6, 1) * 24 + 12) * 3'600'000'000).ok());
  auto rows = arrow::RecordBatch::Make(kInput, 1, {*at.Finish()});
  EXPECT_TRUE(
      (*WindowPartial::Make(Spec(zone), *kInput, Context()))->process({rows, {}, nullptr}, partial).ok());
  auto days = Days(zone);
  EXPECT_TRUE(days->process(partial.batches.at(0), out).ok());
  return *days->snapshot(true);
}

TEST(CalendarRestore, GoesOnWithAnOpenDay) {
  auto days = Days("Europe/Berlin");
  for (const auto& rows : OpenDay("Europe/Berlin")) ASSERT_TRUE(days->restore(rows).ok());
  Collect out;
  ASSERT_TRUE(days->advance(0, DaysFromCivil(2026, 6, 3) * 86'400'000'000, out).ok());
  EXPECT_EQ(out.batches.at(0).rows(), 1);
}

// As if the database had changed what midnight is.
TEST(CalendarRestore, RefusesAnOpenDayThatIsCutOtherwiseNow) {
  auto days = Days("Europe/Lisbon");
  Status status;
  for (const auto& rows : OpenDay("Europe/Berlin")) {
    if (status.ok()) status = days->restore(rows);
  }
  EXPECT_EQ(KindOf(status), ErrorKind::kState);
  EXPECT_NE(
      MessageOf(status).find("one is open that began at 2026-05-31T22:00:00Z, and now that one begins at "
                             "2026-05-30T23:00:00Z"),
      std::string::npos)
      << MessageOf(status);
}

}  // namespace
}  // namespace frazil
