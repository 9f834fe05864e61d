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

// -----

// Biases go with their products, as one, with zeros for a product without: small ones stand in the graph.
// CHECK:      rt.weight @[[$BIAS:qb_[0-9]+]] : tensor<18xf32> {
// CHECK-NEXT:   %[[B:.*]] = onnx.get_initializer @qb : tensor<8xf32>
// CHECK-NEXT:   %[[ZERO:.*]] = onnx.Constant dense<0.000000e+00> : tensor<6xf32>
// CHECK-NEXT:   %[[SMALL:.*]] = onnx.Constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]>
// CHECK-NEXT:   %[[ALL:.*]] = onnx.Concat %[[B]], %[[ZERO]], %[[SMALL]] {axis = 0 : i64}
// CHECK-NEXT:   rt.yield %[[ALL]]
// CHECK-LABEL: func.func @biases
// CHECK:   %[[Y:.*]] = rt.linear
// CHECK:   %[[P:.*]] = rt.parameter @[[$BIAS]] : tensor<18xf32>
// CHECK:   %[[SUM:.*]] = onnx.Add %[[Y]], %[[P]]
// CHECK:   %[[SPLIT:.*]]:3 = onnx.Split %[[SUM]]
// CHECK:   onnx.Relu %[[SPLIT]]#0
// CHECK:   onnx.Relu %[[SPLIT]]#1
// CHECK:   onnx.Relu %[[SPLIT]]#2
onnx.initializer @q : tensor<4x8xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
onnx.initializer @k : tensor<4x6xf32> {file = "w", offset = 128 : i64, length = 96 : i64}
onnx.initializer @v : tensor<4x4xf32> {file = "w", offset = 224 : i64, length = 64 : i64}
onnx.initializer @qb : tensor<8xf32> {file = "w", offset = 288 : i64, length = 32 : i64}
func.func @biases(%x: tensor<?x4xf32>) -> (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x4xf32>) {
  %q = onnx.get_initializer @q : tensor<4x8xf32>
  %k = onnx.get_initializer @k : tensor<4x6xf32>
  %v = onnx.get_initializer @v : tensor<4x4xf32>
  %qb = onnx.get_initializer @qb : tensor<8xf32>
  %vb = onnx.Constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %0 = onnx.MatMul %x, %q : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  %1 = onnx.Add %0, %qb : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %a = onnx.Relu %1 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = onnx.MatMul %x, %k : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
  %b = onnx.Relu %2 : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %3 = onnx.MatMul %x, %v : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %4 = onnx.Add %vb, %3 : (tensor<4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %c = onnx.Relu %4 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %a, %b, %c : tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x4xf32>
}

// -----

// Codes beside floats would be floats: only codes of as many bits are joined.
// CHECK-DAG: rt.weight @[[$CODES:few[^ ]*]] linear : tensor<32x14xf32> {
// CHECK-DAG: rt.weight @[[$FLOATS:many[^ ]*]] linear : tensor<32x4xf32> {
// CHECK-LABEL: func.func @codes
// CHECK-DAG: rt.linear @[[$CODES]]
// CHECK-DAG: rt.linear @[[$FLOATS]]
onnx.initializer @few : tensor<32x8xi4> {file = "w", offset = 0 : i64, length = 128 : i64}
onnx.initializer @less : tensor<32x6xi4> {file = "w", offset = 128 : i64, length = 96 : i64}
onnx.initializer @many : tensor<32x4xf32> {file = "w", offset = 224 : i64, length = 512 : i64}
onnx.initializer @s : tensor<8xf32> {file = "w", offset = 736 : i64, length = 32 : i64}
onnx.initializer @t : tensor<6xf32> {file = "w", offset = 768 : i64, length = 24 : i64}
func.func @codes(%x: tensor<?x32xf32>) -> (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x6xf32>) {
  %q = onnx.get_initializer @few : tensor<32x8xi4>
  %s = onnx.get_initializer @s : tensor<8xf32>
  %few = onnx.DequantizeLinear %q, %s : (tensor<32x8xi4>, tensor<8xf32>) -> tensor<32x8xf32>
  %p = onnx.get_initializer @less : tensor<32x6xi4>
  %t = onnx.get_initializer @t : tensor<6xf32>
  %less = onnx.DequantizeLinear %p, %t : (tensor<32x6xi4>, tensor<6xf32>) -> tensor<32x6xf32>
  %many = onnx.get_initializer @many : tensor<32x4xf32>
  %a = onnx.MatMul %x, %few : (tensor<?x32xf32>, tensor<32x8xf32>) -> tensor<?x8xf32>
  %b = onnx.MatMul %x, %many : (tensor<?x32xf32>, tensor<32x4xf32>) -> tensor<?x4xf32>
  %c = onnx.MatMul %x, %less : (tensor<?x32xf32>, tensor<32x6xf32>) -> tensor<?x6xf32>
  %d = onnx.Relu %a : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %e = onnx.Relu %b : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %f = onnx.Relu %c : (tensor<?x6xf32>) -> tensor<?x6xf32>
  return %d, %e, %f : tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x6xf32>
}
