// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(tp-form-sync-points,tp-switch-sync-points,tp-verify-replication))" | FileCheck %s

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @n : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 16 : i64, length = 64 : i64}

// The result is split over the ranks: only the last site's stream, which the final norm reads, must be summed at once.
// CHECK-LABEL: func.func @split_result(
// CHECK:         tp.sync_point
// CHECK-SAME:      {policy = #tp.policy<full>, site = "layers.0.mlp", switchable}
// CHECK:         tp.sync_point
// CHECK-SAME:      {flushes, policy = #tp.policy<full>, site = "layers.1.mlp", switchable}
func.func @split_result(%x: tensor<?x4xf32>) -> (tensor<?x4xf32> {tp.shard = #tp.shard<dim = 1, global = 8, pieces = [[[0, 4]], [[4, 4]]]>}) {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %s = tp.shard %w dim 0 pieces [[[0, 4]], [[0, 4]]] size 4 : tensor<4x4xf32> -> tensor<4x4xf32>
  %h0 = onnx.RMSNormalization %x, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %p0 = onnx.MatMul %h0, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r0 = tp.all_reduce %p0 on @mesh ["tp"] : tensor<?x4xf32>
  %y0 = onnx.Add %x, %r0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %h1 = onnx.RMSNormalization %y0, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %p1 = onnx.MatMul %h1, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r1 = tp.all_reduce %p1 on @mesh ["tp"] : tensor<?x4xf32>
  %y1 = onnx.Add %y0, %r1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %h2 = onnx.RMSNormalization %y1, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %l = onnx.MatMul %h2, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %l : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @n : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 16 : i64, length = 64 : i64}

// All ranks must agree on the result: no site may keep anything to itself for good.
// CHECK-LABEL: func.func @equal_result(
// CHECK:         tp.sync_point
// CHECK-SAME:      not_private = "a result of the program that is not split depends on it and must be equal on all ranks"
// CHECK-SAME:      site = "layers.0.mlp"
func.func @equal_result(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %s = tp.shard %w dim 0 pieces [[[0, 4]], [[0, 4]]] size 4 : tensor<4x4xf32> -> tensor<4x4xf32>
  %h0 = onnx.RMSNormalization %x, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %p0 = onnx.MatMul %h0, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r0 = tp.all_reduce %p0 on @mesh ["tp"] : tensor<?x4xf32>
  %y0 = onnx.Add %x, %r0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y0 : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @n : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 16 : i64, length = 64 : i64}

// Post-norm: the first site cannot defer, so what is read of it is equal on all ranks, and with it the result.
// CHECK-LABEL: func.func @post_norm(
// CHECK:         tp.sync_point
// CHECK-SAME:      {not_deferrable = "its sum is normalised before it becomes the stream", not_private = "{{.*}}", policy = #tp.policy<full>, site = "layers.0.mlp", switchable}
// CHECK:         tp.sync_point
// CHECK-SAME:      {flushes, not_private
func.func @post_norm(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %s = tp.shard %w dim 0 pieces [[[0, 4]], [[0, 4]]] size 4 : tensor<4x4xf32> -> tensor<4x4xf32>
  %p0 = onnx.MatMul %x, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r0 = tp.all_reduce %p0 on @mesh ["tp"] : tensor<?x4xf32>
  %y0 = onnx.Add %x, %r0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %h0 = onnx.RMSNormalization %y0, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %p1 = onnx.MatMul %h0, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r1 = tp.all_reduce %p1 on @mesh ["tp"] : tensor<?x4xf32>
  %y1 = onnx.Add %h0, %r1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %h1 = onnx.RMSNormalization %y1, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %h1 : tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @n : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 16 : i64, length = 64 : i64}

// The stream decides which branch of the model runs: no rank may see another one.
// CHECK-LABEL: func.func @decides(
// CHECK:         tp.sync_point
// CHECK-SAME:      {flushes, not_private = {{.*}}, policy = #tp.policy<full>, site = "layers.0.mlp", switchable}
func.func @decides(%x: tensor<?x4xf32>, %zero: tensor<f32>) -> (tensor<?x4xf32> {tp.shard = #tp.shard<dim = 1, global = 8, pieces = [[[0, 4]], [[4, 4]]]>}) {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %s = tp.shard %w dim 0 pieces [[[0, 4]], [[0, 4]]] size 4 : tensor<4x4xf32> -> tensor<4x4xf32>
  %h0 = onnx.RMSNormalization %x, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %p0 = onnx.MatMul %h0, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r0 = tp.all_reduce %p0 on @mesh ["tp"] : tensor<?x4xf32>
  %y0 = onnx.Add %x, %r0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %most = onnx.ReduceMax %y0 {keepdims = 0 : i64} : (tensor<?x4xf32>) -> tensor<f32>
  %c = onnx.Greater %most, %zero : (tensor<f32>, tensor<f32>) -> tensor<i1>
  %v = onnx.If %c {
    onnx.Yield %w : tensor<4x4xf32>
  } else {
    onnx.Yield %s : tensor<4x4xf32>
  } : (tensor<i1>) -> tensor<4x4xf32>
  %h1 = onnx.RMSNormalization %y0, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %p1 = onnx.MatMul %h1, %s : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r1 = tp.all_reduce %p1 on @mesh ["tp"] : tensor<?x4xf32>
  %y1 = onnx.Add %y0, %r1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %h2 = onnx.RMSNormalization %y1, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %l = onnx.MatMul %h2, %v : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  return %l : tensor<?x4xf32>
}
