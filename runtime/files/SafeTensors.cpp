// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/SafeTensors.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

namespace caat::runtime {

namespace {

using Json = nlohmann::json;
constexpr uint64_t maxHeaderBytes = 100'000'000; // the limit of the reference implementation

/// The format's names, in the order of DType.
constexpr std::string_view typeNames[numDTypes] = {"F32", "BF16", "F16", "I64", "I32", "I8", "BOOL",
                                                   "F64", "U8",   "I16", "U16", "U32", "U64"};

SafeTensors::Entry readEntry(const Json &json, const std::string &where, size_t dataBegin, size_t dataBytes) {
  auto check = [&](bool good, const std::string &text) {
    if (!good)
      failArtifact(where, ": ", text);
  };
  check(json.is_object() && json.contains("dtype") && json.contains("shape") && json.contains("data_offsets"),
        "expected an object with dtype, shape and data_offsets");
  check(json["dtype"].is_string(), "dtype is not a string");
  std::string type = json["dtype"].get<std::string>();
  auto found = std::find(std::begin(typeNames), std::end(typeNames), type);
  check(found != std::end(typeNames), "element type '" + type + "' is not supported");
  SafeTensors::Entry entry{static_cast<DType>(found - std::begin(typeNames)), {}, 0, 0};
  check(json["shape"].is_array(), "shape is not an array");
  for (const Json &dim : json["shape"]) {
    check(dim.is_number_unsigned() && dim.get<uint64_t>() <= INT64_MAX, "shape has an entry that is no size");
    entry.shape.push_back(dim.get<int64_t>());
  }
  const Json &offsets = json["data_offsets"];
  check(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(),
        "data_offsets is not [begin, end]");
  uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  check(begin <= end && end <= dataBytes, "data_offsets [" + std::to_string(begin) + ", " + std::to_string(end) +
                                              "] are not inside the file's " + std::to_string(dataBytes) +
                                              " bytes of data (is the file complete?)");
  int64_t count = 0;
  try {
    count = elementCount(entry.shape, sizeOf(entry.dtype));
  } catch (const Error &e) {
    check(false, e.what());
  }
  entry.offset = dataBegin + begin;
  entry.bytes = end - begin;
  check(entry.bytes == static_cast<size_t>(count) * sizeOf(entry.dtype),
        "has " + std::to_string(entry.bytes) + " bytes, shape " + toString(entry.shape) + " of " + type + " needs " +
            std::to_string(static_cast<size_t>(count) * sizeOf(entry.dtype)));
  return entry;
}

std::map<std::string, std::string> readMetadata(const Json &json, const std::string &path) {
  std::map<std::string, std::string> metadata;
  if (!json.is_object())
    failArtifact(path, ": '__metadata__' is no object");
  for (const auto &[name, value] : json.items()) {
    if (!value.is_string())
      failArtifact(path, ": '__metadata__': '", name, "' is no string");
    metadata.emplace(name, value.get<std::string>());
  }
  return metadata;
}

} // namespace

SafeTensors SafeTensors::open(const std::string &path) { return parse(MappedFile::open(path), path); }

SafeTensors SafeTensors::parse(MappedFile content, const std::string &path) {
  SafeTensors result;
  result.path_ = path;
  result.file_ = std::move(content);
  const MappedFile &file = result.file_;
  uint64_t headerBytes = 0;
  if (file.size() < sizeof headerBytes)
    failArtifact(path, ": ", file.size(), " bytes are too few for a safetensors file");
  std::memcpy(&headerBytes, file.data(), sizeof headerBytes);
  if (headerBytes > maxHeaderBytes || headerBytes > file.size() - sizeof headerBytes)
    failArtifact(path, ": header of ", headerBytes, " bytes in a file of ", file.size(),
                 " (not a safetensors file, or not complete)");
  const char *text = reinterpret_cast<const char *>(file.data()) + sizeof headerBytes;
  if (headerBytes == 0 || text[0] != '{')
    failArtifact(path, ": the header does not start with '{'");
  Json header;
  try {
    header = Json::parse(text, text + headerBytes);
  } catch (const Json::exception &e) {
    failArtifact(path, ": bad header: ", e.what());
  }
  size_t dataBegin = sizeof headerBytes + headerBytes, dataBytes = file.size() - dataBegin;
  for (const auto &[name, json] : header.items())
    if (name == "__metadata__")
      result.metadata_ = readMetadata(json, path);
    else
      result.entries_.emplace(name, readEntry(json, path + ": '" + name + "'", dataBegin, dataBytes));

  size_t end = dataBegin;
  for (const Entries::value_type *named : result.inOrder()) {
    const Entry &entry = named->second;
    if (entry.offset != end)
      failArtifact(path, ": data ", entry.offset < end ? "overlaps" : "has a hole", " at byte ",
                   std::min(end, entry.offset) - dataBegin);
    end += entry.bytes;
  }
  if (end != file.size())
    failArtifact(path, ": ", file.size() - end, " bytes after the last array");
  return result;
}

std::vector<const SafeTensors::Entries::value_type *> SafeTensors::inOrder() const {
  std::vector<const Entries::value_type *> order;
  for (const Entries::value_type &entry : entries_)
    order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto *a, const auto *b) {
    return std::tie(a->second.offset, a->second.bytes, a->first) <
           std::tie(b->second.offset, b->second.bytes, b->first);
  });
  return order;
}

const SafeTensors::Entry &SafeTensors::entry(const std::string &name) const {
  auto found = entries_.find(name);
  if (found == entries_.end())
    failArtifact(path_, ": no array '", name, "'");
  return found->second;
}

void addName(Digest &digest, std::string_view name) {
  digest.add(std::as_bytes(std::span(name)));
  digest.add(std::array{std::byte(0)});
}

Digest digestOf(const SafeTensors &file) {
  Digest digest;
  for (const auto *named : file.inOrder()) {
    const auto &[name, entry] = *named;
    if (entry.bytes > 0)
      addName(digest, name);
    constexpr size_t piece = 64 << 20; // of a large array at once: what was read need not stay in memory
    for (size_t at = 0; at < entry.bytes; at += piece) {
      size_t bytes = std::min(piece, entry.bytes - at);
      digest.add({file.data(entry) + at, bytes});
      file.file().release(entry.offset + at, bytes);
    }
  }
  return digest;
}

TensorMap readSafeTensors(const std::string &path) {
  SafeTensors file = SafeTensors::open(path);
  TensorMap result;
  for (const auto &[name, entry] : file.entries()) {
    Tensor tensor(entry.dtype, entry.shape);
    std::copy_n(file.data(entry), entry.bytes, tensor.data.get());
    result.emplace(name, std::move(tensor));
  }
  return result;
}

void writeSafeTensors(const std::string &path, const TensorMap &tensors,
                      const std::map<std::string, std::string> &metadata) {
  Json header = Json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  std::vector<std::span<const std::byte>> parts(2);
  size_t offset = 0;
  for (const auto &[name, tensor] : tensors) {
    header[name] = {{"dtype", typeNames[static_cast<int>(tensor.dtype)]},
                    {"shape", tensor.shape},
                    {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
    parts.emplace_back(tensor.data.get(), tensor.bytes());
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' '); // keeps the data aligned
  uint64_t length = text.size();
  parts[0] = std::as_bytes(std::span(&length, 1));
  parts[1] = std::as_bytes(std::span(text));
  writeFile(path, parts);
}

} // namespace caat::runtime
