// What is summed over the ranks is split nowhere. The quotient by a square table ties the positions to the columns, so the mean over
// positions would give a sum whose columns are split as well: that class stays whole, and the vocabulary is split.
// RUN: caat-opt %s --tp-auto-shard=size=2 | FileCheck %s
// RUN: caat-opt %s --mlir-print-op-generic -o %t.whole
// RUN: caat-opt %s --tp-shard-pipeline=size=2 --mlir-print-op-generic -o %t.2 && %python %S/Inputs/lockstep.py %t.whole %t.2

onnx.initializer @table : tensor<64x32xf32> {file = "w", length = 8192 : i64, offset = 0 : i64}
onnx.initializer @wq : tensor<32x32xf32> {file = "w", length = 4096 : i64, offset = 0 : i64}
onnx.initializer @wk : tensor<32x32xf32> {file = "w", length = 4096 : i64, offset = 0 : i64}
onnx.initializer @c : tensor<32x32xf32> {file = "w", length = 4096 : i64, offset = 0 : i64}

// CHECK: onnx.Gather
// CHECK-SAME: caat.result_shardings = [#tp.sharding<{{\[\[\], \[\], \[\]\]}}, unreduced = ["tp"]>]
func.func @main(%ids: tensor<7x32xi64>) -> tensor<7x32x32xf32> {
  %axis = onnx.Constant dense<1> : tensor<1xi64>
  %whole = onnx.Constant dense<[7, 32, 32]> : tensor<3xi64>
  %heads = onnx.Constant dense<[7, 32, 2, 16]> : tensor<4xi64>
  %table = onnx.get_initializer @table : tensor<64x32xf32>
  %wq = onnx.get_initializer @wq : tensor<32x32xf32>
  %wk = onnx.get_initializer @wk : tensor<32x32xf32>
  %c = onnx.get_initializer @c : tensor<32x32xf32>
  %x = onnx.Gather %table, %ids : (tensor<64x32xf32>, tensor<7x32xi64>) -> tensor<7x32x32xf32>
  %q = onnx.MatMul %x, %wq : (tensor<7x32x32xf32>, tensor<32x32xf32>) -> tensor<7x32x32xf32>
  %k = onnx.MatMul %x, %wk : (tensor<7x32x32xf32>, tensor<32x32xf32>) -> tensor<7x32x32xf32>
  %v = onnx.Div %x, %c : (tensor<7x32x32xf32>, tensor<32x32xf32>) -> tensor<7x32x32xf32>
  %q4 = onnx.Reshape %q, %heads : (tensor<7x32x32xf32>, tensor<4xi64>) -> tensor<7x32x2x16xf32>
  %k4 = onnx.Reshape %k, %heads : (tensor<7x32x32xf32>, tensor<4xi64>) -> tensor<7x32x2x16xf32>
  %v4 = onnx.Reshape %v, %heads : (tensor<7x32x32xf32>, tensor<4xi64>) -> tensor<7x32x2x16xf32>
  %qt = onnx.Transpose %q4 {perm = array<i64: 0, 2, 1, 3>} : (tensor<7x32x2x16xf32>) -> tensor<7x2x32x16xf32>
  %kt = onnx.Transpose %k4 {perm = array<i64: 0, 2, 1, 3>} : (tensor<7x32x2x16xf32>) -> tensor<7x2x32x16xf32>
  %vt = onnx.Transpose %v4 {perm = array<i64: 0, 2, 1, 3>} : (tensor<7x32x2x16xf32>) -> tensor<7x2x32x16xf32>
  %y = onnx.Attention %qt, %kt, %vt {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<7x2x32x16xf32>, tensor<7x2x32x16xf32>, tensor<7x2x32x16xf32>) -> tensor<7x2x32x16xf32>
  %yt = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<7x2x32x16xf32>) -> tensor<7x32x2x16xf32>
  %o = onnx.Reshape %yt, %whole : (tensor<7x32x2x16xf32>, tensor<3xi64>) -> tensor<7x32x32xf32>
  %s = onnx.Add %x, %o : (tensor<7x32x32xf32>, tensor<7x32x32xf32>) -> tensor<7x32x32xf32>
  %mean = onnx.ReduceMean %s axes %axis : (tensor<7x32x32xf32>, tensor<1xi64>) -> tensor<7x1x32xf32>
  %r = onnx.Sub %s, %mean : (tensor<7x32x32xf32>, tensor<7x1x32xf32>) -> tensor<7x32x32xf32>
  return %r : tensor<7x32x32xf32>
}
