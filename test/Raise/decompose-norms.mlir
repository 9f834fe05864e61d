// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-decompose-norms | FileCheck %s

// CHECK-LABEL: func.func @per_head
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x6x8xf32>, %[[W:.*]]: tensor<6x8xf32>, %[[B:.*]]: tensor<6x8xf32>)
func.func @per_head(%x: tensor<?x?x6x8xf32>, %w: tensor<6x8xf32>, %b: tensor<6x8xf32>) -> (tensor<?x?x6x8xf32>, tensor<?x?x6x8xf32>) {
  // CHECK: %[[R:.*]] = onnx.RMSNormalization %[[X]], %{{.*}} {epsilon = 1.000000e-03 : f32}
  // CHECK: %[[Y:.*]] = onnx.Mul %[[R]], %[[W]]
  // CHECK: %[[L:.*]] = onnx.LayerNormalization %[[X]], %{{.*}}
  // CHECK: %[[S:.*]] = onnx.Mul %[[L]], %[[W]]
  // CHECK: %[[Z:.*]] = onnx.Add %[[S]], %[[B]]
  // CHECK: return %[[Y]], %[[Z]]
  %y = onnx.RMSNormalization %x, %w {epsilon = 1.0e-3 : f32} : (tensor<?x?x6x8xf32>, tensor<6x8xf32>) -> tensor<?x?x6x8xf32>
  %z = onnx.LayerNormalization %x, %w bias %b {resultSegmentSizes = array<i32: 1, 0, 0>} : (tensor<?x?x6x8xf32>, tensor<6x8xf32>, tensor<6x8xf32>) -> tensor<?x?x6x8xf32>
  return %y, %z : tensor<?x?x6x8xf32>, tensor<?x?x6x8xf32>
}

// CHECK-LABEL: func.func @vector
func.func @vector(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  // CHECK-NEXT: onnx.RMSNormalization
  // CHECK-NEXT: return
  %y = onnx.RMSNormalization %x, %w : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
