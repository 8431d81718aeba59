#include "state/table.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <unordered_map>

#include "base/memory.h"

namespace frazil {
namespace {

using Keys = std::vector<std::string>;

std::unique_ptr<StateTable> MakeTable(const StateTableOptions& options,
                                      arrow::MemoryPool* pool = arrow::default_memory_pool()) {
  auto table = StateTable::Make(options, pool);
  EXPECT_TRUE(table.ok()) << table.status();
  return std::move(*table);
}

// Payloads of this test: a number, and if there is room its complement at the end, which finds rows that
// overlap.
void SetValue(const StateTable& table, std::byte* payload, int64_t value) {
  const int64_t check = ~value;
  std::memcpy(payload, &value, sizeof value);
  if (table.payload_bytes() > 8) std::memcpy(payload + table.payload_bytes() - 8, &check, sizeof check);
}

int64_t ValueOf(const StateTable& table, const std::byte* payload) {
  int64_t value, check;
  std::memcpy(&value, payload, sizeof value);
  std::memcpy(&check, payload + table.payload_bytes() - 8, sizeof check);
  if (table.payload_bytes() > 8) {
    EXPECT_EQ(value, ~check);
  }
  return value;
}

struct Probed {
  std::vector<std::byte*> payloads;
  std::vector<uint8_t> inserted;
};

Probed Probe(StateTable& table, const Keys& keys) {
  EncodedKeys encoded;
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  EXPECT_TRUE(encoded.assign(views).ok());
  Probed probed{std::vector<std::byte*>(keys.size()), std::vector<uint8_t>(keys.size())};
  const auto status = table.probe(encoded, probed.payloads, probed.inserted);
  EXPECT_TRUE(status.ok()) << status;
  return probed;
}

std::byte* Find(const StateTable& table, const std::string& key) { return table.find(key, HashKey(key)); }

std::map<std::string, int64_t> Contents(const StateTable& table, int64_t slice = 7) {
  std::map<std::string, int64_t> contents;
  StateTable::Scan scan;
  std::vector<std::byte*> payloads;
  while (!scan.done) {
    table.scan(&scan, slice, &payloads);
    EXPECT_LE(payloads.size(), static_cast<size_t>(slice));
    for (const std::byte* payload : payloads) {
      const bool added = contents.emplace(table.key(payload), ValueOf(table, payload)).second;
      EXPECT_TRUE(added);
      EXPECT_EQ(table.hash(payload), HashKey(table.key(payload)));
    }
  }
  return contents;
}

struct Changes {
  std::map<std::string, int64_t> changed;
  std::set<std::string> erased;
};

Changes ChangesOf(const StateTable& table) {
  Changes result;
  StateTable::ChangeScan scan;
  std::vector<StateTable::Change> changes;
  while (!scan.done) {
    table.scan_changes(&scan, 5, &changes);
    for (const auto& change : changes) {
      const std::string key(table.key(change.payload));
      EXPECT_FALSE(result.changed.contains(key) || result.erased.contains(key)) << key;
      if (change.erased) {
        result.erased.insert(key);
      } else {
        result.changed[key] = ValueOf(table, change.payload);
      }
    }
  }
  return result;
}

// What a table should be, by the standard library.
struct Model {
  StateTableOptions options;
  std::unordered_map<std::string, int64_t> rows;
  std::set<std::string> known, changed, erased;

  void put(const std::string& key, int64_t value) {
    rows[key] = value;
    changed.insert(key);
    erased.erase(key);
  }
  void erase(const std::string& key) {
    rows.erase(key);
    changed.erase(key);
    if (known.contains(key)) erased.insert(key);
  }
  void clear_changes() {
    known.clear();
    for (const auto& row : rows) known.insert(row.first);
    changed.clear();
    erased.clear();
  }
  void check(const StateTable& table) const {
    ASSERT_EQ(table.size(), static_cast<int64_t>(rows.size()));
    ASSERT_EQ(Contents(table), (std::map<std::string, int64_t>(rows.begin(), rows.end())));
    const Changes changes = ChangesOf(table);
    std::set<std::string> names;
    for (const auto& [key, value] : changes.changed) {
      names.insert(key);
      ASSERT_EQ(value, rows.at(key));
    }
    ASSERT_EQ(names, options.track_changes ? changed : std::set<std::string>());
    ASSERT_EQ(changes.erased, options.tombstones ? erased : std::set<std::string>());
  }
};

// Short, long, equal-length and empty keys.
std::string RandomKey(std::mt19937& random, int space) {
  const int number = static_cast<int>(random() % static_cast<unsigned>(space));
  std::string key = std::to_string(number);
  if (number % 11 == 0) key.resize(static_cast<size_t>(240 + number % 40), '.');
  if (number % 13 == 0) key.resize(512, '-');
  return number == 7 ? "" : key;
}

void RandomOperations(const StateTableOptions& options, unsigned seed) {
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  std::mt19937 random(seed);
  {
    auto table = MakeTable(options, &pool);
    Model model{options};
    const int space = seed % 2 == 0 ? 300 : 3000;
    for (int round = 0; round < 200; ++round) {
      Keys keys(random() % 200);
      for (auto& key : keys) key = RandomKey(random, space);
      const unsigned action = random() % 10;
      if (action < 5) {
        const Probed probed = Probe(*table, keys);
        for (size_t i = 0; i < keys.size(); ++i) {
          ASSERT_EQ(probed.inserted[i] == 0, model.rows.contains(keys[i]));
          ASSERT_EQ(table->key(probed.payloads[i]), keys[i]);
          if (probed.inserted[i] == 0) {
            ASSERT_EQ(ValueOf(*table, probed.payloads[i]), model.rows.at(keys[i]));
          }
          const auto value = static_cast<int64_t>(random());
          SetValue(*table, probed.payloads[i], value);
          model.put(keys[i], value);
        }
      } else if (action < 8) {
        for (const auto& key : keys) {
          std::byte* found = Find(*table, key);
          ASSERT_EQ(found != nullptr, model.rows.contains(key));
          if (found == nullptr) continue;
          ASSERT_TRUE(table->erase(found).ok());
          model.erase(key);
        }
      } else if (action < 9) {
        for (const auto& key : keys) {
          std::byte* found = Find(*table, key);
          if (found == nullptr) continue;
          SetValue(*table, found, round);
          ASSERT_TRUE(table->touch(found).ok());
          model.put(key, round);
        }
      } else if (random() % 5 == 0) {
        table->clear();
        model = Model{options};
      } else {
        table->clear_changes();
        model.clear_changes();
      }
      ASSERT_EQ(table->bytes(), pool.bytes_allocated());
      if (round % 10 == 0) model.check(*table);
    }
    model.check(*table);
  }
  EXPECT_EQ(pool.bytes_allocated(), 0);
}

TEST(StateTable, RandomOperations) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    RandomOperations({seed % 3 == 0 ? 8 : 24, false, false}, seed);
    RandomOperations({24, true, false}, seed);
    RandomOperations({16, true, true}, seed);
    RandomOperations({seed % 2 == 0 ? 8 : 20, true, true, true}, seed);
    if (HasFatalFailure()) FAIL() << "seed " << seed;
  }
}

// What a freeze has to save, and what of it was saved.
struct Frozen {
  bool full = false;
  std::map<std::string, int64_t> rows;    // all of them
  std::set<std::string> changed, erased;  // of the table's options
  std::map<std::string, int64_t> saved;
  std::set<std::string> gone;

  Frozen(bool whole, const Model& model)
      : full(whole), rows(model.rows.begin(), model.rows.end()), changed(model.changed) {
    if (model.options.tombstones) erased = model.erased;
  }
  Status save(const StateTable& table, std::span<const StateTable::Change> changes) {
    for (const auto& [payload, is_gone] : changes) {
      const std::string key(table.key(payload));
      EXPECT_FALSE(saved.contains(key) || gone.contains(key)) << key;
      is_gone ? void(gone.insert(key)) : void(saved[key] = ValueOf(table, payload));
    }
    return Status::OK();
  }
  void check() const {
    std::map<std::string, int64_t> expected;
    for (const auto& [key, value] : rows) {
      if (full || changed.contains(key)) expected[key] = value;
    }
    EXPECT_EQ(saved, expected);
    EXPECT_EQ(gone, full ? std::set<std::string>() : erased);
  }
};

void PutAll(StateTable* table, Model* model, const Keys& keys, std::mt19937* random) {
  const Probed probed = Probe(*table, keys);
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto value = static_cast<int64_t>((*random)());
    SetValue(*table, probed.payloads[i], value);
    model->put(keys[i], value);
  }
}

// Rows are inserted, changed and erased between the slices of a freeze, which saves what was there before.
void FrozenOperations(const StateTableOptions& options, unsigned seed) {
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  std::mt19937 random(seed);
  {
    auto table = MakeTable(options, &pool);
    Model model{options};
    std::unique_ptr<Frozen> frozen;
    const int space = seed % 2 == 0 ? 100 : 2000;
    int freezes = 0;
    for (int round = 0; round < 400; ++round) {
      Keys keys(random() % (seed % 3 == 0 ? 20 : 200));
      for (auto& key : keys) key = RandomKey(random, space);
      switch (random() % 6) {
        case 0:
        case 1:
          PutAll(table.get(), &model, keys, &random);
          break;
        case 2:
          for (const auto& key : keys) {
            std::byte* found = Find(*table, key);
            if (found == nullptr) continue;
            if (random() % 2 == 0) {  // what it was is saved, and then may be forgotten
              ASSERT_TRUE(table->touch(found).ok());
              SetValue(*table, found, -1);
            }
            ASSERT_TRUE(table->erase(found).ok());
            model.erase(key);
          }
          break;
        case 3: {
          std::vector<std::byte*> payloads;
          for (const auto& key : keys) {
            std::byte* found = Find(*table, key);
            if (found != nullptr) payloads.push_back(found);
          }
          ASSERT_TRUE(table->touch(payloads).ok());
          for (std::byte* each : payloads) {
            SetValue(*table, each, round);
            model.put(std::string(table->key(each)), round);
          }
          break;
        }
        default:
          if (frozen == nullptr) {
            frozen = std::make_unique<Frozen>(random() % 3 == 0, model);
            const auto save = [&, saving = frozen.get()](std::span<const StateTable::Change> changes) {
              return saving->save(*table, changes);
            };
            ASSERT_TRUE(table->freeze(frozen->full, save).ok());
            model.clear_changes();
            ++freezes;
          }
          auto places = static_cast<int64_t>(random() % 300);
          const auto done = table->save_slice(&places);
          ASSERT_TRUE(done.ok()) << done.status();
          ASSERT_EQ(*done, !table->frozen());
          if (!*done) break;
          frozen->check();
          frozen = nullptr;
      }
      ASSERT_EQ(table->bytes(), pool.bytes_allocated());
      if (round % 10 == 0) model.check(*table);
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_GT(freezes, 5);
    model.check(*table);
  }
  EXPECT_EQ(pool.bytes_allocated(), 0);
}

TEST(StateTable, AFreezeSavesWhatWasThere) {
  for (unsigned seed = 0; seed < 24; ++seed) {
    FrozenOperations({24, true, false}, seed);
    FrozenOperations({16, true, true}, seed);
    FrozenOperations({20, true, true, true}, seed);
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

// An error of saving ends a probe as one of memory does: rows that were new are gone again.
TEST(StateTable, FailedSavingEndsTheProbe) {
  auto table = MakeTable({8, true, true});
  SetValue(*table, Probe(*table, {"old"}).payloads[0], 1);
  ASSERT_TRUE(table->freeze(false, [](auto) { return Error(ErrorKind::kState, "no room"); }).ok());
  EncodedKeys keys;
  ASSERT_TRUE(keys.assign(std::vector<std::string_view>{"new", "old"}).ok());
  std::vector<std::byte*> payloads(2);
  std::vector<uint8_t> inserted(2);
  EXPECT_EQ(KindOf(table->probe(keys, payloads, inserted)), ErrorKind::kState);
  EXPECT_EQ(Contents(*table), (std::map<std::string, int64_t>{{"old", 1}}));
}

TEST(StateTable, FindTakesBatchesAndSelections) {
  auto table = MakeTable({8});
  const Probed probed = Probe(*table, {"a", "b", "a", "c"});
  EXPECT_EQ(probed.inserted, (std::vector<uint8_t>{1, 1, 0, 1}));
  EXPECT_EQ(probed.payloads[0], probed.payloads[2]);
  EncodedKeys keys;
  ASSERT_TRUE(keys.assign(std::vector<std::string_view>{"x", "c", "a"}).ok());
  std::vector<std::byte*> found(3);
  table->find(keys, found);
  EXPECT_EQ(found, (std::vector<std::byte*>{nullptr, probed.payloads[3], probed.payloads[0]}));
  const std::vector<int32_t> rows = {2, 0};
  found.resize(2);
  table->find(keys, rows, found);
  EXPECT_EQ(found, (std::vector<std::byte*>{probed.payloads[0], nullptr}));
  std::vector<uint8_t> inserted(2);
  ASSERT_TRUE(table->probe(keys, rows, found, inserted).ok());
  EXPECT_EQ(inserted, (std::vector<uint8_t>{0, 1}));
  EXPECT_EQ(table->key(found[1]), "x");
  MakeTable({8})->find(keys, rows, found);
  EXPECT_EQ(found, (std::vector<std::byte*>{nullptr, nullptr}));
}

// Growth over many splits moves no row and loses none; what was freed is used again.
TEST(StateTable, PayloadsStayWhereTheyAre) {
  constexpr int64_t kRows = 300'000;
  auto table = MakeTable({8});
  std::vector<std::byte*> payloads;
  for (int64_t at = 0; at < kRows; at += 1000) {
    Keys keys;
    for (int64_t i = at; i < at + 1000; ++i) keys.push_back(std::to_string(i));
    const Probed probed = Probe(*table, keys);
    for (int64_t i = 0; i < 1000; ++i) SetValue(*table, probed.payloads[static_cast<size_t>(i)], at + i);
    payloads.insert(payloads.end(), probed.payloads.begin(), probed.payloads.end());
  }
  EXPECT_EQ(table->size(), kRows);
  for (int64_t i = 0; i < kRows; ++i) {
    ASSERT_EQ(Find(*table, std::to_string(i)), payloads[static_cast<size_t>(i)]);
    ASSERT_EQ(ValueOf(*table, payloads[static_cast<size_t>(i)]), i);
  }
  const int64_t full = table->bytes();
  for (std::byte* payload : payloads) ASSERT_TRUE(table->erase(payload).ok());
  EXPECT_EQ(table->size(), 0);
  EXPECT_TRUE(Contents(*table, 1000).empty());
  for (int64_t at = 0; at < kRows; at += 1000) {
    Keys keys;
    for (int64_t i = at; i < at + 1000; ++i) keys.push_back(std::to_string(kRows - 1 - i));
    Probe(*table, keys);
  }
  EXPECT_LT(table->bytes(), full * 105 / 100);
}

// Keys made to have the same lower bits of the hash, which splitting cannot part.
TEST(StateTable, CollidingHashesEndNothing) {
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  SlotDirectory slots(&pool);
  constexpr uint32_t kCollisions = 2000;
  for (uint32_t row = 1; row <= kCollisions; ++row) {
    ASSERT_TRUE(slots.reserve(42).ok());
    slots.insert(42, row);
  }
  std::set<uint32_t> found;
  auto place = slots.place(42);
  while (const uint32_t row = SlotDirectory::Next(&place, 42)) found.insert(row);
  EXPECT_EQ(found.size(), kCollisions);
  for (uint32_t row = 1; row <= kCollisions; row += 2) slots.erase(42, row);
  found.clear();
  place = slots.place(42);
  while (const uint32_t row = SlotDirectory::Next(&place, 42)) found.insert(row);
  EXPECT_EQ(found.size(), kCollisions / 2);
  EXPECT_EQ(slots.bytes(), pool.bytes_allocated());
}

int64_t BytesPerKey(int32_t payload_bytes, int64_t rows, int digits, bool compact = false) {
  auto table = MakeTable({.payload_bytes = payload_bytes, .compact = compact});
  const auto type = digits == 0 ? arrow::int64() : arrow::utf8();
  const auto codec = *KeyCodec::Make({type});
  EncodedKeys keys;
  for (int64_t at = 0; at < rows; at += 10'000) {
    std::unique_ptr<arrow::ArrayBuilder> builder = *arrow::MakeBuilder(type);
    for (int64_t i = at; i < at + 10'000; ++i) {
      std::string text = std::to_string(i);
      if (digits > 0) text.insert(0, static_cast<size_t>(digits) - text.size(), '0');
      EXPECT_TRUE((digits == 0 ? static_cast<arrow::Int64Builder&>(*builder).Append(i)
                               : static_cast<arrow::StringBuilder&>(*builder).Append(text))
                      .ok());
    }
    EXPECT_TRUE(codec.encode({*builder->Finish()}, 10'000, &keys).ok());
    std::vector<std::byte*> payloads(10'000);
    std::vector<uint8_t> inserted(10'000);
    EXPECT_TRUE(table->probe(keys, payloads, inserted).ok());
  }
  EXPECT_EQ(table->size(), rows);
  return table->bytes() / rows;
}

TEST(StateTable, BytesPerKey) {
  EXPECT_LE(BytesPerKey(24, 1'000'000, 0), 56);   // count and exact sum, int64 key
  EXPECT_LE(BytesPerKey(16, 2'000'000, 0), 48);   // count and sum, int64 key
  EXPECT_LE(BytesPerKey(16, 1'000'000, 13), 56);  // count and sum, string of 13 bytes
  EXPECT_LE(BytesPerKey(0, 1'000'000, 0), 32);    // which keys there are
  EXPECT_LE(BytesPerKey(24, 10'000, 0), 66);      // the last chunk is not full
  for (const int64_t rows : {1'000'000, 1'200'000, 1'500'000, 2'000'000}) {
    EXPECT_LE(BytesPerKey(8, rows, 0, /*compact=*/true), 32);  // the place of a row in a table
  }
  EXPECT_EQ(MakeTable({24})->bytes(), 0);
}

TEST(StateTable, TombstonesAreForgottenWhenCleared) {
  auto table = MakeTable({8, true, true});
  Probe(*table, {"known", "gone"});
  for (const char* key : {"known", "gone"}) SetValue(*table, Find(*table, key), 1);
  EXPECT_EQ(ChangesOf(*table).changed.size(), 2u);
  table->clear_changes();
  EXPECT_EQ(table->changes(), 0);
  ASSERT_TRUE(table->erase(Find(*table, "gone")).ok());
  Probe(*table, {"brief"});
  ASSERT_TRUE(table->erase(Find(*table, "brief")).ok());  // nobody ever heard of it
  EXPECT_EQ(ChangesOf(*table).erased, std::set<std::string>{"gone"});
  EXPECT_TRUE(ChangesOf(*table).changed.empty());
  EXPECT_EQ(Find(*table, "gone"), nullptr);
  EXPECT_EQ(table->size(), 1);
  const Probed again = Probe(*table, {"gone"});
  EXPECT_EQ(again.inserted[0], 1);
  SetValue(*table, again.payloads[0], 2);
  EXPECT_EQ(ChangesOf(*table).changed, (std::map<std::string, int64_t>{{"gone", 2}}));
  ASSERT_TRUE(table->erase(Find(*table, "gone")).ok());
  table->clear_changes();
  EXPECT_TRUE(ChangesOf(*table).erased.empty());
  EXPECT_EQ(Contents(*table).size(), 1u);
}

TEST(StateTable, ClearedTablesUseTheirMemoryAgain) {
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  auto table = MakeTable({24}, &pool);
  int64_t bytes = 0;
  for (int round = 0; round < 5; ++round) {
    Keys keys;
    for (int i = 0; i < 5000; ++i)
      keys.push_back(std::to_string(i * (round + 1)) + " is a key of this round");
    for (std::byte* payload : Probe(*table, keys).payloads) SetValue(*table, payload, 1);
    EXPECT_EQ(Contents(*table, 100).size(), 5000u);
    if (round == 0) bytes = table->bytes();
    table->clear();
    EXPECT_EQ(table->size(), 0);
    EXPECT_TRUE(Contents(*table).empty());
    EXPECT_EQ(Find(*table, keys[0]), nullptr);
  }
  EXPECT_LT(pool.max_memory(), bytes * 3 / 2);
  EXPECT_LT(table->bytes(), bytes * 11 / 10);
}

// A batch that fails for memory leaves the table as it was.
TEST(StateTable, FailedProbeTakesBackWhatWasNew) {
  for (int64_t limit = 1'000; limit < 200'000; limit += 1'700) {
    MemoryBudget budget(limit);
    AccountedPool pool("state", &budget, arrow::default_memory_pool());
    auto table = MakeTable({24, true, true}, &pool);
    EncodedKeys keys;
    Status status;
    int64_t before = 0;
    for (int at = 0; status.ok(); at += 100) {
      before = table->size();
      if (at == 300) {
        table->clear_changes();
        ASSERT_TRUE(table->erase(Find(*table, "key 5")).ok());
        ASSERT_TRUE(table->erase(Find(*table, "key 6")).ok());
        before -= 2;
      }
      Keys strings(100);
      for (int i = 0; i < 100; ++i) {
        strings[static_cast<size_t>(i)] = "key " + std::to_string(at + i);
        if (i % 10 == 0) strings[static_cast<size_t>(i)].resize(300);
      }
      if (at >= 300) strings[50] = "key 5";
      ASSERT_TRUE(keys.assign(std::vector<std::string_view>(strings.begin(), strings.end())).ok());
      std::vector<std::byte*> payloads(100);
      std::vector<uint8_t> inserted(100);
      status = table->probe(keys, payloads, inserted);
      if (status.ok()) {
        for (size_t i = 0; i < 100; ++i) SetValue(*table, payloads[i], 1);
      }
    }
    EXPECT_EQ(KindOf(status), ErrorKind::kUser) << status;
    EXPECT_EQ(table->size(), before);
    EXPECT_EQ(Contents(*table).size(), static_cast<size_t>(before));
    EXPECT_EQ(table->bytes(), pool.bytes_allocated());
  }
}

TEST(StateTable, OptionsAreChecked) {
  auto* pool = arrow::default_memory_pool();
  EXPECT_FALSE(StateTable::Make({7}, pool).ok());
  EXPECT_FALSE(StateTable::Make({-8}, pool).ok());
  EXPECT_FALSE(StateTable::Make({8, false, true}, pool).ok());
  EXPECT_EQ(KindOf(StateTable::Make({1 << 20}, pool).status()), ErrorKind::kUser);
  auto widest = MakeTable({64 * 1024});
  for (const Keys& keys : {Keys{"a"}, Keys{"b", "c"}}) {
    for (std::byte* payload : Probe(*widest, keys).payloads) SetValue(*widest, payload, 3);
  }
  EXPECT_EQ(Contents(*widest).size(), 3u);
}

}  // namespace
}  // namespace frazil
