// An op without a rule takes whole values: what is split is gathered, and said. Its results can be sliced again.
// RUN: caat-opt %s --tp-shard-pipeline=size=3 | FileCheck %s
// RUN: caat-opt %s --tp-shard-pipeline=size=3 --remarks-filter=caat 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK
// RUN: caat-opt %s --tp-auto-shard=size=3 --tp-report-sharding 2>&1 >/dev/null | FileCheck %s --check-prefix=REPORT
// RUN: caat-opt %s --mlir-print-op-generic -o %t.whole
// RUN: caat-opt %s --tp-shard-pipeline=size=3 --mlir-print-op-generic -o %t.3 && %python %S/Inputs/lockstep.py %t.whole %t.3
// RUN: caat-opt %s --tp-shard-pipeline=size=4 --mlir-print-op-generic -o %t.4 && %python %S/Inputs/lockstep.py %t.whole %t.4

onnx.initializer @w1 : tensor<12x38xf32> {file = "w", offset = 0 : i64, length = 1824 : i64}
onnx.initializer @w2 : tensor<38x12xf32> {file = "w", offset = 0 : i64, length = 1824 : i64}

// CHECK-LABEL: func.func @main
// CHECK: %[[H:.*]] = onnx.MatMul {{.*}} -> tensor<2x13xf32>
// CHECK: %[[A:.*]] = tp.all_gather %[[H]] dim 1 on @mesh ["tp"] {site = "gather"} : tensor<2x13xf32> -> tensor<2x39xf32>
// CHECK: %[[W:.*]] = onnx.Slice %[[A]], {{.*}} -> tensor<2x38xf32>
// CHECK: %[[C:.*]] = onnx.Custom "test" "Mix"(%[[W]])
// CHECK: %[[O:.*]] = onnx.Gather %[[C]], %{{.*}} {axis = 1 : i64} : (tensor<2x38xf32>, tensor<13xi64>) -> tensor<2x13xf32>
// CHECK: %[[L:.*]] = onnx.Where %{{.*}}, %[[O]], %{{.*}} -> tensor<2x13xf32>
// The softmax needs whole rows, so the second product splits its own rows.
// CHECK: %[[P:.*]] = onnx.MatMul %[[L]],
// CHECK: tp.all_reduce %[[P]]
// REMARK: [Missed] gather | Category:caat | Remark="onnx.Custom has no rule and needs a value whole that is split: gathers 304 bytes per token"
// RUN: caat-opt %s --tp-auto-shard=size=3 2>&1 >/dev/null | FileCheck %s --check-prefix=WARN
// WARN: warning: onnx.Custom needs a value whole that is split, since it has no rule: all_gather of 304 bytes per token in 1 place; to avoid it
// REPORT: sharding of @main over 3 ranks
// REPORT: dimensions that are split together
// REPORT-DAG: columns {{.*}} weight 'w1'
// REPORT: ops
// REPORT: onnx.Custom - -> 1:{{[a-z.0-9]+}} whole on every rank: has no rule, all_gather 304 B
func.func @main(%x: tensor<2x12xf32>) -> tensor<2x12xf32> {
  %w1 = onnx.get_initializer @w1 : tensor<12x38xf32>
  %w2 = onnx.get_initializer @w2 : tensor<38x12xf32>
  %0 = onnx.MatMul %x, %w1 : (tensor<2x12xf32>, tensor<12x38xf32>) -> tensor<2x38xf32>
  %1 = onnx.Custom "test" "Mix" (%0) {node_attributes = {}} : (tensor<2x38xf32>) -> tensor<2x38xf32>
  %2 = onnx.MatMul %1, %w2 : (tensor<2x38xf32>, tensor<38x12xf32>) -> tensor<2x12xf32>
  %3 = onnx.Softmax %2 : (tensor<2x12xf32>) -> tensor<2x12xf32>
  return %3 : tensor<2x12xf32>
}
