#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "format/raw_batch.h"

namespace frazil {

// A schema as a registry has it, or that it has none.
struct RegisteredSchema {
  enum class State {
    kKnown,
    kMissing,  // the registry does not know the id: `reason`, and messages of it are bad
  };
  State state = State::kKnown;
  std::string kind;                // "AVRO", "JSON", "PROTOBUF"
  std::vector<std::string> texts;  // those it refers to, in order, and itself
  std::string reason;
};

// The schemas of registries that a job has met, by the registry's name and the id. Decoders ask for those
// they have not seen and go on with other work; whoever runs the job fetches and gives them. An id never
// changes its meaning, so a schema that is known stays; those used longest ago are forgotten, and asked for
// again. One that a registry does not know is asked for again after half a minute. Any thread.
class SchemaBoard {
 public:
  using Key = std::pair<std::string, int32_t>;

  // Called, by the thread of whoever asks, when there is something in take_wanted().
  explicit SchemaBoard(std::function<void()> wanted) : wanted_told_(std::move(wanted)) {}

  // The schema, or nullptr if it is not here: it is wanted then, and `waker` is called when it comes.
  std::shared_ptr<const RegisteredSchema> find(const std::string& registry, int32_t id,
                                               const std::function<void()>& waker);
  // What is wanted and was not taken yet.
  std::vector<Key> take_wanted();
  void give(const std::string& registry, int32_t id, RegisteredSchema schema);
  // What keeps a registry from answering, for people; empty if nothing does.
  void note(const std::string& registry, std::string trouble);
  std::string trouble(const std::string& registry) const;

 private:
  struct Entry {
    std::shared_ptr<const RegisteredSchema> schema;  // null: wanted
    std::vector<std::function<void()>> wakers;
    std::list<Key>::iterator used;
    std::chrono::steady_clock::time_point came;
  };

  const std::function<void()> wanted_told_;
  mutable std::mutex mutex_;
  std::map<Key, Entry> entries_;
  std::list<Key> used_;  // schemas that are here, lately used ones first
  std::vector<Key> wanted_;
  std::map<std::string, std::string> troubles_;
};

// Where the decoders of one source get schemas from.
struct SchemaDesk {
  SchemaBoard* board = nullptr;
  std::function<void()> waker;
};

// The schemas of the messages of one decoder's batch: gathers them over several tries. Not thread-safe.
class SchemasOfBatch {
 public:
  SchemasOfBatch(std::string registry, SchemaDesk desk)
      : registry_(std::move(registry)), desk_(std::move(desk)) {}

  // True when every message's schema is here, or known to be missing; else they are asked for, some at a
  // time, and this is to be called again with the same batch.
  Result<bool> Gather(const RawBatch& raw);
  // The schema of an id of the batch that was gathered last.
  const RegisteredSchema* at(int32_t id) const;
  // What it waits for, for people; empty if it does not.
  std::string waits() const;

 private:
  std::string registry_;
  SchemaDesk desk_;
  void Begin(const RawBatch& raw);

  // Of the batch at hand.
  std::map<int32_t, std::shared_ptr<const RegisteredSchema>> here_;
  std::vector<int32_t> lacking_;
  std::set<int32_t> asked_;
};

// The id and the body of a message in the wire format of Confluent's serializers: a zero, four bytes of the
// id, the body. False if it is not of that form.
bool TakeSchemaId(std::string_view message, int32_t* id, std::string_view* body);

// Why it is not.
std::string NoSchemaId(std::string_view message);

}  // namespace frazil
