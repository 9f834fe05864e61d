// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-widen-floats --split-input-file | FileCheck %s

onnx.initializer @table : tensor<16x8xf16> {file = "w.bin", length = 256 : i64, offset = 0 : i64}
onnx.initializer @w : tensor<4x8xf16> {file = "w.bin", length = 64 : i64, offset = 256 : i64}

// Arguments and results keep the model's type as an attribute. Rows of a table are widened, not the table.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[IDS:.*]]: tensor<?xi64>, %[[X:.*]]: tensor<?x8xf32> {onnx.declared_type = f16}) -> (tensor<?x4xf32> {onnx.declared_type = f16}, tensor<16x8xf32> {onnx.declared_type = f16})
func.func @main(%ids: tensor<?xi64>, %x: tensor<?x8xf16>) -> (tensor<?x4xf16>, tensor<16x8xf16>) {
  // CHECK: %[[T:.*]] = onnx.get_initializer @table : tensor<16x8xf16>
  // CHECK: %[[WIDE:.*]] = onnx.Cast %[[T]] to f32
  %t = onnx.get_initializer @table : tensor<16x8xf16>
  // CHECK: %[[ROWS:.*]] = onnx.Gather %[[T]], %[[IDS]] {{.*}} -> tensor<?x8xf16>
  // CHECK: %[[E:.*]] = onnx.Cast %[[ROWS]] to f32 {onnx.storage}
  %e = onnx.Gather %t, %ids : (tensor<16x8xf16>, tensor<?xi64>) -> tensor<?x8xf16>
  // CHECK: %[[HALF:.*]] = onnx.Constant dense<5.000000e-01> : tensor<f32>
  %half = onnx.Constant dense<0.5> : tensor<f16>
  // CHECK: %[[S:.*]] = onnx.Add %[[E]], %[[X]] {{.*}} -> tensor<?x8xf32>
  %s = onnx.Add %e, %x : (tensor<?x8xf16>, tensor<?x8xf16>) -> tensor<?x8xf16>
  %h = onnx.Mul %s, %half : (tensor<?x8xf16>, tensor<f16>) -> tensor<?x8xf16>
  // The model's own casts end where f32 is.
  // CHECK: onnx.Cast %{{.*}} to f32 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %f = onnx.Cast %h to f32 : (tensor<?x8xf16>) -> tensor<?x8xf32>
  // CHECK: onnx.Cast %{{.*}} to f32 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %n = onnx.Cast %f to f16 : (tensor<?x8xf32>) -> tensor<?x8xf16>
  // CHECK: %[[W:.*]] = onnx.get_initializer @w
  // CHECK: %[[WT:.*]] = onnx.Transpose %[[W]] {{.*}} -> tensor<8x4xf16>
  // CHECK: %[[C:.*]] = onnx.Cast %[[WT]] to f32 {onnx.storage} : (tensor<8x4xf16>) -> tensor<8x4xf32>
  // CHECK: onnx.MatMul %{{.*}}, %[[C]]
  %w = onnx.get_initializer @w : tensor<4x8xf16>
  %wt = onnx.Transpose %w {perm = array<i64: 1, 0>} : (tensor<4x8xf16>) -> tensor<8x4xf16>
  %y = onnx.MatMul %n, %wt : (tensor<?x8xf16>, tensor<8x4xf16>) -> tensor<?x4xf16>
  return %y, %t : tensor<?x4xf16>, tensor<16x8xf16>
}

// -----

// Attributes that hold a type or a value; an op that is not known keeps what it takes.
// CHECK-LABEL: func.func @attributes
func.func @attributes(%shape: tensor<1xi64>, %q: tensor<8xi8>, %x: tensor<8xbf16>) -> (tensor<?xf16>, tensor<8xbf16>, tensor<8xbf16>) {
  // CHECK: onnx.ConstantOfShape %{{.*}} {value = dense<2.000000e+00> : tensor<1xf32>} : (tensor<1xi64>) -> tensor<?xf32>
  %fill = onnx.ConstantOfShape %shape {value = dense<2.0> : tensor<1xf16>} : (tensor<1xi64>) -> tensor<?xf16>
  %scale = onnx.Constant dense<0.5> : tensor<bf16>
  // CHECK: onnx.DequantizeLinear {{.*}} -> tensor<8xf32>
  %d = onnx.DequantizeLinear %q, %scale : (tensor<8xi8>, tensor<bf16>) -> tensor<8xbf16>
  // CHECK: %[[N:.*]] = onnx.Neg %{{.*}} -> tensor<8xf32>
  %n = onnx.Neg %x : (tensor<8xbf16>) -> tensor<8xbf16>
  // CHECK: %[[B:.*]] = onnx.Cast %[[N]] to bf16
  // CHECK: %[[C:.*]] = onnx.Custom "my" "Op"(%[[B]]) : (tensor<8xbf16>) -> tensor<8xbf16>
  // CHECK: %[[WC:.*]] = onnx.Cast %[[C]] to f32
  %c = onnx.Custom "my" "Op" (%n) : (tensor<8xbf16>) -> tensor<8xbf16>
  return %fill, %d, %c : tensor<?xf16>, tensor<8xbf16>, tensor<8xbf16>
}
