// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// TensorProto to types, constants and places in files. Every tensor of a model goes through TensorReader, which checks
// it.
#ifndef CAAT_LIB_IMPORT_TENSORS_H
#define CAAT_LIB_IMPORT_TENSORS_H

#include "ModelFile.h"
#include "caat/Import/Import.h"
#include "caat/Import/WeightFile.h"
#include "llvm/ADT/StringSet.h"

#include <map>

namespace caat::importer {

/// Tensors of a higher rank are refused.
constexpr int maxRank = 64;

/// The element type for a TensorProto.DataType; null for UNDEFINED, STRING and what MLIR has no type for.
mlir::Type elementType(int dataType, mlir::MLIRContext *context);

/// A stored tensor: either its value, or where its bytes are.
struct StoredTensor {
  mlir::RankedTensorType type;
  mlir::DenseElementsAttr value;
  std::string file;
  int64_t offset = 0, length = 0;
};

class TensorReader {
public:
  TensorReader(mlir::MLIRContext *context, WeightFiles &files, llvm::StringRef modelFile, const ImportOptions &options)
      : context(context), files(files), modelFile(modelFile), options(options) {}

  /// Checks type, sizes and place of `tensor`. The value is set for small tensors, for data that is not stored as
  /// bytes, and for every tensor where `alwaysValue`.
  llvm::Expected<StoredTensor> read(const ::onnx::TensorProto &tensor, bool alwaysValue = false);

private:
  llvm::Error locate(const ::onnx::TensorProto &tensor, StoredTensor &stored);
  llvm::Error claim(const StoredTensor &stored);

  mlir::MLIRContext *context;
  WeightFiles &files;
  llvm::StringRef modelFile;
  const ImportOptions &options;
  llvm::StringMap<std::map<int64_t, int64_t>> claimed; ///< ranges of external data by file: offset to length
  llvm::StringSet<> unknownKeys;
};

} // namespace caat::importer

#endif // CAAT_LIB_IMPORT_TENSORS_H
