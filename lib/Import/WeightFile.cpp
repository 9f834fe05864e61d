// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Import/WeightFile.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace caat;

WeightFiles::WeightFiles(StringRef directory, StringRef modelFile) : directory(directory), modelFile(modelFile) {}

static StringRef stringAttr(ModuleOp module, StringRef name) {
  auto attr = module->getAttrOfType<StringAttr>(name);
  return attr ? attr.getValue() : StringRef();
}

WeightFiles::WeightFiles(ModuleOp module)
    : WeightFiles(stringAttr(module, "onnx.directory"), stringAttr(module, "onnx.file")) {}

llvm::Expected<ArrayRef<char>> WeightFiles::file(StringRef name) {
  std::lock_guard<std::mutex> lock(mutex);
  auto known = files.find(name);
  if (known != files.end())
    return known->second.bytes();
  llvm::Expected<ContainedFile> opened = ContainedFile::open(directory, name, /*mayHaveLinks=*/name == modelFile);
  if (!opened)
    return opened.takeError();
  return files.try_emplace(name, std::move(*opened)).first->second.bytes();
}

bool WeightFiles::isAbsent(StringRef name) {
  SmallString<256> path(directory.empty() ? "." : StringRef(directory));
  llvm::sys::path::append(path, name);
  return !unsafePath(name) &&
         llvm::sys::fs::get_file_type(path, /*Follow=*/false) == llvm::sys::fs::file_type::file_not_found;
}

llvm::Expected<ArrayRef<char>> WeightFiles::bytes(StringRef name, int64_t offset, int64_t length) {
  llvm::Expected<ArrayRef<char>> all = file(name);
  if (!all)
    return all.takeError();
  int64_t size = all->size();
  if (offset < 0 || length < 0 || offset > size || length > size - offset)
    return llvm::createStringError("file '" + name + "' has " + Twine(size) + " bytes, not " + Twine(length) +
                                   " at offset " + Twine(offset));
  return all->slice(offset, length);
}

llvm::Expected<ArrayRef<char>> WeightFiles::bytes(onnx::InitializerOp initializer) {
  return bytes(initializer.getFile(), initializer.getOffset(), initializer.getLength());
}

void WeightFiles::release() {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto &entry : files)
    entry.second.release();
}
