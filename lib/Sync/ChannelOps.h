// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Builds onnx operations on the channels (the last dimension) of the stream.
#ifndef CAAT_LIB_SYNC_CHANNELOPS_H
#define CAAT_LIB_SYNC_CHANNELOPS_H

#include "dialects/onnx/ONNX.h"
#include "dialects/tp/TP.h"
#include "mlir/IR/Builders.h"

namespace caat {

/// A choice of channels: the first `shared` of an order are reduced, the others are not.
struct ChannelSplit {
  int64_t channels;
  int64_t shared;
  /// Empty for 0, 1, 2, ….
  llvm::ArrayRef<int64_t> order;

  int64_t getRest() const { return channels - shared; }
  /// The channel at a place of the order.
  int64_t channelAt(int64_t place) const { return order.empty() ? place : order[place]; }
};

class ChannelBuilder {
public:
  ChannelBuilder(mlir::OpBuilder &builder, mlir::Location loc) : builder(builder), loc(loc) {}

  /// The addition that the stream's values have; a missing operand counts as zero.
  mlir::Value add(mlir::Value lhs, mlir::Value rhs);
  mlir::Value scale(mlir::Value value, double factor);
  /// Each channel of `value` times that of `row`, [channels].
  mlir::Value multiplyRow(mlir::Value value, mlir::Value row);
  /// The shared channels of `value` (any rank), in the split's order; or the others.
  mlir::Value takeShared(mlir::Value value, const ChannelSplit &split);
  mlir::Value takeRest(mlir::Value value, const ChannelSplit &split);
  /// Puts what takeShared and takeRest have taken back in place.
  mlir::Value join(mlir::Value shared, mlir::Value rest, const ChannelSplit &split);
  /// What takeShared has taken back in its places, and in the others those of `others`, or zeros where it is null.
  /// Nothing for nothing.
  mlir::Value spread(mlir::Value shared, mlir::Value others, const ChannelSplit &split);
  /// What takeRest has taken back in its places; the shared channels hold anything.
  mlir::Value spreadRest(mlir::Value rest, const ChannelSplit &split);
  /// `value` with zeros in the shared channels.
  mlir::Value clearShared(mlir::Value value, const ChannelSplit &split);
  /// The product of `value`, whose last dimension is k, with the transpose of this rank's [n, k] of `matrices`
  /// [ranks, n, …]: its columns from `first` on.
  mlir::Value multiply(mlir::Value value, mlir::DenseElementsAttr matrices, int64_t first = 0);
  /// This rank's row of a matrix [ranks, channels], as [channels] of the given element type.
  mlir::Value takeRow(mlir::DenseElementsAttr matrix, mlir::Type elementType);
  mlir::Value castTo(mlir::Value value, mlir::Type elementType);

private:
  /// This rank's part of the constant `value`, whose first dimension counts ranks.
  mlir::Value takeRank(mlir::DenseElementsAttr value);
  mlir::Value take(mlir::Value value, const ChannelSplit &split, int64_t first, int64_t count);

  mlir::OpBuilder &builder;
  mlir::Location loc;
};

} // namespace caat

#endif // CAAT_LIB_SYNC_CHANNELOPS_H
