// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads the estimates of a plan from a safetensors file: u64 length of the header, JSON header, data.
#include "caat/Support/ContainedFile.h"
#include "caat/Support/Json.h"
#include "caat/Sync/Plan.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace caat;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace {

/// A safetensors file in memory, with errors that name the file and the plan's place.
class TensorFile {
public:
  TensorFile(std::string where, StringRef file) : where(std::move(where)), file(file) {}

  Error open(StringRef directory);
  Error readMatrix(StringRef name, int64_t rows, int64_t columns, llvm::SmallVector<float> &values) const;
  bool contains(StringRef name) const { return header->getAsObject()->get(name) != nullptr; }
  Error error(const Twine &message) const { return llvm::createStringError(where + ": " + file + ": " + message); }

private:
  std::string where, file;
  ContainedFile contained;
  std::optional<llvm::json::Value> header;
  StringRef data;
};

Error TensorFile::open(StringRef directory) {
  Expected<ContainedFile> opened = ContainedFile::open(directory, file);
  if (!opened)
    return llvm::createStringError(where + ": " + llvm::toString(opened.takeError()));
  contained = std::move(*opened);
  StringRef content = contained.text();
  if (content.size() < 8)
    return error("is no safetensors file: it is shorter than 8 bytes");
  uint64_t length = llvm::support::endian::read64le(content.data());
  if (length > content.size() - 8)
    return error("is no safetensors file: its header of " + Twine(length) + " bytes is longer than the file");
  Expected<llvm::json::Value> parsed = parseJson(content.substr(8, length));
  if (!parsed)
    return error("is no safetensors file: " + llvm::toString(parsed.takeError()));
  if (!parsed->getAsObject())
    return error("is no safetensors file: its header is no object");
  header = std::move(*parsed);
  data = content.drop_front(8 + length);
  return Error::success();
}

Error TensorFile::readMatrix(StringRef name, int64_t rows, int64_t columns, llvm::SmallVector<float> &values) const {
  const llvm::json::Object *tensor = header->getAsObject()->getObject(name);
  if (!tensor)
    return error("has no tensor '" + name + "'");
  std::optional<StringRef> dtype = tensor->getString("dtype");
  if (dtype != "F32")
    return error("tensor '" + name + "' has type " + dtype.value_or("unknown") + ", expected F32");
  auto integers = [&](StringRef key) {
    llvm::SmallVector<int64_t> list;
    if (const llvm::json::Array *array = tensor->getArray(key))
      for (const llvm::json::Value &item : *array)
        list.push_back(item.getAsInteger().value_or(-1));
    return list;
  };
  if (integers("shape") != llvm::SmallVector<int64_t>{rows, columns})
    return error("tensor '" + name + "' must have the shape [" + Twine(rows) + ", " + Twine(columns) +
                 "]: ranks, channels");
  llvm::SmallVector<int64_t> offsets = integers("data_offsets");
  int64_t bytes = rows * columns * int64_t(sizeof(float));
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > int64_t(data.size()) ||
      offsets[1] - offsets[0] != bytes)
    return error("tensor '" + name + "' does not lie inside the file");
  for (int64_t i = 0; i < rows * columns; ++i) {
    float value = llvm::bit_cast<float>(llvm::support::endian::read32le(data.data() + offsets[0] + i * 4));
    if (!std::isfinite(value))
      return error("tensor '" + name + "' holds a value that is not finite, at element " + Twine(i));
    values.push_back(value);
  }
  return Error::success();
}

} // namespace

Expected<SiteEstimate> caat::readEstimate(const Plan &plan, const PlanEntry &entry, StringRef site, int64_t ranks,
                                          int64_t channels) {
  TensorFile file(plan.file + ": " + entry.path + ".estimate", entry.estimate);
  if (Error failed = file.open(llvm::sys::path::parent_path(plan.file)))
    return failed;
  if (file.contains((site + ".u").str()) || file.contains((site + ".v").str()))
    return file.error("estimates of small rank ('" + site + ".u', '" + site + ".v') are not supported by this version");
  SiteEstimate estimate;
  if (Error failed = file.readMatrix((site + ".a").str(), ranks, channels, estimate.a))
    return failed;
  if (Error failed = file.readMatrix((site + ".b").str(), ranks, channels, estimate.b))
    return failed;
  return estimate;
}
