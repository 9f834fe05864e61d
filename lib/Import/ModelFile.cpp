// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ModelFile.h"

#include <climits>

using namespace mlir;
using namespace caat::importer;

namespace {

/// Copies a serialised ModelProto field by field without raw_data, noting where that was.
class Stripper {
public:
  Stripper(ArrayRef<char> bytes, ModelFile &file) : bytes(bytes), file(file) {}

  llvm::Error run(std::string &out) { return copy(Message::Model, 0, bytes.size(), out); }

private:
  enum class Message { Model, Graph, Node, Attribute, Initializer, AttributeTensor, Other };

  /// The message in field `field` of `parent` (numbers of onnx.proto).
  static Message child(Message parent, uint64_t field) {
    switch (parent) {
    case Message::Model:
      return field == 7 ? Message::Graph : Message::Other;
    case Message::Graph:
      return field == 1 ? Message::Node : field == 5 ? Message::Initializer : Message::Other;
    case Message::Node:
      return field == 5 ? Message::Attribute : Message::Other;
    case Message::Attribute:
      return field == 5 ? Message::AttributeTensor : Message::Other;
    default:
      return Message::Other;
    }
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

  /// Notes the raw_data of the tensor at hand; false where it was there before.
  bool note(Message tensor, ByteRange range) {
    if (tensor == Message::Initializer)
      return file.initializerData.try_emplace(initializers - 1, range).second;
    return file.attributeData.try_emplace({nodes - 1, attributes - 1}, range).second;
  }

  llvm::Error copy(Message message, size_t at, size_t end, std::string &out) {
    bool hasSubmessage = false;
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
        bool isTensor = message == Message::Initializer || message == Message::AttributeTensor;
        if (isTensor && tag >> 3 == 9) {
          if (!note(message, {static_cast<int64_t>(body), static_cast<int64_t>(length)}))
            return malformed(start, "second raw_data of a tensor");
          continue;
        }
        Message sub = child(message, tag >> 3);
        if (sub == Message::Other)
          break;
        // What protobuf would merge could no longer be told apart by its number.
        if ((sub == Message::Graph || sub == Message::AttributeTensor) && std::exchange(hasSubmessage, true))
          return malformed(start, "second value of a field");
        nodes += sub == Message::Node;
        attributes = sub == Message::Node ? 0 : attributes + (sub == Message::Attribute);
        initializers += sub == Message::Initializer;
        std::string stripped;
        if (llvm::Error error = copy(sub, body, at, stripped))
          return error;
        writeVarint(tag, out);
        writeVarint(stripped.size(), out);
        out += stripped;
        continue;
      }
      default:
        return malformed(start, "invalid field");
      }
      // protobuf's own limit, before the memory is taken.
      if (out.size() + (at - start) > INT_MAX)
        return llvm::createStringError(
            "the model takes more than 2 GiB without its tensors' raw data, which is the limit of "
            "protobuf; export it with external data");
      out.append(bytes.data() + start, at - start);
    }
    return llvm::Error::success();
  }

  ArrayRef<char> bytes;
  ModelFile &file;
  int nodes = 0, attributes = 0, initializers = 0;
};

} // namespace

llvm::Error caat::importer::parseModelFile(ArrayRef<char> bytes, ModelFile &file) {
  if (bytes.empty())
    return llvm::createStringError("not an ONNX model: the file is empty");
  std::string stripped;
  if (llvm::Error error = Stripper(bytes, file).run(stripped))
    return error;
  if (stripped.size() > INT_MAX)
    return llvm::createStringError(
        "the model takes more than 2 GiB without its tensors' raw data, which is the limit of "
        "protobuf; export it with external data");
  // protobuf's recursion limit of 100 stays.
  if (!file.model.ParseFromArray(stripped.data(), stripped.size()))
    return llvm::createStringError("not an ONNX model: its protobuf message is malformed or nested too deeply");
  if (file.model.ir_version() <= 0 || !file.model.has_graph())
    return llvm::createStringError("not an ONNX model: no graph or no ir_version");
  return llvm::Error::success();
}
