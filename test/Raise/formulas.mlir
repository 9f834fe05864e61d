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

// -----

// Resized along the last two dimensions: products with matrices from both sides.
// CHECK-LABEL: func.func @resize
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x4x5xf32>
func.func @resize(%x: tensor<1x3x4x5xf32>) -> tensor<1x3x8x10xf32> {
  // CHECK: %[[ROWS:.*]] = onnx.Cast {{.*}} -> tensor<8x4xf32>
  // CHECK: %[[Y:.*]] = onnx.MatMul %[[ROWS]], %[[X]] {{.*}} -> tensor<1x3x8x5xf32>
  // CHECK: %[[COLUMNS:.*]] = onnx.Transpose {{.*}} -> tensor<5x10xf32>
  // CHECK: %[[Z:.*]] = onnx.MatMul %[[Y]], %[[COLUMNS]]
  // CHECK: return %[[Z]]
  %none = onnx.NoValue : none
  %scales = onnx.Constant dense<[1.0, 1.0, 2.0, 2.0]> : tensor<4xf32>
  %y = onnx.Custom "" "Resize" (%x, %none, %scales) {node_attributes = {mode = "linear"}, version = 19 : i64}
    : (tensor<1x3x4x5xf32>, none, tensor<4xf32>) -> tensor<1x3x8x10xf32>
  return %y : tensor<1x3x8x10xf32>
}

// -----

// REMARK: Resize stays: its scales are not constant
func.func @resize_by_input(%x: tensor<1x3x4x5xf32>, %scales: tensor<4xf32>) -> tensor<?x?x?x?xf32> {
  %none = onnx.NoValue : none
  %y = onnx.Custom "" "Resize" (%x, %none, %scales) {node_attributes = {mode = "linear"}, version = 19 : i64}
    : (tensor<1x3x4x5xf32>, none, tensor<4xf32>) -> tensor<?x?x?x?xf32>
  return %y : tensor<?x?x?x?xf32>
}

// -----

// REMARK: Resize stays: mode 'lanczos' is not known
func.func @resize_mode(%x: tensor<4xf32>) -> tensor<?xf32> {
  %none = onnx.NoValue : none
  %scales = onnx.Constant dense<2.0> : tensor<1xf32>
  %y = onnx.Custom "" "Resize" (%x, %none, %scales) {node_attributes = {mode = "lanczos"}, version = 19 : i64} : (tensor<4xf32>, none, tensor<1xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

// REMARK: DFT stays: its axis is out of range
func.func @dft_axis(%x: tensor<4x6x1xf32>) -> tensor<4x6x2xf32> {
  %y = onnx.Custom "" "DFT" (%x) {node_attributes = {axis = 2 : i64}, version = 17 : i64} : (tensor<4x6x1xf32>) -> tensor<4x6x2xf32>
  return %y : tensor<4x6x2xf32>
}

// -----

// REMARK: Resize stays: a size is negative, or too large
func.func @resize_negative(%x: tensor<4xf32>) -> tensor<?xf32> {
  %none = onnx.NoValue : none
  %sizes = onnx.Constant dense<-2> : tensor<1xi64>
  %y = onnx.Custom "" "Resize" (%x, %none, %none, %sizes) {version = 19 : i64} : (tensor<4xf32>, none, none, tensor<1xi64>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

// REMARK: Resize stays: with antialias an output stands for too many inputs
func.func @resize_far(%x: tensor<1000000000xf32>) -> tensor<?xf32> {
  %none = onnx.NoValue : none
  %sizes = onnx.Constant dense<1> : tensor<1xi64>
  %y = onnx.Custom "" "Resize" (%x, %none, %none, %sizes) {node_attributes = {mode = "linear", antialias = 1 : i64}, version = 19 : i64}
    : (tensor<1000000000xf32>, none, none, tensor<1xi64>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}
