// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-simplify-movement | FileCheck %s

// x[..., [-1]] as torch exports it.
// CHECK-LABEL: func.func @gather_last
// CHECK-SAME: (%[[X:.*]]: tensor<4x?xf32>)
func.func @gather_last(%x: tensor<4x?xf32>) -> tensor<1x?xf32> {
  // CHECK: %[[Y:.*]] = onnx.Slice %[[X]], {{.*}} -> tensor<1x?xf32>
  // CHECK: return %[[Y]]
  %rows = onnx.Constant dense<-1> : tensor<1x1xi64>
  %y = onnx.GatherND %x, %rows : (tensor<4x?xf32>, tensor<1x1xi64>) -> tensor<1x?xf32>
  return %y : tensor<1x?xf32>
}

// Rows that are not consecutive stay.
// CHECK-LABEL: func.func @gather_some
func.func @gather_some(%x: tensor<4x?xf32>) -> tensor<2x?xf32> {
  // CHECK: onnx.GatherND
  %rows = onnx.Constant dense<[[0], [2]]> : tensor<2x1xi64>
  %y = onnx.GatherND %x, %rows : (tensor<4x?xf32>, tensor<2x1xi64>) -> tensor<2x?xf32>
  return %y : tensor<2x?xf32>
}

// An empty tensor that is written in two parts is their concatenation; the transpositions around it cancel.
// CHECK-LABEL: func.func @written_in_parts
// CHECK-SAME: (%[[A:.*]]: tensor<?x2xf32>, %[[B:.*]]: tensor<?x1xf32>
func.func @written_in_parts(%a: tensor<?x2xf32>, %b: tensor<?x1xf32>, %empty: tensor<3x?xf32>) -> tensor<?x3xf32> {
  // CHECK-NEXT: %[[Y:.*]] = onnx.Concat %[[A]], %[[B]] {axis = 1 : i64}
  // CHECK-NEXT: return %[[Y]]
  %first = onnx.Constant dense<[[0], [1]]> : tensor<2x1xi64>
  %last = onnx.Constant dense<2> : tensor<1x1xi64>
  %at = onnx.Transpose %a {perm = array<i64: 1, 0>} : (tensor<?x2xf32>) -> tensor<2x?xf32>
  %bt = onnx.Transpose %b {perm = array<i64: 1, 0>} : (tensor<?x1xf32>) -> tensor<1x?xf32>
  %0 = onnx.ScatterND %empty, %first, %at : (tensor<3x?xf32>, tensor<2x1xi64>, tensor<2x?xf32>) -> tensor<3x?xf32>
  %1 = onnx.Transpose %0 {perm = array<i64: 1, 0>} : (tensor<3x?xf32>) -> tensor<?x3xf32>
  %2 = onnx.Transpose %1 {perm = array<i64: 1, 0>} : (tensor<?x3xf32>) -> tensor<3x?xf32>
  %3 = onnx.ScatterND %2, %last, %bt : (tensor<3x?xf32>, tensor<1x1xi64>, tensor<1x?xf32>) -> tensor<3x?xf32>
  %4 = onnx.Transpose %3 {perm = array<i64: 1, 0>} : (tensor<3x?xf32>) -> tensor<?x3xf32>
  return %4 : tensor<?x3xf32>
}

// A reduction into the rows, and a part of an operand.
// CHECK-LABEL: func.func @stays
func.func @stays(%x: tensor<3x?xf32>, %u: tensor<1x?xf32>) -> (tensor<3x?xf32>, tensor<2x?xf32>) {
  // CHECK: onnx.ScatterND
  // CHECK: onnx.Concat
  // CHECK: onnx.Slice
  %last = onnx.Constant dense<2> : tensor<1x1xi64>
  %zero = onnx.Constant dense<0> : tensor<1xi64>
  %two = onnx.Constant dense<2> : tensor<1xi64>
  %0 = onnx.ScatterND %x, %last, %u {reduction = "add"} : (tensor<3x?xf32>, tensor<1x1xi64>, tensor<1x?xf32>) -> tensor<3x?xf32>
  %1 = onnx.Concat %x, %u {axis = 0 : i64} : (tensor<3x?xf32>, tensor<1x?xf32>) -> tensor<4x?xf32>
  %2 = onnx.Slice %1, %zero, %two axes %zero : (tensor<4x?xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x?xf32>
  return %0, %2 : tensor<3x?xf32>, tensor<2x?xf32>
}
