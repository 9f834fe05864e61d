// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tp dialect: meshes, shards, collectives and sync points. Ops.td has the documentation.
#ifndef CAAT_DIALECTS_TP_TP_H
#define CAAT_DIALECTS_TP_TP_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/tp/Dialect.h.inc"
#include "dialects/tp/Enums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/tp/Attributes.h.inc"

namespace caat::tp {
class CollectiveOpInterface;
class MeshOp;

/// Names of the discardable attributes that the dialect's description lists.
inline constexpr llvm::StringLiteral kShardAttrName = "tp.shard";
inline constexpr llvm::StringLiteral kPrivateAttrName = "tp.private";
inline constexpr llvm::StringLiteral kSyncAttrName = "tp.sync";
inline constexpr llvm::StringLiteral kPlanAttrName = "tp.plan";

/// What collectives have an effect on, so that they stay in one order on every rank.
struct NetworkResource : public mlir::SideEffects::Resource::Base<NetworkResource> {
  llvm::StringRef getName() final { return "<Network>"; }
};

/// `length` consecutive elements of a dimension from `start` on.
struct Piece {
  int64_t start;
  int64_t length;
};

/// The pieces of one rank from a `pieces` attribute.
llvm::SmallVector<Piece> getPieces(mlir::ArrayAttr pieces, int64_t rank);
/// A `pieces` attribute from the pieces of each rank.
mlir::ArrayAttr getPiecesAttr(mlir::MLIRContext *context, llvm::ArrayRef<llvm::SmallVector<Piece>> pieces);

/// The mesh that `mesh` names as seen from `from`, or null.
MeshOp lookupMesh(mlir::Operation *from, mlir::FlatSymbolRefAttr mesh);

/// Makes collectives bufferizable: all_reduce and broadcast in place, the others into an allocation of their own.
void registerBufferizableOpInterfaceExternalModels(mlir::DialectRegistry &registry);

namespace detail {
int64_t getGroupSize(mlir::Operation *op, mlir::FlatSymbolRefAttr mesh, mlir::ArrayAttr axes);
/// Checks what all collectives have in common, but for the mesh.
mlir::LogicalResult verifyCollective(CollectiveOpInterface op);
/// Checks the mesh and that it has the axes, which is a matter of the module's symbols; gives the group's ranks.
mlir::FailureOr<int64_t> verifyGroup(mlir::Operation *op, mlir::SymbolTableCollection &symbols,
                                     mlir::FlatSymbolRefAttr mesh, mlir::ArrayAttr axes);
/// Checks what `#tp.rounding` and tp.quantized_all_reduce have in common.
mlir::LogicalResult verifyRounding(int64_t bits, int64_t block, llvm::ArrayRef<int64_t> exact,
                                   llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
/// Checks the pieces of all ranks against a dimension of `extent` elements.
mlir::LogicalResult verifyPieces(mlir::ArrayAttr pieces, int64_t extent,
                                 llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
} // namespace detail
} // namespace caat::tp

#include "dialects/tp/Interfaces.h.inc"
#define GET_OP_CLASSES
#include "dialects/tp/Ops.h.inc"

#endif // CAAT_DIALECTS_TP_TP_H
