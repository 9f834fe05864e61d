// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The bytes of weights, mapped from the files that a model names.
#ifndef CAAT_IMPORT_WEIGHTFILE_H
#define CAAT_IMPORT_WEIGHTFILE_H

#include "caat/Support/ContainedFile.h"
#include "dialects/onnx/ONNX.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <mutex>

namespace caat {

/// Read-only maps of files inside one folder, kept until this object goes; see ContainedFile for what is refused. Only
/// the model's own file may have several hard links. Threads may share an object.
class WeightFiles {
public:
  /// `modelFile`: the model's own file in `directory`, or empty.
  WeightFiles(llvm::StringRef directory, llvm::StringRef modelFile);
  /// Takes both from the module's attributes onnx.directory and onnx.file.
  explicit WeightFiles(mlir::ModuleOp module);
  WeightFiles(const WeightFiles &) = delete;
  WeightFiles &operator=(const WeightFiles &) = delete;

  /// The whole file.
  llvm::Expected<llvm::ArrayRef<char>> file(llvm::StringRef name);
  /// True where the folder has nothing of that name.
  bool isAbsent(llvm::StringRef name);
  /// `length` bytes from `offset` on; both may be any number.
  llvm::Expected<llvm::ArrayRef<char>> bytes(llvm::StringRef name, int64_t offset, int64_t length);
  /// The row-major little-endian elements of a weight.
  llvm::Expected<llvm::ArrayRef<char>> bytes(onnx::InitializerOp initializer);
  /// Takes what was read out of this process's memory; it can be read again.
  void release();

private:
  std::string directory, modelFile;
  std::mutex mutex;
  llvm::StringMap<ContainedFile> files;
};

} // namespace caat

#endif // CAAT_IMPORT_WEIGHTFILE_H
