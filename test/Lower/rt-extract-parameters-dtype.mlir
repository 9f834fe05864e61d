// RUN: caat-opt %s --pass-pipeline="builtin.module(rt-extract-parameters{dtype=bf16})" | FileCheck %s

// A matrix of f32 is rounded when it is written; the vector beside it and the product's own types stay.
// CHECK: rt.weight @w{{.*}} linear : tensor<4x8xbf16> {
// CHECK:   %[[W:.*]] = onnx.get_initializer @w
// CHECK:   %[[ROUNDED:.*]] = onnx.Cast %[[W]] to bf16
// CHECK:   rt.yield %[[ROUNDED]] : tensor<4x8xbf16>
// CHECK: rt.weight @b{{.*}} : tensor<8xf32>
// CHECK: func.func @main
// CHECK:   rt.linear @w{{.*}} ins(%{{.*}} : tensor<?x4xf32>) outs(%{{.*}} : tensor<?x8xf32>) -> tensor<?x8xf32>
onnx.initializer @w : tensor<4x8xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
onnx.initializer @b : tensor<8xf32> {file = "w", offset = 128 : i64, length = 32 : i64}
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x8xf32> {
  %w = onnx.get_initializer @w : tensor<4x8xf32>
  %b = onnx.get_initializer @b : tensor<8xf32>
  %y = onnx.MatMul %x, %w : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  %z = onnx.Add %y, %b : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}
