// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sliding windows of convolutions and pooling: attributes with their defaults, one entry per spatial dimension.
#ifndef CAAT_LIB_LOWER_WINDOW_H
#define CAAT_LIB_LOWER_WINDOW_H

#include "lib/Lower/OnnxLowering.h"

namespace caat::lower {

struct Window {
  mlir::Operation *op; // for messages
  Dims kernel;
  llvm::SmallVector<int64_t> strides, dilations;
  Dims padBefore, padAfter;

  int64_t rank() const { return strides.size(); }
};

/// The attributes as given, or `count` times their default.
llvm::SmallVector<int64_t> listOr(std::optional<llvm::ArrayRef<int64_t>> given, int64_t count, int64_t otherwise);

/// Sets the pads as `autoPad` says: SAME_UPPER, SAME_LOWER or VALID; otherwise leaves them.
void padAutomatically(ScalarBuilder &s, llvm::StringRef autoPad, Window &window,
                      llvm::ArrayRef<mlir::OpFoldResult> input);

/// The windows of `op` over an input with the spatial sizes `input`.
template <typename Op>
Window windowOf(ScalarBuilder &s, Op op, llvm::ArrayRef<mlir::OpFoldResult> input,
                llvm::ArrayRef<mlir::OpFoldResult> kernel) {
  int64_t rank = input.size();
  Window window = {op, Dims(kernel), listOr(op.getStrides(), rank, 1), listOr(op.getDilations(), rank, 1), {}, {}};
  auto pads = listOr(op.getPads(), 2 * rank, 0);
  for (int64_t i = 0; i < rank; ++i) {
    window.padBefore.push_back(s.b.getIndexAttr(pads[i]));
    window.padAfter.push_back(s.b.getIndexAttr(pads[i + rank]));
  }
  padAutomatically(s, op.getAutoPad(), window, input);
  return window;
}

/// Number of windows along dimension `i` of `size`, rounded up where `ceil`.
mlir::OpFoldResult windowCount(ScalarBuilder &s, const Window &window, int64_t i, mlir::OpFoldResult size,
                               bool ceil = false);

/// Where kernel position `k` of the window `position` reads along dimension `i`; outside of the input in the padding.
mlir::Value windowPlace(ScalarBuilder &s, const Window &window, int64_t i, mlir::Value position, mlir::Value k);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_WINDOW_H
