// Column-parallel, then row-parallel with one all-reduce; the second bias is added once, after it.
// RUN: caat-opt %s --tp-auto-shard=size=2 | FileCheck %s --check-prefix=AUTO
// RUN: caat-opt %s --tp-shard-pipeline=size=2 | FileCheck %s
// RUN: caat-opt %s --tp-shard-pipeline=size=1 | FileCheck %s --check-prefix=ONE
// RUN: caat-opt %s --tp-shard-pipeline="size=2 report=1" 2>&1 >/dev/null | FileCheck %s --check-prefix=REPORT
// RUN: caat-opt %s --mlir-print-op-generic -o %t.whole
// RUN: caat-opt %s --tp-shard-pipeline=size=2 --mlir-print-op-generic -o %t.2 && %python %S/Inputs/lockstep.py %t.whole %t.2
// RUN: caat-opt %s --tp-shard-pipeline=size=5 --mlir-print-op-generic -o %t.5 && %python %S/Inputs/lockstep.py %t.whole %t.5

onnx.initializer @w1 : tensor<12x36xf32> {file = "w", offset = 0 : i64, length = 1728 : i64}
onnx.initializer @w2 : tensor<36x12xf32> {file = "w", offset = 0 : i64, length = 1728 : i64}
onnx.initializer @b1 : tensor<36xf32> {file = "w", offset = 0 : i64, length = 144 : i64}
onnx.initializer @b2 : tensor<12xf32> {file = "w", offset = 0 : i64, length = 48 : i64}

// AUTO: onnx.MatMul {{.*}}caat.operand_shardings = [#tp.sharding<{{\[\[\], \[\]\]}}>, #tp.sharding<{{\[\[\], \["tp"\]\]}}>]
// AUTO: onnx.MatMul {{.*}}caat.result_shardings = [#tp.sharding<{{\[\[\], \[\]\]}}, unreduced = ["tp"]>]

// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<4x12xf32>) -> tensor<4x12xf32>
// CHECK-DAG: %[[W1:.*]] = tp.shard %{{.*}} dim 1 pieces {{\[\[\[0, 18\]\], \[\[18, 18\]\]\]}} size 18 : tensor<12x36xf32> -> tensor<12x18xf32>
// CHECK-DAG: %[[W2:.*]] = tp.shard %{{.*}} dim 0 pieces {{\[\[\[0, 18\]\], \[\[18, 18\]\]\]}} size 18 : tensor<36x12xf32> -> tensor<18x12xf32>
// CHECK-DAG: %[[B1:.*]] = tp.shard {{.*}} tensor<36xf32> -> tensor<18xf32>
// CHECK-DAG: %[[B2:.*]] = onnx.get_initializer @b2
// CHECK: %[[H:.*]] = onnx.MatMul %[[X]], %[[W1]]
// CHECK: %[[A:.*]] = onnx.Add %[[H]], %[[B1]]
// CHECK: %[[G:.*]] = onnx.Gelu %[[A]]
// CHECK: %[[P:.*]] = onnx.MatMul %[[G]], %[[W2]] : (tensor<4x18xf32>, tensor<18x12xf32>) -> tensor<4x12xf32>
// CHECK: %[[S:.*]] = tp.all_reduce %[[P]] on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<4x12xf32>
// CHECK: %[[Y:.*]] = onnx.Add %[[S]], %[[B2]]
// CHECK: return %[[Y]]

// REPORT: onnx.MatMul -, 1:columns -> 1:columns its weight is split
// REPORT: onnx.MatMul 1:columns, 0:columns -> - sums over columns: all_reduce 192 B
// REPORT: all_reduce layers.0.mlp 192
// REPORT: total: 192 bytes per token

// ONE: tp.mesh @mesh <["tp" = 1]>
// ONE-NOT: tp.
func.func @main(%x: tensor<4x12xf32>) -> tensor<4x12xf32> {
  %w1 = onnx.get_initializer @w1 : tensor<12x36xf32>
  %w2 = onnx.get_initializer @w2 : tensor<36x12xf32>
  %b1 = onnx.get_initializer @b1 : tensor<36xf32>
  %b2 = onnx.get_initializer @b2 : tensor<12xf32>
  %0 = onnx.MatMul %x, %w1 : (tensor<4x12xf32>, tensor<12x36xf32>) -> tensor<4x36xf32>
  %1 = onnx.Add %0, %b1 : (tensor<4x36xf32>, tensor<36xf32>) -> tensor<4x36xf32>
  %2 = onnx.Gelu %1 : (tensor<4x36xf32>) -> tensor<4x36xf32>
  %3 = onnx.MatMul %2, %w2 : (tensor<4x36xf32>, tensor<36x12xf32>) -> tensor<4x12xf32>
  %4 = onnx.Add %3, %b2 : (tensor<4x12xf32>, tensor<12xf32>) -> tensor<4x12xf32>
  return %4 : tensor<4x12xf32>
}
