// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ModelFile.h"

#include <climits>
#include <cstring>

using namespace mlir;
using namespace caat::importer;

namespace {

/// protobuf refuses what is nested deeper.
constexpr int maxNesting = 100;

/// Copies a serialised ModelProto field by field, with raw_data replaced by its place in the file.
class Stripper {
public:
  explicit Stripper(ArrayRef<char> bytes) : bytes(bytes) {}

  llvm::Error run(std::string &out) { return copy(Message::Model, 0, bytes.size(), 0, out); }

private:
  enum class Message { Model, Graph, Function, Node, Attribute, Tensor, Other };

  /// The message in field `field` of `parent` (numbers of onnx.proto).
  static Message child(Message parent, uint64_t field) {
    switch (parent) {
    case Message::Model:
      return field == 7 ? Message::Graph : field == 25 ? Message::Function : Message::Other;
    case Message::Graph:
      return field == 1 ? Message::Node : field == 5 ? Message::Tensor : Message::Other;
    case Message::Function:
      return field == 7 ? Message::Node : field == 11 ? Message::Attribute : Message::Other;
    case Message::Node:
      return field == 5 ? Message::Attribute : Message::Other;
    case Message::Attribute:
      return field == 5 || field == 10 ? Message::Tensor : field == 6 || field == 11 ? Message::Graph : Message::Other;
    default:
      return Message::Other;
    }
  }

  /// Fields that protobuf would merge where they stand twice: a graph of the model, the value of an attribute.
  static bool isSingular(Message parent, uint64_t field) {
    return (parent == Message::Model && field == 7) || (parent == Message::Attribute && (field == 5 || field == 6));
  }

  llvm::Error malformed(size_t at, const char *what) {
    return llvm::createStringError("not an ONNX model: %s at byte %zu", what, at);
  }

  bool readVarint(size_t &at, size_t end, uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
      uint8_t byte = bytes[at++];
      value |= uint64_t(byte & 0x7f) << shift;
      if (byte < 0x80)
        return true;
    }
    return false;
  }

  static void writeVarint(uint64_t value, std::string &out) {
    for (; value >= 0x80; value >>= 7)
      out.push_back(char(value | 0x80));
    out.push_back(char(value));
  }

  /// A length that is not known yet takes five bytes, which protobuf reads as well as the fewest.
  static size_t reserveLength(std::string &out) {
    out.append(5, '\0');
    return out.size();
  }
  static void setLength(size_t begin, std::string &out) {
    uint64_t length = out.size() - begin;
    for (int i = 0; i < 5; ++i, length >>= 7)
      out[begin - 5 + i] = char((length & 0x7f) | (i < 4 ? 0x80 : 0));
  }

  /// protobuf's own limit, before the memory is taken.
  static llvm::Error append(ArrayRef<char> fields, std::string &out) {
    if (out.size() + fields.size() > INT_MAX)
      return llvm::createStringError(
          "the model takes more than 2 GiB without its tensors' raw data, which is the limit of "
          "protobuf; export it with external data");
    out.append(fields.begin(), fields.end());
    return llvm::Error::success();
  }

  llvm::Error copy(Message message, size_t at, size_t end, int depth, std::string &out) {
    if (depth > maxNesting)
      return malformed(at, "messages nested too deeply");
    bool hasSubmessage = false, hasData = false;
    size_t copied = at; // what lies before it is in `out`
    while (at < end) {
      size_t start = at;
      uint64_t tag, length;
      if (!readVarint(at, end, tag) || tag >> 3 == 0)
        return malformed(start, "invalid field");
      switch (tag & 7) {
      case 0:
        if (!readVarint(at, end, length))
          return malformed(start, "truncated number");
        break;
      case 1:
      case 5: {
        size_t size = (tag & 7) == 1 ? 8 : 4;
        if (end - at < size)
          return malformed(start, "truncated number");
        at += size;
        break;
      }
      case 2: {
        if (!readVarint(at, end, length) || length > end - at)
          return malformed(start, "field longer than the file");
        size_t body = at;
        at += length;
        bool isData = message == Message::Tensor && tag >> 3 == 9;
        Message sub = child(message, tag >> 3);
        if (!isData && sub == Message::Other)
          break;
        if (llvm::Error error = append(bytes.slice(copied, start - copied), out))
          return error;
        copied = at;
        writeVarint(tag, out);
        if (isData) {
          if (std::exchange(hasData, true))
            return malformed(start, "second raw_data of a tensor");
          ByteRange place{static_cast<int64_t>(body), static_cast<int64_t>(length)};
          writeVarint(sizeof(place), out);
          out.append(reinterpret_cast<const char *>(&place), sizeof(place));
          break;
        }
        if (isSingular(message, tag >> 3) && std::exchange(hasSubmessage, true))
          return malformed(start, "second value of a field");
        size_t begin = reserveLength(out);
        if (llvm::Error error = copy(sub, body, at, depth + 1, out))
          return error;
        setLength(begin, out);
        break;
      }
      default:
        return malformed(start, "invalid field");
      }
    }
    return append(bytes.slice(copied, end - copied), out);
  }

  ArrayRef<char> bytes;
};

} // namespace

llvm::Error caat::importer::parseModelFile(ArrayRef<char> bytes, ::onnx::ModelProto &model) {
  if (bytes.empty())
    return llvm::createStringError("not an ONNX model: the file is empty");
  std::string stripped;
  stripped.reserve(std::min<size_t>(bytes.size(), 64 << 20)); // most of a graph, little of large weights
  if (llvm::Error error = Stripper(bytes).run(stripped))
    return error;
  if (stripped.size() > INT_MAX)
    return llvm::createStringError(
        "the model takes more than 2 GiB without its tensors' raw data, which is the limit of "
        "protobuf; export it with external data");
  // protobuf's recursion limit of 100 stays.
  if (!model.ParseFromArray(stripped.data(), stripped.size()))
    return llvm::createStringError("not an ONNX model: its protobuf message is malformed or nested too deeply");
  if (model.ir_version() <= 0 || !model.has_graph())
    return llvm::createStringError("not an ONNX model: no graph or no ir_version");
  return llvm::Error::success();
}

std::optional<ByteRange> caat::importer::rawDataPlace(const ::onnx::TensorProto &tensor) {
  ByteRange place;
  if (!tensor.has_raw_data() || tensor.raw_data().size() != sizeof(place))
    return std::nullopt;
  std::memcpy(&place, tensor.raw_data().data(), sizeof(place));
  return place;
}
