// RUN: caat-opt %s --rt-block-weights="rules=i4,*.up=i8,*head*=float,*code*=i4" | FileCheck %s
// RUN: caat-opt %s --rt-block-weights="rules=i4,*head*=float" --remarks-filter=caat -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: not caat-opt %s --rt-block-weights="rules=layers*=i4,layer*=i8" 2>&1 | FileCheck %s --check-prefix=NAMES
// RUN: not caat-opt %s --rt-block-weights="rules=i5" 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not caat-opt %s --rt-block-weights="rules=[=i4" 2>&1 | FileCheck %s --check-prefix=GLOB
// RUN: caat-opt %s --rt-block-weights="rules=h.down=i8 wide-halves=true" | FileCheck %s --check-prefix=WIDE

// NAMES: rule 'layers*=i4' for weights: no product's weight has a name like this; there are 'h.up', 'h.down', 'head', 'short', …
// KIND: rule 'i5' for weights: 'i5' is none of i4, i8 and float
// GLOB: rule '[=i4' for weights: '[' is no pattern of names:

onnx.initializer @h.up : tensor<64x8xf32> {file = "w", offset = 0 : i64, length = 2048 : i64}
onnx.initializer @h.down : tensor<8x48xf16> {file = "w", offset = 2048 : i64, length = 768 : i64}
onnx.initializer @head : tensor<8x64xf32> {file = "w", offset = 4096 : i64, length = 2048 : i64}
onnx.initializer @short : tensor<8x24xf32> {file = "w", offset = 8192 : i64, length = 768 : i64}
onnx.initializer @codes : tensor<8x64xi8> {file = "w", offset = 9216 : i64, length = 512 : i64}
onnx.initializer @scale : tensor<8x2xf32> {file = "w", offset = 10240 : i64, length = 64 : i64}

// The last rule that matches counts. Rounding to bf16 comes after that to blocks, in the runtime.
// CHECK: rt.weight @h.up_w linear transposed
// CHECK-SAME: blocks(#rt.blocks<bits = 8, size = 32, scales = f16, offset = middle>) rounded : tensor<8x64xbf16> {
// CHECK:   %[[W:.*]] = onnx.get_initializer @h.up
// CHECK:   %[[T:.*]] = onnx.Transpose %[[W]] {perm = array<i64: 1, 0>} : (tensor<64x8xf32>) -> tensor<8x64xf32>
// CHECK:   rt.yield %[[T]] : tensor<8x64xf32>
// REMARK: [Passed] block-weights {{.*}}weight 'h.up_w' is rounded to codes of 4 bits in blocks of 32"
rt.weight @h.up_w linear : tensor<64x8xbf16> {
  %w = onnx.get_initializer @h.up : tensor<64x8xf32>
  %n = onnx.Cast %w to bf16 : (tensor<64x8xf32>) -> tensor<64x8xbf16>
  rt.yield %n : tensor<64x8xbf16>
}
// Blocks of 32 do not divide 48.
// CHECK: rt.weight @h.down_w linear transposed
// CHECK-SAME: blocks(#rt.blocks<bits = 4, size = 16, scales = f16, offset = minimum>) rounded : tensor<8x48xf16> {
// CHECK:   onnx.Cast %{{.*}} to f32
// WIDE: rt.weight @h.down_w linear transposed blocks({{.*}}) rounded : tensor<8x48xf32>
rt.weight @h.down_w linear transposed : tensor<8x48xf16> {
  %w = onnx.get_initializer @h.down : tensor<8x48xf16>
  rt.yield %w : tensor<8x48xf16>
}
// CHECK: rt.weight @head_w linear transposed : tensor<8x64xf32>
// REMARK: [Missed] block-weights {{.*}}weight 'head_w' stays float: '*head*=float' says so
rt.weight @head_w linear transposed : tensor<8x64xf32> {
  %w = onnx.get_initializer @head : tensor<8x64xf32>
  rt.yield %w : tensor<8x64xf32>
}
// CHECK: rt.weight @short_w linear transposed : tensor<8x24xf32>
// REMARK: weight 'short_w' stays float: its columns have 24 elements, no multiple of 16
rt.weight @short_w linear transposed : tensor<8x24xf32> {
  %w = onnx.get_initializer @short : tensor<8x24xf32>
  rt.yield %w : tensor<8x24xf32>
}
// Codes of more bits than are asked for are rounded to fewer.
// CHECK: rt.weight @codes_w linear transposed
// CHECK-SAME: blocks(#rt.blocks<bits = 4, size = 32, scales = f16, offset = minimum>) rounded : tensor<8x64xf32>
// WIDE: rt.weight @codes_w linear transposed
// WIDE-SAME: blocks(#rt.blocks<bits = 8, size = 32, scales = f32, offset = middle>) : tensor<8x64xf32>
rt.weight @codes_w linear transposed : tensor<8x64xf32> {
  %q = onnx.get_initializer @codes : tensor<8x64xi8>
  %s = onnx.get_initializer @scale : tensor<8x2xf32>
  %w = onnx.DequantizeLinear %q, %s {block_size = 32 : i64} : (tensor<8x64xi8>, tensor<8x2xf32>) -> tensor<8x64xf32>
  rt.yield %w : tensor<8x64xf32>
}
