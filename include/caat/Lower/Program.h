// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the host program refers to by number: the order of kernels, weights, collectives and messages, which code and
// manifest must agree on.
#ifndef CAAT_LOWER_PROGRAM_H
#define CAAT_LOWER_PROGRAM_H

#include "dialects/rt/RT.h"
#include "dialects/tp/TP.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include <optional>
#include <string>

namespace caat {

/// Element types as the runtime numbers them (caat_dtype in Abi.h).
std::optional<int64_t> dtypeCode(mlir::Type element);
/// "f32", "bf16", …
std::optional<llvm::StringRef> dtypeName(mlir::Type element);

/// Of a kernel that runs on a GPU: how it is launched, {threads, rows_per_block, shared} and, where not 1,
/// blocks_per_row; sum_buffer and sum_elements as kSumAttr has them. Its body is elsewhere.
inline constexpr llvm::StringLiteral kLaunchAttr = "rt.launch";

/// Of a kernel for a GPU that begins with the sum over the ranks of one of its buffers: {buffer, elements}, the number
/// of the buffer and the elements of a row of it. Its last two arguments say how (PeerMemory::RowsArguments).
inline constexpr llvm::StringLiteral kSumAttr = "rt.sum";

/// The function of that type of elements, f32, bf16 or f16, that such a kernel calls.
inline constexpr llvm::StringLiteral kSumFunction = "caat_sum_rows_";

/// Of a module whose buffers and kernels are on a GPU: "cuda".
inline constexpr llvm::StringLiteral kDeviceAttr = "rt.device";

struct Program {
  static mlir::FailureOr<Program> get(mlir::ModuleOp module);

  mlir::func::FuncOp host;
  mlir::DictionaryAttr interface; // rt.interface
  llvm::SmallVector<mlir::func::FuncOp> kernels;
  llvm::SmallVector<rt::WeightOp> weights;
  llvm::SmallVector<tp::CollectiveOpInterface> collectives;
  llvm::SmallVector<rt::SyncPointOp> sites; // whose policy is read at run time
  llvm::SetVector<mlir::StringAttr> messages;
  bool hasEpilogues = false; // whether a product has a bias or an activation
  bool hasGates = false;     // whether a product has a gate
  bool hasParts = false;     // whether the runtime says how large parts of products are
  bool skipsUnread = false;  // whether the runtime says which tokens' results are read
  bool checksLater = false;  // whether it looks at conditions when the run is over
  /// Groups of weights that travel, and the spare buffer that each is received in (below 0: none, in place).
  llvm::MapVector<mlir::StringAttr, int64_t> rotations;

  /// Of a collective, a part of one, or a wait for one: the collective's position.
  int64_t numberOf(mlir::Operation *op) const { return numbers.lookup(op); }
  /// Whether buffers are on a GPU.
  bool isOnDevice() const;

  mlir::ArrayAttr dims() const { return interface.getAs<mlir::ArrayAttr>("dims"); }
  size_t numBuffers(llvm::StringRef kind) const { return interface.getAs<mlir::ArrayAttr>(kind).size(); }
  /// Position among the buffers of the first weight.
  size_t firstWeight() const { return numBuffers("inputs") + numBuffers("caches") + numBuffers("outputs"); }

private:
  void add(tp::CollectiveOpInterface op);
  llvm::DenseMap<mlir::Operation *, int64_t> numbers;
  llvm::StringMap<int64_t> firstParts; // positions of the last collective of each name
};

/// The text of an index value in terms of rt.dim: "past + seq". Nothing where it depends on anything else.
std::optional<std::string> dimText(mlir::Value index);

/// The allocation that `buffer` is a view of; null where it is part of the program's interface.
mlir::memref::AllocOp allocationOf(mlir::Value buffer);

/// What to say of a size that is no function of the dims.
inline constexpr llvm::StringLiteral kSizeFromData =
    "a size depends on what tensors hold, not only on the sizes of the inputs: fix sizes with --dim NAME=SIZE or "
    "inputs "
    "with --set NAME=VALUE, or export the model with sizes that are known";

/// The sizes of a host-level buffer, each a number or a text. Nothing where one cannot be expressed.
std::optional<llvm::SmallVector<std::string>> sizeTexts(mlir::Value memref);

} // namespace caat

#endif // CAAT_LOWER_PROGRAM_H
