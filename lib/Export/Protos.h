// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// MLIR's types and attributes as ONNX's messages: what lib/Import reads, the other way round.
#ifndef CAAT_LIB_EXPORT_PROTOS_H
#define CAAT_LIB_EXPORT_PROTOS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/Error.h"

#include "onnx.pb.h"

namespace caat {

/// The number that ONNX has for an element type; UNDEFINED for one that it does not have.
::onnx::TensorProto::DataType dataTypeOf(mlir::Type element);

/// Element type, and shape where the rank is known. `dims`: one string a dimension, for those that are not static.
void fillType(mlir::TensorType type, mlir::ArrayAttr dims, ::onnx::TypeProto &proto);

/// Type and shape of a tensor.
void fillTensorType(mlir::RankedTensorType type, ::onnx::TensorProto &proto);

/// The elements as a file stores them: row-major, little endian, a byte for a boolean, packed below a byte.
llvm::Expected<std::string> storedBytes(mlir::ElementsAttr value);

/// An attribute of a node; fails where ONNX has none of its kind.
llvm::Error fillAttribute(llvm::StringRef name, mlir::Attribute value, ::onnx::AttributeProto &proto);

} // namespace caat

#endif // CAAT_LIB_EXPORT_PROTOS_H
