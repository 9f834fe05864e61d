// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gates of a feed-forward network (SwiGLU, GeGLU) behind the product that makes both of their factors.
#ifndef CAAT_LIB_LOWER_GATES_H
#define CAAT_LIB_LOWER_GATES_H

#include "dialects/onnx/ONNX.h"
#include "dialects/rt/RT.h"
#include <optional>

namespace caat::lower {

/// The activation that an op is, if products have it, and its alpha.
std::optional<std::pair<rt::Activation, float>> activationOf(mlir::Operation *op);

/// `value` through casts that nobody else sees.
mlir::Value throughCasts(mlir::Value value);

/// The op that alone uses `value`, in the block in which it was made.
mlir::Operation *onlyUser(mlir::Value value);

/// f(one half of a value's columns) * other half.
struct Gate {
  onnx::MulOp product;
  rt::Gate half; // that f is of
  rt::Activation activation;
  float alpha;
};

/// What a Split or two Slices, an activation and a Mul make of `value`, and nobody else uses any of it.
std::optional<Gate> findGate(mlir::Value value);

/// Erases `gate`, of whose result nothing is read any more, and what was computed only for it from `product` on.
void eraseGate(const Gate &gate, mlir::Operation *product);

} // namespace caat::lower

#endif // CAAT_LIB_LOWER_GATES_H
