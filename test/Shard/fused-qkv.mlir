// Fused projections whose segments are dealt out one by one: GPT-2's Split, a reshape to [3, heads, 4], and slices.
// RUN: split-file %s %t
// RUN: caat-opt %t/split.mlir --tp-shard-pipeline=size=2 | FileCheck %s
// RUN: caat-opt %t/split.mlir --mlir-print-op-generic -o %t/split.whole
// RUN: caat-opt %t/split.mlir --tp-shard-pipeline=size=2 --mlir-print-op-generic -o %t/2 && %python %S/Inputs/lockstep.py %t/split.whole %t/2 --dim batch=2 --dim seq=3
// RUN: caat-opt %t/split.mlir --tp-shard-pipeline=size=4 --mlir-print-op-generic -o %t/4 && %python %S/Inputs/lockstep.py %t/split.whole %t/4 --dim batch=2 --dim seq=3
// More ranks than heads, and no group to share: the last ones compute on zeros.
// RUN: caat-opt %t/split.mlir --tp-shard-pipeline=size=6 --mlir-print-op-generic -o %t/6 && %python %S/Inputs/lockstep.py %t/split.whole %t/6 --dim batch=2 --dim seq=3
// RUN: caat-opt %t/reshape.mlir --mlir-print-op-generic -o %t/reshape.whole
// RUN: caat-opt %t/reshape.mlir --tp-shard-pipeline=size=2 --mlir-print-op-generic -o %t/2 && %python %S/Inputs/lockstep.py %t/reshape.whole %t/2 --dim batch=2 --dim seq=3
// RUN: caat-opt %t/reshape.mlir --tp-shard-pipeline=size=4 --mlir-print-op-generic -o %t/4 && %python %S/Inputs/lockstep.py %t/reshape.whole %t/4 --dim batch=2 --dim seq=3
// RUN: caat-opt %t/reshape.mlir --tp-shard-pipeline=size=2 | FileCheck %s --check-prefix=RESHAPE
// RUN: caat-opt %t/slices.mlir --mlir-print-op-generic -o %t/slices.whole
// RUN: caat-opt %t/slices.mlir --tp-shard-pipeline=size=2 --mlir-print-op-generic -o %t/2 && %python %S/Inputs/lockstep.py %t/slices.whole %t/2 --dim batch=2 --dim seq=3
// RUN: caat-opt %t/slices.mlir --tp-shard-pipeline=size=3 --mlir-print-op-generic -o %t/3 && %python %S/Inputs/lockstep.py %t/slices.whole %t/3 --dim batch=2 --dim seq=3

// CHECK-LABEL: @split
// CHECK-DAG: dense<8> : tensor<3xi64>
// CHECK-DAG: tp.shard %{{.*}} dim 1 pieces {{\[\[\[0, 8\], \[12, 8\], \[24, 8\]\], \[\[8, 4\], \[-1, 4\], \[20, 4\], \[-1, 4\], \[32, 4\]\]\]}} size 24
// CHECK: onnx.Split {{.*}} -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>)
// CHECK: onnx.Attention {{.*}}tensor<?x2x?x4xf32>
// CHECK: tp.all_reduce {{.*}}site = "layers.0.attn"

// RESHAPE: tp.shard %{{.*}} dim 1 pieces {{\[\[\[0, 8\], \[12, 8\], \[24, 8\]\], \[\[8, 4\], \[-1, 4\], \[20, 4\], \[-1, 4\], \[32, 4\]\]\]}} size 24
// RESHAPE: onnx.Reshape {{.*}} -> tensor<?x?x3x2x4xf32>

//--- split.mlir
onnx.initializer @qkv : tensor<12x36xf32> {file = "w", length = 1728 : i64, offset = 0 : i64}
onnx.initializer @o : tensor<12x12xf32> {file = "w", length = 576 : i64, offset = 0 : i64}
func.func @split(%x: tensor<?x?x12xf32> {onnx.dims = ["batch", "seq", ""]}) -> tensor<?x?x12xf32> {
  %qkv = onnx.get_initializer @qkv : tensor<12x36xf32>
  %o = onnx.get_initializer @o : tensor<12x12xf32>
  %f = onnx.MatMul %x, %qkv : (tensor<?x?x12xf32>, tensor<12x36xf32>) -> tensor<?x?x36xf32>
  %sizes = onnx.Constant dense<[12, 12, 12]> : tensor<3xi64>
  %q0, %k0, %v0 = onnx.Split %f sizes %sizes {axis = 2 : i64} : (tensor<?x?x36xf32>, tensor<3xi64>) -> (tensor<?x?x12xf32>, tensor<?x?x12xf32>, tensor<?x?x12xf32>)
  %shape = onnx.Constant dense<[0, 0, 3, 4]> : tensor<4xi64>
  %q1 = onnx.Reshape %q0, %shape : (tensor<?x?x12xf32>, tensor<4xi64>) -> tensor<?x?x3x4xf32>
  %k1 = onnx.Reshape %k0, %shape : (tensor<?x?x12xf32>, tensor<4xi64>) -> tensor<?x?x3x4xf32>
  %v1 = onnx.Reshape %v0, %shape : (tensor<?x?x12xf32>, tensor<4xi64>) -> tensor<?x?x3x4xf32>
  %q = onnx.Transpose %q1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x3x4xf32>) -> tensor<?x3x?x4xf32>
  %k = onnx.Transpose %k1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x3x4xf32>) -> tensor<?x3x?x4xf32>
  %v = onnx.Transpose %v1 {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x?x3x4xf32>) -> tensor<?x3x?x4xf32>
  %y = onnx.Attention %q, %k, %v {is_causal = 1 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>}
      : (tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>) -> tensor<?x3x?x4xf32>
  %y1 = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x3x?x4xf32>) -> tensor<?x?x3x4xf32>
  %flat = onnx.Constant dense<[0, 0, -1]> : tensor<3xi64>
  %y2 = onnx.Reshape %y1, %flat : (tensor<?x?x3x4xf32>, tensor<3xi64>) -> tensor<?x?x12xf32>
  %p = onnx.MatMul %y2, %o : (tensor<?x?x12xf32>, tensor<12x12xf32>) -> tensor<?x?x12xf32>
  return %p : tensor<?x?x12xf32>
}

//--- reshape.mlir
onnx.initializer @qkv : tensor<12x36xf32> {file = "w", length = 1728 : i64, offset = 0 : i64}
onnx.initializer @o : tensor<12x12xf32> {file = "w", length = 576 : i64, offset = 0 : i64}
func.func @reshape(%x: tensor<?x?x12xf32> {onnx.dims = ["batch", "seq", ""]}) -> tensor<?x?x12xf32> {
  %qkv = onnx.get_initializer @qkv : tensor<12x36xf32>
  %o = onnx.get_initializer @o : tensor<12x12xf32>
  %f = onnx.MatMul %x, %qkv : (tensor<?x?x12xf32>, tensor<12x36xf32>) -> tensor<?x?x36xf32>
  %shape = onnx.Constant dense<[0, 0, 3, 3, 4]> : tensor<5xi64>
  %f1 = onnx.Reshape %f, %shape : (tensor<?x?x36xf32>, tensor<5xi64>) -> tensor<?x?x3x3x4xf32>
  %f2 = onnx.Transpose %f1 {perm = array<i64: 2, 0, 3, 1, 4>} : (tensor<?x?x3x3x4xf32>) -> tensor<3x?x3x?x4xf32>
  %i0 = onnx.Constant dense<0> : tensor<i64>
  %i1 = onnx.Constant dense<1> : tensor<i64>
  %i2 = onnx.Constant dense<2> : tensor<i64>
  %q = onnx.Gather %f2, %i0 {axis = 0 : i64} : (tensor<3x?x3x?x4xf32>, tensor<i64>) -> tensor<?x3x?x4xf32>
  %k = onnx.Gather %f2, %i1 {axis = 0 : i64} : (tensor<3x?x3x?x4xf32>, tensor<i64>) -> tensor<?x3x?x4xf32>
  %v = onnx.Gather %f2, %i2 {axis = 0 : i64} : (tensor<3x?x3x?x4xf32>, tensor<i64>) -> tensor<?x3x?x4xf32>
  %y = onnx.Attention %q, %k, %v {resultSegmentSizes = array<i32: 1, 0, 0, 0>}
      : (tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>, tensor<?x3x?x4xf32>) -> tensor<?x3x?x4xf32>
  %y1 = onnx.Transpose %y {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x3x?x4xf32>) -> tensor<?x?x3x4xf32>
  %flat = onnx.Constant dense<[0, 0, 12]> : tensor<3xi64>
  %y2 = onnx.Reshape %y1, %flat : (tensor<?x?x3x4xf32>, tensor<3xi64>) -> tensor<?x?x12xf32>
  %p = onnx.MatMul %y2, %o : (tensor<?x?x12xf32>, tensor<12x12xf32>) -> tensor<?x?x12xf32>
  return %p : tensor<?x?x12xf32>
}

//--- slices.mlir
onnx.initializer @qkv : tensor<12x24xf32> {file = "w", length = 1152 : i64, offset = 0 : i64}
onnx.initializer @o : tensor<12x12xf32> {file = "w", length = 576 : i64, offset = 0 : i64}
func.func @slices(%x: tensor<?x?x12xf32> {onnx.dims = ["batch", "seq", ""]}) -> tensor<?x?x12xf32> {
  %qkv = onnx.get_initializer @qkv : tensor<12x24xf32>
  %o = onnx.get_initializer @o : tensor<12x12xf32>
  %f = onnx.MatMul %x, %qkv : (tensor<?x?x12xf32>, tensor<12x24xf32>) -> tensor<?x?x24xf32>
  %axes = onnx.Constant dense<[-1]> : tensor<1xi64>
  %zero = onnx.Constant dense<[0]> : tensor<1xi64>
  %twelve = onnx.Constant dense<[12]> : tensor<1xi64>
  %eighteen = onnx.Constant dense<[18]> : tensor<1xi64>
  %max = onnx.Constant dense<[9223372036854775807]> : tensor<1xi64>
  %q0 = onnx.Slice %f, %zero, %twelve axes %axes : (tensor<?x?x24xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x12xf32>
  %k0 = onnx.Slice %f, %twelve, %eighteen axes %axes : (tensor<?x?x24xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x6xf32>
  %v0 = onnx.Slice %f, %eighteen, %max axes %axes : (tensor<?x?x24xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x?x6xf32>
  %y = onnx.Attention %q0, %k0, %v0 {q_num_heads = 6 : i64, kv_num_heads = 3 : i64, resultSegmentSizes = array<i32: 1, 0, 0, 0>}
      : (tensor<?x?x12xf32>, tensor<?x?x6xf32>, tensor<?x?x6xf32>) -> tensor<?x?x12xf32>
  %p = onnx.MatMul %y, %o : (tensor<?x?x12xf32>, tensor<12x12xf32>) -> tensor<?x?x12xf32>
  return %p : tensor<?x?x12xf32>
}
