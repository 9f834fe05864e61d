// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The bytes of weights, mapped from the files that a model names.
#ifndef CAAT_IMPORT_WEIGHTFILE_H
#define CAAT_IMPORT_WEIGHTFILE_H

#include "dialects/onnx/ONNX.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

#include <mutex>

namespace caat {

/// Read-only maps of files inside one folder, kept until this object goes. Names that lead out of the folder, symbolic
/// links in any component, files with several hard links (but the model's own) and what is no regular file are refused.
/// Threads may share an object.
class WeightFiles {
public:
  /// `modelFile`: the model's own file in `directory`, or empty.
  WeightFiles(llvm::StringRef directory, llvm::StringRef modelFile);
  /// Takes both from the module's attributes onnx.directory and onnx.file.
  explicit WeightFiles(mlir::ModuleOp module);
  ~WeightFiles();
  WeightFiles(const WeightFiles &) = delete;
  WeightFiles &operator=(const WeightFiles &) = delete;

  /// The whole file.
  llvm::Expected<llvm::ArrayRef<char>> file(llvm::StringRef name);
  /// `length` bytes from `offset` on; both may be any number.
  llvm::Expected<llvm::ArrayRef<char>> bytes(llvm::StringRef name, int64_t offset, int64_t length);
  /// The row-major little-endian elements of a weight.
  llvm::Expected<llvm::ArrayRef<char>> bytes(onnx::InitializerOp initializer);

private:
  std::string directory, modelFile;
  std::mutex mutex;
  llvm::StringMap<llvm::ArrayRef<char>> maps;
};

} // namespace caat

#endif // CAAT_IMPORT_WEIGHTFILE_H
