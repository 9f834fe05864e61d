// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-fold-shapes --verify-diagnostics

// The operand's type has no rank at first, so nobody has checked the permutation yet; when the rank is found, it is.
func.func @permutation_of_another_rank(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %0 = onnx.Relu %x : (tensor<2x3xf32>) -> tensor<*xf32>
  // expected-error@below {{perm [0, 5] is no permutation of 0 to 1}}
  %1 = onnx.Transpose %0 {perm = array<i64: 0, 5>} : (tensor<*xf32>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}
