// Attention with 3 KV heads of 2 query heads each and a cache: fused q|k|v, rotary embedding, gated MLP, vocabulary.
// RUN: caat-opt %s --mlir-print-op-generic -o %t.whole
// RUN: caat-opt %s --tp-shard-pipeline=size=1 --mlir-print-op-generic -o %t.1 && %python %S/Inputs/lockstep.py %t.whole %t.1 --dim batch=2 --dim seq=4 --dim past=3
// RUN: caat-opt %s --tp-shard-pipeline=size=2 --mlir-print-op-generic -o %t.2 && %python %S/Inputs/lockstep.py %t.whole %t.2 --dim batch=2 --dim seq=4 --dim past=3
// RUN: caat-opt %s --tp-shard-pipeline=size=3 --mlir-print-op-generic -o %t.3 && %python %S/Inputs/lockstep.py %t.whole %t.3 --dim batch=2 --dim seq=4 --dim past=3
// RUN: caat-opt %s --tp-shard-pipeline=size=4 --mlir-print-op-generic -o %t.4 && %python %S/Inputs/lockstep.py %t.whole %t.4 --dim batch=2 --dim seq=1 --dim past=5
// RUN: caat-opt %s --tp-shard-pipeline=size=6 --mlir-print-op-generic -o %t.6 && %python %S/Inputs/lockstep.py %t.whole %t.6 --dim batch=1 --dim seq=4 --dim past=0
// RUN: caat-opt %s --tp-shard-pipeline=size=9 --mlir-print-op-generic -o %t.9 && %python %S/Inputs/lockstep.py %t.whole %t.9 --dim batch=1 --dim seq=4 --dim past=2
// RUN: caat-opt %s --tp-shard-pipeline=size=2 | FileCheck %s
// Heads dealt out in another order, with and without padding.
// RUN: echo '{"version": 1, "heads": {"layers.0.attn": [2, 0, 1]}}' > %t.json
// RUN: caat-opt %s --tp-shard-pipeline="size=2 plan=%t.json" --mlir-print-op-generic -o %t.2h && %python %S/Inputs/lockstep.py %t.whole %t.2h --dim batch=2 --dim seq=4 --dim past=3
// RUN: caat-opt %s --tp-shard-pipeline="size=3 plan=%t.json" --mlir-print-op-generic -o %t.3h && %python %S/Inputs/lockstep.py %t.whole %t.3h --dim batch=2 --dim seq=4 --dim past=3
// RUN: caat-opt %s --tp-shard-pipeline="size=3 plan=%t.json" | FileCheck %s --check-prefix=HEADS
// RUN: not caat-opt %s --tp-shard-pipeline="size=6 plan=%t.json" 2>&1 | FileCheck %s --check-prefix=REPEATED
// RUN: echo '{"version": 1, "heads": {"layers.0.attn": [1, 0]}}' > %t.few.json && not caat-opt %s --tp-shard-pipeline="size=2 plan=%t.few.json" 2>&1 | FileCheck %s --check-prefix=FEW
// RUN: echo '{"version": 1, "heads": {"layers.7.attn": [1, 0]}}' > %t.where.json && not caat-opt %s --tp-shard-pipeline="size=2 plan=%t.where.json" 2>&1 | FileCheck %s --check-prefix=WHERE
// HEADS: module attributes {caat.heads = {layers.0.attn = array<i64: 2, 0, 1>}}
// HEADS: onnx.name = "past.key", tp.shard = #tp.shard<dim = 1, global = 3, pieces = {{\[\[\[2, 1\]\], \[\[0, 1\]\], \[\[1, 1\]\]\]}}>
// HEADS: tp.shard %{{.*}} dim 1 pieces {{\[\[\[16, 8\], \[32, 4\], \[44, 4\]\], \[\[0, 8\], \[24, 4\], \[36, 4\]\], \[\[8, 8\], \[28, 4\], \[40, 4\]\]\]}} size 16
// REPEATED: 3 KV heads on 6 ranks are repeated: there is no order to deal them out in
// FEW: heads."layers.0.attn": lists 2 heads, the site has 3 KV heads
// WHERE: heads."layers.7.attn": there is no such attention whose heads are split
// RUN: caat-opt %s --tp-shard-pipeline=size=6 | FileCheck %s --check-prefix=REPEAT

onnx.initializer @embed : tensor<50x16xf32> {file = "w", length = 3200 : i64, offset = 0 : i64}
onnx.initializer @norm1 : tensor<16xf32> {file = "w", length = 64 : i64, offset = 0 : i64}
onnx.initializer @norm2 : tensor<16xf32> {file = "w", length = 64 : i64, offset = 64 : i64}
onnx.initializer @qkv : tensor<16x48xf32> {file = "w", length = 3072 : i64, offset = 0 : i64}
onnx.initializer @qkv_bias : tensor<48xf32> {file = "w", length = 192 : i64, offset = 0 : i64}
onnx.initializer @o : tensor<24x16xf32> {file = "w", length = 1536 : i64, offset = 0 : i64}
onnx.initializer @o_bias : tensor<16xf32> {file = "w", length = 64 : i64, offset = 0 : i64}
onnx.initializer @gate : tensor<16x40xf32> {file = "w", length = 2560 : i64, offset = 0 : i64}
onnx.initializer @up : tensor<16x40xf32> {file = "w", length = 2560 : i64, offset = 0 : i64}
onnx.initializer @down : tensor<40x16xf32> {file = "w", length = 2560 : i64, offset = 0 : i64}
onnx.initializer @cos : tensor<32x2xf32> {file = "w", length = 256 : i64, offset = 0 : i64}
onnx.initializer @sin : tensor<32x2xf32> {file = "w", length = 256 : i64, offset = 0 : i64}

// CHECK: tp.mesh @mesh <["tp" = 2]>
// CHECK-LABEL: func.func @main
// CHECK-SAME: onnx.name = "past.key", tp.shard = #tp.shard<dim = 1, global = 3, pieces = {{\[\[\[0, 2\]\], \[\[2, 1\]\]\]}}>}
// CHECK-SAME: -> (tensor<?x?x25xf32> {tp.shard = #tp.shard<dim = 2, global = 50, pieces = {{\[\[\[0, 25\]\], \[\[25, 25\]\]\]}}>}
// CHECK-SAME: tensor<?x2x?x4xf32> {tp.shard = #tp.shard<dim = 1, global = 3
// One slice of the table serves the look-up and the LM head.
// CHECK: tp.shard %{{.*}} dim 0 pieces {{\[\[\[0, 25\]\], \[\[25, 25\]\]\]}} size 25 : tensor<50x16xf32>
// CHECK-NOT: size 25
// Segments of the second rank are padded where they end, not behind the last one.
// CHECK: tp.shard %{{.*}} dim 1 pieces {{\[\[\[0, 16\], \[24, 8\], \[36, 8\]\], \[\[16, 8\], \[-1, 8\], \[32, 4\], \[-1, 4\], \[44, 4\]\]\]}} size 32 : tensor<16x48xf32>
// CHECK: tp.all_reduce {{.*}}site = "embed"
// CHECK: onnx.Split {{.*}} -> (tensor<?x?x16xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>)
// CHECK: onnx.Attention {{.*}}tensor<?x4x?x4xf32>, tensor<?x2x?x4xf32>
// CHECK: %[[P:.*]] = onnx.MatMul {{.*}} : (tensor<?x?x16xf32>, tensor<16x16xf32>)
// CHECK: %[[S:.*]] = tp.all_reduce %[[P]] on @mesh ["tp"] {site = "layers.0.attn"}
// CHECK: onnx.Add %[[S]], {{.*}} : (tensor<?x?x16xf32>, tensor<16xf32>)
// CHECK: tp.all_reduce {{.*}}site = "layers.0.mlp"
// CHECK: onnx.MatMul {{.*}} -> tensor<?x?x25xf32>
// CHECK-NOT: tp.all_

// Six ranks: each KV head is on two, which share its query heads.
// REPEAT-LABEL: func.func @main
// REPEAT-SAME: onnx.name = "past.key", tp.shard = #tp.shard<dim = 1, global = 3, pieces = {{\[\[\[0, 1\]\], \[\[0, 1\]\], \[\[1, 1\]\], \[\[1, 1\]\], \[\[2, 1\]\], \[\[2, 1\]\]\]}}
// REPEAT: onnx.Attention {{.*}}tensor<?x1x?x4xf32>, tensor<?x1x?x4xf32>
func.func @main(%ids: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"], test.below = 50 : i64},
                %positions: tensor<?x?xi64> {onnx.name = "position_ids", onnx.dims = ["batch", "seq"]},
                %past_key: tensor<?x3x?x4xf32> {onnx.name = "past.key", onnx.dims = ["batch", "", "past", ""]},
                %past_value: tensor<?x3x?x4xf32> {onnx.name = "past.value", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<?x?x50xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>) {
  %embed = onnx.get_initializer @embed : tensor<50x16xf32>
  %norm1 = onnx.get_initializer @norm1 : tensor<16xf32>
  %norm2 = onnx.get_initializer @norm2 : tensor<16xf32>
  %qkv = onnx.get_initializer @qkv : tensor<16x48xf32>
  %qkv_bias = onnx.get_initializer @qkv_bias : tensor<48xf32>
  %o = onnx.get_initializer @o : tensor<24x16xf32>
  %o_bias = onnx.get_initializer @o_bias : tensor<16xf32>
  %gate = onnx.get_initializer @gate : tensor<16x40xf32>
  %up = onnx.get_initializer @up : tensor<16x40xf32>
  %down = onnx.get_initializer @down : tensor<40x16xf32>
  %cos = onnx.get_initializer @cos : tensor<32x2xf32>
  %sin = onnx.get_initializer @sin : tensor<32x2xf32>
  %x = onnx.Gather %embed, %ids {axis = 0 : i64} : (tensor<50x16xf32>, tensor<?x?xi64>) -> tensor<?x?x16xf32>
  %n1 = onnx.RMSNormalization %x, %norm1 : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
  %f0 = onnx.MatMul %n1, %qkv : (tensor<?x?x16xf32>, tensor<16x48xf32>) -> tensor<?x?x48xf32>
  %f = onnx.Add %f0, %qkv_bias : (tensor<?x?x48xf32>, tensor<48xf32>) -> tensor<?x?x48xf32>
  %sizes = onnx.Constant dense<[24, 12, 12]> : tensor<3xi64>
  %q0, %k0, %v0 = onnx.Split %f sizes %sizes {axis = 2 : i64} : (tensor<?x?x48xf32>, tensor<3xi64>) -> (tensor<?x?x24xf32>, tensor<?x?x12xf32>, tensor<?x?x12xf32>)
  %qshape = onnx.Constant dense<[0, 0, 6, 4]> : tensor<4xi64>
  %kshape = onnx.Constant dense<[0, 0, 3, 4]> : tensor<4xi64>
  %q1 = onnx.Reshape %q0, %qshape : (tensor<?x?x24xf32>, tensor<4xi64>) -> tensor<?x?x6x4xf32>
  %k1 = onnx.Reshape %k0, %kshape : (tensor<?x?x12xf32>, tensor<4xi64>) -> tensor<?x?x3x4xf32>
  %v1 = onnx.Reshape %v0, %kshape : (tensor<?x?x12xf32>, tensor<4xi64>) -> tensor<?x?x3x4xf32>
  %q2 = onnx.Transpose %q1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x6x4xf32>) -> tensor<?x6x?x4xf32>
  %k2 = onnx.Transpose %k1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x3x4xf32>) -> tensor<?x3x?x4xf32>
  %v2 = onnx.Transpose %v1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x3x4xf32>) -> tensor<?x3x?x4xf32>
  %q3 = onnx.RotaryEmbedding %q2, %cos, %sin positions %positions {num_heads = 6 : i64} : (tensor<?x6x?x4xf32>, tensor<32x2xf32>, tensor<32x2xf32>, tensor<?x?xi64>) -> tensor<?x6x?x4xf32>
  %k3 = onnx.RotaryEmbedding %k2, %cos, %sin positions %positions {num_heads = 3 : i64} : (tensor<?x3x?x4xf32>, tensor<32x2xf32>, tensor<32x2xf32>, tensor<?x?xi64>) -> tensor<?x3x?x4xf32>
  %y, %present_key, %present_value = onnx.Attention %q3, %k3, %v2 past_key %past_key past_value %past_value {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>}
      : (tensor<?x6x?x4xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>) -> (tensor<?x6x?x4xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>)
  %y1 = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x6x?x4xf32>) -> tensor<?x?x6x4xf32>
  %yshape = onnx.Constant dense<[0, 0, 24]> : tensor<3xi64>
  %y2 = onnx.Reshape %y1, %yshape : (tensor<?x?x6x4xf32>, tensor<3xi64>) -> tensor<?x?x24xf32>
  %p = onnx.MatMul %y2, %o : (tensor<?x?x24xf32>, tensor<24x16xf32>) -> tensor<?x?x16xf32>
  %pb = onnx.Add %p, %o_bias : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
  %x1 = onnx.Add %x, %pb : (tensor<?x?x16xf32>, tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  %n2 = onnx.RMSNormalization %x1, %norm2 : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
  %g = onnx.MatMul %n2, %gate : (tensor<?x?x16xf32>, tensor<16x40xf32>) -> tensor<?x?x40xf32>
  %u = onnx.MatMul %n2, %up : (tensor<?x?x16xf32>, tensor<16x40xf32>) -> tensor<?x?x40xf32>
  %s = onnx.Swish %g : (tensor<?x?x40xf32>) -> tensor<?x?x40xf32>
  %m = onnx.Mul %s, %u : (tensor<?x?x40xf32>, tensor<?x?x40xf32>) -> tensor<?x?x40xf32>
  %d = onnx.MatMul %m, %down : (tensor<?x?x40xf32>, tensor<40x16xf32>) -> tensor<?x?x16xf32>
  %x2 = onnx.Add %x1, %d : (tensor<?x?x16xf32>, tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  %n3 = onnx.RMSNormalization %x2, %norm1 : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
  %head = onnx.Transpose %embed {perm = array<i64: 1, 0>} : (tensor<50x16xf32>) -> tensor<16x50xf32>
  %logits = onnx.MatMul %n3, %head : (tensor<?x?x16xf32>, tensor<16x50xf32>) -> tensor<?x?x50xf32>
  return %logits, %present_key, %present_value : tensor<?x?x50xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>
}
