// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the threads of a team must wait for each other.
#ifndef CAAT_LIB_LOWER_GPU_HAZARDS_H
#define CAAT_LIB_LOWER_GPU_HAZARDS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include <set>
#include <string>

namespace caat::lower {

/// The allocation or argument that `memref` is a view of. Arguments that may overlap count as one.
mlir::Value rootOf(mlir::Value memref);

/// A read or write of memory that the team shares. `places` says which thread touches which element: equal texts, the
/// same thread the same element. Empty: any thread may touch any.
struct Access {
  mlir::Value memref;
  bool isWrite;
  std::string places;
};

/// What was touched since the threads met last.
class Hazards {
public:
  /// Whether one of `accesses` must wait for those before.
  bool conflicts(llvm::ArrayRef<Access> accesses) const;
  void add(llvm::ArrayRef<Access> accesses);
  void clear() { touched.clear(); }
  /// What was touched on either of two ways.
  void merge(const Hazards &other);

private:
  struct Touched {
    std::set<std::string> reads, writes;
  };
  llvm::DenseMap<mlir::Value, Touched> touched;
};

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_GPU_HAZARDS_H
