// RUN: caat-opt %s | caat-opt | FileCheck %s

// CHECK-LABEL: func @products
func.func @products(%x: tensor<?x?x48xf32>, %w: tensor<48x144xf32>, %m: tensor<5x48xf32>, %wt: tensor<144x48xf32>, %b: tensor<144xf32>, %v: tensor<48xf32>) {
  // CHECK: onnx.MatMul %{{.*}}, %{{.*}} : (tensor<?x?x48xf32>, tensor<48x144xf32>) -> tensor<?x?x144xf32>
  %0 = onnx.MatMul %x, %w : (tensor<?x?x48xf32>, tensor<48x144xf32>) -> tensor<?x?x144xf32>
  // CHECK: onnx.MatMul {{.*}} -> tensor<?x?xf32>
  %1 = onnx.MatMul %x, %v : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?xf32>
  // CHECK: onnx.Gemm %{{.*}}, %{{.*}} bias %{{.*}} {transB = 1 : i64}
  %2 = onnx.Gemm %m, %wt bias %b {transB = 1 : i64} : (tensor<5x48xf32>, tensor<144x48xf32>, tensor<144xf32>) -> tensor<5x144xf32>
  // CHECK: onnx.Einsum "bsk,kn->bsn" %{{.*}}, %{{.*}} :
  %3 = onnx.Einsum "bsk,kn->bsn" %x, %w : (tensor<?x?x48xf32>, tensor<48x144xf32>) -> tensor<?x?x144xf32>
  return
}

// CHECK-LABEL: func @images
func.func @images(%x: tensor<1x8x6x6xf32>, %w: tensor<4x4x3x3xf32>, %b: tensor<4xf32>, %c: tensor<8xf32>) {
  // CHECK: onnx.Conv %{{.*}}, %{{.*}} bias %{{.*}} {group = 2 : i64, pads = array<i64: 1, 1, 1, 1>}
  %0 = onnx.Conv %x, %w bias %b {group = 2 : i64, pads = array<i64: 1, 1, 1, 1>} : (tensor<1x8x6x6xf32>, tensor<4x4x3x3xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  // CHECK: onnx.GroupNormalization {{.*}} {num_groups = 4 : i64}
  %1 = onnx.GroupNormalization %x, %c, %c {num_groups = 4 : i64} : (tensor<1x8x6x6xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x8x6x6xf32>
  // CHECK: onnx.DepthToSpace %{{.*}} {blocksize = 2 : i64, mode = "CRD"}
  %2 = onnx.DepthToSpace %x {blocksize = 2 : i64, mode = "CRD"} : (tensor<1x8x6x6xf32>) -> tensor<1x2x12x12xf32>
  // CHECK: onnx.SpaceToDepth %{{.*}} {blocksize = 2 : i64}
  %3 = onnx.SpaceToDepth %x {blocksize = 2 : i64} : (tensor<1x8x6x6xf32>) -> tensor<1x32x3x3xf32>
  return
}

// CHECK-LABEL: func @norms
func.func @norms(%x: tensor<?x?x48xf32>, %s: tensor<48xf32>) {
  // CHECK: onnx.LayerNormalization %{{.*}}, %{{.*}} bias %{{.*}} {epsilon = 9.99999996E-13 : f32, resultSegmentSizes = array<i32: 1, 0, 0>}
  %0 = onnx.LayerNormalization %x, %s bias %s {epsilon = 1.0e-12 : f32, resultSegmentSizes = array<i32: 1, 0, 0>} : (tensor<?x?x48xf32>, tensor<48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
  // CHECK: onnx.LayerNormalization {{.*}} -> (tensor<?x?x48xf32>, tensor<?x?x1xf32>)
  %1:2 = onnx.LayerNormalization %x, %s {resultSegmentSizes = array<i32: 1, 0, 1>} : (tensor<?x?x48xf32>, tensor<48xf32>) -> (tensor<?x?x48xf32>, tensor<?x?x1xf32>)
  // CHECK: onnx.RMSNormalization %{{.*}}, %{{.*}} :
  %2 = onnx.RMSNormalization %x, %s : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
  return
}

// CHECK-LABEL: func @attention
func.func @attention(%q: tensor<2x8x?x16xf32>, %k: tensor<2x4x?x16xf32>, %past: tensor<2x4x?x16xf32>, %mask: tensor<1x?x?xi1>, %flat: tensor<2x?x128xf32>,
                     %cos: tensor<2x?x8xf32>, %table: tensor<64x8xf32>, %ids: tensor<2x?xi64>) {
  // CHECK: onnx.Attention %{{.*}}, %{{.*}}, %{{.*}} mask %{{.*}} past_key %{{.*}} past_value %{{.*}} {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
  %0:3 = onnx.Attention %q, %k, %k mask %mask past_key %past past_value %past {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
      : (tensor<2x8x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?x16xf32>, tensor<1x?x?xi1>, tensor<2x4x?x16xf32>, tensor<2x4x?x16xf32>)
      -> (tensor<2x8x?x16xf32>, tensor<2x4x?x16xf32>, tensor<2x4x?x16xf32>)
  // CHECK: onnx.Attention {{.*}} {kv_num_heads = 8 : i64, q_num_heads = 8 : i64
  %1 = onnx.Attention %flat, %flat, %flat {kv_num_heads = 8 : i64, q_num_heads = 8 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>}
      : (tensor<2x?x128xf32>, tensor<2x?x128xf32>, tensor<2x?x128xf32>) -> tensor<2x?x128xf32>
  // CHECK: onnx.RotaryEmbedding %{{.*}}, %{{.*}}, %{{.*}} : (
  %2 = onnx.RotaryEmbedding %q, %cos, %cos : (tensor<2x8x?x16xf32>, tensor<2x?x8xf32>, tensor<2x?x8xf32>) -> tensor<2x8x?x16xf32>
  // CHECK: onnx.RotaryEmbedding %{{.*}}, %{{.*}}, %{{.*}} positions %{{.*}} {num_heads = 8 : i64}
  %3 = onnx.RotaryEmbedding %flat, %table, %table positions %ids {num_heads = 8 : i64} : (tensor<2x?x128xf32>, tensor<64x8xf32>, tensor<64x8xf32>, tensor<2x?xi64>) -> tensor<2x?x128xf32>
  return
}

// CHECK-LABEL: func @quantized
func.func @quantized(%x: tensor<4x8xf32>, %s: tensor<f32>, %z: tensor<i8>) {
  // CHECK: onnx.QuantizeLinear %{{.*}}, %{{.*}} zero_point %{{.*}} :
  %0 = onnx.QuantizeLinear %x, %s zero_point %z : (tensor<4x8xf32>, tensor<f32>, tensor<i8>) -> tensor<4x8xi8>
  // CHECK: onnx.DequantizeLinear %{{.*}}, %{{.*}} :
  %1 = onnx.DequantizeLinear %0, %s : (tensor<4x8xi8>, tensor<f32>) -> tensor<4x8xf32>
  return
}

// CHECK-LABEL: func @windows
func.func @windows(%x: tensor<?x4x7x7xf32>, %w: tensor<4x2x3x3xf32>) {
  // CHECK: onnx.ConvTranspose %{{.*}}, %{{.*}} {group = 2 : i64, strides = array<i64: 2, 2>} : {{.*}} -> tensor<?x4x15x15xf32>
  %0 = onnx.ConvTranspose %x, %w {group = 2 : i64, strides = array<i64: 2, 2>} : (tensor<?x4x7x7xf32>, tensor<4x2x3x3xf32>) -> tensor<?x4x15x15xf32>
  // CHECK: onnx.AveragePool %{{.*}} {count_include_pad = 1 : i64, kernel_shape = array<i64: 3, 3>}
  %1 = onnx.AveragePool %x {kernel_shape = array<i64: 3, 3>, count_include_pad = 1 : i64} : (tensor<?x4x7x7xf32>) -> tensor<?x4x5x5xf32>
  // CHECK: onnx.LpPool %{{.*}} {kernel_shape = array<i64: 2, 2>}
  %2 = onnx.LpPool %x {kernel_shape = array<i64: 2, 2>} : (tensor<?x4x7x7xf32>) -> tensor<?x4x6x6xf32>
  // CHECK: onnx.MaxPool {{.*}} -> (tensor<?x4x6x6xf32>, tensor<?x4x6x6xi64>)
  %3:2 = onnx.MaxPool %x {kernel_shape = array<i64: 2, 2>} : (tensor<?x4x7x7xf32>) -> (tensor<?x4x6x6xf32>, tensor<?x4x6x6xi64>)
  // CHECK: onnx.MaxPool {{.*}} -> tensor<?x4x6x6xf32>
  %4 = onnx.MaxPool %x {kernel_shape = array<i64: 2, 2>} : (tensor<?x4x7x7xf32>) -> tensor<?x4x6x6xf32>
  return
}

// CHECK-LABEL: func @recurrent
func.func @recurrent(%q: tensor<?x?x64xf32>, %k: tensor<?x?x32xf32>, %g: tensor<?x?x2xf32>, %s: tensor<?x2x16x16xf32>) {
  // CHECK: onnx.LinearAttention %{{.*}}, %{{.*}}, %{{.*}} state %{{.*}} decay %{{.*}} beta %{{.*}} {kv_num_heads = 2 : i64, q_num_heads = 4 : i64}
  %0:2 = onnx.LinearAttention %q, %k, %k state %s decay %g beta %g {q_num_heads = 4 : i64, kv_num_heads = 2 : i64}
    : (tensor<?x?x64xf32>, tensor<?x?x32xf32>, tensor<?x?x32xf32>, tensor<?x2x16x16xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> (tensor<?x?x64xf32>, tensor<?x2x16x16xf32>)
  return
}
