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
