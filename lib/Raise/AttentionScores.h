// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What stands under the softmax of an attention, whatever the order in which an exporter scales, caps, masks and
// reshapes it.
#ifndef CAAT_LIB_RAISE_ATTENTIONSCORES_H
#define CAAT_LIB_RAISE_ATTENTIONSCORES_H

#include "OnnxBuilder.h"

namespace caat {

/// softcap(scale * q k^T) + biases, hidden where a mask says so.
struct AttentionScores {
  mlir::Value q, k; // [B, H, S, D] and [B, H, T, D]; k may have one head for all
  double scale = 1, softcap = 0;
  llvm::SmallVector<mlir::Value> visible; // booleans that hold where a key counts
  llvm::SmallVector<mlir::Value> biases;  // numbers to add
};

/// [B, H] of tensors that an exporter works on as [B * H, ...].
struct MergedHeads {
  mlir::AffineExpr batch, heads; // null: nothing is merged, or the parts are not known
};

/// The scores that `value`, of rank 3 or 4, is made of. `merged` comes from what is known around the softmax and takes
/// what is found on the way. On failure `reason` says why.
std::optional<AttentionScores> matchScores(mlir::Value value, MergedHeads &merged, OnnxBuilder &b, std::string &reason);

/// `value` as [B, H, ...]: as it is, as it was before merging, or reshaped. Null where the parts are not known.
mlir::Value unmergeHeads(mlir::Value value, const MergedHeads &merged, OnnxBuilder &b);

/// Learns B and H from a Reshape between [B, H, X, Y] and [B * H, X, Y]. False where `reshape` is no such thing.
bool learnMerged(mlir::Operation *reshape, MergedHeads &merged, const SymbolicShapes &shapes);

/// One mask of all parts; null for none.
mlir::Value joinMasks(const AttentionScores &scores, OnnxBuilder &b);

} // namespace caat

#endif // CAAT_LIB_RAISE_ATTENTIONSCORES_H
