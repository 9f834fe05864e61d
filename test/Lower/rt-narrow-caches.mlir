// RUN: caat-opt %s --split-input-file --rt-narrow-caches | FileCheck %s
// RUN: caat-opt %s --split-input-file --rt-narrow-caches=type=f16 | FileCheck %s --check-prefix=F16
// RUN: caat-opt %s --split-input-file --rt-narrow-caches --remarks-filter=caat 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: not caat-opt %s --split-input-file --rt-narrow-caches=type=f8 2>&1 | FileCheck %s --check-prefix=TYPE

// TYPE: error: rt-narrow-caches: type 'f8' is not bf16 or f16

// New keys are rounded by their rotation, new values by a cast; queries and the result stay f32. What is declared at the
// interface stays.
// REMARK: 'k' is stored as bf16
// REMARK: 'v' is stored as bf16
// CHECK-LABEL: func.func @attention
// CHECK-SAME: %{{[^:]*}}: tensor<1x2x?x4xbf16> {onnx.declared_type = f32, onnx.name = "k", rt.cache = "pk"}
// CHECK-SAME: %{{[^:]*}}: tensor<1x2x?x4xbf16> {onnx.declared_type = f16, onnx.name = "v", rt.cache = "pv"}
// CHECK-SAME: -> (tensor<1x4x3x4xf32>, tensor<1x2x?x4xbf16> {onnx.declared_type = f32, rt.cache = 1 : i64}, tensor<1x2x?x4xbf16> {onnx.declared_type = f16, rt.cache = 2 : i64})
// CHECK:   %[[K:.*]] = onnx.RotaryEmbedding {{.*}} : (tensor<1x2x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x2x3x4xbf16>
// CHECK:   %[[V:.*]] = onnx.Cast %{{.*}} to bf16
// CHECK:   onnx.Attention %{{.*}}, %[[K]], %[[V]] past_key {{.*}} : (tensor<1x4x3x4xf32>, tensor<1x2x3x4xbf16>, tensor<1x2x3x4xbf16>, tensor<1x2x?x4xbf16>, tensor<1x2x?x4xbf16>) -> (tensor<1x4x3x4xf32>, tensor<1x2x?x4xbf16>, tensor<1x2x?x4xbf16>)
// F16-LABEL: func.func @attention
// F16:   onnx.Attention {{.*}} -> (tensor<1x4x3x4xf32>, tensor<1x2x?x4xf16>, tensor<1x2x?x4xf16>)
func.func @attention(%q: tensor<1x4x3x4xf32>, %keys: tensor<1x2x?x4xf32> {onnx.name = "k", rt.cache = "pk"},
                     %values: tensor<1x2x?x4xf32> {onnx.declared_type = f16, onnx.name = "v", rt.cache = "pv"},
                     %cos: tensor<1x3x2xf32>, %sin: tensor<1x3x2xf32>, %x: tensor<1x2x3x4xf32>)
    -> (tensor<1x4x3x4xf32>, tensor<1x2x?x4xf32> {rt.cache = 1 : i64},
        tensor<1x2x?x4xf32> {onnx.declared_type = f16, rt.cache = 2 : i64}) {
  %past = rt.dim "past"
  %pk = tensor.extract_slice %keys[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %pv = tensor.extract_slice %values[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %k = onnx.RotaryEmbedding %x, %cos, %sin : (tensor<1x2x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x2x3x4xf32>
  %r:3 = onnx.Attention %q, %k, %x past_key %pk past_value %pv {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x4x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> (tensor<1x4x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>)
  return %r#0, %r#1, %r#2 : tensor<1x4x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// What was widened before is taken as it was. A rotation that others read too stays f32.
// CHECK-LABEL: func.func @stored
// CHECK-SAME: %[[NARROW:[^:]*]]: tensor<1x2x3x4xbf16>
// CHECK:   %[[R:.*]] = onnx.RotaryEmbedding {{.*}} -> tensor<1x2x3x4xf32>
// CHECK:   %[[K:.*]] = onnx.Cast %[[R]] to bf16
// CHECK:   onnx.Attention %[[R]], %[[K]], %[[NARROW]] past_key
func.func @stored(%narrow: tensor<1x2x3x4xbf16>, %keys: tensor<1x2x?x4xf32> {rt.cache = "pk"},
                  %values: tensor<1x2x?x4xf32> {rt.cache = "pv"}, %cos: tensor<1x3x2xf32>, %sin: tensor<1x3x2xf32>)
    -> (tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32> {rt.cache = 1 : i64}, tensor<1x2x?x4xf32> {rt.cache = 2 : i64}) {
  %past = rt.dim "past"
  %pk = tensor.extract_slice %keys[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %pv = tensor.extract_slice %values[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %v = onnx.Cast %narrow to f32 : (tensor<1x2x3x4xbf16>) -> tensor<1x2x3x4xf32>
  %k = onnx.RotaryEmbedding %v, %cos, %sin : (tensor<1x2x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x2x3x4xf32>
  %r:3 = onnx.Attention %k, %k, %v past_key %pk past_value %pv {resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>)
  return %r#0, %r#1, %r#2 : tensor<1x2x3x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// A cache that a Concat appends to stays; so does one that something else reads, and arguments that are no caches.
// REMARK: 'concat' stays f32: others than the attentions whose past it is read or append to it
// REMARK: 'k' is stored as bf16
// REMARK: 'v' stays f32: others than the attentions whose past it is read or append to it
// CHECK-LABEL: func.func @others
// CHECK:   onnx.Concat {{.*}} -> tensor<1x2x?x4xf32>
// CHECK:   onnx.Attention {{.*}} -> (tensor<1x2x1x4xf32>, tensor<1x2x?x4xbf16>, tensor<1x2x?x4xf32>)
// CHECK:   onnx.Attention {{.*}} -> (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>)
func.func @others(%x: tensor<1x2x1x4xf32>, %concat: tensor<1x2x?x4xf32> {onnx.name = "concat", rt.cache = "p"},
                  %keys: tensor<1x2x?x4xf32> {onnx.name = "k", rt.cache = "pk"},
                  %values: tensor<1x2x?x4xf32> {onnx.name = "v", rt.cache = "pv"}, %given: tensor<1x2x?x4xf32>)
    -> (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32> {rt.cache = 1 : i64}, tensor<1x2x?x4xf32> {rt.cache = 2 : i64},
        tensor<1x2x?x4xf32> {rt.cache = 3 : i64}, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) {
  %past = rt.dim "past"
  %p = tensor.extract_slice %concat[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %c = onnx.Concat %p, %x {axis = 2 : i64} : (tensor<1x2x?x4xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x?x4xf32>
  %pk = tensor.extract_slice %keys[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %pv = tensor.extract_slice %values[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %r:3 = onnx.Attention %x, %x, %x past_key %pk past_value %pv {resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>)
  %read = onnx.Relu %r#2 : (tensor<1x2x?x4xf32>) -> tensor<1x2x?x4xf32>
  %s:3 = onnx.Attention %x, %x, %x past_key %given past_value %given {resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>)
  return %r#0, %c, %r#1, %r#2, %read, %s#1, %s#2 : tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// Nor one that a later layer reads as well, as it was appended to here.
// REMARK: 'shared' stays f32
// CHECK-LABEL: func.func @shared
// CHECK-NOT: bf16
func.func @shared(%x: tensor<1x2x1x4xf32>, %keys: tensor<1x2x?x4xf32> {onnx.name = "shared", rt.cache = "pk"},
                  %given: tensor<1x2x?x4xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32> {rt.cache = 1 : i64}) {
  %past = rt.dim "past"
  %pk = tensor.extract_slice %keys[0, 0, 0, 0] [1, 2, %past, 4] [1, 1, 1, 1] : tensor<1x2x?x4xf32> to tensor<1x2x?x4xf32>
  %r:3 = onnx.Attention %x, %x, %x past_key %pk past_value %given {resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>)
  %s = onnx.Attention %r#0, %r#1, %r#2 {resultSegmentSizes = array<i32: 1, 0, 0, 0>} : (tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32>) -> tensor<1x2x1x4xf32>
  return %s, %r#1 : tensor<1x2x1x4xf32>, tensor<1x2x?x4xf32>
}

// -----

// With rotated weights the argument has a block for each virtual rank.
// CHECK-LABEL: func.func @rotated
// CHECK-SAME: %[[CACHE:[^:]*]]: tensor<?x2x?x4xbf16> {onnx.declared_type = f32, rt.cache = "pk"}
// CHECK:   tp.block %[[CACHE]] at %{{.*}} : tensor<?x2x?x4xbf16>
// CHECK:   tp.block %[[CACHE]] at %{{.*}} : tensor<?x2x?x4xbf16>
// CHECK-COUNT-2: onnx.Attention {{.*}} -> (tensor<?x2x1x4xf32>, tensor<?x2x?x4xbf16>, tensor<?x2x?x4xf32>)
// CHECK:   tp.blocks {{.*}} : tensor<?x2x?x4xbf16>
tp.mesh @mesh <["tp" = 2]>
func.func @rotated(%x: tensor<?x2x1x4xf32>, %keys: tensor<?x2x?x4xf32> {rt.cache = "pk"}, %given: tensor<?x2x?x4xf32>)
    -> (tensor<?x2x1x4xf32>, tensor<?x2x?x4xf32> {rt.cache = 1 : i64}) {
  %past = rt.dim "past"
  %batch = rt.dim "batch"
  %i = tp.rank on @mesh : index
  %one = arith.constant 1 : index
  %two = arith.constant 2 : index
  %next = arith.addi %i, %one : index
  %j = arith.remui %next, %two : index
  %a = tp.block %keys at %i : tensor<?x2x?x4xf32>
  %b = tp.block %keys at %j : tensor<?x2x?x4xf32>
  %pa = tensor.extract_slice %a[0, 0, 0, 0] [%batch, 2, %past, 4] [1, 1, 1, 1] : tensor<?x2x?x4xf32> to tensor<?x2x?x4xf32>
  %pb = tensor.extract_slice %b[0, 0, 0, 0] [%batch, 2, %past, 4] [1, 1, 1, 1] : tensor<?x2x?x4xf32> to tensor<?x2x?x4xf32>
  %r:3 = onnx.Attention %x, %x, %x past_key %pa past_value %given {resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<?x2x1x4xf32>, tensor<?x2x1x4xf32>, tensor<?x2x1x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x2x1x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
  %s:3 = onnx.Attention %r#0, %x, %x past_key %pb past_value %given {resultSegmentSizes = array<i32: 1, 1, 1, 0>} : (tensor<?x2x1x4xf32>, tensor<?x2x1x4xf32>, tensor<?x2x1x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> (tensor<?x2x1x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>)
  %all = tp.blocks %r#1, %s#1 at %i, %j : tensor<?x2x?x4xf32>
  return %s#0, %all : tensor<?x2x1x4xf32>, tensor<?x2x?x4xf32>
}
