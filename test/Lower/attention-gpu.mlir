// RUN: caat-opt %s --onnx-to-linalg=gpu --canonicalize --cse --split-input-file | FileCheck %s

// One token: a row for each chunk of keys of a (batch row, KV head), the three query heads of a group together; then a row
// for each of them that combines its chunks. Keys are as many as 64 chunks have at 64 and more each, 1024 at most.
// CHECK-LABEL: func.func @decode
// CHECK-NOT: scf.if
// CHECK: %[[TOTAL:.*]] = tensor.dim
// CHECK: arith.maxui %{{.*}}, %c64
// CHECK: %[[KEYS:.*]] = arith.minui %{{.*}}, %c1024
// CHECK: %[[MAXIMA:.*]] = tensor.empty(%{{.*}}, %[[CHUNKS:.*]]) : tensor<?x?x3xf32>
// CHECK: scf.forall
// CHECK:   %[[FIRST:.*]] = arith.muli %{{.*}}, %[[KEYS]]
// CHECK:   tensor.extract_slice %{{.*}}[%{{.*}}, %{{.*}}, %[[FIRST]], 0] [1, 1, %[[COUNT:.*]], 64]
// CHECK:   tensor.empty() : tensor<1024x3xf32>
// CHECK:   linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction"]
// CHECK:   arith.maxnumf
// CHECK:   math.exp
// CHECK:   linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction"]
// CHECK: scf.forall
// CHECK:   arith.maxnumf
// CHECK:   math.exp
// CHECK:   arith.divf
// CHECK-NOT: rt.matmul
func.func @decode(%q: tensor<?x6x1x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>) -> tensor<?x6x1x64xf32> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x1x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>) -> tensor<?x6x1x64xf32>
  return %0 : tensor<?x6x1x64xf32>
}

// -----

// Many tokens: products, in blocks of 8192 rows of scores.
// CHECK-LABEL: func.func @prefill
// CHECK-NOT: scf.if
// CHECK: scf.for
// CHECK: arith.minsi %{{.*}}, %c2720
// CHECK: rt.matmul
// CHECK: rt.matmul
func.func @prefill(%q: tensor<?x6x4096x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>) -> tensor<?x6x4096x64xf32> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x4096x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>) -> tensor<?x6x4096x64xf32>
  return %0 : tensor<?x6x4096x64xf32>
}

// -----

// Where matrices are of 16 bits, many tokens are one op of the runtime: it multiplies in that type, straight from the cache.
// CHECK-LABEL: func.func @fused
// CHECK-SAME:    %[[CACHE:[^:]*]]: tensor<2x2x99x64xf32> {rt.cache}
// CHECK:       %[[KEYS:.*]] = {{.*}}tensor.insert_slice {{.*}} into %[[CACHE]]
// CHECK:       scf.if
// CHECK:         scf.forall
// CHECK:       } else {
// CHECK-NOT:     scf.forall
// CHECK:         rt.attention via bf16 query(%{{.*}} : tensor<2x?x6x64xf32>) keys(%[[KEYS]] : {{.*}}) values({{.*}}) mask({{.*}}) total(
// CHECK-SAME:      {causal, scale = 1.250000e-01 : f32, softcap = 3.000000e+01 : f32}
// CHECK-NOT:     scf.forall
// CHECK:       return
rt.weight @w linear : tensor<4x4xbf16> {
  %0 = arith.constant dense<1.0> : tensor<4x4xbf16>
  rt.yield %0 : tensor<4x4xbf16>
}
func.func @fused(%q: tensor<2x6x?x64xf32>, %k: tensor<2x2x?x64xf32>, %v: tensor<2x2x?x64xf32>, %cache: tensor<2x2x99x64xf32> {rt.cache},
                 %values: tensor<2x2x99x64xf32> {rt.cache}, %mask: tensor<1x1x1x?xf32>, %n: index) -> (tensor<2x6x?x64xf32>, tensor<2x2x?x64xf32>, tensor<2x2x?x64xf32>) {
  %past = tensor.extract_slice %cache[0, 0, 0, 0] [2, 2, %n, 64] [1, 1, 1, 1] : tensor<2x2x99x64xf32> to tensor<2x2x?x64xf32>
  %pastValues = tensor.extract_slice %values[0, 0, 0, 0] [2, 2, %n, 64] [1, 1, 1, 1] : tensor<2x2x99x64xf32> to tensor<2x2x?x64xf32>
  %0:3 = onnx.Attention %q, %k, %v mask %mask past_key %past past_value %pastValues {is_causal = 1, softcap = 30.0 : f32, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
    : (tensor<2x6x?x64xf32>, tensor<2x2x?x64xf32>, tensor<2x2x?x64xf32>, tensor<1x1x1x?xf32>, tensor<2x2x?x64xf32>, tensor<2x2x?x64xf32>)
    -> (tensor<2x6x?x64xf32>, tensor<2x2x?x64xf32>, tensor<2x2x?x64xf32>)
  return %0#0, %0#1, %0#2 : tensor<2x6x?x64xf32>, tensor<2x2x?x64xf32>, tensor<2x2x?x64xf32>
}

// -----

// A head that the kernel does not take: products, as in a program of f32 matrices.
// CHECK-LABEL: func.func @wide
// CHECK-NOT: rt.attention
// CHECK: rt.matmul
rt.weight @w linear : tensor<4x4xbf16> {
  %0 = arith.constant dense<1.0> : tensor<4x4xbf16>
  rt.yield %0 : tensor<4x4xbf16>
}
func.func @wide(%q: tensor<?x6x99x320xf32>, %k: tensor<?x2x?x320xf32>, %v: tensor<?x2x?x320xf32>) -> tensor<?x6x99x320xf32> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x99x320xf32>, tensor<?x2x?x320xf32>, tensor<?x2x?x320xf32>) -> tensor<?x6x99x320xf32>
  return %0 : tensor<?x6x99x320xf32>
}

// -----

// Operands of 16 bits say themselves in which type.
// CHECK-LABEL: func.func @narrow
// CHECK: rt.attention via f16 query(%{{.*}} : tensor<?x99x6x64xf16>) {{.*}} outs(%{{.*}} : tensor<?x99x6x64xf16>)
func.func @narrow(%q: tensor<?x6x99x64xf16>, %k: tensor<?x2x?x64xf16>, %v: tensor<?x2x?x64xf16>) -> tensor<?x6x99x64xf16> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x99x64xf16>, tensor<?x2x?x64xf16>, tensor<?x2x?x64xf16>) -> tensor<?x6x99x64xf16>
  return %0 : tensor<?x6x99x64xf16>
}

// -----

// However many tokens there are: for few, the runtime has another kernel.
// CHECK-LABEL: func.func @narrow_few
// CHECK-NOT:   scf.if
// CHECK-NOT:   scf.forall
// CHECK:       rt.attention via bf16 query(%{{.*}} : tensor<?x?x6x64xbf16>)
// CHECK-NOT:   scf.forall
// CHECK:       return
func.func @narrow_few(%q: tensor<?x6x?x64xbf16>, %k: tensor<?x2x?x64xbf16>, %v: tensor<?x2x?x64xbf16>) -> tensor<?x6x?x64xbf16> {
  %0 = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<?x6x?x64xbf16>, tensor<?x2x?x64xbf16>, tensor<?x2x?x64xbf16>) -> tensor<?x6x?x64xbf16>
  return %0 : tensor<?x6x?x64xbf16>
}
