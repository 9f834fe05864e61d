// RUN: caat-opt %s -split-input-file -verify-diagnostics

func.func @inner(%a: tensor<4x8xf32>, %b: tensor<7x2xf32>) {
  // expected-error @+1 {{'A' has 8 columns but 'B' has 7 rows}}
  %0 = onnx.MatMul %a, %b : (tensor<4x8xf32>, tensor<7x2xf32>) -> tensor<4x2xf32>
  return
}

// -----

func.func @leading(%a: tensor<2x4x8xf32>, %b: tensor<3x8x2xf32>) {
  // expected-error @+1 {{leading dimensions [2] and [3] cannot be broadcast}}
  %0 = onnx.MatMul %a, %b : (tensor<2x4x8xf32>, tensor<3x8x2xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @product(%a: tensor<4x8xf32>, %b: tensor<8x2xf32>) {
  // expected-error @+1 {{'Y' has shape [4, 3], not [4, 2]}}
  %0 = onnx.MatMul %a, %b : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @gemm_rank(%a: tensor<2x4x8xf32>, %b: tensor<8x2xf32>) {
  // expected-error @+1 {{'A' has rank 3, not 2}}
  %0 = onnx.Gemm %a, %b : (tensor<2x4x8xf32>, tensor<8x2xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @gemm_bias(%a: tensor<4x8xf32>, %b: tensor<8x2xf32>, %c: tensor<3xf32>) {
  // expected-error @+1 {{'C' of shape [3] cannot be broadcast to [4, 2]}}
  %0 = onnx.Gemm %a, %b bias %c : (tensor<4x8xf32>, tensor<8x2xf32>, tensor<3xf32>) -> tensor<4x2xf32>
  return
}

// -----

func.func @gemm_inner(%a: tensor<4x8xf32>, %b: tensor<8x2xf32>) {
  // expected-error @+1 {{A' has 8 columns but B' has 2 rows}}
  %0 = onnx.Gemm %a, %b {transB = 1 : i64} : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @terms(%a: tensor<4x8xf32>) {
  // expected-error @+1 {{equation 'ij,jk->ik' has 2 terms for 1 inputs}}
  %0 = onnx.Einsum "ij,jk->ik" %a : (tensor<4x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @letters(%a: tensor<4x8xf32>) {
  // expected-error @+1 {{term 'ijk' has 3 letters but input 0 has rank 2}}
  %0 = onnx.Einsum "ijk->ik" %a : (tensor<4x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @channels(%x: tensor<1x8x6x6xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error @+1 {{'X' has 8 channels, not 2 * 3}}
  %0 = onnx.Conv %x, %w {group = 2 : i64} : (tensor<1x8x6x6xf32>, tensor<4x3x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @group(%x: tensor<1x8x6x6xf32>, %w: tensor<4x8x3x3xf32>) {
  // expected-error @+1 {{group 0 is not positive}}
  %0 = onnx.Conv %x, %w {group = 0 : i64} : (tensor<1x8x6x6xf32>, tensor<4x8x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @layer_axis(%x: tensor<4x8xf32>, %s: tensor<8xf32>) {
  // expected-error @+1 {{axis 2 is outside [-2, 2)}}
  %0 = onnx.LayerNormalization %x, %s {axis = 2 : i64, resultSegmentSizes = array<i32: 1, 0, 0>} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @layer_scale(%x: tensor<4x8xf32>, %s: tensor<7xf32>) {
  // expected-error @+1 {{'Scale' of shape [7] cannot be broadcast to [4, 8]}}
  %0 = onnx.LayerNormalization %x, %s {resultSegmentSizes = array<i32: 1, 0, 0>} : (tensor<4x8xf32>, tensor<7xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @rms_scale(%x: tensor<4x8xf32>, %s: tensor<7xf32>) {
  // expected-error @+1 {{'scale' of shape [7] cannot be broadcast to [4, 8]}}
  %0 = onnx.RMSNormalization %x, %s : (tensor<4x8xf32>, tensor<7xf32>) -> tensor<4x8xf32>
  return
}

// -----

func.func @groups(%x: tensor<1x8x6xf32>, %s: tensor<8xf32>) {
  // expected-error @+1 {{8 channels are no multiple of num_groups 3}}
  %0 = onnx.GroupNormalization %x, %s, %s {num_groups = 3 : i64} : (tensor<1x8x6xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<1x8x6xf32>
  return
}

// -----

func.func @heads(%q: tensor<2x8x5x16xf32>, %k: tensor<2x3x5x16xf32>) {
  // expected-error @+1 {{8 query heads are no multiple of 3 key heads}}
  %0 = onnx.Attention %q, %k, %k {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x8x5x16xf32>, tensor<2x3x5x16xf32>, tensor<2x3x5x16xf32>) -> tensor<2x8x5x16xf32>
  return
}

// -----

func.func @head_size(%q: tensor<2x8x5x16xf32>, %k: tensor<2x8x5x8xf32>) {
  // expected-error @+1 {{heads of 'Q' have size 16, those of 'K' 8}}
  %0 = onnx.Attention %q, %k, %k {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x8x5x16xf32>, tensor<2x8x5x8xf32>, tensor<2x8x5x8xf32>) -> tensor<2x8x5x8xf32>
  return
}

// -----

func.func @one_past(%q: tensor<2x8x5x16xf32>) {
  // expected-error @+1 {{has only one of past_key and past_value}}
  %0 = onnx.Attention %q, %q, %q past_key %q {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x8x5x16xf32>, tensor<2x8x5x16xf32>, tensor<2x8x5x16xf32>, tensor<2x8x5x16xf32>) -> tensor<2x8x5x16xf32>
  return
}

// -----

func.func @no_heads(%q: tensor<2x5x16xf32>) {
  // expected-error @+1 {{needs q_num_heads and kv_num_heads for operands of rank 3}}
  %0 = onnx.Attention %q, %q, %q {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<2x5x16xf32>, tensor<2x5x16xf32>, tensor<2x5x16xf32>) -> tensor<2x5x16xf32>
  return
}

// -----

func.func @cache_rank(%x: tensor<2x8x5x16xf32>, %c: tensor<64x8xf32>) {
  // expected-error @+1 {{'cos_cache' has rank 2, not 3}}
  %0 = onnx.RotaryEmbedding %x, %c, %c : (tensor<2x8x5x16xf32>, tensor<64x8xf32>, tensor<64x8xf32>) -> tensor<2x8x5x16xf32>
  return
}

// -----

func.func @cache_columns(%x: tensor<2x8x5x16xf32>, %c: tensor<64x16xf32>, %p: tensor<2x5xi64>) {
  // expected-error @+1 {{'cos_cache' has 16 columns, not 8}}
  %0 = onnx.RotaryEmbedding %x, %c, %c positions %p : (tensor<2x8x5x16xf32>, tensor<64x16xf32>, tensor<64x16xf32>, tensor<2x5xi64>) -> tensor<2x8x5x16xf32>
  return
}

// -----

func.func @large_block(%x: tensor<1x4x8x8xf32>) {
  // expected-error @+1 {{blocksize 4294967296 squared does not fit 63 bits}}
  %0 = onnx.DepthToSpace %x {blocksize = 4294967296 : i64} : (tensor<1x4x8x8xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @depth(%x: tensor<1x6x4x4xf32>) {
  // expected-error @+1 {{6 channels are no multiple of 2 squared}}
  %0 = onnx.DepthToSpace %x {blocksize = 2 : i64} : (tensor<1x6x4x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @space(%x: tensor<1x6x5x4xf32>) {
  // expected-error @+1 {{dimension 5 is no multiple of 2}}
  %0 = onnx.SpaceToDepth %x {blocksize = 2 : i64} : (tensor<1x6x5x4xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @pool_kernel(%x: tensor<1x4x7x7xf32>) {
  // expected-error @+1 {{kernel_shape has 1 entries, not 2}}
  %0 = onnx.AveragePool %x {kernel_shape = array<i64: 3>} : (tensor<1x4x7x7xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @pool_stride(%x: tensor<1x4x7x7xf32>) {
  // expected-error @+1 {{strides has the entry 0, which is not positive}}
  %0 = onnx.MaxPool %x {kernel_shape = array<i64: 3, 3>, strides = array<i64: 1, 0>} : (tensor<1x4x7x7xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @pool_pads(%x: tensor<1x4x7x7xf32>) {
  // expected-error @+1 {{pads has 2 entries, not 4}}
  %0 = onnx.LpPool %x {kernel_shape = array<i64: 3, 3>, pads = array<i64: 1, 1>} : (tensor<1x4x7x7xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @pool_power(%x: tensor<1x4x7x7xf32>) {
  // expected-error @+1 {{p 0 is not positive}}
  %0 = onnx.LpPool %x {kernel_shape = array<i64: 3, 3>, p = 0 : i64} : (tensor<1x4x7x7xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @transposed_channels(%x: tensor<1x4x7x7xf32>, %w: tensor<3x2x3x3xf32>) {
  // expected-error @+1 {{'X' has 4 channels, 'W' 3}}
  %0 = onnx.ConvTranspose %x, %w : (tensor<1x4x7x7xf32>, tensor<3x2x3x3xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @linear_rule(%q: tensor<1x4x8xf32>) {
  // expected-error @+1 {{update_rule 'gated_delta' and 'decay' do not go together}}
  %0:2 = onnx.LinearAttention %q, %q, %q {q_num_heads = 2 : i64, kv_num_heads = 2 : i64} : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return
}

// -----

func.func @linear_heads(%q: tensor<1x4x8xf32>) {
  // expected-error @+1 {{2 query heads are no positive multiple of 4 key heads}}
  %0:2 = onnx.LinearAttention %q, %q, %q {q_num_heads = 2 : i64, kv_num_heads = 4 : i64, update_rule = "linear"} : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return
}

// -----

func.func @linear_beta(%q: tensor<1x4x8xf32>, %b: tensor<1x4x3xf32>) {
  // expected-error @+1 {{'beta' has 3 columns, not 2 or 1}}
  %0:2 = onnx.LinearAttention %q, %q, %q beta %b {q_num_heads = 2 : i64, kv_num_heads = 2 : i64, update_rule = "delta"} : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x3xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  return
}
