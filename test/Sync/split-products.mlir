// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(tp-expand-sync-points{split-products=true},cse)" | FileCheck %s

onnx.initializer @w : tensor<8x4xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
onnx.initializer @c : tensor<4xf32> {file = "w", offset = 128 : i64, length = 16 : i64}
tp.mesh @mesh <["tp" = 2]>

// The reduced channels 2 and 0 come from a product of their own, whose sum is followed by the product of the others.
// CHECK-LABEL: func.func @deferred(
// CHECK-SAME:    %[[X:.*]]: tensor<?x4xf32>, %[[A:.*]]: tensor<?x8xf32>
// CHECK-DAG:     %[[W:.*]] = onnx.get_initializer @w
// CHECK-DAG:     %[[FIRST:.*]] = onnx.Constant dense<[2, 0]> : tensor<2xi64>
// CHECK:         %[[WF:.*]] = onnx.Gather %[[W]], %[[FIRST]] {axis = 1 : i64} : {{.*}} -> tensor<8x2xf32>
// CHECK:         %[[P:.*]] = onnx.MatMul %[[A]], %[[WF]] : {{.*}} -> tensor<?x2xf32>
// CHECK:         %[[SUM:.*]] = tp.all_reduce %[[P]]
// CHECK:         %[[REST:.*]] = onnx.Constant dense<[1, 3]> : tensor<2xi64>
// CHECK:         %[[WR:.*]] = onnx.Gather %[[W]], %[[REST]]
// CHECK:         %[[R:.*]] = onnx.MatMul %[[A]], %[[WR]] : {{.*}} -> tensor<?x2xf32>
// CHECK:         %[[SPREAD:.*]] = onnx.Gather %[[R]], %{{.*}} {axis = 1 : i64} : {{.*}} -> tensor<?x4xf32>
// CHECK:         onnx.Where %{{.*}}, %[[SPREAD]], %{{.*}}
// CHECK-NOT:     onnx.MatMul
// CHECK:         return
func.func @deferred(%x: tensor<?x4xf32>, %a: tensor<?x8xf32>) -> tensor<?x4xf32> {
  %w = onnx.get_initializer @w : tensor<8x4xf32>
  %p = onnx.MatMul %a, %w : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 2, rest = deferred, order = [2, 0, 1, 3]>} : tensor<?x4xf32>
  %y = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %q = onnx.Relu %y : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%q) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>
  %z = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

onnx.initializer @w : tensor<8x4xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
onnx.initializer @c : tensor<4xf32> {file = "w", offset = 128 : i64, length = 16 : i64}
tp.mesh @mesh <["tp" = 2]>

// Without an order slices do; a factor and a reshape in between are divided with the product; rounded sums as well.
// CHECK-LABEL: func.func @private(
// CHECK-SAME:    %[[X:.*]]: tensor<1x?x4xf32>, %[[A:.*]]: tensor<?x8xf32>
// CHECK:         %[[WF:.*]] = onnx.Slice %{{.*}} : (tensor<8x4xf32>, {{.*}} -> tensor<8x1xf32>
// CHECK:         %[[P:.*]] = onnx.MatMul %[[A]], %[[WF]]
// CHECK:         %[[PR:.*]] = onnx.Reshape %[[P]], %{{.*}} : {{.*}} -> tensor<1x?x1xf32>
// CHECK:         %[[CF:.*]] = onnx.Slice {{.*}} : (tensor<4xf32>, {{.*}} -> tensor<1xf32>
// CHECK:         %[[PM:.*]] = onnx.Mul %[[PR]], %[[CF]]
// CHECK:         tp.quantized_all_reduce %[[PM]]
// CHECK:         onnx.MatMul %[[A]], %{{.*}} : {{.*}} -> tensor<?x3xf32>
// CHECK-NOT:     onnx.MatMul
// CHECK:         return
func.func @private(%x: tensor<1x?x4xf32>, %a: tensor<?x8xf32>) -> tensor<1x?x4xf32> {
  %w = onnx.get_initializer @w : tensor<8x4xf32>
  %c = onnx.get_initializer @c : tensor<4xf32>
  %shape = onnx.Constant dense<[1, -1, 4]> : tensor<3xi64>
  %p = onnx.MatMul %a, %w : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %r = onnx.Reshape %p, %shape : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<1x?x4xf32>
  %m = onnx.Mul %r, %c : (tensor<1x?x4xf32>, tensor<4xf32>) -> tensor<1x?x4xf32>
  %s:2 = tp.sync_point base(%x) partial(%m) on @mesh ["tp"] {site = "layers.0.attn",
      policy = #tp.policy<partial, shared = 1, rest = private, rounding = <bits = 4, feedback = false>>} : tensor<1x?x4xf32>
  %y = tp.read_stream %s#0, %s#1 : tensor<1x?x4xf32>
  return %y : tensor<1x?x4xf32>
}

// -----

onnx.initializer @w : tensor<8x4xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
tp.mesh @mesh <["tp" = 2]>

// A product that somebody else reads, or that is none with a weight, stays whole.
// CHECK-LABEL: func.func @whole(
// CHECK:         %[[P:.*]] = onnx.MatMul{{.*}} -> tensor<?x4xf32>
// CHECK:         onnx.Slice %[[P]]
// CHECK:         tp.all_reduce
// CHECK:         %[[Q:.*]] = onnx.MatMul{{.*}} -> tensor<?x4xf32>
// CHECK:         onnx.Slice %[[Q]]
// CHECK:         tp.all_reduce
// CHECK-NOT:     onnx.MatMul
// CHECK:         return
func.func @whole(%x: tensor<?x4xf32>, %a: tensor<?x8xf32>, %b: tensor<8x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %w = onnx.get_initializer @w : tensor<8x4xf32>
  %p = onnx.MatMul %a, %w : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %s:2 = tp.sync_point base(%x) partial(%p) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 2, rest = private>} : tensor<?x4xf32>
  %q = onnx.MatMul %a, %b : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%q) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<partial, shared = 2, rest = private>} : tensor<?x4xf32>
  %z = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %z, %p : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

onnx.initializer @w : tensor<8x4xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
tp.mesh @mesh <["tp" = 2]>

// What lies far from its product is summed as it is.
// CHECK-LABEL: func.func @far(
// CHECK:         %[[P:.*]] = onnx.MatMul {{.*}} -> tensor<?x4xf32>
// CHECK-NOT:     onnx.MatMul
// CHECK:         return
func.func @far(%x: tensor<?x4xf32>, %a: tensor<?x8xf32>) -> tensor<?x4xf32> {
  %w = onnx.get_initializer @w : tensor<8x4xf32>
  %p0 = onnx.MatMul %a, %w : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %p1 = onnx.Add %p0, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p2 = onnx.Add %p1, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p3 = onnx.Add %p2, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p4 = onnx.Add %p3, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p5 = onnx.Add %p4, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p6 = onnx.Add %p5, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p7 = onnx.Add %p6, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p8 = onnx.Add %p7, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p9 = onnx.Add %p8, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p10 = onnx.Add %p9, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p11 = onnx.Add %p10, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p12 = onnx.Add %p11, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p13 = onnx.Add %p12, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p14 = onnx.Add %p13, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p15 = onnx.Add %p14, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p16 = onnx.Add %p15, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %p17 = onnx.Add %p16, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %s:2 = tp.sync_point base(%x) partial(%p17) on @mesh ["tp"]
      {site = "layers.0.attn", policy = #tp.policy<partial, shared = 2, rest = deferred>} : tensor<?x4xf32>
  %y = tp.read_stream %s#0, %s#1 : tensor<?x4xf32>
  %q = onnx.Relu %y : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %t:2 = tp.sync_point base(%s#0) pending(%s#1) partial(%q) on @mesh ["tp"]
      {site = "layers.0.mlp", policy = #tp.policy<full>} : tensor<?x4xf32>
  %z = tp.read_stream %t#0, %t#1 : tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}
