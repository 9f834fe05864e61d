// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An ONNX file without the bytes of its tensors, and where those are.
#ifndef CAAT_LIB_IMPORT_MODELFILE_H
#define CAAT_LIB_IMPORT_MODELFILE_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/Error.h"

#include "onnx.pb.h"

namespace caat::importer {

/// A range of bytes in the model file.
struct ByteRange {
  int64_t offset = 0, length = 0;
};

/// The message of a model file. The raw_data of initializers and of tensors in nodes' attributes is left out, so a file
/// over protobuf's 2 GiB can be read and no weight is copied; its place is in the two tables.
struct ModelFile {
  ::onnx::ModelProto model;
  llvm::DenseMap<int, ByteRange> initializerData;               ///< by index in graph.initializer
  llvm::DenseMap<std::pair<int, int>, ByteRange> attributeData; ///< by index in graph.node and node.attribute
};

/// Parses `bytes`; the error says what is wrong with them.
llvm::Error parseModelFile(llvm::ArrayRef<char> bytes, ModelFile &file);

} // namespace caat::importer

#endif // CAAT_LIB_IMPORT_MODELFILE_H
