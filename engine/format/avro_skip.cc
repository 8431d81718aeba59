#include "format/avro_step.h"

namespace frazil {
namespace {

using Kind = AvroType::Kind;

class SkipNothing : public AvroStep {
 public:
  bool Take(AvroCursor&, JsonFailure&) override { return true; }
};

class SkipNumber : public AvroStep {
 public:
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    int64_t value;
    return in.TakeLong(&value, failure);
  }
};

class SkipFixed : public AvroStep {
 public:
  explicit SkipFixed(int64_t size) : size_(size) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view value;
    return in.TakeBytes(size_, &value, failure);
  }

 private:
  int64_t size_;
};

class SkipText : public AvroStep {
 public:
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    std::string_view value;
    return in.TakeText(&value, failure);
  }
};

class SkipRecord : public AvroStep {
 public:
  SkipRecord(const AvroType& type, AvroSkips* skips) : type_(type), skips_(skips) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    if (!in.Enter(failure)) return false;
    for (const auto& field : type_.fields) {
      if (!skips_->Of(field.type)->Take(in, failure)) return false;
    }
    in.Leave();
    return true;
  }

 private:
  const AvroType& type_;
  AvroSkips* skips_;
};

class SkipUnion : public AvroStep {
 public:
  SkipUnion(const AvroType& type, AvroSkips* skips) : type_(type), skips_(skips) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    size_t branch = 0;
    return in.TakeChoice(type_.inside.size(), &branch, failure) &&
           skips_->Of(type_.inside[branch])->Take(in, failure);
  }

 private:
  const AvroType& type_;
  AvroSkips* skips_;
};

// Arrays and maps.
class SkipItems : public AvroStep {
 public:
  SkipItems(int32_t item, bool keys, bool empty, AvroSkips* skips)
      : item_(item), keys_(keys), empty_(empty), skips_(skips) {}
  bool Take(AvroCursor& in, JsonFailure& failure) override {
    if (!in.Enter(failure)) return false;
    AvroStep* const item = skips_->Of(item_);
    for (;;) {
      int64_t items = 0, bytes = 0;
      if (!in.TakeBlock(empty_, &items, &bytes, failure)) return false;
      if (items == 0) break;
      std::string_view skipped;
      if (bytes >= 0) {
        if (!in.TakeBytes(bytes, &skipped, failure)) return false;
        continue;
      }
      for (; items > 0; --items) {
        if (keys_ && !in.TakeText(&skipped, failure)) return false;
        if (!item->Take(in, failure)) return false;
      }
    }
    in.Leave();
    return true;
  }

 private:
  int32_t item_;
  bool keys_, empty_;
  AvroSkips* skips_;
};

}  // namespace

AvroStep* AvroSkips::Of(int32_t type) {
  auto& step = steps_[static_cast<size_t>(type)];
  if (step == nullptr) step = Make(type);
  return step.get();
}

std::unique_ptr<AvroStep> AvroSkips::Make(int32_t number) {
  const AvroType& type = schema_.at(number);
  switch (type.kind) {
    case Kind::kNull:
      return std::make_unique<SkipNothing>();
    case Kind::kBoolean:
      return std::make_unique<SkipFixed>(1);
    case Kind::kInt:
    case Kind::kLong:
    case Kind::kEnum:
      return std::make_unique<SkipNumber>();
    case Kind::kFloat:
      return std::make_unique<SkipFixed>(4);
    case Kind::kDouble:
      return std::make_unique<SkipFixed>(8);
    case Kind::kFixed:
      return std::make_unique<SkipFixed>(type.size);
    case Kind::kBytes:
    case Kind::kString:
      return std::make_unique<SkipText>();
    case Kind::kRecord:
      return std::make_unique<SkipRecord>(type, this);
    case Kind::kUnion:
      return std::make_unique<SkipUnion>(type, this);
    case Kind::kArray:
    case Kind::kMap:
      break;
  }
  const bool keys = type.kind == Kind::kMap;
  return std::make_unique<SkipItems>(type.inside[0], keys, !keys && schema_.at(type.inside[0]).may_be_empty,
                                     this);
}

}  // namespace frazil
