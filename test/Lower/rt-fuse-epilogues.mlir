// RUN: caat-opt %s --split-input-file --rt-fuse-epilogues | FileCheck %s
// RUN: caat-opt %s --split-input-file --rt-fuse-epilogues --remarks-filter=caat 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(rt-fuse-epilogues{sums=false}))" | FileCheck %s --check-prefix=NO-SUMS

// Bias on either side and activation; a bias with ones before it; casts between; both forms of GELU, Swish with its alpha.
// REMARK: product with 'up' takes in: bias, gelu
// REMARK: product with 'up' takes in: bias, gelu_tanh
// REMARK: product with 'up' takes in: swish
// REMARK: product with 'w' takes in: bias, sum
// CHECK-LABEL: func.func @takes
// CHECK:   %[[B:.*]] = rt.parameter @b : tensor<8xf32>
// CHECK:   %[[Y:.*]] = rt.linear @up ins(%{{.*}}) bias(%[[B]] : tensor<8xf32>) then gelu outs(%{{.*}} : tensor<?x8xf32>) -> tensor<?x8xf32>
// CHECK-NOT: onnx
// CHECK:   %[[ROW:.*]] = rt.parameter @row : tensor<1x8xf32>
// CHECK:   %[[FLAT:.*]] = tensor.collapse_shape %[[ROW]] {{\[\[}}0, 1]] : tensor<1x8xf32> into tensor<8xf32>
// CHECK:   %[[Z:.*]] = rt.linear @up ins(%{{.*}}) bias(%[[FLAT]] : tensor<8xf32>) then gelu_tanh outs
// CHECK:   %[[CAST:.*]] = tensor.cast %[[Z]] : tensor<?x8xf32> to tensor<2x8xf32>
// CHECK:   %[[S:.*]] = rt.linear @up ins(%{{.*}}) then swish outs({{.*}}) {alpha = 1.702{{.*}} : f32}
// CHECK-NOT: onnx
// CHECK:   return %[[Y]], %[[CAST]], %[[S]]
rt.weight @up linear : tensor<4x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}
rt.weight @b : tensor<8xf32> {
  %0 = arith.constant dense<2.0> : tensor<8xf32>
  rt.yield %0 : tensor<8xf32>
}
rt.weight @row : tensor<1x8xf32> {
  %0 = arith.constant dense<2.0> : tensor<1x8xf32>
  rt.yield %0 : tensor<1x8xf32>
}
func.func @takes(%x: tensor<?x4xf32>, %e: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<2x8xf32>, tensor<?x8xf32>) {
  %0 = rt.linear @up ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %b = rt.parameter @b : tensor<8xf32>
  %1 = onnx.Add %b, %0 : (tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = onnx.Gelu %1 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = rt.linear @up ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %3 = tensor.cast %2 : tensor<?x8xf32> to tensor<2x8xf32>
  %row = rt.parameter @row : tensor<1x8xf32>
  %4 = onnx.Add %3, %row : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>
  %z = onnx.Gelu %4 {approximate = "tanh"} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %5 = rt.linear @up ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %s = onnx.Swish %5 {alpha = 1.702 : f32} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y, %z, %s : tensor<?x8xf32>, tensor<2x8xf32>, tensor<?x8xf32>
}

// -----

// Of what others use too nothing moves; nor a bias along the rows, a number, one that is computed, an activation that
// libraries have not, or one behind something else.
// CHECK-LABEL: func.func @refuses
// CHECK-NOT: bias(
// CHECK-NOT: then
// CHECK-COUNT-6: onnx.Add
// CHECK: return
rt.weight @w linear : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
rt.weight @b : tensor<4xf32> {
  %0 = arith.constant dense<2.0> : tensor<4xf32>
  rt.yield %0 : tensor<4xf32>
}
rt.weight @column : tensor<4x1xf32> {
  %0 = arith.constant dense<2.0> : tensor<4x1xf32>
  rt.yield %0 : tensor<4x1xf32>
}
rt.weight @number : tensor<1xf32> {
  %0 = arith.constant dense<2.0> : tensor<1xf32>
  rt.yield %0 : tensor<1xf32>
}
rt.weight @whole : tensor<4x4xf32> {
  %0 = arith.constant dense<2.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
func.func @refuses(%x: tensor<4x4xf32>, %v: tensor<4xf32>, %e: tensor<4x4xf32>)
    -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  %b = rt.parameter @b : tensor<4xf32>
  %0 = rt.linear @w ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %used = onnx.Add %0, %b : (tensor<4x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  %1 = rt.linear @w ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %column = rt.parameter @column : tensor<4x1xf32>
  %rows = onnx.Add %1, %column : (tensor<4x4xf32>, tensor<4x1xf32>) -> tensor<4x4xf32>
  %2 = rt.linear @w ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %number = rt.parameter @number : tensor<1xf32>
  %all = onnx.Add %2, %number : (tensor<4x4xf32>, tensor<1xf32>) -> tensor<4x4xf32>
  %3 = rt.linear @w ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %whole = rt.parameter @whole : tensor<4x4xf32>
  %matrix = onnx.Add %3, %whole : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %4 = rt.linear @w ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %computed = onnx.Add %4, %v : (tensor<4x4xf32>, tensor<4xf32>) -> tensor<4x4xf32>
  %5 = rt.linear @w ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %leaky = onnx.LeakyRelu %5 : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %6 = rt.linear @w ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %twice = onnx.Add %6, %6 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %0, %used, %rows, %all, %matrix, %computed, %leaky, %twice
      : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}

// -----

// What is summed over the ranks keeps its bias behind the sum, where it is added once.
// CHECK-LABEL: func.func @sharded
// CHECK:   %[[Y:.*]] = rt.linear @w ins(%{{.*}} : tensor<?x4xf32>) outs
// CHECK:   %[[SUM:.*]] = tp.all_reduce %[[Y]]
// CHECK:   onnx.Add %[[SUM]]
// CHECK:   onnx.Relu
tp.mesh @mesh <["tp" = 2]>
rt.weight @w linear : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
rt.weight @b : tensor<4xf32> {
  %0 = arith.constant dense<2.0> : tensor<4xf32>
  rt.yield %0 : tensor<4xf32>
}
func.func @sharded(%x: tensor<?x4xf32>, %e: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %0 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = tp.all_reduce %0 on @mesh ["tp"] : tensor<?x4xf32>
  %b = rt.parameter @b : tensor<4xf32>
  %2 = onnx.Add %1, %b : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %3 = onnx.Relu %2 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %3 : tensor<?x4xf32>
}

// -----

// A stream takes products in place where its old value is read for the last time: at once, behind a norm, through a Reshape
// and as the sum of two products. It does not where somebody reads it later, or where it is the caller's or made later.
// CHECK-LABEL: func.func @sums
// CHECK:   %[[S:.*]] = onnx.Relu
// CHECK:   %[[N:.*]] = onnx.Sigmoid %[[S]]
// CHECK:   %[[B:.*]] = rt.parameter @b
// CHECK:   %[[S1:.*]] = rt.linear @w accumulate ins(%[[N]] : tensor<?x?x4xf32>) bias(%[[B]] : tensor<4xf32>) outs(%[[S]] : tensor<?x?x4xf32>)
// CHECK:   %[[FLAT:.*]] = onnx.Reshape %[[S1]], %{{.*}} : (tensor<?x?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
// CHECK:   %[[S2:.*]] = rt.linear @w accumulate ins(%{{.*}} : tensor<?x4xf32>) outs(%[[FLAT]] : tensor<?x4xf32>)
// CHECK:   %[[S3:.*]] = onnx.Reshape %[[S2]]
// CHECK:   %[[A:.*]] = rt.linear @w ins
// CHECK:   %[[AB:.*]] = rt.linear @w accumulate ins(%{{.*}}) outs(%[[A]] : tensor<?x?x4xf32>)
// CHECK:   %[[S4:.*]] = onnx.Add %[[S3]], %[[AB]]
// CHECK:   return %[[S4]]
// NO-SUMS-LABEL: func.func @sums
// NO-SUMS-NOT: accumulate
// NO-SUMS: bias
// NO-SUMS-NOT: accumulate
// NO-SUMS: return
rt.weight @w linear : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
rt.weight @b : tensor<4xf32> {
  %0 = arith.constant dense<2.0> : tensor<4xf32>
  rt.yield %0 : tensor<4xf32>
}
func.func @sums(%x: tensor<?x?x4xf32>, %flat: tensor<?x4xf32>, %n: index, %shape: tensor<3xi64>) -> tensor<?x?x4xf32> {
  %s = onnx.Relu %x : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %norm = onnx.Sigmoid %s : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %e0 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %0 = rt.linear @w ins(%norm : tensor<?x?x4xf32>) outs(%e0 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %b = rt.parameter @b : tensor<4xf32>
  %1 = onnx.Add %0, %b : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  %s1 = onnx.Add %s, %1 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %e1 = tensor.empty(%n) : tensor<?x4xf32>
  %2 = rt.linear @w ins(%flat : tensor<?x4xf32>) outs(%e1 : tensor<?x4xf32>) -> tensor<?x4xf32>
  %3 = onnx.Reshape %2, %shape : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x?x4xf32>
  %s2 = onnx.Add %3, %s1 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %e2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %4 = rt.linear @w ins(%x : tensor<?x?x4xf32>) outs(%e2 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %e3 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %5 = rt.linear @w ins(%x : tensor<?x?x4xf32>) outs(%e3 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %6 = onnx.Add %4, %5 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %s3 = onnx.Add %s2, %6 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %s3 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func.func @keeps
// CHECK-NOT: accumulate
// CHECK: return
func.func @keeps(%x: tensor<?x4xf32>, %n: index)
    -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
  %read = onnx.Relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %view = onnx.Identity %read : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %e0 = tensor.empty(%n) : tensor<?x4xf32>
  %0 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e0 : tensor<?x4xf32>) -> tensor<?x4xf32>
  %s0 = onnx.Add %read, %0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %later = onnx.Exp %view : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %e1 = tensor.empty(%n) : tensor<?x4xf32>
  %1 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e1 : tensor<?x4xf32>) -> tensor<?x4xf32>
  %s1 = onnx.Add %x, %1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %own = onnx.Abs %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %e2 = tensor.empty(%n) : tensor<?x4xf32>
  %2 = rt.linear @w ins(%own : tensor<?x4xf32>) outs(%e2 : tensor<?x4xf32>) -> tensor<?x4xf32>
  %s2 = onnx.Add %own, %2 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %e3 = tensor.empty(%n) : tensor<?x4xf32>
  %3 = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e3 : tensor<?x4xf32>) -> tensor<?x4xf32>
  %made = onnx.Neg %s2 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %s3 = onnx.Add %3, %made : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %s0, %later, %s1, %s2, %s3 : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// An activation whose result is a factor of a gate is computed by the kernel that multiplies, which is there anyway.
// CHECK-LABEL: func.func @gate
// CHECK:         %[[Y:.*]] = rt.linear @w ins(%{{.*}} : tensor<?x4xf32>) outs(
// CHECK:         %[[S:.*]] = onnx.Swish %[[Y]]
// CHECK:         onnx.Mul
onnx.initializer @i : tensor<4x8xf32> {file = "w", offset = 0 : i64, length = 128 : i64}
rt.weight @w linear : tensor<4x8xf32> {
  %0 = onnx.get_initializer @i : tensor<4x8xf32>
  rt.yield %0 : tensor<4x8xf32>
}
func.func @gate(%x: tensor<?x4xf32>, %up: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %y = rt.linear @w ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %s = onnx.Swish %y {alpha = 1.0 : f32} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %g = onnx.Mul %s, %up : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %g : tensor<?x8xf32>
}
