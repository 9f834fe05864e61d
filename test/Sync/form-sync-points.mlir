// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(tp-form-sync-points))" | FileCheck %s
// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(tp-form-sync-points))" --remarks-filter=caat -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// REMARK: [Analysis] sync-point {{.*}}site layers.0.attn"
// REMARK: [Analysis] sync-point {{.*}}site layers.0.mlp"
// REMARK: [Analysis] sync-point {{.*}}site layers.1.mlp"
// REMARK: [Analysis] sync-point {{.*}}site layers.0.attn, full or private only: its sum is normalised before it becomes the stream"
// REMARK: [Missed] no-sync-point {{.*}}tp.all_reduce reduce.0 does not join the residual stream and stays as it is: its result is read in several places before it joins the stream"
// REMARK: [Missed] no-sync-point {{.*}}tp.all_reduce reduce.1 does not join the residual stream and stays as it is: what it sums is no product of known width"

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @n : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}
onnx.initializer @w : tensor<8x4xf32> {file = "m", offset = 16 : i64, length = 128 : i64}
onnx.initializer @b : tensor<4xf32> {file = "m", offset = 144 : i64, length = 16 : i64}

// Two layers: attention with a bias behind the reduction, MLP without; the stream starts at %x.
// CHECK-LABEL: func.func @pre_norm(
// CHECK-SAME:    %[[X:.*]]: tensor<?x?x4xf32>
func.func @pre_norm(%x: tensor<?x?x4xf32>, %q: tensor<?x2x?x4xf32>) -> tensor<?x?x4xf32> {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w0 = onnx.get_initializer @w : tensor<8x4xf32>
  %b = onnx.get_initializer @b : tensor<4xf32>
  %w = tp.shard %w0 dim 0 pieces [[[0, 4]], [[4, 4]]] size 4 : tensor<8x4xf32> -> tensor<4x4xf32>
  %h0 = onnx.RMSNormalization %x, %n : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  %a0 = onnx.Softmax %h0 : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %p0 = onnx.MatMul %a0, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
  %r0 = tp.all_reduce %p0 on @mesh ["tp"] : tensor<?x?x4xf32>
  %c0 = onnx.Add %b, %r0 : (tensor<4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %y0 = onnx.Add %c0, %x : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %h1 = onnx.RMSNormalization %y0, %n : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  %p1 = onnx.MatMul %h1, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
  %r1 = tp.all_reduce %p1 on @mesh ["tp"] : tensor<?x?x4xf32>
  %y1 = onnx.Add %y0, %r1 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %p2 = onnx.MatMul %y1, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
  %r2 = tp.all_reduce %p2 on @mesh ["tp"] : tensor<?x?x4xf32>
  %y2 = onnx.Add %y1, %r2 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %y2 : tensor<?x?x4xf32>
}
// CHECK-NOT:   tp.all_reduce
// CHECK:       %[[B:.*]] = onnx.get_initializer @b
// CHECK:       %[[H0:.*]] = onnx.RMSNormalization %[[X]]
// CHECK:       %[[P0:.*]] = onnx.MatMul
// CHECK:       %[[B0:.*]], %[[Q0:.*]] = tp.sync_point base(%[[X]]) partial(%[[P0]]) input(%[[H0]]) bias(%[[B]]) on @mesh ["tp"]
// CHECK-SAME:    policy = #tp.policy<full>, site = "layers.0.attn"
// CHECK:       %[[Y0:.*]] = tp.read_stream %[[B0]], %[[Q0]]
// CHECK:       %[[H1:.*]] = onnx.RMSNormalization %[[Y0]]
// CHECK:       %[[P1:.*]] = onnx.MatMul
// CHECK:       %[[B1:.*]], %[[Q1:.*]] = tp.sync_point base(%[[B0]]) pending(%[[Q0]]) partial(%[[P1]]) input(%[[H1]]) on
// CHECK-SAME:    site = "layers.0.mlp"
// An MLP behind an MLP opens a layer.
// CHECK:       tp.sync_point base(%[[B1]]) pending(%[[Q1]]) partial(%{{[^)]*}}) on
// CHECK-SAME:    site = "layers.1.mlp"
// CHECK:       %[[OUT:.*]] = tp.read_stream
// CHECK:       return %[[OUT]]

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 0 : i64, length = 64 : i64}
onnx.initializer @b : tensor<4xf32> {file = "m", offset = 64 : i64, length = 16 : i64}

// A reshape and a factor between reduction and sum move in front of the reduction; so does the factor to the bias.
// CHECK-LABEL: func.func @reshape_and_factor(
func.func @reshape_and_factor(%x: tensor<1x6x4xf32>, %h: tensor<6x4xf32>) -> tensor<1x6x4xf32> {
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %b = onnx.get_initializer @b : tensor<4xf32>
  %shape = onnx.Constant dense<[1, 6, 4]> : tensor<3xi64>
  %c = onnx.Constant dense<0.5> : tensor<f32>
  %p = onnx.MatMul %h, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<6x4xf32>
  %s = onnx.Add %r, %b : (tensor<6x4xf32>, tensor<4xf32>) -> tensor<6x4xf32>
  %t = onnx.Mul %c, %s : (tensor<f32>, tensor<6x4xf32>) -> tensor<6x4xf32>
  %u = onnx.Reshape %t, %shape : (tensor<6x4xf32>, tensor<3xi64>) -> tensor<1x6x4xf32>
  %y = onnx.Add %x, %u : (tensor<1x6x4xf32>, tensor<1x6x4xf32>) -> tensor<1x6x4xf32>
  return %y : tensor<1x6x4xf32>
}
// CHECK:       %[[B:.*]] = onnx.get_initializer @b
// CHECK:       %[[C:.*]] = onnx.Constant dense<5.000000e-01>
// CHECK:       %[[P:.*]] = onnx.MatMul
// CHECK:       %[[PC:.*]] = onnx.Mul %[[C]], %[[P]]
// CHECK:       %[[BC:.*]] = onnx.Mul %[[C]], %[[B]]{{.*}} -> tensor<4xf32>
// CHECK:       %[[PR:.*]] = onnx.Reshape %[[PC]]
// CHECK:       tp.sync_point base(%{{.*}}) partial(%[[PR]]) bias(%[[BC]])

// A factor for each channel, as vision models have it, does the same; one of each row does not.
// CHECK-LABEL: func.func @layer_scale(
func.func @layer_scale(%x: tensor<?x?x4xf32>, %h: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %b = onnx.get_initializer @b : tensor<4xf32>
  %g = onnx.Constant dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>
  %p = onnx.MatMul %h, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x?x4xf32>
  %s = onnx.Add %r, %b : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  %t = onnx.Mul %s, %g : (tensor<?x?x4xf32>, tensor<1x1x4xf32>) -> tensor<?x?x4xf32>
  %y = onnx.Add %t, %x : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}
// CHECK:       %[[B:.*]] = onnx.get_initializer @b
// CHECK:       %[[G:.*]] = onnx.Constant dense<{{.*}}tensor<1x1x4xf32>
// CHECK:       %[[P:.*]] = onnx.MatMul
// CHECK:       %[[PG:.*]] = onnx.Mul %[[P]], %[[G]]
// CHECK:       %[[BG:.*]] = onnx.Mul %[[B]], %[[G]]{{.*}} -> tensor<1x1x4xf32>
// CHECK:       tp.sync_point base(%{{.*}}) partial(%[[PG]]) bias(%[[BG]])

// CHECK-LABEL: func.func @row_scale(
// CHECK-NOT:     tp.sync_point
func.func @row_scale(%x: tensor<3x4xf32>, %h: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %g = onnx.Constant dense<[[1.0], [2.0], [3.0]]> : tensor<3x1xf32>
  %p = onnx.MatMul %h, %w : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<3x4xf32>
  %t = onnx.Mul %r, %g : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
  %y = onnx.Add %t, %x : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @n : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 16 : i64, length = 64 : i64}

// The norm stands on the stream: what is pending could not be summed later. Behind the last site it could.
// CHECK-LABEL: func.func @post_norm(
func.func @post_norm(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %a = onnx.Softmax %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %p0 = onnx.MatMul %a, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r0 = tp.all_reduce %p0 on @mesh ["tp"] : tensor<?x4xf32>
  %s0 = onnx.Add %x, %r0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y0 = onnx.RMSNormalization %s0, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %p1 = onnx.MatMul %y0, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r1 = tp.all_reduce %p1 on @mesh ["tp"] : tensor<?x4xf32>
  %s1 = onnx.Add %y0, %r1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y1 = onnx.RMSNormalization %s1, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y1 : tensor<?x4xf32>
}
// CHECK:       tp.sync_point
// CHECK-SAME:    not_deferrable = "its sum is normalised before it becomes the stream"
// CHECK-SAME:    site = "layers.0.attn"
// CHECK:       tp.sync_point
// CHECK-NOT:     not_deferrable
// CHECK-SAME:    site = "layers.0.mlp"

// CHECK-LABEL: func.func @sandwich(
func.func @sandwich(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %p = onnx.MatMul %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %z = onnx.RMSNormalization %r, %n : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %y = onnx.Add %x, %z : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
// CHECK:       tp.sync_point partial(%{{.*}}) on
// CHECK-SAME:    not_deferrable = "its partial sum is normalised before it joins the stream"

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 0 : i64, length = 64 : i64}

// No sync points: the embedding's reduction, one that other values read too, and one that is no product.
// CHECK-LABEL: func.func @stays(
// CHECK-NOT:     tp.sync_point
// CHECK:         tp.all_reduce %{{.*}} {site = "embed"}
// CHECK:         tp.all_reduce %{{.*}} {site = "reduce.0"}
// CHECK:         tp.all_reduce %{{.*}} {site = "reduce.1"}
func.func @stays(%x: tensor<?x4xf32>, %e: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %p = onnx.MatMul %e, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r0 = tp.all_reduce %p on @mesh ["tp"] {site = "embed"} : tensor<?x4xf32>
  %y0 = onnx.Add %x, %r0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %r1 = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %y1 = onnx.Add %x, %r1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %r2 = tp.all_reduce %e on @mesh ["tp"] : tensor<?x4xf32>
  %y2 = onnx.Add %x, %r2 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %z = onnx.Mul %y0, %y2 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %r1, %y1, %z : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @n : tensor<4xf32> {file = "m", offset = 0 : i64, length = 16 : i64}
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 16 : i64, length = 64 : i64}

// Every rank computes the attention whole. The sites behind it are the MLPs', and the first one's sum is read by an
// attention that adds to the stream, so nothing may stay pending there.
// CHECK-LABEL: func.func @whole_attention(
// CHECK:         tp.sync_point
// CHECK-SAME:      not_deferrable = "a module that is not split reads its sum and adds to the stream"
// CHECK-SAME:      site = "layers.0.mlp"
// CHECK:         tp.sync_point
// CHECK-NOT:       not_deferrable
// CHECK-SAME:      site = "layers.1.mlp"
func.func @whole_attention(%x: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> {
  %n = onnx.get_initializer @n : tensor<4xf32>
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %s0 = onnx.Softmax %x : (tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  %a0 = onnx.MatMul %s0, %w : (tensor<?x2x4xf32>, tensor<4x4xf32>) -> tensor<?x2x4xf32>
  %x0 = onnx.Add %x, %a0 : (tensor<?x2x4xf32>, tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  %n0 = onnx.RMSNormalization %x0, %n : (tensor<?x2x4xf32>, tensor<4xf32>) -> tensor<?x2x4xf32>
  %p0 = onnx.MatMul %n0, %w : (tensor<?x2x4xf32>, tensor<4x4xf32>) -> tensor<?x2x4xf32>
  %r0 = tp.all_reduce %p0 on @mesh ["tp"] : tensor<?x2x4xf32>
  %x1 = onnx.Add %x0, %r0 : (tensor<?x2x4xf32>, tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  %s1 = onnx.Softmax %x1 : (tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  %a1 = onnx.MatMul %s1, %w : (tensor<?x2x4xf32>, tensor<4x4xf32>) -> tensor<?x2x4xf32>
  %x2 = onnx.Add %x1, %a1 : (tensor<?x2x4xf32>, tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  %n1 = onnx.RMSNormalization %x2, %n : (tensor<?x2x4xf32>, tensor<4xf32>) -> tensor<?x2x4xf32>
  %p1 = onnx.MatMul %n1, %w : (tensor<?x2x4xf32>, tensor<4x4xf32>) -> tensor<?x2x4xf32>
  %r1 = tp.all_reduce %p1 on @mesh ["tp"] : tensor<?x2x4xf32>
  %x3 = onnx.Add %x2, %r1 : (tensor<?x2x4xf32>, tensor<?x2x4xf32>) -> tensor<?x2x4xf32>
  return %x3 : tensor<?x2x4xf32>
}

// -----

tp.mesh @mesh <["tp" = 2]>
onnx.initializer @w : tensor<4x4xf32> {file = "m", offset = 0 : i64, length = 64 : i64}

// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(tp-merge-all-reduces,tp-form-sync-points))" \
// RUN:   | FileCheck %s --check-prefix=MERGED
// Attention and MLP in parallel: one sum, one site.
// MERGED-LABEL: func.func @parallel(
// MERGED:         %[[A:.*]] = onnx.MatMul
// MERGED:         %[[M:.*]] = onnx.MatMul
// MERGED:         %[[S:.*]] = onnx.Add %[[A]], %[[M]]
// MERGED:         tp.sync_point base(%{{.*}}) partial(%[[S]]) on
// MERGED-SAME:      site = "layers.0.block"
// MERGED-NOT:     tp.sync_point
func.func @parallel(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = onnx.get_initializer @w : tensor<4x4xf32>
  %a = onnx.Softmax %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %p = onnx.MatMul %a, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %q = onnx.MatMul %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %r0 = tp.all_reduce %p on @mesh ["tp"] : tensor<?x4xf32>
  %r1 = tp.all_reduce %q on @mesh ["tp"] : tensor<?x4xf32>
  %s = onnx.Add %x, %r0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = onnx.Add %s, %r1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
