#include "format/proto_step.h"

#include <arrow/builder.h>

#include <algorithm>

#include "format/quoted_text.h"

namespace frazil {
namespace {

using Label = ProtoField::Label;
using Type = ProtoField::Type;

class NullStep : public ProtoStep {
 public:
  explicit NullStep(arrow::ArrayBuilder* builder) : builder_(builder) {}
  bool Take(const ProtoPiece*, size_t, JsonFailure& failure) override {
    return failure.Ok(builder_->AppendNull());
  }

 private:
  arrow::ArrayBuilder* builder_;
};

class StructStep : public ProtoStep {
 public:
  StructStep(arrow::StructBuilder* builder, std::unique_ptr<ProtoStep> fields)
      : builder_(builder), fields_(std::move(fields)) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    return failure.Ok(builder_->Append()) && fields_->Take(pieces, count, failure);
  }

 private:
  arrow::StructBuilder* builder_;
  std::unique_ptr<ProtoStep> fields_;
};

// Wrappers (google.protobuf.Int64Value): a message with a value of its own, read as the value.
class WrapperStep : public ProtoStep {
 public:
  WrapperStep(const ProtoField& value, std::unique_ptr<ProtoStep> step)
      : zero_(ProtoZero(value)), step_(std::move(step)) {}
  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    ProtoPiece values[] = {zero_};
    return TakeProtoFields(pieces, count, {zero_.wire}, values, failure) && step_->Take(values, 1, failure);
  }

 private:
  ProtoPiece zero_;
  std::unique_ptr<ProtoStep> step_;
};

template <typename Builder>
class ListStep : public ProtoStep {
 public:
  ListStep(Builder* builder, Type item, std::unique_ptr<ProtoStep> step)
      : builder_(builder), packed_(IsPackable(item)), wire_(ProtoWireOf(item)), step_(std::move(step)) {}

  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    if (!failure.Ok(builder_->Append())) return false;
    int64_t place = 0;
    for (size_t i = 0; i < count; ++i) {
      const bool many = packed_ && pieces[i].wire == ProtoWire::kBytes;
      if (many ? !TakePacked(pieces[i].bytes(), &place, failure) : !TakeOne(pieces[i], &place, failure))
        return false;
    }
    return true;
  }

 private:
  bool TakePacked(std::string_view bytes, int64_t* place, JsonFailure& failure) {
    ProtoCursor in(bytes);
    while (!in.AtEnd()) {
      ProtoPiece piece;
      if (!in.TakePiece(0, wire_, &piece, failure)) return At(*place, failure);
      if (!TakeOne(piece, place, failure)) return false;
    }
    return true;
  }
  bool TakeOne(const ProtoPiece& piece, int64_t* place, JsonFailure& failure) {
    if (!step_->Take(&piece, 1, failure)) [[unlikely]]
      return At(*place, failure);
    ++*place;
    return true;
  }
  static bool At(int64_t place, JsonFailure& failure) {
    failure.Within(Bracketed(std::to_string(place)));
    return false;
  }

  Builder* builder_;
  bool packed_;
  ProtoWire wire_;
  std::unique_ptr<ProtoStep> step_;
};

// Entries of a map: of one key the first one's place and the last one's value count.
class MapStep : public ProtoStep {
 public:
  MapStep(arrow::MapBuilder* builder, const ProtoField& key, const ProtoField& value,
          std::unique_ptr<ProtoStep> keys, std::unique_ptr<ProtoStep> values)
      : builder_(builder), key_(key), value_(value), keys_(std::move(keys)), values_(std::move(values)) {}

  bool Take(const ProtoPiece* pieces, size_t count, JsonFailure& failure) override {
    if (!failure.Ok(builder_->Append())) return false;
    if (entries_.capacity() > kEntriesKept) entries_ = {};
    entries_.clear();
    pieces_.clear();
    for (size_t i = 0; i < count; ++i) {
      if (!Scan(pieces[i].bytes(), failure)) return false;
    }
    Merge();
    for (const Entry& entry : entries_) {
      if (entry.hidden) continue;
      if (keys_->Take(&entry.key, 1, failure) &&
          values_->Take(pieces_.data() + entry.begin, entry.count, failure)) [[likely]] {
        continue;
      }
      failure.Within(Bracketed(Shown(entry.key)));
      return false;
    }
    return true;
  }

 private:
  struct Entry {
    ProtoPiece key;
    size_t begin = 0;  // of the pieces of the value
    size_t count = 0;
    bool hidden = false;
  };
  static constexpr size_t kEntriesKept = 4 * 1024;  // whose memory is kept from map to map

  bool merged() const { return value_.type == Type::kMessage || value_.type == Type::kGroup; }

  bool Scan(std::string_view bytes, JsonFailure& failure) {
    Entry entry;
    entry.key = ProtoZero(key_);
    entry.begin = pieces_.size();
    ProtoCursor in(bytes);
    while (!in.AtEnd()) {
      int32_t number = 0;
      ProtoWire wire = ProtoWire::kVarint;
      ProtoPiece piece;
      if (!in.TakeTag(&number, &wire, failure) || !in.TakePiece(number, wire, &piece, failure)) return false;
      if (number > 2) continue;
      if (wire != ProtoWireOf(number == 1 ? key_.type : value_.type))
        return failure.Because(ProtoWrongWire(number, wire));
      if (number == 1) {
        entry.key = piece;
        continue;
      }
      if (!merged()) pieces_.resize(entry.begin);
      pieces_.push_back(piece);
    }
    if (pieces_.size() == entry.begin && !merged()) pieces_.push_back(ProtoZero(value_));
    entry.count = pieces_.size() - entry.begin;
    entries_.push_back(entry);
    return true;
  }

  void Merge() {
    if (entries_.size() < 2) return;
    order_.resize(entries_.size());
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<uint32_t>(i);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](uint32_t a, uint32_t b) { return Less(entries_[a].key, entries_[b].key); });
    for (size_t i = 1, first = 0; i < order_.size(); ++i) {
      if (Less(entries_[order_[first]].key, entries_[order_[i]].key)) {
        first = i;
        continue;
      }
      Entry& kept = entries_[order_[first]];
      Entry& last = entries_[order_[i]];
      kept.begin = last.begin;
      kept.count = last.count;
      last.hidden = true;
    }
  }
  bool Less(const ProtoPiece& a, const ProtoPiece& b) const {
    return key_.type == Type::kString ? a.bytes() < b.bytes() : a.bits < b.bits;
  }
  std::string Shown(const ProtoPiece& key) const {
    return key_.type == Type::kString ? QuotedText(key.bytes())
                                      : std::to_string(static_cast<int64_t>(key.bits));
  }

  arrow::MapBuilder* builder_;
  const ProtoField& key_;
  const ProtoField& value_;
  std::unique_ptr<ProtoStep> keys_, values_;
  // Of the map at hand.
  std::vector<Entry> entries_;
  std::vector<ProtoPiece> pieces_;
  std::vector<uint32_t> order_;
};

Result<std::unique_ptr<ProtoStep>> MakeList(const ProtoMaking& making, const ProtoField& field,
                                            const BuiltColumn& column) {
  const auto id = column.builder->type()->id();
  if (id != arrow::Type::LIST && id != arrow::Type::LARGE_LIST)
    return ProtoClash(making, field, column, "declare a list");
  FZ_ASSIGN(auto item, MakeProtoValueStep(making, field, column.inside[0]));
  if (id == arrow::Type::LIST) {
    return std::make_unique<ListStep<arrow::ListBuilder>>(static_cast<arrow::ListBuilder*>(column.builder),
                                                          field.type, std::move(item));
  }
  return std::make_unique<ListStep<arrow::LargeListBuilder>>(
      static_cast<arrow::LargeListBuilder*>(column.builder), field.type, std::move(item));
}

Result<std::unique_ptr<ProtoStep>> MakeMap(const ProtoMaking& making, const ProtoField& field,
                                           const BuiltColumn& column) {
  if (column.builder->type()->id() != arrow::Type::MAP)
    return ProtoClash(making, field, column, "declare a map");
  const auto& fields = making.schema.message(field.of).fields;
  FZ_ASSIGN(auto keys, MakeProtoValueStep(making, fields[0], column.inside[0]));
  FZ_ASSIGN(auto values, MakeProtoValueStep(making, fields[1], column.inside[1]));
  return std::make_unique<MapStep>(static_cast<arrow::MapBuilder*>(column.builder), fields[0], fields[1],
                                   std::move(keys), std::move(values));
}

Result<std::unique_ptr<ProtoStep>> MakeStruct(const ProtoMaking& making, const ProtoField& field,
                                              const BuiltColumn& column) {
  if (field.type != Type::kMessage && field.type != Type::kGroup)
    return ProtoClash(making, field, column, "");
  std::vector<ProtoWanted> wanted;
  for (const BuiltColumn& each : column.inside) {
    FZ_ASSIGN(auto path, SourcePath(*each.field));
    wanted.push_back({&each, std::move(path), false});
  }
  FZ_ASSIGN(auto fields, MakeProtoMessageStep(making, field.of, wanted));
  return std::make_unique<StructStep>(static_cast<arrow::StructBuilder*>(column.builder), std::move(fields));
}

}  // namespace

Status ProtoClash(const ProtoMaking& making, const ProtoField& field, const BuiltColumn& column,
                  const std::string& advice) {
  return Error(ErrorKind::kDecode, "the message's schema says " + ProtoTypeText(making.schema, field) +
                                       ", and the column is declared " + column.field->type()->ToString() +
                                       (advice.empty() ? "" : "\n  " + advice));
}

const ProtoField* ProtoWrapped(const ProtoSchema& schema, const ProtoField& field) {
  if (field.type != Type::kMessage) return nullptr;
  const ProtoMessage& message = schema.message(field.of);
  const bool wrapper = message.name.starts_with("google.protobuf.") && message.name.ends_with("Value") &&
                       message.fields.size() == 1 && message.fields[0].number == 1 &&
                       message.fields[0].label == Label::kImplicit;
  return wrapper ? &message.fields[0] : nullptr;
}

ProtoPiece ProtoZero(const ProtoField& field) {
  const ProtoWire wire = ProtoWireOf(field.type);
  if (wire == ProtoWire::kBytes || wire == ProtoWire::kGroup)
    return ProtoPiece::Bytes(wire, field.default_bytes);
  return ProtoPiece::Bits(wire, field.default_bits);
}

std::string ProtoWrongWire(int32_t number, ProtoWire wire) {
  const char* const kinds[] = {"a number", "64 bits", "bytes", "a group", "an end of a group", "32 bits"};
  return "field " + std::to_string(number) + " stands in the message as " + kinds[static_cast<size_t>(wire)] +
         ", which its type does not";
}

Result<std::unique_ptr<ProtoStep>> MakeProtoStep(const ProtoMaking& making, const ProtoField& field,
                                                 const BuiltColumn& column) {
  if (column.field->type()->id() == arrow::Type::NA && column.field->nullable())
    return std::make_unique<NullStep>(column.builder);
  std::unique_ptr<ProtoStep> made;
  if (field.label == Label::kRepeated) {
    FZ_ASSIGN(made, MakeList(making, field, column));
  } else if (field.label == Label::kMap) {
    FZ_ASSIGN(made, MakeMap(making, field, column));
  } else {
    FZ_ASSIGN(made, MakeProtoValueStep(making, field, column));
  }
  return MakeProtoAvailableStep(making, field, column, std::move(made));
}

Result<std::unique_ptr<ProtoStep>> MakeProtoValueStep(const ProtoMaking& making, const ProtoField& field,
                                                      const BuiltColumn& column) {
  if (column.field->type()->id() == arrow::Type::STRUCT) return MakeStruct(making, field, column);
  if (const ProtoField* const value = ProtoWrapped(making.schema, field); value != nullptr) {
    FZ_ASSIGN(auto step, MakeProtoValueStep(making, *value, column));
    return std::make_unique<WrapperStep>(*value, std::move(step));
  }
  FZ_ASSIGN(auto made, MakeProtoNumberStep(making, field, column));
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeProtoTimeStep(making, field, column));
  }
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeProtoDecimalStep(making, field, column));
  }
  if (made == nullptr) {
    FZ_ASSIGN(made, MakeProtoTextStep(making, field, column));
  }
  if (made == nullptr) return ProtoClash(making, field, column, "");
  return made;
}

}  // namespace frazil
