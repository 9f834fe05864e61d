// RUN: caat-opt %s --split-input-file --tp-rotate-weights --canonicalize | FileCheck %s

// Three steps: the products of an MLP's slices, with a turn of the ring between two of them, and a running sum.
// CHECK-LABEL: func.func @mlp(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>
// CHECK-DAG:     %[[P0:.*]] = tp.ring_shard step 0 on @mesh : index
// CHECK-DAG:     %[[UP:.*]] = tp.shard {{.*}} size 2 : tensor<4x6xf32> -> tensor<4x2xf32>
// CHECK-DAG:     %[[DOWN:.*]] = tp.shard {{.*}} size 2 : tensor<6x4xf32> -> tensor<2x4xf32>
// CHECK:         %[[U0:.*]] = tp.held %[[UP]] of "layers.0.mlp" at %[[P0]] : tensor<4x2xf32>
// CHECK:         %[[H0:.*]] = onnx.MatMul %[[X]], %[[U0]]
// CHECK:         %[[D0:.*]] = tp.held %[[DOWN]] of "layers.0.mlp" at %[[P0]]
// CHECK:         %[[Y0:.*]] = onnx.MatMul %[[H0]], %[[D0]]
// CHECK:         %[[P1:.*]] = tp.rotate "layers.0.mlp" step 1 on @mesh after(%[[Y0]] : tensor<?x4xf32>)
// CHECK:         %[[U1:.*]] = tp.held %[[UP]] of "layers.0.mlp" at %[[P1]]
// CHECK:         %[[Y1:.*]] = onnx.MatMul
// CHECK:         onnx.MatMul
// CHECK:         %[[S1:.*]] = onnx.Add %[[Y0]],
// CHECK:         %[[P2:.*]] = tp.rotate "layers.0.mlp" step 2 on @mesh after(%[[S1]] : tensor<?x4xf32>)
// CHECK:         tp.held %[[UP]] of "layers.0.mlp" at %[[P2]]
// CHECK:         %[[S2:.*]] = onnx.Add %[[S1]],
// CHECK-NOT:     tp.rotate
// CHECK-NOT:     tp.all_reduce
// The residual sum is computed once.
// CHECK:         %[[R:.*]] = onnx.Add %[[X]], %[[S2]]
// CHECK:         return %[[R]]
tp.mesh @mesh <["tp" = 3]>
onnx.initializer @up : tensor<4x6xf32> {file = "w", length = 96 : i64, offset = 0 : i64}
onnx.initializer @down : tensor<6x4xf32> {file = "w", length = 96 : i64, offset = 96 : i64}
func.func @mlp(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = onnx.get_initializer @up : tensor<4x6xf32>
  %up = tp.shard %0 dim 1 pieces [[[0, 2]], [[2, 2]], [[4, 2]]] size 2 : tensor<4x6xf32> -> tensor<4x2xf32>
  %1 = onnx.get_initializer @down : tensor<6x4xf32>
  %down = tp.shard %1 dim 0 pieces [[[0, 2]], [[2, 2]], [[4, 2]]] size 2 : tensor<6x4xf32> -> tensor<2x4xf32>
  %h = onnx.MatMul %x, %up : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %p = onnx.MatMul %h, %down : (tensor<?x2xf32>, tensor<2x4xf32>) -> tensor<?x4xf32>
  %y = tp.all_reduce %p on @mesh ["tp"] {site = "layers.0.mlp"} : tensor<?x4xf32>
  %r = onnx.Add %x, %y : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}

// -----

// A result that stays split is handed out in parts, an argument is taken in parts; a gather writes each step's part.
// CHECK-LABEL: func.func @parts(
// CHECK-SAME:    %{{.*}}: tensor<?x4xf32>, %[[C:.*]]: tensor<?x2xf32>
// CHECK-DAG:     %[[P0:.*]] = tp.ring_shard step 0
// CHECK-DAG:     %[[P1:.*]] = tp.ring_shard step 1
// CHECK-DAG:     %[[C0:.*]] = tp.block %[[C]] at %[[P0]] : tensor<?x2xf32>
// CHECK-DAG:     %[[C1:.*]] = tp.block %[[C]] at %[[P1]] : tensor<?x2xf32>
// CHECK:         %[[A0:.*]] = onnx.Add %{{.*}}, %[[C0]]
// CHECK:         %[[O0:.*]] = arith.muli %[[P0]]
// CHECK:         %[[I0:.*]] = tensor.insert_slice %[[A0]] into %{{.*}}[0, %[[O0]]]
// CHECK:         tp.rotate "gather" step 1 on @mesh after(%[[A0]], %[[I0]] : tensor<?x2xf32>, tensor<?x4xf32>)
// CHECK:         %[[A1:.*]] = onnx.Add %{{.*}}, %[[C1]]
// CHECK:         %[[O1:.*]] = arith.muli %[[P1]]
// CHECK:         %[[I1:.*]] = tensor.insert_slice %[[A1]] into %[[I0]][0, %[[O1]]]
// CHECK:         %[[R:.*]] = tp.blocks %[[A0]], %[[A1]] at %[[P0]], %[[P1]] : tensor<?x2xf32>
// CHECK:         return %[[R]], %[[I1]]
tp.mesh @mesh <["tp" = 2]>
onnx.initializer @w : tensor<4x4xf32> {file = "w", length = 64 : i64, offset = 0 : i64}
func.func @parts(%x: tensor<?x4xf32>, %c: tensor<?x2xf32> {tp.shard = #tp.shard<dim = 1, global = 4, pieces = [[[0, 2]], [[2, 2]]]>})
    -> (tensor<?x2xf32> {tp.shard = #tp.shard<dim = 1, global = 4, pieces = [[[0, 2]], [[2, 2]]]>}, tensor<?x4xf32>) {
  %0 = onnx.get_initializer @w : tensor<4x4xf32>
  %w = tp.shard %0 dim 1 pieces [[[0, 2]], [[2, 2]]] size 2 : tensor<4x4xf32> -> tensor<4x2xf32>
  %1 = onnx.MatMul %x, %w : (tensor<?x4xf32>, tensor<4x2xf32>) -> tensor<?x2xf32>
  %2 = onnx.Add %1, %c : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %3 = tp.all_gather %2 dim 1 on @mesh ["tp"] {site = "gather"} : tensor<?x2xf32> -> tensor<?x4xf32>
  return %2, %3 : tensor<?x2xf32>, tensor<?x4xf32>
}

// -----

// What does not depend on the rank stays as it is, and so does a program of one rank.
// CHECK-LABEL: func.func @whole(
// CHECK-NOT:     tp.
// CHECK:         onnx.MatMul
// CHECK-NOT:     tp.
tp.mesh @mesh <["tp" = 2]>
onnx.initializer @w : tensor<4x4xf32> {file = "w", length = 64 : i64, offset = 0 : i64}
func.func @whole(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = onnx.get_initializer @w : tensor<4x4xf32>
  %1 = onnx.MatMul %x, %0 : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}
