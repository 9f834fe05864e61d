// RUN: caat-opt %s -split-input-file -verify-diagnostics -onnx-guard-checks -mlir-print-debuginfo | FileCheck %s

// CHECK-LABEL: func @lengths
// CHECK-SAME: (%[[IDS:[a-z0-9]+]]: tensor<?x?xi64>{{.*}}, %[[MASK:[a-z0-9]+]]: tensor<?x?xi64>
func.func @lengths(%ids: tensor<?x?xi64>, %mask: tensor<?x?xi64>, %table: tensor<9x4xf32>) -> tensor<?x?x4xf32> {
  // The condition comes first, then what it guards.
  // CHECK-DAG: %[[OK:.*]] = onnx.Equal
  // CHECK-DAG: %[[ONE:.*]] = onnx.Constant dense<1> : tensor<1xi64>
  // CHECK-DAG: %[[TWO:.*]] = onnx.Constant dense<2> : tensor<1xi64>
  // CHECK: %[[SHAPE:.*]] = onnx.Where %[[OK]], %[[ONE]], %[[TWO]]
  // CHECK: %[[ZERO:.*]] = onnx.Constant dense<0> : tensor<1xi64>
  // CHECK: %[[FITS:.*]] = onnx.Reshape %[[ZERO]], %[[SHAPE]] {{.*}} loc(#[[LOC:.*]])
  // CHECK: %[[GUARDED:.*]] = onnx.Add %[[IDS]], %[[FITS]]
  // CHECK: onnx.Gather %arg2, %[[GUARDED]]
  // CHECK-NOT: onnx.check
  %y = onnx.Gather %table, %ids : (tensor<9x4xf32>, tensor<?x?xi64>) -> tensor<?x?x4xf32>
  %sum = onnx.ReduceSum %mask {keepdims = 0 : i64} : (tensor<?x?xi64>) -> tensor<i64>
  %shape = onnx.Size %ids : (tensor<?x?xi64>) -> tensor<i64>
  %ok = onnx.Equal %sum, %shape : (tensor<i64>, tensor<i64>) -> tensor<i1>
  onnx.check %ok, "rows must have equal length" : tensor<i1>
  return %y : tensor<?x?x4xf32>
}
// CHECK: #[[LOC]] = loc("check: rows must have equal length"

// -----

// A size of a computed value depends on the only input: a result carries the check.
// CHECK-LABEL: func @computed
// CHECK: %[[Y:.*]] = onnx.Add %[[R:.*]], %{{.*}} : (tensor<?xf32>
// CHECK: return %[[Y]]
func.func @computed(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = onnx.Relu %x : (tensor<?xf32>) -> tensor<?xf32>
  %size = onnx.Size %y : (tensor<?xf32>) -> tensor<i64>
  %four = onnx.Constant dense<4> : tensor<i64>
  %ok = onnx.Equal %size, %four : (tensor<i64>, tensor<i64>) -> tensor<i1>
  onnx.check %ok, "four numbers" : tensor<i1>
  %z = onnx.Neg %y : (tensor<?xf32>) -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// -----

func.func @nothing(%ok: tensor<i1>) -> tensor<i1> {
  // expected-error@below {{cannot be written to ONNX: no input or result can carry the check 'must hold'}}
  onnx.check %ok, "must hold" : tensor<i1>
  return %ok : tensor<i1>
}
