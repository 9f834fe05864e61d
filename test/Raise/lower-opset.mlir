// RUN: caat-opt %s -split-input-file -onnx-lower-opset=opset=18 | FileCheck %s
// RUN: caat-opt %s -split-input-file -onnx-lower-opset=opset=24 | FileCheck %s --check-prefix=NEW

// NEW-LABEL: func @activations
// NEW: onnx.Gelu
// NEW: onnx.Swish
// CHECK-LABEL: func @activations
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
func.func @activations(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK: %[[ARG:.*]] = onnx.Mul %[[X]], %{{.*}} : (tensor<?x8xf32>, tensor<f32>)
  // CHECK: %[[ERF:.*]] = onnx.Erf %[[ARG]]
  // CHECK: %[[HALF:.*]] = onnx.Mul %[[X]]
  // CHECK: %[[ONE:.*]] = onnx.Add %[[ERF]]
  // CHECK: %[[GELU:.*]] = onnx.Mul %[[HALF]], %[[ONE]] : {{.*}} -> tensor<?x8xf32>
  %0 = onnx.Gelu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: onnx.Tanh
  // CHECK: %[[TANH:.*]] = onnx.Mul
  %1 = onnx.Gelu %x {approximate = "tanh"} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: %[[GATE:.*]] = onnx.Sigmoid %[[X]]
  // CHECK: %[[SWISH:.*]] = onnx.Mul %[[X]], %[[GATE]]
  %2 = onnx.Swish %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0, %1, %2 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// NEW-LABEL: func @norms
// NEW: onnx.RMSNormalization
// CHECK-LABEL: func @norms
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf16>, %[[S:.*]]: tensor<8xf16>)
func.func @norms(%x: tensor<?x8xf16>, %s: tensor<8xf16>) -> (tensor<?x8xf16>, tensor<?x8xf16>) {
  // Statistics are taken in f32.
  // CHECK: %[[AXES:.*]] = onnx.Constant dense<-1> : tensor<1xi64>
  // CHECK: %[[WIDE:.*]] = onnx.Cast %[[X]] to f32
  // CHECK: %[[SQUARE:.*]] = onnx.Mul %[[WIDE]], %[[WIDE]]
  // CHECK: %[[MEAN:.*]] = onnx.ReduceMean %[[SQUARE]] axes %[[AXES]]
  // CHECK: %[[SUM:.*]] = onnx.Add %[[MEAN]]
  // CHECK: %[[ROOT:.*]] = onnx.Sqrt %[[SUM]]
  // CHECK: %[[NORM:.*]] = onnx.Div %[[WIDE]], %[[ROOT]]
  // CHECK: %[[BACK:.*]] = onnx.Cast %[[NORM]] to f16
  // CHECK: onnx.Mul %[[BACK]], %[[S]]
  %0 = onnx.RMSNormalization %x, %s : (tensor<?x8xf16>, tensor<8xf16>) -> tensor<?x8xf16>
  // Old enough.
  // CHECK: onnx.LayerNormalization
  %1 = onnx.LayerNormalization %x, %s {resultSegmentSizes = array<i32: 1, 0, 0>} : (tensor<?x8xf16>, tensor<8xf16>) -> tensor<?x8xf16>
  return %0, %1 : tensor<?x8xf16>, tensor<?x8xf16>
}

// -----

// CHECK-LABEL: func @attention
// CHECK-SAME: (%[[Q:.*]]: tensor<2x4x3x8xf32>, %[[K:.*]]: tensor<2x2x3x8xf32>, %[[P:.*]]: tensor<2x2x5x8xf32>)
func.func @attention(%q: tensor<2x4x3x8xf32>, %k: tensor<2x2x3x8xf32>, %past: tensor<2x2x5x8xf32>) -> (tensor<2x4x3x8xf32>, tensor<2x2x8x8xf32>) {
  // CHECK: %[[KEYS:.*]] = onnx.Concat %[[P]], %[[K]] {axis = 2 : i64}
  // CHECK: %[[VALUES:.*]] = onnx.Concat %[[P]], %[[K]] {axis = 2 : i64}
  // CHECK: onnx.Expand
  // CHECK: onnx.Expand
  // CHECK: %[[SCORES:.*]] = onnx.MatMul
  // CHECK: %[[KEEP:.*]] = onnx.LessOrEqual
  // CHECK: %[[SEEN:.*]] = onnx.Where %[[KEEP]], %[[SCORES]]
  // CHECK: onnx.Softmax %[[SEEN]]
  // CHECK: onnx.IsInf %{{.*}} {detect_positive = 0 : i64}
  // CHECK: %[[Y:.*]] = onnx.MatMul {{.*}} -> tensor<2x4x3x8xf32>
  // CHECK: return %[[Y]], %[[KEYS]]
  %y, %present, %values = onnx.Attention %q, %k, %k past_key %past past_value %past {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x5x8xf32>, tensor<2x2x5x8xf32>) -> (tensor<2x4x3x8xf32>, tensor<2x2x8x8xf32>, tensor<2x2x8x8xf32>)
  return %y, %present : tensor<2x4x3x8xf32>, tensor<2x2x8x8xf32>
}

// -----

// CHECK-LABEL: func @rotary
// CHECK-NOT: onnx.RotaryEmbedding
func.func @rotary(%x: tensor<2x4x?x8xf32>, %c: tensor<16x3xf32>, %p: tensor<2x?xi64>) -> tensor<2x4x?x8xf32> {
  // CHECK: onnx.Gather %{{.*}}, %{{.*}} : (tensor<16x3xf32>, tensor<2x?xi64>)
  // CHECK: onnx.Sub
  // CHECK: onnx.Add
  // Two channels of eight are not turned.
  // CHECK: onnx.Concat {{.*}} : (tensor<2x4x?x3xf32>, tensor<2x4x?x3xf32>, tensor<2x4x?x2xf32>) -> tensor<2x4x?x8xf32>
  %0 = onnx.RotaryEmbedding %x, %c, %c positions %p {rotary_embedding_dim = 6 : i64} : (tensor<2x4x?x8xf32>, tensor<16x3xf32>, tensor<16x3xf32>, tensor<2x?xi64>) -> tensor<2x4x?x8xf32>
  return %0 : tensor<2x4x?x8xf32>
}

// -----

// NEW-LABEL: func @groups
// NEW: onnx.GroupNormalization
// CHECK-LABEL: func @groups
// CHECK: onnx.Reshape
// CHECK: onnx.ReduceMean
// CHECK: %[[Y:.*]] = onnx.Reshape %{{.*}} -> tensor<?x6x?xf32>
// CHECK: onnx.Mul %[[Y]], %{{.*}} : (tensor<?x6x?xf32>, tensor<1x6x1xf32>)
// CHECK-NOT: onnx.GroupNormalization
func.func @groups(%x: tensor<?x6x?xf32>, %scale: tensor<6xf32>, %bias: tensor<6xf32>) -> tensor<?x6x?xf32> {
  %y = onnx.GroupNormalization %x, %scale, %bias {num_groups = 3 : i64} : (tensor<?x6x?xf32>, tensor<6xf32>, tensor<6xf32>) -> tensor<?x6x?xf32>
  return %y : tensor<?x6x?xf32>
}
