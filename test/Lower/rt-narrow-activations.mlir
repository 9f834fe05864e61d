// RUN: caat-opt %s --split-input-file --rt-narrow-activations | FileCheck %s
// RUN: caat-opt %s --split-input-file --rt-narrow-activations --remarks-filter=caat 2>&1 | FileCheck %s --check-prefix=REMARK

// x is rounded where it is made. y, which a product follows, has 16 bits; what a Transpose moves, too. The last
// product's result stays f32. Between products there is f32.
// REMARK: 2 inputs and 1 results of products, 0 attentions and 0 caches in 16 bits
// CHECK-LABEL: func.func @products
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>
// CHECK:   %[[NARROW:.*]] = onnx.Cast %[[X]] to bf16
// CHECK:   %[[Y:.*]] = rt.linear @up ins(%[[NARROW]] : tensor<?x4xbf16>) outs({{.*}} : tensor<?x8xbf16>) -> tensor<?x8xbf16>
// CHECK:   %[[MOVED:.*]] = onnx.Transpose %[[Y]] {{.*}} -> tensor<8x?xbf16>
// CHECK:   %[[WIDE:.*]] = onnx.Cast %[[MOVED]] to f32
// CHECK:   %[[BACK:.*]] = onnx.Transpose
// CHECK:   %[[RELU:.*]] = onnx.Relu %[[BACK]] : (tensor<?x8xf32>) -> tensor<?x8xf32>
// CHECK:   %[[H:.*]] = onnx.Cast %[[RELU]] to bf16
// CHECK:   rt.linear @down ins(%[[H]] : tensor<?x8xbf16>) outs({{.*}} : tensor<?x4xf32>) -> tensor<?x4xf32>
onnx.initializer @u : tensor<4x8xbf16> {file = "w", offset = 0 : i64, length = 64 : i64}
onnx.initializer @d : tensor<8x4xbf16> {file = "w", offset = 64 : i64, length = 64 : i64}
rt.weight @up linear : tensor<4x8xbf16> {
  %0 = onnx.get_initializer @u : tensor<4x8xbf16>
  rt.yield %0 : tensor<4x8xbf16>
}
rt.weight @down linear : tensor<8x4xbf16> {
  %0 = onnx.get_initializer @d : tensor<8x4xbf16>
  rt.yield %0 : tensor<8x4xbf16>
}
func.func @products(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %y = rt.linear @up ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %t = onnx.Transpose %y {perm = array<i64: 1, 0>} : (tensor<?x8xf32>) -> tensor<8x?xf32>
  %s = onnx.Sigmoid %t : (tensor<8x?xf32>) -> tensor<8x?xf32>
  %b = onnx.Transpose %s {perm = array<i64: 1, 0>} : (tensor<8x?xf32>) -> tensor<?x8xf32>
  %r = onnx.Relu %b : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %f = tensor.empty(%n) : tensor<?x4xf32>
  %z = rt.linear @down ins(%r : tensor<?x8xf32>) outs(%f : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// What is summed over the ranks stays f32, and so do products with f32 weights and running sums, of which x is rounded.
// CHECK-LABEL: func.func @sums
// CHECK:   %[[Y:.*]] = rt.linear @w ins(%{{.*}} : tensor<2x4xf16>) outs({{.*}} : tensor<2x4xf32>) -> tensor<2x4xf32>
// CHECK:   tp.all_reduce %[[Y]]
// CHECK:   rt.linear @wide ins(%{{.*}} : tensor<2x4xf32>) outs({{.*}} : tensor<2x4xf32>) -> tensor<2x4xf32>
// CHECK:   rt.linear @w accumulate ins(%{{.*}} : tensor<2x4xf16>) outs({{.*}} : tensor<2x4xf32>) -> tensor<2x4xf32>
tp.mesh @mesh <["tp" = 2]>
onnx.initializer @i : tensor<4x4xf16> {file = "w", offset = 0 : i64, length = 32 : i64}
onnx.initializer @j : tensor<4x4xf32> {file = "w", offset = 32 : i64, length = 64 : i64}
rt.weight @w linear : tensor<4x4xf16> {
  %0 = onnx.get_initializer @i : tensor<4x4xf16>
  rt.yield %0 : tensor<4x4xf16>
}
rt.weight @wide linear : tensor<4x4xf32> {
  %0 = onnx.get_initializer @j : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
func.func @sums(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %e = tensor.empty() : tensor<2x4xf32>
  %y = rt.linear @w ins(%x : tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %s = tp.all_reduce %y on @mesh ["tp"] : tensor<2x4xf32>
  %z = rt.linear @wide ins(%s : tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %t = rt.linear @w accumulate ins(%s : tensor<2x4xf32>) outs(%z : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %t : tensor<2x4xf32>
}

// -----

// A sum that travels in 16 bits is rounded by the product before it.
// CHECK-LABEL: func.func @messages
// CHECK:   %[[Y:.*]] = rt.linear @w ins(%{{.*}} : tensor<2x4xbf16>) outs({{.*}} : tensor<2x4xbf16>) -> tensor<2x4xbf16>
// CHECK:   tp.all_reduce %[[Y]] on @mesh ["tp"] : tensor<2x4xbf16>
tp.mesh @mesh <["tp" = 2]>
onnx.initializer @i : tensor<4x4xbf16> {file = "w", offset = 0 : i64, length = 32 : i64}
rt.weight @w linear : tensor<4x4xbf16> {
  %0 = onnx.get_initializer @i : tensor<4x4xbf16>
  rt.yield %0 : tensor<4x4xbf16>
}
func.func @messages(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %e = tensor.empty() : tensor<2x4xf32>
  %y = rt.linear @w ins(%x : tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %n = onnx.Cast %y to bf16 : (tensor<2x4xf32>) -> tensor<2x4xbf16>
  %s = tp.all_reduce %n on @mesh ["tp"] : tensor<2x4xbf16>
  %z = onnx.Cast %s to f32 : (tensor<2x4xbf16>) -> tensor<2x4xf32>
  return %z : tensor<2x4xf32>
}

// -----

// A bias has the type of the results that it is added to: rounded when the artifact is written, or as the file has it. Of
// results that stay f32, and of others that read it, it stays.
// CHECK-NOT:   rt.weight @only :
// CHECK:       rt.weight @both : tensor<4xf32>
// CHECK-LABEL: func.func @biases
// CHECK:   %[[ROW:.*]] = rt.parameter @[[ONLY:only_.*]] : tensor<4xbf16>
// CHECK:   rt.parameter @[[STORED:stored_.*]] : tensor<4xbf16>
// CHECK:   rt.linear @w ins({{.*}}) bias(%[[ROW]] : tensor<4xbf16>) then gelu outs(%{{.*}} : tensor<2x4xbf16>)
// CHECK:   rt.linear @w ins({{.*}}) bias(%{{.*}} : tensor<4xbf16>) outs(%{{.*}} : tensor<2x4xbf16>)
// CHECK:   rt.linear @w ins({{.*}}) bias(%{{.*}} : tensor<4xbf16>) outs(%{{.*}} : tensor<2x4xbf16>)
// CHECK:   %[[LAST:.*]] = rt.parameter @both : tensor<4xf32>
// CHECK:   rt.linear @w ins({{.*}}) bias(%[[LAST]] : tensor<4xf32>) outs(%{{.*}} : tensor<2x4xf32>)
// CHECK:       rt.weight @[[ONLY]] : tensor<4xbf16> {
// CHECK-NEXT:    %[[W:.*]] = onnx.get_initializer @b : tensor<4xf32>
// CHECK-NEXT:    %[[ROUNDED:.*]] = onnx.Cast %[[W]] to bf16
// CHECK-NEXT:    rt.yield %[[ROUNDED]]
// CHECK:       rt.weight @[[STORED]] : tensor<4xbf16> {
// CHECK-NEXT:    %[[S:.*]] = onnx.get_initializer @s : tensor<4xbf16>
// CHECK:         rt.yield %[[S]]
onnx.initializer @i : tensor<4x4xbf16> {file = "w", offset = 0 : i64, length = 32 : i64}
onnx.initializer @b : tensor<4xf32> {file = "w", offset = 32 : i64, length = 16 : i64}
onnx.initializer @s : tensor<4xbf16> {file = "w", offset = 48 : i64, length = 8 : i64}
rt.weight @w linear : tensor<4x4xbf16> {
  %0 = onnx.get_initializer @i : tensor<4x4xbf16>
  rt.yield %0 : tensor<4x4xbf16>
}
rt.weight @only : tensor<4xf32> {
  %0 = onnx.get_initializer @b : tensor<4xf32>
  rt.yield %0 : tensor<4xf32>
}
rt.weight @stored : tensor<4xf32> {
  %0 = onnx.get_initializer @s : tensor<4xbf16>
  %1 = onnx.Cast %0 to f32 : (tensor<4xbf16>) -> tensor<4xf32>
  rt.yield %1 : tensor<4xf32>
}
rt.weight @both : tensor<4xf32> {
  %0 = onnx.get_initializer @b : tensor<4xf32>
  rt.yield %0 : tensor<4xf32>
}
func.func @biases(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %only = rt.parameter @only : tensor<4xf32>
  %stored = rt.parameter @stored : tensor<4xf32>
  %both = rt.parameter @both : tensor<4xf32>
  %e = tensor.empty() : tensor<2x4xf32>
  %0 = rt.linear @w ins(%x : tensor<2x4xf32>) bias(%only : tensor<4xf32>) then gelu outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = rt.linear @w ins(%0 : tensor<2x4xf32>) bias(%stored : tensor<4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = rt.linear @w ins(%1 : tensor<2x4xf32>) bias(%both : tensor<4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %last = rt.parameter @both : tensor<4xf32>
  %3 = rt.linear @w ins(%2 : tensor<2x4xf32>) bias(%last : tensor<4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %3 : tensor<2x4xf32>
}

// -----

// A gated product's result goes to the next product in 16 bits, and nothing is computed between the two.
// CHECK-LABEL: func.func @gated
// CHECK:   %[[B:.*]] = rt.parameter @b_{{.*}} : tensor<8xbf16>
// CHECK:   %[[Y:.*]] = rt.linear @up ins(%{{.*}} : tensor<?x4xbf16>) bias(%[[B]] : tensor<8xbf16>) then swish gate first outs(%{{.*}} : tensor<?x4xbf16>) -> tensor<?x4xbf16>
// CHECK:   rt.linear @down ins(%[[Y]] : tensor<?x4xbf16>) outs(%{{.*}} : tensor<?x4xf32>) -> tensor<?x4xf32>
onnx.initializer @u : tensor<4x8xbf16> {file = "w", offset = 0 : i64, length = 64 : i64}
onnx.initializer @d : tensor<4x4xbf16> {file = "w", offset = 64 : i64, length = 32 : i64}
rt.weight @up linear : tensor<4x8xbf16> {
  %0 = onnx.get_initializer @u : tensor<4x8xbf16>
  rt.yield %0 : tensor<4x8xbf16>
}
rt.weight @down linear : tensor<4x4xbf16> {
  %0 = onnx.get_initializer @d : tensor<4x4xbf16>
  rt.yield %0 : tensor<4x4xbf16>
}
rt.weight @b : tensor<8xf32> {
  %0 = arith.constant dense<2.0> : tensor<8xf32>
  rt.yield %0 : tensor<8xf32>
}
func.func @gated(%x: tensor<?x4xf32>, %n: index) -> tensor<?x4xf32> {
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %b = rt.parameter @b : tensor<8xf32>
  %y = rt.linear @up ins(%x : tensor<?x4xf32>) bias(%b : tensor<8xf32>) then swish gate first outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %f = tensor.empty(%n) : tensor<?x4xf32>
  %z = rt.linear @down ins(%y : tensor<?x4xf32>) outs(%f : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// Attention with caches: all of it in 16 bits, but what is declared at the interface.
// REMARK: 1 attentions and 2 caches in 16 bits
// CHECK-LABEL: func.func @attention
// CHECK-SAME: %{{[^:]*}}: tensor<1x2x?x4xbf16> {onnx.declared_type = f32, rt.cache = "k"}
// CHECK-SAME: %{{[^:]*}}: tensor<1x2x?x4xbf16> {onnx.declared_type = f16, rt.cache = "v"}
// CHECK-SAME: -> (tensor<1x3x8xf32>, tensor<1x2x?x4xbf16> {onnx.declared_type = f32, rt.cache = 1 : i64}, tensor<1x2x?x4xbf16> {onnx.declared_type = f16, rt.cache = 2 : i64})
// CHECK:   tensor.extract_slice {{.*}} : tensor<1x2x?x4xbf16> to tensor<1x2x?x4xbf16>
// CHECK:   onnx.RotaryEmbedding {{.*}} : (tensor<1x2x3x4xbf16>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x2x3x4xbf16>
// CHECK:   onnx.Attention {{.*}} : (tensor<1x2x3x4xbf16>, tensor<1x2x3x4xbf16>, tensor<1x2x3x4xbf16>, tensor<1x2x?x4xbf16>, tensor<1x2x?x4xbf16>) -> (tensor<1x2x3x4xbf16>, tensor<1x2x?x4xbf16>, tensor<1x2x?x4xbf16>)
// CHECK:   rt.linear @o ins(%{{.*}} : tensor<1x3x8xbf16>)
onnx.initializer @i : tensor<8x8xbf16> {file = "w", offset = 0 : i64, length = 128 : i64}
rt.weight @o linear : tensor<8x8xbf16> {
  %0 = onnx.get_initializer @i : tensor<8x8xbf16>
  rt.yield %0 : tensor<8x8xbf16>
}
func.func @attention(%x: tensor<1x3x8xf32>, %keys: tensor<1x2x?x4xf32> {rt.cache = "k"},
                     %values: tensor<1x2x?x4xf32> {onnx.declared_type = f16, rt.cache = "v"}, %cos: tensor<1x3x2xf32>,
                     %sin: tensor<1x3x2xf32>)
    -> (tensor<1x3x8xf32>, tensor<1x2x?x4xf32> {rt.cache = 1 : i64},
        tensor<1x2x?x4xf32> {onnx.declared_type = f16, rt.cache = 2 : i64}) {
  %past = rt.dim "past"
  %pk = tensor.extract_slice %keys[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %pv = tensor.extract_slice %values[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %e = tensor.empty() : tensor<1x3x8xf32>
  %y = rt.linear @o ins(%x : tensor<1x3x8xf32>) outs(%e : tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  %shape = onnx.Constant dense<[1, 3, 2, 4]> : tensor<4xi64>
  %h = onnx.Reshape %y, %shape : (tensor<1x3x8xf32>, tensor<4xi64>) -> tensor<1x3x2x4xf32>
  %v = onnx.Transpose %h {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x3x2x4xf32>) -> tensor<1x2x3x4xf32>
  %k = onnx.RotaryEmbedding %v, %cos, %sin : (tensor<1x2x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x2x3x4xf32>
  %r:3 = onnx.Attention %v, %k, %v past_key %pk past_value %pv {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>)
  %back = onnx.Transpose %r#0 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x3x4xf32>) -> tensor<1x3x2x4xf32>
  %flat = onnx.Constant dense<[1, 3, 8]> : tensor<3xi64>
  %o = onnx.Reshape %back, %flat : (tensor<1x3x2x4xf32>, tensor<3xi64>) -> tensor<1x3x8xf32>
  %f = tensor.empty() : tensor<1x3x8xf32>
  %z = rt.linear @o ins(%o : tensor<1x3x8xf32>) outs(%f : tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  return %z, %r#1, %r#2 : tensor<1x3x8xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}
