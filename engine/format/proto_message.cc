#include <arrow/array.h>
#include <arrow/builder.h>

#include <algorithm>

#include "format/json_column.h"
#include "format/proto_step.h"

namespace frazil {
namespace {

using Label = ProtoField::Label;
using Type = ProtoField::Type;

constexpr int32_t kDense = 256;           // field numbers that are looked up in a table
constexpr size_t kPiecesKept = 4 * 1024;  // values of a field whose memory is kept from message to message
// Field metadata: message and number of the field that the column was made of ("shop.Order:4").
constexpr const char* kNumberMetadata = "fz:proto_number";

// What a column gets where there is no value for it.
class Absence {
 public:
  static Result<Absence> Make(const ProtoMaking& making, const BuiltColumn& column) {
    Absence made;
    made.builder_ = column.builder;
    made.nullable_ = column.field->nullable();
    FZ_ASSIGN(made.value_, DefaultOf(*column.field, making.pool));
    return made;
  }
  bool has_default() const { return value_ != nullptr; }
  bool allowed() const { return value_ != nullptr || nullable_; }
  bool Put(JsonFailure& failure) const {
    if (value_ != nullptr) {
      return failure.Ok(builder_->AppendArraySlice(arrow::ArraySpan(*value_->data()), 0, 1));
    }
    if (nullable_) return failure.Ok(builder_->AppendNull());
    return failure.Because("the message does not have it, and the column is not nullable");
  }

 private:
  arrow::ArrayBuilder* builder_ = nullptr;
  bool nullable_ = false;
  std::shared_ptr<arrow::Array> value_;
};

// A column and what it gets; where it is named in failures.
struct Gap {
  Absence absence;
  std::string name;
  bool root = false;
};

bool Blame(const std::string& name, bool root, JsonFailure& failure) {
  if (root) {
    failure.column = name;
  } else if (!name.empty()) {
    failure.Within("." + name);
  }
  return false;
}

bool PutAll(const std::vector<Gap>& gaps, JsonFailure& failure) {
  for (const Gap& gap : gaps) {
    if (!gap.absence.Put(failure)) return Blame(gap.name, gap.root, failure);
  }
  return true;
}

// One use of a field: a column, or the columns that take parts of it.
struct Reading {
  std::unique_ptr<ProtoStep> step;
  std::string name;  // for failures; empty if the step says it
  bool root = false;
  bool has_default = false;  // gaps before the field's own default
  bool no_zero = false;      // and before a zero without presence
  std::vector<Gap> gaps;     // where the message has no value
};

// A field that something reads.
struct Slot {
  const ProtoField* field = nullptr;
  std::vector<Reading> readings;
  std::vector<ProtoPiece> pieces;  // of the message at hand

  bool many() const { return field->label == Label::kRepeated || field->label == Label::kMap; }
  bool merged() const { return field->type == Type::kMessage || field->type == Type::kGroup; }
  void Clear() {
    if (pieces.capacity() > kPiecesKept) pieces = {};
    pieces.clear();
  }
};

// What a number in a message means.
struct Entry {
  int32_t slot = -1;  // -1: nobody reads it, it only ends the others of its oneof
  int32_t oneof = -1;
};

class MessageStep : public ProtoStep {
 public:
  MessageStep(std::vector<Slot> slots, std::vector<Gap> missing, int64_t* messages_left)
      : slots_(std::move(slots)), missing_(std::move(missing)), messages_left_(messages_left) {}

  void Add(int32_t number, Entry entry) {
    if (number >= kDense) {
      sparse_.emplace_back(number, entry);
      return;
    }
    if (dense_.size() <= static_cast<size_t>(number)) dense_.resize(static_cast<size_t>(number) + 1);
    dense_[static_cast<size_t>(number)] = entry;
    if (entry.oneof >= static_cast<int32_t>(set_.size()))
      set_.resize(static_cast<size_t>(entry.oneof) + 1, -1);
  }
  void Sort() {
    std::sort(sparse_.begin(), sparse_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [number, entry] : sparse_) {
      if (entry.oneof >= static_cast<int32_t>(set_.size()))
        set_.resize(static_cast<size_t>(entry.oneof) + 1, -1);
    }
  }

  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    if (--*messages_left_ < 0) [[unlikely]]
      return failure.Because("more messages within the message than are read");
    for (Slot& slot : slots_) slot.Clear();
    std::fill(set_.begin(), set_.end(), -1);
    for (size_t i = 0; i < count; ++i) {
      if (!Scan(pieces[i].bytes(), failure)) return false;
    }
    for (const Slot& slot : slots_) {
      for (const Reading& reading : slot.readings) {
        if (!Put(slot, reading, failure)) [[unlikely]]
          return Blame(reading.name, reading.root, failure);
      }
    }
    return PutAll(missing_, failure);
  }

 private:
  Entry Find(int32_t number) const {
    if (number < static_cast<int32_t>(dense_.size())) [[likely]]
      return dense_[static_cast<size_t>(number)];
    const auto found = std::lower_bound(sparse_.begin(), sparse_.end(), number,
                                        [](const auto& each, int32_t wanted) { return each.first < wanted; });
    return found != sparse_.end() && found->first == number ? found->second : Entry();
  }

  // Notes what the message has of each field.
  bool Scan(std::string_view bytes, JsonFailure& failure) {
    ProtoCursor in(bytes);
    while (!in.AtEnd()) {
      int32_t number = 0;
      ProtoWire wire = ProtoWire::kVarint;
      ProtoPiece piece;
      if (!in.TakeTag(&number, &wire, failure) || !in.TakePiece(number, wire, &piece, failure)) return false;
      const Entry entry = Find(number);
      if (entry.oneof >= 0) {
        int32_t& set = set_[static_cast<size_t>(entry.oneof)];
        if (set != entry.slot && set >= 0) slots_[static_cast<size_t>(set)].Clear();
        set = entry.slot;
      }
      if (entry.slot < 0) continue;
      Slot& slot = slots_[static_cast<size_t>(entry.slot)];
      const bool packed = wire == ProtoWire::kBytes && slot.many() && IsPackable(slot.field->type);
      if (wire != ProtoWireOf(slot.field->type) && !packed) [[unlikely]] {
        failure.Because(ProtoWrongWire(number, wire));
        const Reading& reading = slot.readings.front();
        return Blame(reading.name, reading.root, failure);
      }
      if (!slot.many() && !slot.merged()) slot.pieces.clear();
      slot.pieces.push_back(piece);
    }
    return true;
  }

  static bool Put(const Slot& slot, const Reading& reading, JsonFailure& failure) {
    if (!slot.pieces.empty() || slot.many()) [[likely]]
      return reading.step->Take(slot.pieces.data(), slot.pieces.size(), failure);
    switch (slot.field->label) {
      case Label::kRequired:
        return failure.Because("a required field that the message does not have");
      case Label::kImplicit:
        if (reading.no_zero) return PutAll(reading.gaps, failure);
        break;
      default:
        if (!slot.field->has_default || reading.has_default) return PutAll(reading.gaps, failure);
    }
    const ProtoPiece zero = ProtoZero(*slot.field);
    return reading.step->Take(&zero, 1, failure);
  }

  std::vector<Slot> slots_;
  std::vector<Gap> missing_;
  int64_t* messages_left_;
  std::vector<Entry> dense_;
  std::vector<std::pair<int32_t, Entry>> sparse_;
  std::vector<int32_t> set_;  // by oneof: the slot that is set, -1
};

Status Within(const ProtoMaking& making, const std::string& name, const Status& status) {
  making.blamed->insert(making.blamed->begin(), name);
  return status;
}

// Where a message does not have a column's field but one of the number it had when the column was made of
// another version of the same message, it is that one under an older or newer name.
void TakeNumber(const ProtoMessage& message, ProtoWanted* wanted) {
  const std::string text = JsonMetadata(*wanted->column->field, kNumberMetadata);
  if (text.empty() || wanted->path.size() != 1) return;
  const ProtoField* same = nullptr;
  for (const ProtoField& field : message.fields) {
    if (field.name == wanted->path[0]) return;
    if (message.name + ":" + std::to_string(field.number) == text) same = &field;
  }
  if (same != nullptr) wanted->path[0] = same->name;
}

Result<Gap> MakeGap(const ProtoMaking& making, const ProtoWanted& wanted) {
  FZ_ASSIGN(Absence absence, Absence::Make(making, *wanted.column));
  return Gap{std::move(absence), wanted.column->field->name(), wanted.root};
}

// What reads the parts of a message that some columns are further inside of.
Result<Reading> MakeInside(const ProtoMaking& making, const ProtoField& field,
                           const std::vector<ProtoWanted>& inside) {
  Reading reading;
  const bool message = field.type == Type::kMessage || field.type == Type::kGroup;
  if (!message || field.label == Label::kRepeated || field.label == Label::kMap) {
    return Within(
        making, inside.front().column->field->name(),
        Error(ErrorKind::kDecode, "the message's schema says " + ProtoTypeText(making.schema, field) +
                                      " where its source goes into a message"));
  }
  FZ_ASSIGN(reading.step, MakeProtoMessageStep(making, field.of, inside));
  for (const ProtoWanted& each : inside) {
    FZ_ASSIGN(Gap gap, MakeGap(making, each));
    reading.gaps.push_back(std::move(gap));
  }
  return reading;
}

Result<Reading> MakeReading(const ProtoMaking& making, const ProtoField& field, const ProtoWanted& wanted) {
  Reading reading;
  reading.name = wanted.column->field->name();
  reading.root = wanted.root;
  auto step = MakeProtoStep(making, field, *wanted.column);
  if (!step.ok()) return Within(making, reading.name, step.status());
  reading.step = std::move(*step);
  FZ_ASSIGN(Gap gap, MakeGap(making, wanted));
  gap.name.clear();  // it is the reading's
  gap.root = false;
  reading.has_default = gap.absence.has_default();
  reading.no_zero = !JsonMetadata(*wanted.column->field, kZeroIsNullMetadata).empty();
  reading.gaps.push_back(std::move(gap));
  return reading;
}

// The fields of a message that columns are read from; notes which columns have one.
Result<std::vector<Slot>> MakeSlots(const ProtoMaking& making, const ProtoMessage& message,
                                    const std::vector<ProtoWanted>& wanted, std::vector<bool>* found) {
  std::vector<Slot> slots;
  for (const ProtoField& field : message.fields) {
    Slot slot;
    slot.field = &field;
    std::vector<ProtoWanted> inside;
    for (size_t i = 0; i < wanted.size(); ++i) {
      const ProtoWanted& each = wanted[i];
      if (each.path.front() != field.name) continue;
      (*found)[i] = true;
      if (each.path.size() > 1) {
        inside.push_back({each.column, {each.path.begin() + 1, each.path.end()}, each.root});
        continue;
      }
      FZ_ASSIGN(Reading reading, MakeReading(making, field, each));
      slot.readings.push_back(std::move(reading));
    }
    if (!inside.empty()) {
      FZ_ASSIGN(Reading reading, MakeInside(making, field, inside));
      slot.readings.push_back(std::move(reading));
    }
    if (!slot.readings.empty()) slots.push_back(std::move(slot));
  }
  return slots;
}

Result<Gap> MakeMissing(const ProtoMaking& making, const ProtoWanted& wanted) {
  FZ_ASSIGN(Gap gap, MakeGap(making, wanted));
  if (gap.absence.allowed()) return gap;
  return Within(making, gap.name,
                Error(ErrorKind::kDecode,
                      "the message's schema has no such field, and the column is not nullable\n  "
                      "declare it as T | None, or with fz.field(default=)"));
}

}  // namespace

Result<std::unique_ptr<ProtoStep>> MakeProtoMessageStep(const ProtoMaking& making, int32_t number,
                                                        const std::vector<ProtoWanted>& columns) {
  const ProtoMessage& message = making.schema.message(number);
  std::vector<ProtoWanted> wanted = columns;
  for (ProtoWanted& each : wanted) TakeNumber(message, &each);
  std::vector<bool> found(wanted.size(), false);
  FZ_ASSIGN(auto slots, MakeSlots(making, message, wanted, &found));
  std::vector<Gap> missing;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (found[i]) continue;
    FZ_ASSIGN(Gap gap, MakeMissing(making, wanted[i]));
    missing.push_back(std::move(gap));
  }
  std::vector<Entry> entries(message.fields.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    entries[static_cast<size_t>(slots[i].field - message.fields.data())].slot = static_cast<int32_t>(i);
  }
  auto step = std::make_unique<MessageStep>(std::move(slots), std::move(missing), making.messages_left);
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].oneof = message.fields[i].oneof;
    if (entries[i].slot >= 0 || entries[i].oneof >= 0) step->Add(message.fields[i].number, entries[i]);
  }
  step->Sort();
  return step;
}

}  // namespace frazil
