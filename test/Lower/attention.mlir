// RUN: caat-opt %s --onnx-to-linalg --canonicalize --cse --split-input-file | FileCheck %s

// One static token: one kernel, a row per (batch row, KV head), the three query heads of a group together.
// CHECK-LABEL: func.func @decode
// CHECK-NOT: scf.if
// CHECK: scf.forall
// CHECK: %[[SCORES:.*]] = tensor.empty(%{{.*}}) : tensor<3x?xf32>
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[SCORES]])
// CHECK: vector.transfer_read {{.*}} vector<64xf32>
// CHECK-COUNT-3: vector.reduction <add>
// CHECK: math.exp
// CHECK: scf.for {{.*}} -> (vector<64xf32>, vector<64xf32>, vector<64xf32>)
// CHECK-COUNT-3: vector.transfer_write
// CHECK-NOT: rt.matmul
func.func @decode(%q: tensor<?x6x1x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>) -> tensor<?x6x1x64xf32> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x1x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>) -> tensor<?x6x1x64xf32>
  return %0 : tensor<?x6x1x64xf32>
}

// -----

// Otherwise the choice is made at run time. Prefill goes by blocks of query rows; a causal block stops at its last key.
// CHECK-LABEL: func.func @either
// CHECK: %[[FEW:.*]] = arith.cmpi ule, %{{.*}}, %c5
// CHECK: scf.if %[[FEW]]
// CHECK: scf.forall
// CHECK: } else {
// CHECK: scf.for
// CHECK: scf.for
// CHECK: %[[TOKENS:.*]] = arith.minsi %{{.*}}, %c64
// CHECK: %[[LAST:.*]] = arith.addi %{{.*}}, %[[TOKENS]]
// CHECK: %[[KEYS:.*]] = arith.minsi %{{.*}}, %[[LAST]]
// CHECK: scf.forall
// CHECK: linalg.copy
// CHECK: tensor.extract_slice {{.*}} [%{{.*}}, %[[KEYS]], 64]
// CHECK: rt.matmul {{.*}} {alpha = 1.250000e-01 : f32, transpose_b}
// CHECK: scf.forall
// CHECK: math.exp
// CHECK: rt.matmul
// CHECK: scf.forall
func.func @either(%q: tensor<?x6x?x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>) -> tensor<?x6x?x64xf32> {
  %0 = onnx.Attention %q, %k, %v {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>) -> tensor<?x6x?x64xf32>
  return %0 : tensor<?x6x?x64xf32>
}

// -----

// With a cache, keys and values are appended in place and read from the whole buffer.
// CHECK-LABEL: func.func @cached
// CHECK: %[[K:.*]] = tensor.insert_slice %arg1 into %arg3[0, 0, %arg5, 0]
// CHECK: %[[V:.*]] = tensor.insert_slice %arg2 into %arg4[0, 0, %arg5, 0]
// CHECK: vector.transfer_read %[[K]]
// CHECK: vector.transfer_read %[[V]]
func.func @cached(%q: tensor<?x6x1x64xf32>, %k: tensor<?x2x1x64xf32>, %v: tensor<?x2x1x64xf32>,
                  %kc: tensor<?x2x?x64xf32> {rt.cache = "k"}, %vc: tensor<?x2x?x64xf32> {rt.cache = "v"}, %past: index)
    -> (tensor<?x6x1x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>) {
  %c0 = arith.constant 0 : index
  %b = tensor.dim %kc, %c0 : tensor<?x2x?x64xf32>
  %pk = tensor.extract_slice %kc[0, 0, 0, 0] [%b, 2, %past, 64] [1, 1, 1, 1] : tensor<?x2x?x64xf32> to tensor<?x2x?x64xf32>
  %pv = tensor.extract_slice %vc[0, 0, 0, 0] [%b, 2, %past, 64] [1, 1, 1, 1] : tensor<?x2x?x64xf32> to tensor<?x2x?x64xf32>
  %0, %1, %2 = onnx.Attention %q, %k, %v past_key %pk past_value %pv {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<?x6x1x64xf32>, tensor<?x2x1x64xf32>, tensor<?x2x1x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>) -> (tensor<?x6x1x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>)
  return %0, %1, %2 : tensor<?x6x1x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>
}

// -----

// Matrices of bf16: queries, keys and what softmax gives are rounded to bf16, which products take, with sums of f32. The
// results are divided by the rows' sums at the end.
// CHECK-LABEL: func.func @narrow
// CHECK: linalg.copy ins({{.*}} : tensor<?x2x?x64xf32>) outs({{.*}}tensor<?x2x?x64xbf16>)
// CHECK: scf.for
// CHECK: scf.forall
// CHECK: linalg.copy ins({{.*}} : tensor<64xf32>) outs({{.*}} : tensor<64xbf16>)
// CHECK: rt.matmul ins({{.*}} : tensor<?x?x64xbf16>, tensor<?x?x64xbf16>) outs({{.*}} : tensor<?x?x?xf32>) {alpha = 1.250000e-01 : f32, transpose_b}
// CHECK: %[[SOFTMAX:.*]]:2 = scf.forall {{.*}} -> (tensor<?x?x?xbf16>, tensor<?x?xf32>)
// CHECK: math.exp
// CHECK-NOT: arith.mulf
// CHECK: rt.matmul ins(%[[SOFTMAX]]#0, {{.*}} : tensor<?x?x?xbf16>, tensor<?x?x64xbf16>) outs({{.*}} : tensor<?x?x64xf32>)
// CHECK: scf.forall
// CHECK: %[[INVERSE:.*]] = tensor.extract %[[SOFTMAX]]#1
// CHECK: arith.mulf %{{.*}}, %[[INVERSE]]
rt.weight @w linear : tensor<4x4xbf16> {
  %0 = arith.constant dense<1.0> : tensor<4x4xbf16>
  rt.yield %0 : tensor<4x4xbf16>
}
func.func @narrow(%q: tensor<?x6x99x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xbf16>) -> tensor<?x6x99x64xf32> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x99x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xbf16>) -> tensor<?x6x99x64xf32>
  return %0 : tensor<?x6x99x64xf32>
}

// -----

// Keys of f16 have more digits than bf16: products of f32.
// CHECK-LABEL: func.func @wide
// CHECK-NOT: bf16
// CHECK: rt.matmul ins({{.*}} : tensor<?x?x64xf32>, tensor<?x?x64xf32>)
// CHECK: rt.matmul ins({{.*}} : tensor<?x?x?xf32>, tensor<?x?x64xf32>)
// CHECK-NOT: bf16
// CHECK: return
rt.weight @w linear : tensor<4x4xbf16> {
  %0 = arith.constant dense<1.0> : tensor<4x4xbf16>
  rt.yield %0 : tensor<4x4xbf16>
}
func.func @wide(%q: tensor<?x6x99x64xf32>, %k: tensor<?x2x?x64xf16>, %v: tensor<?x2x?x64xf16>) -> tensor<?x6x99x64xf32> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x99x64xf32>, tensor<?x2x?x64xf16>, tensor<?x2x?x64xf16>) -> tensor<?x6x99x64xf32>
  return %0 : tensor<?x6x99x64xf32>
}
