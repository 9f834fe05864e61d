// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A partial sum of which only some channels are reduced, as two: the product with a weight that it comes from is split
// by the weight's columns, so that the others can be computed while these travel.
#ifndef CAAT_LIB_SYNC_SPLITPRODUCTS_H
#define CAAT_LIB_SYNC_SPLITPRODUCTS_H

#include "ChannelOps.h"
#include "WeightExpressions.h"

namespace caat {

class ProductSplitter {
public:
  ProductSplitter(ChannelBuilder &channel, mlir::OpBuilder &builder, const ChannelSplit &split)
      : channel(channel), builder(builder), split(split) {}

  /// Whether `partial` is a product with a weight, or element-wise operations and reshapes of one, which nobody else
  /// reads.
  bool splits(mlir::Value partial, int depth = 0);
  /// The shared channels of `partial`, or the others, from a product of their own, at the builder's place.
  mlir::Value computeShared(mlir::Value partial) { return compute(partial, true); }
  mlir::Value computeRest(mlir::Value partial) { return compute(partial, false); }

private:
  mlir::Value compute(mlir::Value value, bool shared, int depth = 0);
  bool hasChannels(mlir::Value value) const;

  ChannelBuilder &channel;
  mlir::OpBuilder &builder;
  const ChannelSplit &split;
  WeightExpressions weights;
};

} // namespace caat

#endif // CAAT_LIB_SYNC_SPLITPRODUCTS_H
