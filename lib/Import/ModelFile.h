// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An ONNX file as a message that holds, instead of the bytes of tensors, where those are.
#ifndef CAAT_LIB_IMPORT_MODELFILE_H
#define CAAT_LIB_IMPORT_MODELFILE_H

#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"

#include "onnx.pb.h"

namespace caat::importer {

/// Parses `bytes` without copying the data of any tensor, so a file over protobuf's 2 GiB can be read. In the message,
/// raw_data of a tensor (of graphs, subgraphs, functions) is the place of its data in the file: see rawDataPlace. The
/// error says what is wrong with the bytes.
llvm::Error parseModelFile(llvm::ArrayRef<char> bytes, ::onnx::ModelProto &model);

/// A range of bytes in the model file.
struct ByteRange {
  int64_t offset = 0, length = 0;
};

/// Where the raw data of a tensor is; nothing where it has none.
std::optional<ByteRange> rawDataPlace(const ::onnx::TensorProto &tensor);

} // namespace caat::importer

#endif // CAAT_LIB_IMPORT_MODELFILE_H
