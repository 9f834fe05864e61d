// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Operators of the default domain that are formulas over others.
// RUN: caat-opt %s --onnx-convert-contrib --remarks-filter=caat --split-input-file 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// CHECK-LABEL: func.func @batch_norm
// CHECK-SAME: (%[[X:.*]]: tensor<?x4x5x5xf32>
func.func @batch_norm(%x: tensor<?x4x5x5xf32>, %p: tensor<4xf32>) -> tensor<?x4x5x5xf32> {
  // CHECK: %[[F:.*]] = onnx.Unsqueeze {{.*}} -> tensor<4x1x1xf32>
  // CHECK: %[[S:.*]] = onnx.Unsqueeze {{.*}} -> tensor<4x1x1xf32>
  // CHECK: %[[M:.*]] = onnx.Mul %[[X]], %[[F]]
  // CHECK: %[[Y:.*]] = onnx.Add %[[M]], %[[S]] {{.*}} -> tensor<?x4x5x5xf32>
  // CHECK: return %[[Y]]
  %y = onnx.Custom "" "BatchNormalization" (%x, %p, %p, %p, %p) {version = 15 : i64}
    : (tensor<?x4x5x5xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4x5x5xf32>
  return %y : tensor<?x4x5x5xf32>
}

// -----

// REMARK: BatchNormalization stays: it is in training mode
// CHECK-LABEL: func.func @batch_norm_training
func.func @batch_norm_training(%x: tensor<2x4x5xf32>, %p: tensor<4xf32>) -> tensor<2x4x5xf32> {
  // CHECK: onnx.Custom "" "BatchNormalization"{{.*}}onnx.missed = "it is in training mode, which is not supported"
  %y = onnx.Custom "" "BatchNormalization" (%x, %p, %p, %p, %p) {node_attributes = {training_mode = 1 : i64}, version = 15 : i64}
    : (tensor<2x4x5xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4x5xf32>
  return %y : tensor<2x4x5xf32>
}

// -----

// CHECK-LABEL: func.func @instance_norm
func.func @instance_norm(%x: tensor<?x4x?xf32> {onnx.dims = ["n", "", "l"]}, %p: tensor<4xf32>) -> tensor<?x4x?xf32> {
  // CHECK: onnx.GroupNormalization {{.*}} {num_groups = 4 : i64}
  %y = onnx.Custom "" "InstanceNormalization" (%x, %p, %p) {version = 22 : i64} : (tensor<?x4x?xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4x?xf32>
  return %y : tensor<?x4x?xf32>
}

// -----

// The zero point of each row stands up against the columns.
// CHECK-LABEL: func.func @matmul_integer
func.func @matmul_integer(%a: tensor<3x8xui8>, %b: tensor<8x2xi8>, %za: tensor<3xui8>) -> tensor<3x2xi32> {
  // CHECK: %[[Z:.*]] = onnx.Unsqueeze {{.*}} -> tensor<3x1xi32>
  // CHECK: %[[A:.*]] = onnx.Sub %{{.*}}, %[[Z]]
  // CHECK: onnx.MatMul %[[A]], %{{.*}} -> tensor<3x2xi32>
  %y = onnx.Custom "" "MatMulInteger" (%a, %b, %za) {version = 10 : i64} : (tensor<3x8xui8>, tensor<8x2xi8>, tensor<3xui8>) -> tensor<3x2xi32>
  return %y : tensor<3x2xi32>
}

// -----

// REMARK: Compress stays: its condition is not constant
// CHECK-LABEL: func.func @compress
func.func @compress(%x: tensor<3x2xf32>, %c: tensor<3xi1>) -> (tensor<2x2xf32>, tensor<?x2xf32>) {
  %k = onnx.Constant dense<[true, false, true]> : tensor<3xi1>
  // CHECK: onnx.Gather {{.*}} -> tensor<2x2xf32>
  %y = onnx.Custom "" "Compress" (%x, %k) {node_attributes = {axis = 0 : i64}, version = 11 : i64} : (tensor<3x2xf32>, tensor<3xi1>) -> tensor<2x2xf32>
  // CHECK: onnx.Custom "" "Compress"
  %z = onnx.Custom "" "Compress" (%x, %c) {node_attributes = {axis = 0 : i64}, version = 11 : i64} : (tensor<3x2xf32>, tensor<3xi1>) -> tensor<?x2xf32>
  return %y, %z : tensor<2x2xf32>, tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @swiglu
func.func @swiglu(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: %[[G:.*]] = onnx.Swish
  // CHECK: onnx.Mul %[[G]], %{{.*}}
  %y = onnx.Custom "" "SwiGLU" (%a, %b) {version = 28 : i64} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
