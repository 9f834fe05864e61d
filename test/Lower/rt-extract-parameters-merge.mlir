// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(rt-extract-parameters{merge=true})" | FileCheck %s

// Products of the same rows are one, with the matrices side by side; one that another product reads at once stays, since
// that would need the columns copied.
// CHECK: rt.weight @[[BOTH:gate[^ ]*]] linear : tensor<4x14xf32> {
// CHECK:   onnx.Concat %{{.*}}, %{{.*}} {axis = 1 : i64}
// CHECK: func.func @main
// CHECK:   %[[Y:.*]] = rt.linear @[[BOTH]] ins(%{{.*}} : tensor<?x4xf32>) outs(%{{.*}} : tensor<?x14xf32>)
// CHECK:   %[[PARTS:.*]] = onnx.Constant dense<[8, 6]>
// CHECK:   %[[SPLIT:.*]]:2 = onnx.Split %[[Y]] sizes %[[PARTS]] {axis = 1 : i64} : (tensor<?x14xf32>, tensor<2xi64>) -> (tensor<?x8xf32>, tensor<?x6xf32>)
// CHECK:   %[[Z:.*]] = rt.linear @alone
// CHECK:   onnx.Relu %[[SPLIT]]#0
// CHECK:   onnx.Sigmoid %[[SPLIT]]#1
// CHECK:   rt.linear @next{{.*}} ins(%[[Z]]
onnx.initializer @gate : tensor<4x8xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
onnx.initializer @up : tensor<4x6xf32> {file = "w", offset = 128 : i64, length = 96 : i64}
onnx.initializer @alone : tensor<4x4xf32> {file = "w", offset = 224 : i64, length = 64 : i64}
onnx.initializer @next : tensor<4x4xf32> {file = "w", offset = 288 : i64, length = 64 : i64}
func.func @main(%x: tensor<?x4xf32>) -> (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x4xf32>) {
  %gate = onnx.get_initializer @gate : tensor<4x8xf32>
  %up = onnx.get_initializer @up : tensor<4x6xf32>
  %alone = onnx.get_initializer @alone : tensor<4x4xf32>
  %next = onnx.get_initializer @next : tensor<4x4xf32>
  %a = onnx.MatMul %x, %gate : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  %b = onnx.MatMul %x, %up : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %c = onnx.MatMul %x, %alone : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r = onnx.Relu %a : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %s = onnx.Sigmoid %b : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %d = onnx.MatMul %c, %next : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %r, %s, %d : tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x4xf32>
}

// -----

// Stored transposed, as files often have them, and in 16 bits: joined as they are stored.
// CHECK: rt.weight @{{[^ ]*}} linear transposed : tensor<14x4xbf16> {
// CHECK:   %[[JOINED:.*]] = onnx.Concat %{{.*}}, %{{.*}} {axis = 0 : i64}
// CHECK:   rt.yield %[[JOINED]]
onnx.initializer @k : tensor<8x4xbf16> {file = "w", offset = 0 : i64, length = 64 : i64}
onnx.initializer @v : tensor<6x4xbf16> {file = "w", offset = 64 : i64, length = 48 : i64}
func.func @main(%x: tensor<?x4xf32>) -> (tensor<?x8xf32>, tensor<?x6xf32>) {
  %k = onnx.get_initializer @k : tensor<8x4xbf16>
  %v = onnx.get_initializer @v : tensor<6x4xbf16>
  %wk = onnx.Cast %k to f32 {onnx.storage} : (tensor<8x4xbf16>) -> tensor<8x4xf32>
  %wv = onnx.Cast %v to f32 {onnx.storage} : (tensor<6x4xbf16>) -> tensor<6x4xf32>
  %tk = onnx.Transpose %wk {perm = array<i64: 1, 0>} : (tensor<8x4xf32>) -> tensor<4x8xf32>
  %tv = onnx.Transpose %wv {perm = array<i64: 1, 0>} : (tensor<6x4xf32>) -> tensor<4x6xf32>
  %a = onnx.MatMul %x, %tk : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  %b = onnx.MatMul %x, %tv : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %r = onnx.Relu %a : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %s = onnx.Sigmoid %b : (tensor<?x6xf32>) -> tensor<?x6xf32>
  return %r, %s : tensor<?x8xf32>, tensor<?x6xf32>
}
