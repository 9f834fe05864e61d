// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-fold-shapes --verify-diagnostics

// The operand's type has no rank at first, so nobody has checked the permutation yet; when the rank is found, it is.
func.func @permutation_of_another_rank(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %0 = onnx.Relu %x : (tensor<2x3xf32>) -> tensor<*xf32>
  // expected-error@below {{perm [0, 5] is no permutation of 0 to 1}}
  %1 = onnx.Transpose %0 {perm = array<i64: 0, 5>} : (tensor<*xf32>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// A size below -1 is none, wherever it is looked at.
func.func @sizes_below_minus_one(%x: tensor<i64>) -> tensor<*xi64> {
  %s = onnx.Constant dense<-5> : tensor<1xi64>
  // expected-error@below {{turns 1 elements of shape [] into -5 of shape [-5]}}
  %0 = onnx.Reshape %x, %s : (tensor<i64>, tensor<1xi64>) -> tensor<*xi64>
  %1 = onnx.Concat %0, %s {axis = 0 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  return %1 : tensor<*xi64>
}
