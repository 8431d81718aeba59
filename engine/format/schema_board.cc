#include "format/schema_board.h"

#include <algorithm>

namespace frazil {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kSchemas = 1024;    // schemas remembered by a job
constexpr size_t kAskedAtOnce = 64;  // ids that one decoder waits for at a time
constexpr size_t kHeader = 5;        // bytes before the body
// How long an id that the registry does not know is not asked for again: it may be registered yet.
constexpr auto kMissingFor = std::chrono::seconds(30);

}  // namespace

std::shared_ptr<const RegisteredSchema> SchemaBoard::find(const std::string& registry, int32_t id,
                                                          const std::function<void()>& waker) {
  {
    std::lock_guard lock(mutex_);
    const Key key{registry, id};
    auto [found, fresh] = entries_.try_emplace(key);
    Entry& entry = found->second;
    if (entry.schema != nullptr) {
      if (entry.schema->state != RegisteredSchema::State::kMissing ||
          Clock::now() - entry.came < kMissingFor) {
        used_.splice(used_.begin(), used_, entry.used);
        return entry.schema;
      }
      used_.erase(entry.used);
      entry.schema = nullptr;
      fresh = true;
    }
    if (waker) entry.wakers.push_back(waker);
    if (!fresh) return nullptr;
    wanted_.push_back(key);
  }
  if (wanted_told_) wanted_told_();
  return nullptr;
}

std::vector<SchemaBoard::Key> SchemaBoard::take_wanted() {
  std::lock_guard lock(mutex_);
  return std::exchange(wanted_, {});
}

void SchemaBoard::give(const std::string& registry, int32_t id, RegisteredSchema schema) {
  std::vector<std::function<void()>> wakers;
  {
    std::lock_guard lock(mutex_);
    const Key key{registry, id};
    Entry& entry = entries_[key];
    if (entry.schema == nullptr) {
      used_.push_front(key);
      entry.used = used_.begin();
    }
    entry.schema = std::make_shared<const RegisteredSchema>(std::move(schema));
    entry.came = Clock::now();
    wakers.swap(entry.wakers);
    while (used_.size() > kSchemas) {
      entries_.erase(used_.back());
      used_.pop_back();
    }
  }
  for (const auto& waker : wakers) waker();
}

void SchemaBoard::note(const std::string& registry, std::string trouble) {
  std::lock_guard lock(mutex_);
  if (trouble.empty()) {
    troubles_.erase(registry);
  } else {
    troubles_[registry] = std::move(trouble);
  }
}

std::string SchemaBoard::trouble(const std::string& registry) const {
  std::lock_guard lock(mutex_);
  const auto found = troubles_.find(registry);
  return found == troubles_.end() ? "" : found->second;
}

Result<bool> SchemasOfBatch::Gather(const RawBatch& raw) {
  if (lacking_.empty()) Begin(raw);
  if (desk_.board == nullptr && !lacking_.empty()) {
    return Error(ErrorKind::kInternal, "a decoder of registered schemas without a board");
  }
  while (!lacking_.empty()) {
    std::vector<int32_t> still;
    const size_t begin = lacking_.size() - std::min(lacking_.size(), kAskedAtOnce);
    for (size_t i = begin; i < lacking_.size(); ++i) {
      const int32_t id = lacking_[i];
      auto schema = desk_.board->find(registry_, id, asked_.insert(id).second ? desk_.waker : nullptr);
      if (schema == nullptr) {
        still.push_back(id);
        continue;
      }
      here_[id] = std::move(schema);
    }
    lacking_.resize(begin);
    lacking_.insert(lacking_.end(), still.begin(), still.end());
    if (!still.empty()) return false;
  }
  return true;
}

// Lists the ids of a batch, the first one last.
void SchemasOfBatch::Begin(const RawBatch& raw) {
  here_.clear();
  asked_.clear();
  for (int64_t i = 0; i < raw.rows(); ++i) {
    int32_t id = 0;
    std::string_view body;
    if (raw.length[static_cast<size_t>(i)] == RawBatch::kNullRow) continue;
    if (!TakeSchemaId(raw.row(i), &id, &body)) continue;
    if (here_.try_emplace(id, nullptr).second) lacking_.push_back(id);
  }
  std::reverse(lacking_.begin(), lacking_.end());
}

const RegisteredSchema* SchemasOfBatch::at(int32_t id) const {
  const auto found = here_.find(id);
  return found == here_.end() ? nullptr : found->second.get();
}

std::string SchemasOfBatch::waits() const {
  if (lacking_.empty()) return "";
  const std::string trouble = desk_.board->trouble(registry_);
  return "needs schema " + std::to_string(lacking_.back()) + " of " + registry_ +
         (trouble.empty() ? "" : ": " + trouble);
}

bool TakeSchemaId(std::string_view message, int32_t* id, std::string_view* body) {
  if (message.size() < kHeader || message[0] != 0) return false;
  uint32_t number = 0;
  for (size_t i = 1; i < kHeader; ++i) number = number << 8 | static_cast<uint8_t>(message[i]);
  if (number > INT32_MAX) return false;
  *id = static_cast<int32_t>(number);
  *body = message.substr(kHeader);
  return true;
}

std::string NoSchemaId(std::string_view message) {
  if (message.size() < kHeader) {
    return std::to_string(message.size()) +
           " bytes, and a message begins with a zero and the four bytes of its schema's id";
  }
  if (message[0] == 0) return "the id of the schema is below zero";
  const std::string hint = message[0] == '{' ? "; it looks like JSON: format=\"json\"" : "";
  return "the first byte is " + std::to_string(static_cast<uint8_t>(message[0])) +
         ", and a message begins with a zero and the four bytes of its schema's id" + hint;
}

}  // namespace frazil
