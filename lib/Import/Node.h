// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A node of a graph on its way to an operation.
#ifndef CAAT_LIB_IMPORT_NODE_H
#define CAAT_LIB_IMPORT_NODE_H

#include "dialects/onnx/ONNX.h"
#include "llvm/Support/Error.h"

namespace caat::importer {

struct Node {
  llvm::StringRef opType, domain;
  int64_t version; ///< of the domain's opset
  mlir::Location loc;
  llvm::SmallVector<mlir::Value> inputs;      ///< null where not given
  llvm::SmallVector<llvm::StringRef> outputs; ///< empty where not wanted
  mlir::NamedAttrList attributes;
  /// An old form that is upgraded once ranks are known; until then it is an onnx.Custom.
  bool isOldForm = false;

  int64_t intAttribute(llvm::StringRef name, int64_t otherwise) const {
    auto attr = mlir::dyn_cast_or_null<mlir::IntegerAttr>(attributes.get(name));
    return attr ? attr.getInt() : otherwise;
  }
};

/// Brings a node of ONNX's own domain to the form of the newest opset. Where that takes more than one operation, they
/// are made and their results returned, one per output.
llvm::Expected<llvm::SmallVector<mlir::Value>> upgradeNode(Node &node, mlir::OpBuilder &builder);

/// The newest opset that is known.
constexpr int64_t newestOpset = 28;
constexpr int64_t oldestOpset = 7;

/// Operand and result counts of a typed op; those from `required` on are optional. -1: any number. The last
/// `optionalOutputs` results are only made where they are wanted.
struct OperatorInfo {
  int required, inputs, outputs, optionalOutputs = 0;
};

/// What is known of `opType` of ONNX's own domain; nothing where it has no typed op.
std::optional<OperatorInfo> lookupOperator(llvm::StringRef opType);

/// The element type of result `index` of a typed op; null where it cannot be told.
mlir::Type resultElementType(const Node &node, unsigned index);

/// The same for a node without a typed op, as far as contrib operators are known; otherwise that of its first
/// floating-point input, or of its first.
mlir::Type customElementType(const Node &node, unsigned index);

} // namespace caat::importer

#endif // CAAT_LIB_IMPORT_NODE_H
