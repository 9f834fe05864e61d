// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: caat-opt %s --onnx-convert-contrib --remarks-filter=caat --split-input-file 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

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
  // CHECK: %[[RANGE:.*]] = onnx.Range
  // CHECK: %[[IDS:.*]] = onnx.Expand %[[RANGE]], {{.*}} -> tensor<?x?xi64>
  // CHECK: %[[RQ:.*]] = onnx.RotaryEmbedding %[[Q]], %{{.*}}, %{{.*}} positions %[[IDS]]
  // CHECK: %[[RK:.*]] = onnx.RotaryEmbedding %[[K]], %{{.*}}, %{{.*}} positions %[[IDS]]
  // CHECK: %[[OFF:.*]] = onnx.ReduceSum
  // CHECK: %[[EQUAL:.*]] = onnx.Equal %[[OFF]]
  // CHECK: onnx.check %[[EQUAL]], "GroupQueryAttention: rows of different lengths
  // CHECK: %[[Y:.*]], %[[NK:.*]], %[[NV:.*]] = onnx.Attention %[[RQ]], %[[RK]], %[[V]] past_key %[[PK]] past_value %[[PV]] {is_causal = 1 : i64
  // CHECK: %[[T:.*]] = onnx.Transpose %[[Y]]
  // CHECK: %[[R:.*]] = onnx.Reshape %[[T]], {{.*}} -> tensor<?x?x32xf32>
  // CHECK: return %[[R]], %[[NK]], %[[NV]]
  // REMARK: [Passed] group-query-attention {{.*}}rows that are shorter than others
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
  // CHECK: onnx.Custom "com.microsoft" "GroupQueryAttention"
  // REMARK: [Missed] convert-contrib {{.*}}local_window_size is 128, only -1 is supported
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
