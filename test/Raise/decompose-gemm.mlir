// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-decompose-gemm | FileCheck %s

// CHECK-LABEL: func.func @transposed
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<16x8xf32>, %[[B:.*]]: tensor<16xf32>)
func.func @transposed(%x: tensor<?x8xf32>, %w: tensor<16x8xf32>, %b: tensor<16xf32>) -> tensor<?x16xf32> {
  // CHECK: %[[T:.*]] = onnx.Transpose %[[W]] {perm = array<i64: 1, 0>} : (tensor<16x8xf32>) -> tensor<8x16xf32>
  // CHECK: %[[M:.*]] = onnx.MatMul %[[X]], %[[T]]
  // CHECK: onnx.Add %[[M]], %[[B]]
  %y = onnx.Gemm %x, %w bias %b {transB = 1 : i64} : (tensor<?x8xf32>, tensor<16x8xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: func.func @scaled
func.func @scaled(%x: tensor<?x8xf32>, %w: tensor<8x16xf32>, %b: tensor<16xf32>) -> tensor<?x16xf32> {
  // CHECK: %[[M:.*]] = onnx.MatMul
  // CHECK: %[[HALF:.*]] = onnx.Mul %[[M]], %{{.*}}
  // CHECK: %[[TWICE:.*]] = onnx.Mul %{{.*}}, %{{.*}} : (tensor<16xf32>, tensor<f32>)
  // CHECK: onnx.Add %[[HALF]], %[[TWICE]]
  %y = onnx.Gemm %x, %w bias %b {alpha = 0.5 : f32, beta = 2.0 : f32} : (tensor<?x8xf32>, tensor<8x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// GPT-2 and OPT merge batch and sequence around their linear layers, norms and residual adds.
// CHECK-LABEL: func.func @merged_rows
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x8xf32>
func.func @merged_rows(%x: tensor<?x?x8xf32> {onnx.dims = ["batch", "seq", ""]}, %w: tensor<8x8xf32>, %b: tensor<8xf32>) -> tensor<?x?x8xf32> {
  // CHECK-NOT: onnx.Reshape
  // CHECK: %[[N:.*]] = onnx.LayerNormalization %[[X]], {{.*}} -> tensor<?x?x8xf32>
  // CHECK: %[[M:.*]] = onnx.MatMul %[[N]], {{.*}} -> tensor<?x?x8xf32>
  // CHECK: %[[L:.*]] = onnx.Add %[[M]], {{.*}} -> tensor<?x?x8xf32>
  // CHECK: %[[R:.*]] = onnx.Relu %[[L]] {{.*}} -> tensor<?x?x8xf32>
  // CHECK: %[[S:.*]] = onnx.Add %[[X]], %[[R]]
  // CHECK: return %[[S]]
  %merge = onnx.Constant dense<[-1, 8]> : tensor<2xi64>
  %zero = onnx.Constant dense<8> : tensor<1xi64>
  %bs = onnx.Shape %x {end = 2 : i64} : (tensor<?x?x8xf32>) -> tensor<2xi64>
  %shape = onnx.Concat %bs, %zero {axis = 0 : i64} : (tensor<2xi64>, tensor<1xi64>) -> tensor<3xi64>
  %rows = onnx.Reshape %x, %merge : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %n = onnx.LayerNormalization %rows, %b bias %b {resultSegmentSizes = array<i32: 1, 0, 0>} : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %g = onnx.Gemm %n, %w bias %b : (tensor<?x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %r = onnx.Relu %g : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %s = onnx.Add %rows, %r : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.Reshape %s, %shape : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

// A softmax over the merged rows is another function: the reshape stays.
// CHECK-LABEL: func.func @over_rows
func.func @over_rows(%x: tensor<?x?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[R:.*]] = onnx.Reshape
  // CHECK: onnx.Softmax %[[R]] {axis = 0 : i64}
  %merge = onnx.Constant dense<[-1, 8]> : tensor<2xi64>
  %rows = onnx.Reshape %x, %merge : (tensor<?x?x8xf32>, tensor<2xi64>) -> tensor<?x8xf32>
  %y = onnx.Softmax %rows {axis = 0 : i64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
