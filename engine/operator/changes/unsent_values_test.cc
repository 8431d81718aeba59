#include "operator/changes/unsent_values.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>

#include "operator/changes/kinds.h"
#include "operator/ordered/test_ordered.h"

namespace frazil {
namespace {

using ordered_test::Collect;
using ordered_test::Finish;
using ordered_test::Restored;
using Text = std::optional<std::string>;

constexpr const char* kUnsent = "(unsent)";
const Text kNone;

std::shared_ptr<arrow::Schema> Input() {
  return arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("note", arrow::utf8()),
                        arrow::field("raw", arrow::large_binary(), false),
                        arrow::field(kLogPositionColumn, arrow::int64()), KindField()});
}

// '+' insert, '<' update_before, '>' update_after, '-' delete.
struct Event {
  char kind;
  int64_t id;
  Text note;
  std::string raw;
  std::optional<int64_t> at = std::nullopt;
  bool operator==(const Event&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Event& e) {
  return out << e.kind << e.id << " " << e.note.value_or("(null)").substr(0, 40) << " "
             << e.raw.substr(0, 40);
}

constexpr std::string_view kKinds = "+<>-";

Batch BatchOf(const std::vector<Event>& events) {
  arrow::Int64Builder ids, places;
  arrow::StringBuilder notes;
  arrow::LargeBinaryBuilder raws;
  arrow::UInt8Builder kinds;
  for (const Event& e : events) {
    const auto kind = static_cast<uint8_t>(kKinds.find(e.kind));
    EXPECT_TRUE(ids.Append(e.id).ok() && raws.Append(e.raw).ok() && kinds.Append(kind).ok());
    EXPECT_TRUE((e.note ? notes.Append(*e.note) : notes.AppendNull()).ok());
    EXPECT_TRUE((e.at ? places.Append(*e.at) : places.AppendNull()).ok());
  }
  return {arrow::RecordBatch::Make(
              Input(), static_cast<int64_t>(events.size()),
              {*ids.Finish(), *notes.Finish(), *raws.Finish(), *places.Finish(), *kinds.Finish()}),
          {},
          nullptr};
}

std::vector<Event> EventsOf(const std::vector<Batch>& batches) {
  std::vector<Event> events;
  for (const Batch& batch : batches) {
    EXPECT_TRUE(batch.columns->ValidateFull().ok());
    EXPECT_EQ(batch.columns->num_columns(), 4);
    const auto& ids = static_cast<const arrow::Int64Array&>(*batch.columns->column(0));
    const auto& notes = static_cast<const arrow::StringArray&>(*batch.columns->column(1));
    const auto& raws = static_cast<const arrow::LargeBinaryArray&>(*batch.columns->column(2));
    const auto& kinds = static_cast<const arrow::UInt8Array&>(*batch.columns->column(3));
    for (int64_t i = 0; i < batch.rows(); ++i) {
      events.push_back({kKinds[kinds.Value(i)], ids.Value(i), notes.IsNull(i) ? kNone : notes.GetString(i),
                        raws.GetString(i)});
    }
  }
  return events;
}

std::unique_ptr<Operator> Make() {
  const nlohmann::json spec = {
      {"keys", {"id"}}, {"columns", {"note", "raw"}}, {"stand_ins", {kUnsent, "other"}}};
  return UnsentValues::Make(spec, Input(), {}).ValueOrDie();
}

std::vector<Event> Through(Operator* op, const std::vector<Event>& events) {
  Collect out;
  Finish(op, op->process(BatchOf(events), out), &out);
  return EventsOf(out.batches);
}

TEST(UnsentValues, KeepTheNewestOfTheirKey) {
  const auto op = Make();
  const std::vector<Event> first = {{'+', 1, "a", "A"}, {'+', 2, kNone, ""}, {'>', 1, kUnsent, "B"}};
  EXPECT_EQ(Through(op.get(), first),
            (std::vector<Event>{{'+', 1, "a", "A"}, {'+', 2, kNone, ""}, {'>', 1, "a", "B"}}));
  EXPECT_EQ(
      Through(op.get(), {{'>', 2, kUnsent, kUnsent}, {'>', 1, "c", "other"}, {'>', 1, kUnsent, "other"}}),
      (std::vector<Event>{{'>', 2, kNone, ""}, {'>', 1, "c", "B"}, {'>', 1, "c", "B"}}));
  EXPECT_GT(op->state_bytes(), 0);
}

TEST(UnsentValues, StandInsAreNeverGivenForRowsThatGo) {
  const auto op = Make();
  EXPECT_EQ(
      Through(op.get(), {{'+', 1, "a", "A"},
                         {'<', 1, kUnsent, kUnsent},
                         {'>', 1, "b", kUnsent},
                         {'-', 1, kUnsent, kUnsent}}),
      (std::vector<Event>{{'+', 1, "a", "A"}, {'<', 1, kNone, ""}, {'>', 1, "b", "A"}, {'-', 1, kNone, ""}}));
}

TEST(UnsentValues, OfAKeyThatIsNotKnownAreAnError) {
  const auto op = Make();
  Collect out;
  const auto first = op->process(BatchOf({{'>', 7, kUnsent, "B", 5}}), out).status();
  EXPECT_EQ(NameOf(first), "DataError");
  EXPECT_NE(MessageOf(first).find("id=7: column \"note\" was not sent"), std::string::npos) << first;
  EXPECT_NE(MessageOf(first).find("REPLICA IDENTITY FULL"), std::string::npos);
  // Gone, and not known to be so behind this event.
  const auto gone = Make();
  Through(gone.get(), {{'+', 7, "a", "A", 1}, {'-', 7, kNone, "", 2}});
  EXPECT_FALSE(gone->process(BatchOf({{'+', 7, "b", kUnsent, 3}}), out).ok());
  EXPECT_FALSE(gone->process(BatchOf({{'+', 7, "b", kUnsent}}), out).ok());
}

TEST(UnsentValues, EventsThatComeAgainBehindTheirDeleteAreDeletes) {
  const auto op = Make();
  const std::vector<Event> events = {
      {'+', 1, "a", "A", 10}, {'>', 1, kUnsent, "B", 20}, {'-', 1, kNone, "", 30}};
  Through(op.get(), events);
  const std::vector<Event> again = {
      events[1], {'<', 1, kNone, "", 21}, {'>', 1, "b", kUnsent, 21}, events[2]};
  EXPECT_EQ(Through(op.get(), again),
            (std::vector<Event>{
                {'-', 1, kNone, "B"}, {'-', 1, kNone, ""}, {'-', 1, "b", ""}, {'-', 1, kNone, ""}}));
  // The key may come once more.
  EXPECT_EQ(Through(op.get(), {{'+', 1, "c", "C", 40}, {'>', 1, kUnsent, "D", 50}}),
            (std::vector<Event>{{'+', 1, "c", "C"}, {'>', 1, "c", "D"}}));
}

TEST(UnsentValues, LargeOnesAreGivenInSeveralBatches) {
  const auto op = Make();
  const std::string large(3 << 20, 'x');
  std::vector<Event> events = {{'+', 1, large, "A"}};
  for (int i = 0; i < 20; ++i) {
    events.push_back({'<', 1, kNone, ""});
    events.push_back({'>', 1, kUnsent, std::to_string(i)});
  }
  Collect out(/*slow=*/true);
  Finish(op.get(), op->process(BatchOf(events), out), &out);
  EXPECT_GT(out.batches.size(), 3U);
  const auto made = EventsOf(out.batches);
  ASSERT_EQ(made.size(), events.size());
  for (size_t i = 0; i < made.size(); ++i) {
    EXPECT_EQ(made[i].kind, events[i].kind);
    if (made[i].kind != '<') EXPECT_EQ(made[i].note, large);
  }
  for (const Batch& batch : out.batches) {
    EXPECT_NE(EventsOf({batch}).back().kind, '<');  // the two of an update stay together
  }
}

TEST(UnsentValues, AreSavedOnlyWhereTheyChange) {
  const auto op = Make();
  Through(op.get(), {{'+', 1, "a", "A"}, {'+', 2, "b", "B"}});
  const auto rows = [&](bool full) {
    int64_t count = 0;
    for (const auto& batch : op->snapshot(full).ValueOrDie()) count += batch->num_rows();
    return count;
  };
  EXPECT_EQ(rows(false), 2);
  Through(op.get(), {{'>', 1, kUnsent, kUnsent}, {'>', 2, "b", "B"}});
  EXPECT_EQ(rows(false), 0);
  Through(op.get(), {{'-', 1, kNone, "", 5}});
  EXPECT_EQ(rows(false), 1);
  EXPECT_EQ(rows(true), 2);
}

TEST(UnsentValues, RefuseStateThatIsDamaged) {
  const auto op = Make();
  Through(op.get(), {{'+', 1, "a", "A"}});
  const auto good = op->snapshot(true).ValueOrDie().front();
  EXPECT_TRUE(Make()->restore(good).ok());
  EXPECT_EQ(KindOf(Make()->restore(BatchOf({{'+', 1, "a", "A"}}).columns)), ErrorKind::kState);
  const auto none = arrow::MakeArrayOfNull(arrow::binary(), 1).ValueOrDie();
  EXPECT_EQ(KindOf(Make()->restore(good->SetColumn(1, good->schema()->field(1), none).ValueOrDie())),
            ErrorKind::kState);
}

// A table that is changed at random and its events, in batches that are drawn; the operator dies at times,
// and the connector then writes some of the events again.
TEST(UnsentValues, DrawnRunsAreTheTable) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 rng(seed);
    const auto draw = [&](int most) { return static_cast<int>(rng() % static_cast<uint32_t>(most)); };
    const auto value = [&] {
      return std::string(static_cast<size_t>(draw(9) == 0 ? 6'000 : draw(20)),
                         static_cast<char>('a' + draw(26)));
    };
    std::map<int64_t, std::pair<Text, std::string>> table, found, found_then;
    std::vector<Event> log;
    for (int64_t at = 0; at < 120; ++at) {
      const int64_t id = draw(6);
      const auto row = table.find(id);
      if (row == table.end()) {  // a new row
        table[id] = {draw(4) == 0 ? kNone : value(), value()};
        log.push_back({'+', id, table[id].first, table[id].second, at});
      } else if (draw(5) == 0) {
        table.erase(row);
        log.push_back({'-', id, kNone, "", at});
      } else {
        // A null is always sent.
        const bool note = draw(2) == 0 && row->second.first.has_value(), raw = draw(2) == 0;
        if (!note) row->second.first = draw(4) == 0 ? kNone : value();
        if (!raw) row->second.second = value();
        log.push_back(
            {'>', id, note ? Text(kUnsent) : row->second.first, raw ? kUnsent : row->second.second, at});
      }
    }
    auto op = Make();
    std::vector<StateRows> chain;
    size_t next = 0, saved = 0;
    while (next < log.size()) {
      const size_t end = std::min(log.size(), next + 1 + static_cast<size_t>(draw(30)));
      const std::vector<Event> some(log.begin() + static_cast<std::ptrdiff_t>(next),
                                    log.begin() + static_cast<std::ptrdiff_t>(end));
      for (const Event& e : Through(op.get(), some)) {
        if (e.kind == '-')
          found.erase(e.id);
        else
          found[e.id] = {e.note, e.raw};
      }
      next = end;
      switch (draw(6)) {
        case 0:
          chain.push_back(op->snapshot(chain.empty()).ValueOrDie());
          saved = next;
          found_then = found;
          break;
        case 1:
          op = Restored(Make, chain);
          next = saved;
          found = found_then;
          break;
        case 2:
          next -= std::min(next, static_cast<size_t>(draw(20)));
          break;
        default:
          break;
      }
    }
    EXPECT_EQ(found, table) << "seed " << seed;
  }
}

}  // namespace
}  // namespace frazil
