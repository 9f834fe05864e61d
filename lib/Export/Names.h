// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names of nodes and values in a file: those of the original model where it had one, readable ones elsewhere.
#ifndef CAAT_LIB_EXPORT_NAMES_H
#define CAAT_LIB_EXPORT_NAMES_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"

namespace caat {

/// Names of one kind, each given once.
class NameSet {
public:
  /// `wanted`, or with the first of _1, _2, … that is free.
  std::string unique(const llvm::Twine &wanted);
  bool contains(llvm::StringRef name) const { return taken.contains(name); }

private:
  llvm::StringSet<> taken;
  llvm::StringMap<unsigned> next;
};

/// The name in a location: of the node or tensor that it came from; empty for none.
llvm::StringRef nameIn(mlir::Location loc);

/// The operator that an operation is written as.
llvm::StringRef operatorOf(mlir::Operation *op);

/// A name for each of `nodes`. Of several that come from one original node, one keeps its name: the one whose operator
/// the name speaks of, or the last. The others are called NAME/OPERATOR.
llvm::DenseMap<mlir::Operation *, std::string> nameNodes(llvm::ArrayRef<mlir::Operation *> nodes);

} // namespace caat

#endif // CAAT_LIB_EXPORT_NAMES_H
