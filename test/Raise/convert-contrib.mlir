// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-convert-contrib --remarks-filter=caat --split-input-file 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// RUN: caat-opt %s --onnx-convert-contrib=row-lengths --split-input-file 2>/dev/null | FileCheck %s --check-prefix=ROWS

// CHECK-LABEL: func.func @skip_norm
// CHECK-SAME: (%[[X:.*]]: tensor<?x4x8xf32>, %[[SKIP:.*]]: tensor<?x4x8xf32>, %[[G:.*]]: tensor<8xf32>, %[[BIAS:.*]]: tensor<8xf32>)
func.func @skip_norm(%x: tensor<?x4x8xf32>, %skip: tensor<?x4x8xf32>, %gamma: tensor<8xf32>, %bias: tensor<8xf32>) -> (tensor<?x4x8xf32>, tensor<?x4x8xf32>) {
  // CHECK: %[[B:.*]] = onnx.Add %[[SKIP]], %[[BIAS]]
  // CHECK: %[[SUM:.*]] = onnx.Add %[[X]], %[[B]]
  // CHECK: %[[Y:.*]] = onnx.RMSNormalization %[[SUM]], %[[G]] {epsilon = 9.99999997E-7 : f32}
  // CHECK: return %[[Y]], %[[SUM]]
  %y:4 = onnx.Custom "com.microsoft" "SkipSimplifiedLayerNormalization" (%x, %skip, %gamma, %bias) {node_attributes = {epsilon = 1.0e-6 : f32}}
    : (tensor<?x4x8xf32>, tensor<?x4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<?x4x8xf32>, none, none, tensor<?x4x8xf32>)
  return %y#0, %y#3 : tensor<?x4x8xf32>, tensor<?x4x8xf32>
}

// -----

// CHECK-LABEL: func.func @grouped
// CHECK-SAME: (%[[QKV:.*]]: tensor<?x?x64xf32> {{.*}}, %[[PK:.*]]: tensor<?x2x?x?xf32> {{.*}}, %[[PV:.*]]: tensor<?x2x?x?xf32>
func.func @grouped(%qkv: tensor<?x?x64xf32> {onnx.dims = ["batch", "seq", ""]}, %pk: tensor<?x2x?x?xf32> {onnx.dims = ["batch", "", "past", "size"]},
    %pv: tensor<?x2x?x?xf32> {onnx.dims = ["batch", "", "past", "size"]}, %lengths: tensor<?xi32>, %total: tensor<i32>, %cos: tensor<32x4xf32>, %sin: tensor<32x4xf32>)
    -> (tensor<?x?x32xf32>, tensor<?x2x?x?xf32>, tensor<?x2x?x?xf32>) {
  // CHECK: %[[PARTS:.*]]:3 = onnx.Split %[[QKV]] sizes %{{.*}} {axis = 2 : i64} {{.*}} -> (tensor<?x?x32xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>)
  // CHECK: onnx.Reshape %[[PARTS]]#0
  // CHECK: %[[Q:.*]] = onnx.Transpose {{.*}} -> tensor<?x4x?x8xf32>
  // CHECK: onnx.Reshape %[[PARTS]]#1
  // CHECK: %[[K:.*]] = onnx.Transpose {{.*}} -> tensor<?x2x?x8xf32>
  // CHECK: onnx.Reshape %[[PARTS]]#2
  // CHECK: %[[V:.*]] = onnx.Transpose {{.*}} -> tensor<?x2x?x8xf32>
  // CHECK: %[[OFF:.*]] = onnx.ReduceSum
  // CHECK: %[[EQUAL:.*]] = onnx.Equal %[[OFF]]
  // CHECK: onnx.check %[[EQUAL]], "GroupQueryAttention: rows of different lengths{{.*}} {late}
  // CHECK: %[[RANGE:.*]] = onnx.Range
  // CHECK: %[[IDS:.*]] = onnx.Expand %[[RANGE]], {{.*}} -> tensor<?x?xi64>
  // CHECK: %[[RQ:.*]] = onnx.RotaryEmbedding %[[Q]], %{{.*}}, %{{.*}} positions %[[IDS]]
  // CHECK: %[[RK:.*]] = onnx.RotaryEmbedding %[[K]], %{{.*}}, %{{.*}} positions %[[IDS]]
  // CHECK: %[[Y:.*]], %[[NK:.*]], %[[NV:.*]] = onnx.Attention %[[RQ]], %[[RK]], %[[V]] past_key %[[PK]] past_value %[[PV]] {is_causal = 1 : i64
  // CHECK: %[[T:.*]] = onnx.Transpose %[[Y]]
  // CHECK: %[[R:.*]] = onnx.Reshape %[[T]], {{.*}} -> tensor<?x?x32xf32>
  // CHECK: return %[[R]], %[[NK]], %[[NV]]
  // REMARK: [Passed] group-query-attention {{.*}}rows that are shorter than others
  // With lengths of their own, rows begin at max(seqlens_k + 1 - S, 0).
  // ROWS-LABEL: func.func @grouped
  // ROWS: %[[TOTAL:.*]] = onnx.Add %{{.*}} -> tensor<?xi64>
  // ROWS: %[[OVER:.*]] = onnx.Sub %[[TOTAL]]
  // ROWS: %[[START:.*]] = onnx.Max %[[OVER]]
  // ROWS: onnx.check %{{.*}}, "GroupQueryAttention: a row's length
  // ROWS: %[[COLUMN:.*]] = onnx.Unsqueeze %[[START]]
  // ROWS: %[[IDS:.*]] = onnx.Add %{{.*}}, %[[COLUMN]]
  // ROWS: onnx.RotaryEmbedding %{{.*}} positions %[[IDS]]
  // ROWS: onnx.Attention {{.*}} kv_lengths %[[TOTAL]]
  // REMARK: [Passed] convert-contrib {{.*}}GroupQueryAttention converted
  %none = onnx.NoValue : none
  %y:3 = onnx.Custom "com.microsoft" "GroupQueryAttention" (%qkv, %none, %none, %pk, %pv, %lengths, %total, %cos, %sin)
    {node_attributes = {num_heads = 4 : i64, kv_num_heads = 2 : i64, do_rotary = 1 : i64, local_window_size = -1 : i64}}
    : (tensor<?x?x64xf32>, none, none, tensor<?x2x?x?xf32>, tensor<?x2x?x?xf32>, tensor<?xi32>, tensor<i32>, tensor<32x4xf32>, tensor<32x4xf32>)
    -> (tensor<?x?x32xf32>, tensor<?x2x?x?xf32>, tensor<?x2x?x?xf32>)
  return %y#0, %y#1, %y#2 : tensor<?x?x32xf32>, tensor<?x2x?x?xf32>, tensor<?x2x?x?xf32>
}

// -----

// CHECK-LABEL: func.func @window
func.func @window(%q: tensor<?x?x32xf32>, %k: tensor<?x?x16xf32>, %lengths: tensor<?xi32>, %total: tensor<i32>) -> tensor<?x?x32xf32> {
  // CHECK: onnx.Attention {{.*}} {is_causal = 1 : i64, left_window_size = 127 : i64
  %none = onnx.NoValue : none
  %y:3 = onnx.Custom "com.microsoft" "GroupQueryAttention" (%q, %k, %k, %none, %none, %lengths, %total)
    {node_attributes = {num_heads = 4 : i64, kv_num_heads = 2 : i64, local_window_size = 128 : i64}}
    : (tensor<?x?x32xf32>, tensor<?x?x16xf32>, tensor<?x?x16xf32>, none, none, tensor<?xi32>, tensor<i32>) -> (tensor<?x?x32xf32>, none, none)
  return %y#0 : tensor<?x?x32xf32>
}

// -----

// CHECK-LABEL: func.func @activations
// CHECK-SAME: (%[[X:.*]]: tensor<4x8xf32>, %[[B:.*]]: tensor<8xf32>)
func.func @activations(%x: tensor<4x8xf32>, %b: tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) {
  // CHECK: %[[S:.*]] = onnx.Add %[[X]], %[[B]]
  // CHECK: onnx.Gelu %[[S]] :
  // CHECK: onnx.Gelu %[[X]] {approximate = "tanh"}
  // CHECK: onnx.Swish %[[X]] {alpha = 1.702000e+00 : f32}
  %0 = onnx.Custom "com.microsoft" "BiasGelu" (%x, %b) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %1 = onnx.Custom "com.microsoft" "FastGelu" (%x) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %2 = onnx.Custom "com.microsoft" "QuickGelu" (%x) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %0, %1, %2 : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

// CHECK-LABEL: func.func @product
func.func @product(%a: tensor<?x4x8xf32>, %b: tensor<16x8xf32>) -> tensor<?x4x16xf32> {
  // CHECK: %[[T:.*]] = onnx.Transpose {{.*}} {perm = array<i64: 1, 0>}
  // CHECK: %[[M:.*]] = onnx.MatMul %{{.*}}, %[[T]]
  // CHECK: onnx.Mul %[[M]], %{{.*}}
  %y = onnx.Custom "com.microsoft" "FusedMatMul" (%a, %b) {node_attributes = {transB = 1 : i64, alpha = 0.5 : f32}} : (tensor<?x4x8xf32>, tensor<16x8xf32>) -> tensor<?x4x16xf32>
  return %y : tensor<?x4x16xf32>
}

// -----

// CHECK-LABEL: func.func @other_domain
func.func @other_domain(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: onnx.Custom "my.domain" "FastGelu"
  %y = onnx.Custom "my.domain" "FastGelu" (%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// Weights of 4 bits become an expression around DequantizeLinear; a row of zero points is padded to whole bytes.
// CHECK-LABEL: func.func @quantized
// CHECK-SAME: (%[[X:.*]]: tensor<?x40xf32>, %[[B:.*]]: tensor<6x3x8xui8>, %[[S:.*]]: tensor<18xf32>, %[[Z:.*]]: tensor<12xui8>)
func.func @quantized(%x: tensor<?x40xf32>, %b: tensor<6x3x8xui8>, %s: tensor<18xf32>, %z: tensor<12xui8>) -> tensor<?x6xf32> {
  // CHECK: %[[BYTES:.*]] = onnx.Reshape %[[B]], {{.*}} -> tensor<6x24xui8>
  // CHECK: %[[Q:.*]] = onnx.unpack %[[BYTES]] {bits = 4 : i64} {{.*}} -> tensor<6x48xui8>
  // CHECK: %[[SCALE:.*]] = onnx.Reshape %[[S]], {{.*}} -> tensor<6x3xf32>
  // CHECK: %[[ZQ:.*]] = onnx.unpack {{.*}} -> tensor<6x4xui8>
  // CHECK: %[[ZERO:.*]] = onnx.Slice %[[ZQ]], {{.*}} -> tensor<6x3xui8>
  // CHECK: %[[W:.*]] = onnx.DequantizeLinear %[[Q]], %[[SCALE]] zero_point %[[ZERO]] {block_size = 16 : i64}
  // CHECK: %[[CUT:.*]] = onnx.Slice %[[W]], {{.*}} -> tensor<6x40xf32>
  // CHECK: %[[T:.*]] = onnx.Transpose %[[CUT]]
  // CHECK: onnx.MatMul %[[X]], %[[T]]
  %y = onnx.Custom "com.microsoft" "MatMulNBits" (%x, %b, %s, %z) {node_attributes = {N = 6 : i64, K = 40 : i64, bits = 4 : i64, block_size = 16 : i64}}
    : (tensor<?x40xf32>, tensor<6x3x8xui8>, tensor<18xf32>, tensor<12xui8>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// -----

// CHECK-LABEL: func.func @reordered
func.func @reordered(%x: tensor<?x16xf32>, %b: tensor<4x1x8xui8>, %s: tensor<4xf32>, %order: tensor<16xi32>) -> tensor<?x4xf32> {
  // CHECK: onnx.Custom "com.microsoft" "MatMulNBits"
  // REMARK: [Missed] convert-contrib {{.*}}MatMulNBits stays: a permutation of the input's columns (g_idx) is not supported
  %none = onnx.NoValue : none
  %y = onnx.Custom "com.microsoft" "MatMulNBits" (%x, %b, %s, %none, %order) {node_attributes = {N = 4 : i64, K = 16 : i64, block_size = 16 : i64}}
    : (tensor<?x16xf32>, tensor<4x1x8xui8>, tensor<4xf32>, none, tensor<16xi32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// All experts as one MLP: two products, the hidden units scaled by their expert's share between them.
// CHECK-LABEL: func.func @experts
// CHECK: onnx.TopK
// CHECK: %[[H:.*]] = onnx.MatMul %arg0, {{.*}} -> tensor<?x20xf32>
// CHECK: %[[A:.*]] = onnx.Relu %[[H]]
// CHECK: %[[R:.*]] = onnx.Reshape %[[A]], {{.*}} -> tensor<?x4x5xf32>
// CHECK: %[[SCALED:.*]] = onnx.Mul %[[R]]
// CHECK: %[[FLAT:.*]] = onnx.Reshape %[[SCALED]], {{.*}} -> tensor<?x20xf32>
// CHECK: onnx.MatMul %[[FLAT]], {{.*}} -> tensor<?x8xf32>
// REMARK: [Passed] mixture-of-experts {{.*}}all 4 experts run for every token, 2 of them count
func.func @experts(%x: tensor<?x8xf32>, %router: tensor<?x4xf32>, %up: tensor<4x5x8xf32>, %down: tensor<4x8x5xf32>) -> tensor<?x8xf32> {
  %none = onnx.NoValue : none
  %y = onnx.Custom "com.microsoft" "MoE" (%x, %router, %up, %none, %down) {node_attributes = {k = 2 : i64, activation_type = "relu"}}
    : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<4x5x8xf32>, none, tensor<4x8x5xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Old forms of ONNX's own, once their rank is known.
// CHECK-LABEL: func.func @old_forms
func.func @old_forms(%x: tensor<2x6x5xf32>, %c: tensor<6xf32>, %g: tensor<2xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xi1>) {
  // CHECK: onnx.Softmax %arg0 : (tensor<2x6x5xf32>) -> tensor<2x6x5xf32>
  %a = onnx.Custom "" "Softmax" (%x) {node_attributes = {axis = 2 : i64}, version = 11 : i64} : (tensor<2x6x5xf32>) -> tensor<*xf32>
  // CHECK: %[[COLUMN:.*]] = onnx.Unsqueeze %{{.*}} -> tensor<6x1xf32>
  // CHECK: onnx.Mul %arg0, %[[COLUMN]]
  %b = onnx.Custom "" "BatchNormalization" (%x, %c, %c, %c, %c) {version = 9 : i64} : (tensor<2x6x5xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>, tensor<6xf32>) -> tensor<*xf32>
  // CHECK: onnx.GroupNormalization %arg0, {{.*}} {num_groups = 2 : i64}
  %n = onnx.Custom "" "GroupNormalization" (%x, %g, %g) {node_attributes = {num_groups = 2 : i64}, version = 18 : i64} : (tensor<2x6x5xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<*xf32>
  // CHECK: onnx.ConstantOfShape {{.*}} {value = dense<true> : tensor<1xi1>}
  %d:2 = onnx.Custom "" "Dropout" (%x) {version = 11 : i64} : (tensor<2x6x5xf32>) -> (tensor<*xf32>, tensor<*xi1>)
  return %a, %b, %n, %d#0, %d#1 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xi1>
}
