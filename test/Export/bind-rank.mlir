// RUN: caat-opt %s -split-input-file -onnx-bind-rank=rank=1 | FileCheck %s

tp.mesh @mesh <["tp" = 3]>

// CHECK-LABEL: func @collectives
// CHECK-SAME: (%[[X:.*]]: tensor<?x6xf32>, %[[H:.*]]: tensor<?x6xbf16>, %[[I:.*]]: tensor<2x6xi32>, %[[B:.*]]: tensor<6x4xi1>)
func.func @collectives(%x: tensor<?x6xf32>, %h: tensor<?x6xbf16>, %i: tensor<2x6xi32>, %b: tensor<6x4xi1>) -> (tensor<?x6xf32>, tensor<?x6xbf16>, tensor<2x18xi32>, tensor<6x4xi1>, tensor<?x2xf32>) {
  // CHECK: %[[SUM:.*]] = onnx.Custom "com.microsoft" "AllReduce"(%[[X]]) : (tensor<?x6xf32>) -> tensor<?x6xf32>
  %0 = tp.all_reduce %x on @mesh ["tp"] {site = "layers.0.attn"} : tensor<?x6xf32>
  // The wire takes no bf16 and no i32.
  // CHECK: %[[WIDE:.*]] = onnx.Cast %[[H]] to f32
  // CHECK: %[[WIDESUM:.*]] = onnx.Custom "com.microsoft" "AllReduce"(%[[WIDE]])
  // CHECK: %[[NARROW:.*]] = onnx.Cast %[[WIDESUM]] to bf16
  %1 = tp.all_reduce %h on @mesh ["tp"] : tensor<?x6xbf16>
  // CHECK: %[[LONG:.*]] = onnx.Cast %[[I]] to i64
  // CHECK: %[[ALL:.*]] = onnx.Custom "com.microsoft" "AllGather"(%[[LONG]]) {node_attributes = {axis = 1 : i64, group_size = 3 : i64}} : (tensor<2x6xi64>) -> tensor<2x18xi64>
  // CHECK: onnx.Cast %[[ALL]] to i32
  %2 = tp.all_gather %i dim 1 on @mesh ["tp"] : tensor<2x6xi32> -> tensor<2x18xi32>
  // CHECK: onnx.Custom "com.microsoft" "AllToAll"(%[[B]]) {node_attributes = {group_size = 3 : i64}}
  %3 = tp.all_to_all %b on @mesh ["tp"] : tensor<6x4xi1> -> tensor<6x4xi1>
  // CHECK: %[[TOTAL:.*]] = onnx.Custom "com.microsoft" "AllReduce"(%[[X]])
  // CHECK-DAG: %[[FIRST:.*]] = onnx.Constant dense<2> : tensor<1xi64>
  // CHECK-DAG: %[[LAST:.*]] = onnx.Constant dense<4> : tensor<1xi64>
  // CHECK: onnx.Slice %[[TOTAL]], %[[FIRST]], %[[LAST]] axes %{{.*}} -> tensor<?x2xf32>
  %4 = tp.reduce_scatter %x dim 1 on @mesh ["tp"] : tensor<?x6xf32> -> tensor<?x2xf32>
  return %0, %1, %2, %3, %4 : tensor<?x6xf32>, tensor<?x6xbf16>, tensor<2x18xi32>, tensor<6x4xi1>, tensor<?x2xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @w : tensor<4x8xf32> {file = "w.bin", offset = 0 : i64, length = 128 : i64}

// CHECK-LABEL: func @slices
// CHECK-SAME: (%[[X:.*]]: tensor<?x5xf32>)
func.func @slices(%x: tensor<?x5xf32>) -> (index, tensor<?x2xf32>, tensor<?x3xf32>, tensor<4x4xf32>) {
  // CHECK: arith.constant 1 : index
  %0 = tp.rank on @mesh : index
  // CHECK: onnx.Slice %[[X]], %{{.*}}, %{{.*}} axes %{{.*}} : (tensor<?x5xf32>
  %1 = tp.shard %x dim 1 pieces [[[0, 2]], [[2, 2]]] size 2 : tensor<?x5xf32> -> tensor<?x2xf32>
  // Padding is an element behind the others.
  // CHECK: %[[PAD:.*]] = onnx.Pad %[[X]], %{{.*}} axes %{{.*}} -> tensor<?x6xf32>
  // CHECK: %[[INDEX:.*]] = onnx.Constant dense<[4, 5, 5]> : tensor<3xi64>
  // CHECK: onnx.Gather %[[PAD]], %[[INDEX]] {axis = 1 : i64}
  %2 = tp.shard %x dim 1 pieces [[[0, 3]], [[4, 1], [-1, 1]]] size 3 : tensor<?x5xf32> -> tensor<?x3xf32>
  // A weight's slice is evaluated when the file is written.
  // CHECK: tp.shard
  %w = onnx.get_initializer @w : tensor<4x8xf32>
  %3 = tp.shard %w dim 1 pieces [[[0, 4]], [[4, 4]]] size 4 : tensor<4x8xf32> -> tensor<4x4xf32>
  return %0, %1, %2, %3 : index, tensor<?x2xf32>, tensor<?x3xf32>, tensor<4x4xf32>
}
