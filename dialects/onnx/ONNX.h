// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The onnx dialect: ONNX operators at the newest opset. See ONNXOps.td.
#ifndef CAAT_DIALECTS_ONNX_ONNX_H
#define CAAT_DIALECTS_ONNX_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace caat::onnx {

namespace detail {
llvm::LogicalResult verifyBroadcastElementwise(mlir::Operation *op);
}

/// Operands and result are broadcast against each other as numpy does; every result element depends on one element of
/// each operand.
template <typename ConcreteOp>
class BroadcastElementwise : public mlir::OpTrait::TraitBase<ConcreteOp, BroadcastElementwise> {
public:
  static llvm::LogicalResult verifyTrait(mlir::Operation *op) { return detail::verifyBroadcastElementwise(op); }
};

} // namespace caat::onnx

#include "dialects/onnx/ONNXDialect.h.inc"

#define GET_OP_CLASSES
#include "dialects/onnx/ONNXOps.h.inc"

namespace caat::onnx {

/// Of an argument or result: the element type that the model declares, where the program computes with another.
constexpr llvm::StringLiteral kDeclaredTypeAttr = "onnx.declared_type";
/// On a function in which every op but Expand has operands of the result's sizes, or of size 1 by their type.
constexpr llvm::StringLiteral kExplicitBroadcastsAttr = "onnx.explicit_broadcasts";
/// On an op whose result has a size that the op does not say, but those that read it: checked when the program runs.
constexpr llvm::StringLiteral kProvedSizeAttr = "onnx.proved_size";
/// Of a Cast from the type that a weight is stored in, where the model itself computes with that type.
constexpr llvm::StringLiteral kStorageCastAttr = "onnx.storage";

/// The elements of `value` where it is an onnx.Constant of integers, widened to 64 bits; nothing otherwise.
std::optional<llvm::SmallVector<int64_t>> constantInts(mlir::Value value);

/// The element of `value` where it is an onnx.Constant with one floating-point element (any rank); nothing otherwise.
std::optional<double> constantFloat(mlir::Value value);

/// An i64 constant of shape [values.size()].
mlir::Value createInts(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<int64_t> values);

/// `axis` counted from the front, or nothing where it is outside [-rank, rank).
std::optional<int64_t> normalizeAxis(int64_t axis, int64_t rank);

/// The shape that two shapes have when broadcast, with ShapedType::kDynamic where unknown; nothing where they do not
/// fit.
std::optional<llvm::SmallVector<int64_t>> broadcastShapes(llvm::ArrayRef<int64_t> lhs, llvm::ArrayRef<int64_t> rhs);

/// Bytes that `type` takes in a file (booleans one byte each, 4-bit integers in pairs); nothing where a dimension is
/// dynamic, the element type has no storage, or the number does not fit 63 bits.
std::optional<int64_t> storageBytes(mlir::RankedTensorType type);

/// Why `path` is no acceptable relative file name ("is absolute", "contains '..'", …), or nothing.
std::optional<llvm::StringRef> unsafePath(llvm::StringRef path);

} // namespace caat::onnx

#endif // CAAT_DIALECTS_ONNX_ONNX_H
